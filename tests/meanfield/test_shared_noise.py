"""Noise that ensembles share: blocks with their reference, coarse steps with fine ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flow_cases import Springs

from landscapes import Neuron, RegressionLandscape, neuron_start
from meanfield import GradientFlow, convergence_study
from meanfield.flows import Diffusion, Resampling, SharedNoise
from meanfield.flows._noise import normals
from particles import Ensemble, InvalidInput, gaussian

KEY = jax.random.key(5)


def langevin(pull: float, spring: float, temperature: float = 0.5) -> GradientFlow:
    landscape = Springs(pull=pull, spring=spring)
    return GradientFlow(landscape, scheme="euler", jumps=(Diffusion(temperature),))


@eqx.filter_jit
def after(flow, particles, noise, dt, horizon):
    """Ensembles of a batch at the horizon."""

    def one(particles, noise):
        state = flow.start(Ensemble(particles), dt, None, noise)
        return flow.advance(state, horizon, jnp.asarray(100)).ensemble.particles

    return jax.vmap(one)(particles, noise)


def test_blocks_see_the_noise_of_their_reference_and_fine_increments_sum_to_coarse() -> None:
    """Without interaction or drift both are exact: sums differ by rounding alone."""
    points = jax.random.normal(jax.random.key(1), (8, 2))
    noise, free = SharedNoise.of(KEY, 8), langevin(0.0, 0.0)
    whole = after(free, points[None], noise.blocks(8), jnp.array(0.125), jnp.array(1.0))
    cut = after(free, points.reshape(2, 4, 2), noise.blocks(4), jnp.array(0.125), jnp.array(1.0))
    np.testing.assert_array_equal(cut.reshape(8, 2), whole[0])
    coarse = after(free, points[None], noise.blocks(8, 2), jnp.array(0.25), jnp.array(1.0))
    np.testing.assert_allclose(coarse, whole, atol=1e-14)
    assert float(jnp.abs(whole[0] - points).max()) > 0.3
    # The increments: 8 steps, 16 numbers each, of variance 2τ dt; none is a copy of another.
    moved = np.asarray(whole[0] - points).ravel()
    assert abs(np.mean(moved**2) - 1.0) < 4 * np.sqrt(2 / 16)


def test_blocks_see_the_batches_of_their_reference() -> None:
    """A reference of two equal halves moves as each half alone, if all see the same batches."""
    x = jax.random.normal(jax.random.key(2), (16, 3))
    landscape = RegressionLandscape(x, jnp.tanh(x[:, :1]))
    half = neuron_start(jax.random.key(3), landscape, 4).particles
    both = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), half)
    noise = SharedNoise.of(KEY, 8)

    def moved(batch_size, particles, noise, copies):
        flow = GradientFlow(landscape, scheme="euler", batch_size=batch_size)
        stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * copies), particles)
        return np.asarray(after(flow, stacked, noise, jnp.array(0.25), jnp.array(1.0)).w)

    whole = moved(2, both, noise.blocks(8), 1)[0]
    for block in moved(2, half, noise.blocks(4), 2):
        np.testing.assert_allclose(whole, np.concatenate([block, block]), rtol=1e-12)
    assert np.abs(whole - moved(None, both, None, 1)[0]).max() > 1e-3  # batches do matter


def test_the_noise_is_normal_and_the_same_in_every_precision() -> None:
    keys = jax.random.split(KEY, 4000)
    for dtype in ("float32", "float64"):
        like = Neuron(a=jnp.zeros((4000, 1), dtype), w=jnp.zeros((4000, 2), dtype))
        drawn = normals(keys, like)
        assert drawn.w.dtype == dtype
        flat = np.concatenate([drawn.a, drawn.w], axis=1).astype(float)
        np.testing.assert_array_less(np.abs(np.cov(flat.T) - np.eye(3)), 4 * np.sqrt(2 / 4000))
        np.testing.assert_array_less(np.abs(flat.mean(axis=0)), 4 / np.sqrt(4000))
        first = flat if dtype == "float32" else first
    np.testing.assert_array_equal(flat, first)


def test_a_study_of_langevin_dynamics_against_its_closed_form() -> None:
    """Ornstein–Uhlenbeck: the limit, and the bias ½α·Var(m) = ½α·d·v/N, of Euler's recursion."""
    pull, spring, temperature, dt, steps = 0.6, 0.5, 0.4, 0.1, 10
    found = convergence_study(
        langevin(pull, spring, temperature),
        lambda key, size: gaussian(key, size, jax.ShapeDtypeStruct((2,), float), mean=1.0),
        key=KEY,
        horizon=dt * steps,
        dt=dt,
        sizes=[4, 8, 16, 32],
        seeds=12,
        times=1,
        transport=0,
    )
    mean, own, together = 1.0, 1.0, 1.0  # E θ, Var θ around the mean, N·Var of the mean
    for _ in range(steps):
        mean *= 1 - (pull + spring) * dt
        own = own * (1 - spring * dt) ** 2 + 2 * temperature * dt
        together = together * (1 - (pull + spring) * dt) ** 2 + 2 * temperature * dt
    limit = found.limit()
    assert limit.contains((0.5 * (pull + spring) * mean**2 + 0.5 * spring * own) * 2)
    scales = 1 / np.array([4, 8, 16, 32]) - 1 / 64
    # s, the mean of |θ|², has no bias of its own, but deviations are smaller by the mean's share.
    expected = 0.5 * (pull + spring) * 2 * together - 0.5 * spring * 2 * own
    rows = found.data["bias"].isel(time=-1).values / scales[:, None]
    error = rows.std(axis=1, ddof=1) / np.sqrt(12)
    np.testing.assert_array_less(np.abs(rows.mean(axis=1) - expected), 4 * error)
    assert found.exponents["coupling"].contains(-0.5)


def test_refusals() -> None:
    flow = GradientFlow(Springs(), birth_death=1.0, jumps=(Resampling(0.5),))
    assert not flow.shares_noise
    assert langevin(1.0, 1.0).shares_noise
    with pytest.raises(InvalidInput, match="jumps holds Resampling, whose noise is not each"):
        flow.start(Ensemble(jnp.ones((4, 2))), 0.1, key=SharedNoise.of(KEY, 4))
    with pytest.raises(InvalidInput, match="noise is of 8 particles, but the ensemble has 4"):
        langevin(1.0, 1.0).start(Ensemble(jnp.ones((4, 2))), 0.1, key=SharedNoise.of(KEY, 8))
