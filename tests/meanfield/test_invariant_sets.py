"""Projected flows stay on their invariant set, and end at the saddle that theory places there."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flow_cases import Springs, end, points

from landscapes import Neuron, NoLimitWarning, neuron_start
from landscapes.mlp_attention import MLPAttentionLandscape, missing_features
from meanfield import GradientFlow, Outcome, every, simulate
from meanfield.flows import Projection
from particles import Ensemble, restrict

SPECTRUM = [1.0, 0.5, 0.2]
MASK = Neuron(a=1, w=jnp.array([1.0, 1.0, 0.0]))


def restricted_problem():
    """Feature j a function of x_j alone; samples closed under the sign flip of x_3; w_3 = 0."""
    landscape = MLPAttentionLandscape.from_teacher(
        jax.random.key(0),
        lambda x: jnp.tanh(x) * jnp.sqrt(jnp.array(SPECTRUM)),
        samples=64,
        dim=3,
        spectrum=SPECTRUM,
        symmetric=[0, 1, 2],
    )
    start = neuron_start(jax.random.key(1), landscape, 24, output_mean=2.0)
    return landscape, restrict(start, MASK)


@pytest.mark.slow
def test_the_restricted_flow_ends_at_the_lowest_saddle() -> None:
    landscape, start = restricted_problem()
    flow = GradientFlow(
        landscape, scheme="adaptive", jumps=(Projection(lambda mu: restrict(mu, MASK)),)
    )
    run = simulate(
        flow,
        start,
        horizon=1000.0,
        dt=0.05,
        record=every(10.0),
        stop=lambda seen: seen["gradient_norm"] < 1e-6,
    )
    assert np.all(np.asarray(run.ensemble.particles.w[:, 2]) == 0)
    assert float(run.trajectory.loss[-1]) == pytest.approx(0.5 * SPECTRUM[2], abs=1e-5)
    assert missing_features(landscape, run.ensemble) == (2,)


def test_projection_holds_the_set_that_round_off_leaves() -> None:
    landscape, start = restricted_problem()
    nudged = start.with_particles(start.particles._replace(w=start.particles.w.at[0, 2].set(1e-9)))
    project = functools.partial(restrict, mask=MASK)
    held = end(GradientFlow(landscape, jumps=(Projection(project),)), nudged, 5.0, 0.05)
    with pytest.warns(NoLimitWarning):  # they span two of three features
        free = end(GradientFlow(landscape), nudged, 5.0, 0.05)
    assert np.abs(free.ensemble.particles.w[:, 2]).max() > 1e-9
    assert np.all(np.asarray(held.ensemble.particles.w[:, 2]) == 0)


def test_projection_reaches_schemes_that_reuse_their_last_slope() -> None:
    """Tsit5's first slope of a step is the last of the one before: stale once projected."""

    def pin(mu: Ensemble) -> Ensemble:
        return mu.with_particles(mu.particles.at[:, 0].set(1.0))

    run = end(
        GradientFlow(Springs(), scheme="tsit5", jumps=(Projection(pin),)), points(), 0.5, 0.25
    )
    once = end(
        GradientFlow(Springs(), scheme="tsit5", jumps=(Projection(pin),)), points(), 0.25, 0.25
    )
    anew = end(
        GradientFlow(Springs(), scheme="tsit5", jumps=(Projection(pin),)), once.ensemble, 0.25, 0.25
    )
    np.testing.assert_allclose(run.ensemble.particles, anew.ensemble.particles, rtol=1e-14)


def test_a_projection_that_costs_energy_is_no_instability() -> None:
    """On the unit circle the radial part of the slope is dissipated by nobody."""

    def on_circle(mu: Ensemble) -> Ensemble:
        radius = jnp.linalg.norm(mu.particles, axis=1, keepdims=True)
        return mu.with_particles(mu.particles / radius)

    start = on_circle(points())
    run = simulate(
        GradientFlow(Springs(), jumps=(Projection(on_circle),)), start, horizon=20.0, dt=0.1
    )
    assert run.outcome is Outcome.HORIZON
    # Springs alone cannot move on the circle, the pull spreads the points to zero mean.
    np.testing.assert_allclose(run.ensemble.particles.mean(axis=0), 0, atol=1e-3)
