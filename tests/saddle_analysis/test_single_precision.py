"""What float32 resolves of curvature, index and escape, relative to ‖H‖; the rest is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddle_analysis_spectra import EIGENVALUES, realisable

from landscapes import MLPAttentionLandscape, Neuron, RegressionLandscape
from landscapes.mlp_attention import saddle_ensemble, saddle_index
from particles import Ensemble, InvalidInput
from saddle_analysis import (
    Budget,
    HessianOperator,
    along,
    criticality_report,
    displaced,
    extreme_eigenpairs,
    fit_growth,
    morse_index,
    smallest_eigenpair,
    unstable_eigenpairs,
)
from saddle_analysis.spectra import resolved_residual, resolved_threshold

SINGLE = np.dtype("float32")
EPS = float(np.finfo(SINGLE).eps)
SPARSE = Budget(dense_below=0)


def single(tree):
    """The same numbers, rounded to float32."""
    return jax.tree.map(
        lambda x: x.astype(SINGLE) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )


def both(name: str, seed: int) -> tuple[HessianOperator, HessianOperator]:
    """One Hessian in float64, and the same in float32."""
    keys = jax.random.split(jax.random.key(seed), 3)
    x = jax.random.normal(keys[0], (128, 5))
    f = jnp.tanh(x[:, :3])
    landscape = {
        "network": RegressionLandscape(x, f, "tanh"),
        "attention": MLPAttentionLandscape(x, f, ridge=0.02),
    }[name]
    a, w = (jax.random.normal(key, (30, n)) for key, n in zip(keys[1:], (3, 5), strict=True))
    mu = Ensemble(Neuron(a, w))
    return HessianOperator(landscape, mu), HessianOperator(single(landscape), single(mu))


@pytest.mark.optimized  # rounding, as users have it
@pytest.mark.parametrize("name", ["network", "attention"])
def test_eigenvalues_lie_within_their_bounds(name: str) -> None:
    double, operator = both(name, 0)
    assert operator.dtype == SINGLE
    exact = np.linalg.eigvalsh(np.asarray(double.dense()))
    norm = np.max(np.abs(exact))
    for budget in (SPARSE, Budget(dense_below=1000)):
        pairs = extreme_eigenpairs(operator, 2, which="both", budget=budget)
        assert pairs.converged
        ends = np.concatenate([exact[:2], exact[-2:]])
        assert np.all(np.abs(pairs.values - ends) <= pairs.bounds)
        assert np.all(pairs.bounds < 1e-4 * norm)
    # The least that may be asked for is reached.
    least = extreme_eigenpairs(
        operator, tolerance=1.01 * resolved_residual(SINGLE, 1.0), budget=SPARSE
    )
    assert least.converged


@pytest.mark.parametrize("name", ["network", "attention"])
def test_indices_are_those_of_double_precision(name: str) -> None:
    double, operator = both(name, 1)
    exact = np.linalg.eigvalsh(np.asarray(double.dense()))
    norm = float(np.max(np.abs(exact)))
    for relative in (1e-1, 1e-3, 5e-5):
        for budget in (SPARSE, Budget(dense_below=1000)):
            found = morse_index(operator, threshold=relative * norm, expected=40, budget=budget)
            error = 10 * EPS * norm
            sure = np.sum(exact < -relative * norm - error)
            assert sure <= found.index <= np.sum(exact < -relative * norm + error)


@pytest.mark.parametrize("budget", [SPARSE, Budget(dense_below=1000)])
def test_what_single_precision_does_not_resolve_is_refused(budget: Budget) -> None:
    _, operator = both("network", 0)
    norm = extreme_eigenpairs(operator, which="largest", budget=budget).norm
    small = resolved_threshold(SINGLE, norm) / 4
    with pytest.raises(InvalidInput, match=r"^threshold is .*float32 resolves at .*use float64"):
        morse_index(operator, threshold=small, budget=budget)
    with pytest.raises(InvalidInput, match=r"^tolerance is .*float32 resolves"):
        smallest_eigenpair(operator, tolerance=1e-8, budget=budget)
    with pytest.raises(InvalidInput, match=r"^residual is .*float32 resolves"):
        smallest_eigenpair(operator, residual=1e-9 * norm, budget=budget)
    with pytest.raises(InvalidInput, match=r"^threshold is .*float32 resolves"):
        unstable_eigenpairs(operator, relative=1e-7, budget=budget)
    with pytest.raises(InvalidInput, match=r"^curvature_tolerance is .*float32 resolves"):
        criticality_report(
            operator.landscape,
            operator.ensemble,
            curvature_tolerance=small,
            gradient_tolerance=1e3,
        )


@pytest.mark.parametrize("missing", [(2,), (1, 2)])
def test_saddle_and_escape_in_single_precision(missing: tuple[int, ...]) -> None:
    """Index and rate at a saddle, and the growth of the smallest displacement it can hold."""
    landscape, positions = realisable()
    saddle = saddle_ensemble(jax.random.key(1), landscape, positions, missing, 36)
    rate = -float(smallest_eigenpair(HessianOperator(landscape, saddle)).values[0])
    landscape, saddle = single(landscape), single(saddle)
    report = criticality_report(landscape, saddle)
    assert report.kind == "strict saddle"
    assert report.index == saddle_index(np.array(EIGENVALUES), missing)
    assert -report.smallest.values[0] == pytest.approx(rate, abs=20 * EPS * report.largest.norm)
    field = report.smallest.fields[0]
    start = displaced(saddle, along(saddle, field, 1e-4))
    dt = 0.02 / rate

    def step(particles, _):
        """Heun's step, and the unstable component before it."""
        component = saddle.inner(field, jax.tree.map(jnp.subtract, particles, saddle.particles))
        first = landscape.velocity(saddle.with_particles(particles))
        there = jax.tree.map(lambda x, v: x + dt * v, particles, first)
        second = landscape.velocity(saddle.with_particles(there))
        moved = jax.tree.map(lambda x, u, v: x + dt * (u + v) / 2, particles, first, second)
        return single(moved), component

    _, grown = jax.lax.scan(step, start.particles, None, length=400)
    fit = fit_growth(dt * np.arange(400), np.abs(np.asarray(grown, float)))
    assert fit.kind == "exponential"
    assert fit.rate == pytest.approx(rate, rel=0.01)
    with pytest.raises(InvalidInput, match="float32 does not resolve"):
        displaced(saddle, along(saddle, field, 1e-9))
