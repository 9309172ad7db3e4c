"""Growth, escape times, improvement rates: laws recovered from records."""

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saddle_analysis_spectra import Polynomial, at

from particles import InvalidInput
from saddle_analysis import (
    HessianOperator,
    displaced,
    dissipation,
    escape_time,
    extreme_eigenpairs,
    fit_growth,
    second_order_prediction,
)
from saddle_analysis.curves import escape_scaling, fit_lojasiewicz


def logistic(t: np.ndarray, rate: float, start: float, ceiling: float = 1.0) -> np.ndarray:
    grown = start * np.exp(rate * t)
    return grown / (1 + grown / ceiling)


@settings(max_examples=15, deadline=None)
@given(
    rate=st.floats(0.01, 100),
    start=st.floats(-9, -5),
    noise=st.sampled_from([0.0, 1e-3, 1e-2]),
    seed=st.integers(0, 1000),
)
def test_exponential_growth_between_floor_and_ceiling(
    rate: float, start: float, noise: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    t = np.linspace(0, (3 - start * np.log(10)) / rate, 300)
    v = logistic(t, rate, 10**start)
    floor = 10**start * 3 * np.abs(rng.normal(size=t.size))  # hides the beginning
    v = (v + floor) * np.exp(noise * rng.normal(size=t.size))
    fit = fit_growth(t, v)
    assert fit.kind == "exponential"
    assert fit.rate == pytest.approx(rate, rel=0.03)
    low, high = fit.interval
    assert low <= fit.rate <= high
    assert high - low < 0.1 * rate


def test_the_interval_holds_the_rate_of_a_clean_record() -> None:
    t = np.linspace(0, 3, 400)
    fit = fit_growth(t, logistic(t, 9.7, 1e-9, 0.1))
    assert fit.interval[0] <= 9.7 <= fit.interval[1]
    assert fit.rate == pytest.approx(9.7, rel=1e-3)
    assert fit.factor > 100
    assert "exponential" in str(fit)


@pytest.mark.parametrize("start", [1e-2, 1e-3])
@pytest.mark.parametrize("saturates", [False, True])
def test_hyperbolic_growth_is_told_from_exponential(start: float, saturates: bool) -> None:
    coefficient = 2.5
    end = 1 / (coefficient * start)
    t = end * (1 - np.geomspace(1, start, 500))
    v = start / (1 - coefficient * start * t)
    if saturates:
        v = v / (1 + v)
    fit = fit_growth(t, v)
    assert fit.kind == "hyperbolic"
    assert fit.rate == pytest.approx(coefficient, rel=0.05)
    assert "hyperbolic" in fit.sentence


def test_nothing_grows() -> None:
    t = np.linspace(0, 10, 100)
    for record in (np.ones(100), np.exp(-t), np.zeros(100)):
        assert fit_growth(t, record).kind == "none"
    assert "No stretch" in fit_growth(t, np.ones(100)).sentence


def test_escape_time_and_its_scaling() -> None:
    t = np.linspace(0, 12, 4000)
    sizes = np.repeat([1e-2, 1e-3, 1e-4, 1e-5], 3)
    rng = np.random.default_rng(0)
    losses = [1 - logistic(t, 2.0, size * np.exp(0.1 * rng.normal()), 1.0) ** 2 for size in sizes]
    times = np.array([escape_time(t, loss, level=0.5) for loss in losses])
    fit = escape_scaling(sizes, times)
    assert fit.rate == pytest.approx(2.0, rel=0.05)
    assert fit.interval[0] <= 0.5 <= fit.interval[1]
    assert np.isnan(escape_time(t, np.ones_like(t), level=0.5))
    assert np.isnan(escape_time(t, np.ones_like(t)))
    assert escape_time(np.array([0.0, 1.0]), np.array([0.2, 0.1]), level=0.5) == 0.0
    with_stuck = escape_scaling(np.append(sizes, 1e-6), np.append(times, np.nan))
    assert (with_stuck.left, with_stuck.runs) == (12, 13)


def test_second_order_prediction_of_a_quadratic_saddle() -> None:
    landscape = Polynomial(lambda m: 0.5 * (3 * m[0] ** 2 - 2 * m[1] ** 2 - m[2] ** 2))
    mu = at(0.0, 0.0, 0.0)
    pairs = extreme_eigenpairs(HessianOperator(landscape, mu), 3)
    shift = jnp.array([[0.0, 1e-3, 2e-3]])
    prediction = second_order_prediction(pairs, mu, shift)
    assert prediction.unstable == pytest.approx(1)
    t = np.array([0.0, 0.7])
    exact = []
    for time in t:
        moved = shift * jnp.exp(jnp.array([-3.0, 2.0, 1.0]) * time)
        exact.append(float(landscape.value(mu)) - float(landscape.value(displaced(mu, moved))))
    np.testing.assert_allclose(prediction.decrease(t), exact, rtol=1e-9)
    late = prediction.time_to(1.0)
    assert prediction.decrease(late)[0] == pytest.approx(1.0, rel=1e-9)
    assert prediction.time_to(1e-12) == 0.0
    still = second_order_prediction(pairs, mu, jnp.zeros((1, 3)))
    assert still.time_to(1.0) == float("inf")
    with pytest.raises(InvalidInput, match="fall is 0"):
        prediction.time_to(0.0)
    stable = extreme_eigenpairs(HessianOperator(landscape, mu), which="largest")
    with pytest.raises(InvalidInput, match="no negative eigenvalue"):
        second_order_prediction(stable, mu, shift)


def test_dissipation_is_the_slope_of_the_loss() -> None:
    landscape, mu = helpers.attention(), helpers.cloud(weighted=True)
    velocity = landscape.velocity(mu)

    def loss(step: jax.Array) -> jax.Array:
        return landscape.value(displaced(mu, jax.tree.map(lambda v: step * v, velocity)))

    assert -float(jax.grad(loss)(0.0)) == pytest.approx(dissipation(landscape, mu), rel=1e-10)


@pytest.mark.parametrize("power", [2, 4, 6])
def test_lojasiewicz_exponents(power: int) -> None:
    # L = x^p: |L'|² = p² L^{2(p−1)/p}, so θ = 1 − 1/p.
    x = np.linspace(0.05, 1, 50)
    fit = fit_lojasiewicz(3.0 + x**power, (power * x ** (power - 1)) ** 2, 3.0)
    assert fit.exponent == pytest.approx(1 - 1 / power, abs=1e-6)
    assert fit.constant == pytest.approx(power, rel=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_growth(np.arange(4.0), np.ones(4)), "at least 5"),
        (lambda: fit_growth(np.zeros(9), np.ones(9)), "increase strictly"),
        (lambda: fit_growth(np.arange(9.0), np.full(9, np.nan)), "finite"),
        (lambda: escape_time(np.arange(3.0), np.ones(2)), "equal-length"),
        (lambda: escape_time(np.arange(3.0), np.ones(3), fraction=2.0), "fraction is 2"),
        (lambda: escape_scaling(np.zeros(3), np.ones(3)), "must be positive"),
        (lambda: escape_scaling(np.ones(3), np.ones(3)), "run longer"),
        (lambda: escape_scaling(np.ones(3), np.ones(2)), "one per run"),
        (lambda: fit_lojasiewicz(np.ones(5), np.ones(5), 2.0), "check the limit"),
        (lambda: fit_lojasiewicz(np.ones(5), np.ones(4), 0.0), "one of each"),
    ],
)
def test_bad_records_are_refused(call, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        call()
