"""Sensitivity to samples, parameters and timescales: dense versions and sampling theory."""

import functools

import equinox as eqx
import helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from saddle_analysis_spectra import root_weights

from landscapes import (
    Landscape,
    MLPAttentionLandscape,
    Neuron,
    RegressionLandscape,
    bootstrap,
    fresh_samples,
    interpolate,
    loss_lines,
)
from particles import Ensemble, InvalidInput, optimal_coupling
from particles.internal import to_device
from saddle_analysis import HessianOperator
from saddle_analysis.sensitivity import (
    held_out_curvature,
    measure,
    parameter_sensitivity,
    sample_sensitivity,
    timescale_sensitivity,
    timescale_threshold,
)

KEY = jax.random.key(0)


def fields(count: int, seed: int = 7, size: int = helpers.SIZE) -> list[Neuron]:
    return [helpers.cloud(seed + j, size).particles for j in range(count)]


def every_direction(mu: Ensemble) -> list[Neuron]:
    flat, unravel = ravel_pytree(mu.particles)
    return [unravel(row) for row in np.eye(flat.size)]


def test_ritz_values_bound_the_dense_spectrum() -> None:
    landscape, mu = helpers.attention(), helpers.cloud(weighted=True)
    operator = HessianOperator(landscape, mu)
    dense, vectors = np.linalg.eigh(np.asarray(operator.dense()))
    seen = measure(landscape, mu, fields(3))
    assert np.all(seen.curvatures >= dense[:3] - 1e-9)  # Cauchy interlacing
    lowest = [operator.to_field(to_device(column)) for column in vectors.T[:3]]
    added = jax.tree.map(lambda a, b: to_device(np.asarray(a) + np.asarray(b)), *lowest[1:])
    exact = measure(landscape, mu, [lowest[0], added, lowest[2]])
    helpers.close(exact.curvatures, dense[:3], scale=10)
    assert exact.value == pytest.approx(float(landscape.value(mu)))
    assert exact.gradient_norm == pytest.approx(float(mu.norm(landscape.velocity(mu))))


def test_curvature_of_slices_and_paths_is_the_wasserstein_hessian() -> None:
    landscape, mu, nu = helpers.attention(), helpers.cloud(), helpers.cloud(4)
    (field,) = fields(1)
    norm = float(mu.norm(field))
    unit = jax.tree.map(lambda leaf: to_device(np.asarray(leaf) / norm), field)
    lines = loss_lines(landscape, mu, {"u": field}, points=5)
    bent = mu.inner(unit, HessianOperator(landscape, mu).apply(unit))
    helpers.close(lines.curvature.values[0], bent, scale=10)
    helpers.close(lines.slope.values[0], -float(mu.inner(unit, landscape.velocity(mu))), scale=10)
    paths = interpolate(landscape, mu, nu, kinds=["displacement"], points=5)
    plan = optimal_coupling(mu, nu)
    start = jax.tree.map(np.asarray, mu.particles)
    end = jax.tree.map(lambda leaf: np.asarray(leaf)[np.asarray(plan.target)], nu.particles)
    middle = Ensemble(jax.tree.map(lambda a, b: to_device((a + b) / 2), start, end))
    velocity = jax.tree.map(lambda a, b: to_device(b - a), start, end)
    predicted = middle.inner(velocity, HessianOperator(landscape, middle).apply(velocity))
    helpers.close(paths.curvature.values[0, 2], predicted, scale=10)


def test_the_joint_flow_grows_at_the_rates_of_its_dense_jacobian() -> None:
    landscape, mu = helpers.attention(context_length=5), helpers.cloud(size=2)
    fast = eqx.filter_jit(lambda one: one.solve_fast(one.moments(mu)))(landscape)
    flat, unravel = ravel_pytree((mu.particles, fast))
    inside, p = flat.size - fast.size, mu.probabilities

    @jax.jit
    def velocity(z: jax.Array, ratio: float) -> jax.Array:
        """θ' = −N ∇F, W' = −∇F/ε by brute force."""
        energy = lambda z: helpers.dense_loss(landscape, unravel(z)[0], p, unravel(z)[1])  # noqa: E731
        slope = jax.grad(energy)(z)
        return -jnp.concatenate([mu.size * slope[:inside], slope[inside:] / ratio])

    jacobian = jax.jit(jax.jacfwd(velocity))
    ratios = [0.01, 1.0, 30.0]
    seen = timescale_sensitivity(landscape, mu, every_direction(mu), ratios, threshold=1e-9)
    for ratio, curvature, index in zip(
        ratios, seen.curvature.values, seen["index"].values, strict=True
    ):
        rates = np.linalg.eigvals(np.asarray(jacobian(flat, ratio)))
        assert np.abs(rates.imag).max() < 1e-6 * np.abs(rates.real).max()
        assert -curvature == pytest.approx(rates.real.max(), rel=1e-6)
        assert index == np.sum(rates.real > 1e-9)
    reduced = np.linalg.eigvalsh(np.asarray(HessianOperator(landscape, mu).dense()))
    assert float(seen.limit) == pytest.approx(reduced[0], rel=1e-6)
    frozen = np.linalg.eigvalsh(np.asarray(HessianOperator(landscape, mu, fast).dense()))
    assert float(seen.frozen) == pytest.approx(frozen[0], rel=1e-6)
    tight = timescale_sensitivity(landscape, mu, every_direction(mu), [1e-11])
    assert float(tight.curvature[0]) == pytest.approx(reduced[0], rel=1e-3)


