"""Every reported bound is finite, ordered, inside its range, and holds the truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from saddle_analysis_spectra import rotated

from saddle_analysis import (
    Budget,
    extreme_eigenpairs,
    fit_growth,
    morse_index,
    spectral_density,
)
from saddle_analysis.curves import fit_power_law
from saddle_analysis.spectra import MatrixOperator

SIZE = 30  # one shape to compile
SPARSE = Budget(dense_below=0)
SPECTRA = st.one_of(
    st.lists(st.floats(-1e3, 1e3), min_size=SIZE, max_size=SIZE),
    st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0]), min_size=SIZE, max_size=SIZE),
    st.lists(st.floats(-1e-9, 1e-9), min_size=SIZE, max_size=SIZE),
)


def check_density(density, points: np.ndarray) -> None:
    estimate, lower, upper, deviation = density.fraction_below(points)
    for part in (estimate, lower, upper, deviation):
        assert np.isfinite(part).all()
    assert np.all((lower >= 0) & (lower <= estimate) & (estimate <= upper) & (upper <= 1))
    assert np.all(deviation >= 0)
    for point in points:
        count, low, high = density.count_below(float(point))
        assert 0 <= low <= count <= high <= density.size


@settings(max_examples=25, deadline=None)
@given(values=SPECTRA, seed=st.integers(0, 2**31), steps=st.integers(1, 12))
def test_density_bounds_of_any_spectrum(values: list[float], seed: int, steps: int) -> None:
    operator = rotated(np.array(values), seed)
    density = spectral_density(operator, probes=2, steps=steps, key=jax.random.key(seed))
    scale = max(1e-12, np.max(np.abs(values)))
    points = [-2 * scale, 2 * scale, 0.0, *density.support, *density.nodes[0], *values[:4]]
    check_density(density, np.array(points))


@pytest.mark.parametrize("seed", [*range(12), 100, 1000])
def test_density_bounds_where_weights_sum_to_more_than_one(seed: int) -> None:
    """Rounding once made 300.00000000000006 of 300 eigenvalues, between 0 and 300."""
    values = jax.random.normal(jax.random.key(0), (300,))
    density = spectral_density(MatrixOperator(values), probes=4, steps=40, key=jax.random.key(seed))
    points = np.array([-10.0, 10.0, 0.0, *density.support])
    check_density(density, points)
    assert density.count_below(10.0)[2] == 300


@settings(max_examples=25, deadline=None)
@given(values=SPECTRA, seed=st.integers(0, 2**31))
def test_eigenvalue_bounds_and_morse_indices_of_any_spectrum(
    values: list[float], seed: int
) -> None:
    exact, key = np.sort(values), jax.random.key(seed)
    operator = rotated(np.array(values), seed)
    pairs = extreme_eigenpairs(operator, 2, which="both", budget=SPARSE, key=key)
    assert np.isfinite(pairs.bounds).all()
    assert np.all((pairs.bounds >= 0) & (pairs.residuals >= 0))
    # The matrix was itself rounded when it was formed.
    slack = 100 * np.finfo(float).eps * np.max(np.abs(values), initial=0.0)
    distance = np.min(np.abs(pairs.values[:, None] - exact), axis=1)
    assert np.all(distance <= pairs.bounds + slack)
    assert np.all(distance <= pairs.residuals + slack)
    threshold = max(1e-12, 1e-2 * float(np.max(np.abs(values))))
    found = morse_index(operator, threshold=threshold, budget=SPARSE, key=key)
    assert 0 <= found.failure <= 1
    assert found.index <= np.sum(exact < -threshold + slack)
    assert np.all(found.pairs.values < -threshold)
    assert np.isfinite(found.pairs.bounds).all()


@settings(max_examples=30, deadline=None)
@given(
    rate=st.floats(1e-3, 1e3),
    noise=st.sampled_from([0.0, 1e-3, 1e-2, 0.3]),
    count=st.integers(5, 60),
    seed=st.integers(0, 1000),
    confidence=st.floats(0.5, 0.999),
)
def test_growth_and_power_law_intervals(
    rate: float, noise: float, count: int, seed: int, confidence: float
) -> None:
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 6 / rate, count)
    v = 1e-6 * np.exp(rate * t + noise * rng.normal(size=count))
    fit = fit_growth(t, v, confidence=confidence)
    low, high = fit.interval
    assert np.isfinite([low, fit.rate, high, fit.factor, fit.residual]).all()
    assert low <= fit.rate <= high
    assert t[0] <= fit.window[0] <= fit.window[1] <= t[-1]
    law = fit_power_law(1 + t * rate, v, confidence=confidence)
    assert np.isfinite([law.low, law.exponent, law.high, law.error]).all()
    assert law.low <= law.exponent <= law.high
    assert law.contains(law.exponent)


@pytest.mark.parametrize("which", ["smallest", "largest"])
def test_scipy_agrees_where_it_converges(which) -> None:
    values = np.concatenate([[-3.0, -2.5, -1.0], np.linspace(0.1, 2, 240), [3.0, 4.5, 7.0]])
    operator = rotated(values)
    pairs = extreme_eigenpairs(operator, 3, which=which)
    linear = scipy.sparse.linalg.aslinearoperator(np.asarray(operator.matrix))
    end = {"smallest": "SA", "largest": "LA"}[which]
    other = scipy.sparse.linalg.eigsh(linear, 3, which=end, return_eigenvectors=False)
    np.testing.assert_allclose(pairs.values, np.sort(other), atol=1e-7)


@pytest.mark.optimized  # whether scipy converges is a matter of rounding
def test_a_spectrum_full_of_zeros_where_scipy_does_not_converge() -> None:
    operator = rotated(np.concatenate([np.zeros(400), np.linspace(0.1, 1, 200)]))
    pairs = extreme_eigenpairs(operator)
    np.testing.assert_allclose(pairs.values, [0.0], atol=1e-8)
    assert pairs.converged
    products = 0

    def product(vector: np.ndarray) -> np.ndarray:
        nonlocal products
        products += 1
        return np.asarray(operator.matvec(jnp.asarray(vector.reshape(-1))))

    linear = scipy.sparse.linalg.LinearOperator((600, 600), matvec=product, dtype=float)
    start = np.random.default_rng(0).normal(size=600)
    with pytest.raises(scipy.sparse.linalg.ArpackNoConvergence):
        scipy.sparse.linalg.eigsh(linear, 1, which="SA", v0=start, tol=1e-8, maxiter=60)
    assert products > 10 * pairs.products
