"""Stochastic gradient descent: the very steps, and the way to the flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flow_cases import Springs, end
from helpers import attention, cloud, regression

from meanfield import GradientFlow, descent_study, simulate
from meanfield.studies import gradient_noise
from particles import Ensemble, InvalidInput

KEY = jax.random.key(4)


def test_steps_are_those_of_plain_sgd() -> None:
    """θ ← θ − N·lr·∇(batch loss), with the batch's rows written out and differentiated."""
    landscape, mu, rate = regression(), cloud(size=6), 0.1
    flow = GradientFlow(landscape, scheme="euler", batch_size=5)
    run = end(flow, mu, 3 * rate, rate, key=KEY)
    particles = mu.particles
    for step in range(3):
        key = jax.random.fold_in(jax.random.fold_in(KEY, step), 0)
        rows = jax.random.randint(key, (5,), 0, landscape.x.shape[0])

        def loss(neurons, rows=rows):
            h = jnp.tanh(landscape.x[rows] @ neurons.w.T) @ neurons.a / 6
            return 0.5 * jnp.mean(jnp.sum((landscape.f[rows] - h) ** 2, axis=1))

        slope = jax.grad(loss)(particles)
        particles = jax.tree.map(lambda p, g: p - 6 * rate * g, particles, slope)
    np.testing.assert_allclose(run.ensemble.particles.w, particles.w, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(run.ensemble.particles.a, particles.a, rtol=1e-10, atol=1e-13)


def test_records_are_of_the_full_landscape() -> None:
    landscape, mu = attention(ridge=0.1), cloud()
    flow = GradientFlow(landscape, scheme="euler", batch_size=3)
    run = simulate(flow, mu, horizon=0.2, dt=0.1, key=KEY)
    last = run.trajectory.isel(time=-1)
    assert float(last["loss"]) == pytest.approx(float(landscape.value(run.ensemble)), rel=1e-12)


def test_sgd_approaches_the_flow_as_batches_grow_and_steps_shrink() -> None:
    study = descent_study(
        regression(),
        cloud(),
        key=KEY,
        horizon=0.4,
        steps=[0.1, 0.05, 0.025, 0.0125],
        batches=[4, 16, 64, 256],
        seeds=24,
    )
    for fit, order in ((study.in_batch, -0.5), (study.in_step, 0.5)):
        assert abs(fit.exponent - order) < 4 * fit.error + 0.02
        assert fit.error < 0.1
    assert study.data["error"].dims == ("step", "batch", "seed")


def test_gradient_noise_falls_as_one_over_the_batch() -> None:
    landscape, mu = regression(), cloud()
    (few, few_error), (many, many_error) = (
        gradient_noise(landscape, mu, size, key=KEY, draws=400) for size in (2, 32)
    )
    ratio = float(few / many)
    spread = ratio * np.hypot(few_error / few, many_error / many)
    assert abs(ratio - 16) < 4 * spread
    # One row at a time, all rows: the variance by enumeration.
    exact = landscape.velocity(mu)
    squares = []
    for row in range(landscape.x.shape[0]):
        one = type(landscape)(landscape.x[row : row + 1], landscape.f[row : row + 1])
        gap = jax.tree.map(jnp.subtract, one.velocity(mu), exact)
        squares.append(float(mu.inner(gap, gap)))
    assert abs(float(few) - np.mean(squares) / 2) < 4 * float(few_error)


def test_refusals() -> None:
    with pytest.raises(InvalidInput, match="seeds is 1"):
        descent_study(regression(), cloud(), key=KEY, horizon=1, steps=[1], batches=[1], seeds=1)
    never_drawn = GradientFlow(Springs(), scheme="euler", batch_size=2)
    with pytest.raises(InvalidInput, match="has no `minibatch`"):
        end(never_drawn, Ensemble(jnp.ones((3, 2))), 1.0, 0.1, key=KEY)