def slow_manifold() -> tuple[MLPAttentionLandscape, Ensemble]:
    """What the thresholds are asked of: one program for all."""
    return helpers.attention(ridge=0.1, context_length=5), helpers.cloud(weighted=True)


def test_threshold_equals_its_dense_formula() -> None:
    """u = JᵀJv, and the second order of the slow manifold from its two terms, with J whole."""
    landscape, mu = slow_manifold()
    flat, unravel = ravel_pytree(mu.particles)
    moments = lambda p: landscape.moments(Ensemble(unravel(p), mu.weights))  # noqa: E731
    equilibrium = lambda p: landscape.solve_fast(moments(p))  # noqa: E731
    velocity = lambda p: ravel_pytree(  # noqa: E731
        landscape.velocity(Ensemble(unravel(p), mu.weights))
    )[0]
    size = landscape.f.shape[1] ** 2

    def inner(p: jax.Array) -> jax.Array:
        hessian = jax.hessian(lambda w: landscape.risk(moments(p), w))(equilibrium(p))
        return hessian.reshape(size, size)

    def jacobian(p: jax.Array) -> jax.Array:
        return jax.jacrev(equilibrium)(p).reshape(size, -1)

    lag = lambda p: jnp.linalg.solve(inner(p), jacobian(p) @ velocity(p))  # noqa: E731

    @jax.jit
    def parts(p: jax.Array) -> tuple[jax.Array, ...]:
        v = velocity(p)
        return jacobian(p), v, inner(p), jax.jvp(lag, (p,), (v,))[1]

    weights = root_weights(mu) ** 2
    j, v, curvature, lag_moves = map(np.asarray, parts(flat))
    adjoint = lambda e: (j.T @ e) / weights  # noqa: E731
    norm = lambda field: float(np.sqrt(np.sum(weights * field**2)))  # noqa: E731
    first = adjoint(j @ v)
    second = norm(adjoint(lag_moves)) + norm(adjoint(j @ first))
    slowest = float(np.linalg.eigvalsh(curvature)[0])
    found = timescale_threshold(landscape, mu, tolerance=0.1)
    assert found.fast_rate == pytest.approx(slowest, rel=1e-6)
    assert found.reduced_rate == pytest.approx(slowest * second / norm(first), rel=1e-6)
    assert found.ratio == pytest.approx(0.05 * norm(first) / second, rel=1e-6)


def linear_targets(x: jax.Array) -> jax.Array:
    return 0.3 * x[:, :2] + jnp.tanh(x[:, 1:3])


@pytest.fixture(scope="module")
def drawn() -> RegressionLandscape:
    x = np.random.default_rng(0).normal(size=(256, 3))
    return RegressionLandscape(to_device(x), jax.jit(linear_targets)(to_device(x)))


def test_spread_over_draws_is_that_of_a_mean(drawn: RegressionLandscape) -> None:
    """L is a mean over samples: its variance is that of one sample's loss over M."""
    mu, size, replicates = helpers.cloud(), 256, 60
    plain = fresh_samples(drawn, linear_targets)
    quasi = fresh_samples(drawn, linear_targets, method="quasi")
    ways = {"bootstrap": bootstrap(drawn), "plain": plain, "quasi": quasi}
    seen = sample_sensitivity(KEY, mu, fields(1), ways, [size], replicates=replicates)
    losses = 0.5 * np.sum((np.asarray(drawn.f) - np.asarray(drawn.moments(mu))) ** 2, axis=1)
    values = seen.value.values[:, 0]
    theory = losses.std() / size**0.5
    # The standard deviation of n normal draws has a relative error of (2(n − 1))^(−1/2).
    error = 1 / np.sqrt(2 * (replicates - 1))
    for way in range(2):
        assert values[way].std(ddof=1) / theory == pytest.approx(1.0, abs=4 * error)
    assert values[2].std(ddof=1) < 0.5 * values[1].std(ddof=1)
    assert abs(values[0].mean() - losses.mean()) < 4 * theory / replicates**0.5
    assert np.all(np.diff(seen.gradient_norm.values[0, 0]) != 0)


