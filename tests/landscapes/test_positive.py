"""Positive weights: logistic growth, replicators, and spikes recovered from their moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscapes import (
    Constrained,
    ConstrainedPairs,
    Interaction,
    Landscape,
    Positive,
    Sphere,
    TokenLandscape,
)
from landscapes.moments import FourierLandscape, Spike, SpikeLandscape
from meanfield import AcceleratedFlow, GradientFlow, simulate
from meanfield.problems import Spikes
from particles import Ensemble, InvalidInput, particle_mesh, placed
from particles.internal import to_device
from saddle_analysis import HessianOperator

CHART = Positive("weight")


def stored(weights, positions, shares=None) -> Ensemble:
    spikes = Spike(to_device(weights, float), to_device(positions, float))
    return Ensemble(CHART.stored(spikes), shares)


def spikes(*given, **options) -> Constrained:
    return Constrained(SpikeLandscape(*given, **options), CHART)


def test_one_spike_grows_logistically() -> None:
    """dw/dt = −w(K(w − w0) + λ), K = 1 + 2·orders, where the spike sits in its place."""
    orders, mass, penalty, dt, end = 2, 0.8, 0.3, 0.01, 1.0
    landscape = spikes([1.3], [mass], orders=orders, penalty=penalty)
    start = stored([0.05], [1.3])
    run = simulate(GradientFlow(landscape, scheme="tsit5"), start, horizon=end, dt=dt)
    kernel = 1 + 2 * orders
    final = mass - penalty / kernel
    exact = final / (1 + (final / 0.05 - 1) * np.exp(-kernel * final * end))
    found = landscape.points(run.ensemble).particles
    assert 0.3 < exact / final < 0.9
    assert float(found.weight[0]) == pytest.approx(exact, rel=1e-9)
    assert float(found.position[0]) == pytest.approx(1.3, abs=1e-14)


class Cost(Landscape):
    costs: jax.Array

    def features(self, particle):
        return self.costs @ particle

    def risk(self, moments, fast=None):
        return moments


def test_weights_on_a_sphere_are_replicators() -> None:
    """Σw = 1 is ‖r‖ = 2; dw_i/dt = −w_i(c_i − Σ w c), so that w_i ∝ w_i(0) exp(−c_i t)."""
    costs, first = np.array([1.0, 0.0, -0.5]), np.array([0.5, 0.3, 0.2])
    flat = Constrained(Cost(to_device(costs)), Positive())
    landscape = Constrained(flat, Sphere(2.0))
    start = Ensemble(Positive().stored(to_device(first[None])))
    run = simulate(GradientFlow(landscape, scheme="tsit5"), start, horizon=2.0, dt=0.02)
    exact = first * np.exp(-2.0 * costs)
    found = np.asarray(flat.points(run.ensemble).particles)[0]
    np.testing.assert_allclose(found, exact / exact.sum(), rtol=1e-8)


def test_derivatives_are_those_of_the_weights() -> None:
    """The Hessian against one by hand: the velocity by chain rule, then differences of it."""
    landscape = spikes([0.5, 2.0], [1.0, 0.4], orders=3, penalty=0.2)
    shares = to_device([1.0, 2.0, 3.0])
    mu = stored([0.3, 1.1, 0.7], [0.2, 1.4, 2.9], shares)
    weights = landscape.points(mu)
    bare = jax.tree.map(np.asarray, landscape.inner.velocity(weights))
    velocity = jax.tree.map(np.asarray, landscape.velocity(mu))
    half = np.asarray(mu.particles.weight) / 2
    np.testing.assert_allclose(velocity.weight, half * bare.weight, rtol=1e-12)
    np.testing.assert_allclose(velocity.position, bare.position, rtol=1e-12)
    rate = half * velocity.weight  # dw/dt = −w ∂E/∂w
    np.testing.assert_allclose(rate, np.asarray(weights.particles.weight) * bare.weight, rtol=1e-12)

    field = Spike(to_device([0.3, -1.0, 0.5]), to_device([0.7, 0.2, -0.4]))
    step = 1e-5

    def moved(sign: float) -> Spike:
        shift = lambda x, u: to_device(np.asarray(x) + sign * step * np.asarray(u))  # noqa: E731
        return landscape.velocity(mu.with_particles(jax.tree.map(shift, mu.particles, field)))

    bent = jax.tree.map(
        lambda a, b: to_device(-(np.asarray(a) - np.asarray(b)) / (2 * step)),
        moved(1.0),
        moved(-1.0),
    )
    operator = HessianOperator(landscape, mu)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7), operator.apply(field), bent
    )
    dense = np.asarray(operator.dense())
    np.testing.assert_allclose(
        dense @ np.asarray(mu.to_vector(field)), mu.to_vector(bent), rtol=1e-6, atol=1e-9
    )


def test_two_opposite_spikes_are_recovered() -> None:
    """λ takes λ/(K(0) + K(π)) of each mass; K' is 0 at both, so that the places are exact."""
    masses, orders, penalty = np.array([1.0, 0.6]), 2, 0.3
    landscape = spikes([0.4, 0.4 + np.pi], masses, orders=orders, penalty=penalty)
    size = 24
    start = stored(np.full(size, 1.0), 2 * np.pi * np.arange(size) / size)
    flow = GradientFlow(landscape, scheme="adaptive")
    end = simulate(flow, start, horizon=300.0, dt=0.05).ensemble
    found = landscape.points(end)
    weight, position = map(np.asarray, found.particles)
    assert weight.min() >= 0
    mass = np.asarray(found.probabilities) * weight
    near = np.cos(position - 0.4)
    kernel = lambda x: 1 + 2 * sum(np.cos(k * x) for k in range(1, orders + 1))  # noqa: E731
    bias = penalty / (kernel(0) + kernel(np.pi))
    off = np.sin(position - 0.4)
    for side, wanted in zip((near > 0, near < 0), masses - bias, strict=True):
        total = float(mass[side].sum())
        assert total == pytest.approx(wanted, abs=1e-7)
        assert abs(float((mass * off)[side].sum())) < 1e-6 * total
        assert float((mass * off**2)[side].sum()) < 1e-10 * total