def test_labels_of_particles_do_not_matter(drawn: RegressionLandscape, precision: str) -> None:
    mu, (field,) = helpers.cloud(), fields(1)
    turn = functools.partial(jax.tree.map, lambda leaf: to_device(np.asarray(leaf)[::-1]))
    landscape = helpers.regression()
    one = measure(landscape, mu, [field])
    other = measure(landscape, Ensemble(turn(mu.particles)), [turn(field)])
    tolerance = 1e-4 if precision == "float32" else 1e-11
    assert one.curvatures == pytest.approx(other.curvatures, rel=tolerance)
    assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=tolerance)


def test_parameters_are_those_of_the_landscapes() -> None:
    mu = helpers.cloud()
    ridges = {r: helpers.attention(ridge=r) for r in (0.0, 0.1, 1.0)}
    seen = parameter_sensitivity(mu, fields(2), ridges, name="ridge")
    for ridge, value in zip(ridges, seen.value.values, strict=True):
        helpers.close(value, helpers.dense_loss(ridges[ridge], mu.particles, mu.probabilities))
    assert list(seen.ridge.values) == list(ridges)
    assert np.all(np.diff(seen.value.values) > 0)  # a ridge only costs


def test_halves_judge_each_other() -> None:
    landscape, mu = helpers.regression(), helpers.cloud()
    halves = held_out_curvature(KEY, landscape, mu)
    rows = np.asarray(jax.random.permutation(KEY, helpers.SAMPLES)).reshape(2, -1)
    half = [
        RegressionLandscape(
            *(to_device(np.asarray(part)[own]) for part in (landscape.x, landscape.f))
        )
        for own in rows
    ]
    dense = [np.asarray(HessianOperator(one, mu).dense()) for one in half]
    lowest = [np.linalg.eigh(matrix) for matrix in dense]
    helpers.close(halves.found, [values[0] for values, _ in lowest], scale=1e3)
    vectors = [v[:, 0] for _, v in lowest]
    expected = [vectors[0] @ dense[1] @ vectors[0], vectors[1] @ dense[0] @ vectors[1]]
    np.testing.assert_allclose(halves.held_out, expected, rtol=1e-5)
    assert halves.overlap == pytest.approx(abs(vectors[0] @ vectors[1]), rel=1e-5)
    # A smallest eigenvalue lies below every curvature on its own samples, never above.
    assert halves.found[1] <= halves.held_out[0]
    assert halves.found[0] <= halves.held_out[1]


class NoSamples(Landscape):
    def features(self, particle):
        return particle

    def risk(self, moments, fast=None):
        return jnp.sum(jax.tree.leaves(moments)[0] ** 2)


def test_bad_input_is_refused(drawn: RegressionLandscape) -> None:
    mu = helpers.cloud()
    with pytest.raises(InvalidInput, match="fields is empty"):
        measure(drawn, mu, [])
    with pytest.raises(InvalidInput, match="replicates is 1"):
        sample_sensitivity(KEY, mu, fields(1), {"b": bootstrap(drawn)}, [8], replicates=1)
    with pytest.raises(InvalidInput, match="landscapes is empty"):
        parameter_sensitivity(mu, fields(1), {})
    with pytest.raises(InvalidInput, match="no fast variables"):
        timescale_sensitivity(drawn, mu, fields(1), [1.0])
    with pytest.raises(InvalidInput, match="ratios is"):
        timescale_sensitivity(helpers.attention(), mu, fields(1), [0.0])
    with pytest.raises(InvalidInput, match="no fast variables"):
        timescale_threshold(drawn, mu)
    with pytest.raises(InvalidInput, match="tolerance is 0"):
        timescale_threshold(helpers.attention(), mu, tolerance=0)
    landscape, weighted = slow_manifold()
    unread = eqx.tree_at(lambda e: e.particles.a, weighted, jnp.ones_like(mu.particles.a))
    with pytest.raises(InvalidInput, match="no ratio is small enough"):
        timescale_threshold(landscape, unread)
    with pytest.raises(InvalidInput, match="powers of two"):
        fresh_samples(drawn, linear_targets, method="quasi")(KEY, 10)
    with pytest.raises(InvalidInput, match="distribution is"):
        fresh_samples(drawn, linear_targets, distribution=jax.random.normal, method="quasi")
    with pytest.raises(InvalidInput, match="no samples to split"):
        held_out_curvature(KEY, NoSamples(), mu)
    with pytest.raises(InvalidInput, match="`minibatch`"):
        bootstrap(NoSamples())(KEY, 4)
    other = eqx.tree_at(lambda e: e.particles, mu, Neuron(jnp.ones((7, 1)), jnp.ones((7, 3))))
    with pytest.raises(InvalidInput, match="holds particles of shapes"):
        measure(drawn, other, fields(1))