def test_spikes_at_equal_distances_are_the_minimum() -> None:
    """Each loses the same; the first variation is zero there and positive elsewhere."""
    masses, orders, penalty = (1.0, 0.6, 0.3), 4, 0.3
    problem = Spikes(masses, orders, penalty).build(jax.random.key(0))
    landscape, lost = problem.landscape, penalty / 9
    assert isinstance(landscape, Constrained)
    places = 2 * np.pi * np.arange(3) / 3
    mu = stored(3 * (np.array(masses) - lost), places)
    assert float(landscape.value(mu)) == pytest.approx(problem.levels["spikes"], rel=1e-12)
    nothing = mu.with_particles(
        jax.tree.map(lambda leaf: to_device(np.zeros(leaf.shape)), mu.particles)
    )
    assert float(landscape.value(nothing)) == pytest.approx(problem.levels["nothing"])
    still = landscape.velocity(mu)
    np.testing.assert_allclose(still.weight, 0, atol=1e-12)
    np.testing.assert_allclose(still.position, 0, atol=1e-12)
    grid = 2 * np.pi * np.arange(30) / 30
    variation = landscape.inner.first_variation(landscape.points(mu))
    slopes = np.array([float(variation(Spike(to_device(1.0), to_device(x)))) for x in grid])
    at = np.isin(np.arange(30), (0, 10, 20))
    np.testing.assert_allclose(slopes[at], 0, atol=1e-12)
    assert slopes[~at].min() > 1e-3
    start = problem.start(jax.random.key(1), 5)
    np.testing.assert_allclose(landscape.points(start).particles.weight, 1)


def test_pairs_and_devices_agree() -> None:
    """½(w·w' cos(x − x')) as pairs and as features; eight devices as one."""
    pairs = ConstrainedPairs(
        Interaction(
            lambda a, b: a.weight * b.weight * (1 + 2 * jnp.cos(a.position - b.position)),
            lambda a: 0.2 * a.weight,
        ),
        CHART,
    )
    features = spikes([0.0], [0.0], orders=1, penalty=0.2)
    mu = stored(np.linspace(0.2, 1.0, 8), np.arange(8.0))
    alone = features.velocity(mu)
    for landscape in (pairs, features):
        velocity = landscape.velocity(placed(mu, particle_mesh(8)))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12),
            velocity,
            alone,
        )


def test_momenta_pass_through_zero() -> None:
    """Both signs of r stand for one weight, so that w = 0 is no wall."""
    landscape = spikes([0.0], [0.5], orders=1)
    flow = AcceleratedFlow(landscape, damping=1.0)
    end = simulate(flow, stored([4.0], [0.0]), horizon=20.0, dt=0.02).ensemble
    assert np.asarray(end.particles.weight)[0] < 0
    assert float(landscape.points(end).particles.weight[0]) == pytest.approx(0.5, abs=1e-3)


def test_refusals() -> None:
    with pytest.raises(InvalidInput, match=r"weight is -1\.0 somewhere; all must be positive"):
        stored([1.0, -1.0], [0.0, 0.0])
    with pytest.raises(InvalidInput, match="'mass', which is no leaf"):
        Constrained(SpikeLandscape([0.0], [1.0]), Positive("mass"))
    with pytest.raises(InvalidInput, match="'weight', which is no leaf"):
        Constrained(Cost(to_device(np.ones(2))), CHART).require_fit(
            Ensemble(to_device(np.ones((1, 2))))
        )
    with pytest.raises(InvalidInput, match="put the manifold around the chart"):
        ConstrainedPairs(TokenLandscape(2, 1.0), Positive())
    with pytest.raises(InvalidInput, match="one mass for each"):
        SpikeLandscape([0.0], [1.0, 2.0])
    with pytest.raises(InvalidInput, match="orders is 0"):
        SpikeLandscape([0.0], [1.0], orders=0)
    with pytest.raises(InvalidInput, match="penalty is -1"):
        spikes([0.0], [1.0]).replace(penalty=-1.0)
    with pytest.raises(InvalidInput, match="2 spikes and orders is 1"):
        Spikes(orders=1).build(jax.random.key(0))
    with pytest.raises(InvalidInput, match=r"takes 1 from every mass, .* 0\.5; take one below 3"):
        Spikes((1.0, 0.5), 2, 6.0).build(jax.random.key(0))
    (concern,) = spikes([0.0], [1.0]).concerns(
        Ensemble(Spike(to_device([1.0, 0.0]), to_device([1.0, 1.0])))
    )
    assert "1 weights of zero" in str(concern)
    assert Constrained(FourierLandscape(), Positive()).manifold is None
