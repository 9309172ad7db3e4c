"""The same flow whichever way it is computed: in a batch, in chunks, in float32, over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flow_cases import end, flat, seeds, smooth_attention
from helpers import attention, cloud, regression
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from meanfield import GradientFlow, every, simulate
from meanfield.runs._first import first_state
from particles import Ensemble

RUN = {"horizon": 1.0, "dt": 0.05, "record": every(0.25)}


@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_equals_a_loop_over_seeds(weighted: bool) -> None:
    flow, starts = GradientFlow(regression()), seeds(3, weighted=weighted)
    batch = simulate(flow, starts, batch=True, **RUN)
    for seed in range(3):
        alone = simulate(flow, cloud(seed, weighted=weighted), **RUN)
        mine = jax.tree.map(lambda leaf, seed=seed: leaf[seed], batch.state)
        np.testing.assert_allclose(flat(mine), flat(alone.state), rtol=1e-9, atol=1e-13)
        for name, values in alone.trajectory.items():
            recorded = batch.trajectory[name].isel(seed=seed)
            np.testing.assert_allclose(recorded, values, rtol=1e-9, atol=1e-13)


def test_chunks_do_not_matter() -> None:
    whole, parts = (
        simulate(GradientFlow(regression(), chunk=size), cloud(weighted=True), **RUN)
        for size in (None, 3)
    )
    np.testing.assert_allclose(flat(parts.state), flat(whole.state), rtol=1e-10, atol=1e-14)


def test_the_memory_of_a_start_is_kept_or_given_to_the_run() -> None:
    """Given away: the first state is the start itself, and no copy of it is held."""
    flow = GradientFlow(regression(), scheme="euler")
    kept, given = cloud(weighted=True), cloud(weighted=True)
    first = first_state(flow, given, 0.05, None, None, False)
    for one, other in zip(*map(jax.tree.leaves, (first.ensemble, given)), strict=True):
        assert one.unsafe_buffer_pointer() == other.unsafe_buffer_pointer()
    before = flat(kept)
    runs = simulate(flow, kept, **RUN), simulate(flow, given, keep_start=False, **RUN)
    np.testing.assert_array_equal(flat(kept), before)
    np.testing.assert_array_equal(*(flat(run.state) for run in runs))


def test_float32_follows_float64() -> None:
    single = attention(ridge=0.1)
    single = jax.tree.map(lambda leaf: leaf.astype("float32"), single)
    start = jax.tree.map(lambda leaf: leaf.astype("float32"), cloud())
    run, exact = (
        simulate(GradientFlow(landscape), mu, **RUN)
        for landscape, mu in ((single, start), (smooth_attention(), cloud()))
    )
    assert run.state.ensemble.particles.a.dtype == jnp.float32
    assert run.trajectory.loss.dtype == jnp.float32
    np.testing.assert_allclose(flat(run.ensemble), flat(exact.ensemble), atol=2e-5)
    np.testing.assert_allclose(run.trajectory.loss, exact.trajectory.loss, rtol=2e-5)


def test_a_particle_of_double_weight_is_two_particles() -> None:
    """Splitting a particle into copies that share its weight leaves the flow as it is."""
    mu = cloud(weighted=True)
    copies = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf[:3]]), mu.particles)
    share = mu.weights.at[:3].multiply(0.5)
    split = Ensemble(copies, jnp.concatenate([share, share[:3]]))
    flow = GradientFlow(regression())
    whole, parts = (simulate(flow, start, **RUN) for start in (mu, split))
    np.testing.assert_allclose(parts.trajectory.loss, whole.trajectory.loss, rtol=1e-12)
    np.testing.assert_allclose(
        flat(parts.ensemble.first(7).particles), flat(whole.ensemble.particles), atol=1e-13
    )
    np.testing.assert_array_equal(parts.ensemble.weights, split.weights)


def test_weights_are_not_ignored() -> None:
    flow = GradientFlow(regression())
    plain, weighted = (end(flow, cloud(weighted=w), 1.0, 0.05).ensemble for w in (False, True))
    assert np.abs(flat(plain.particles) - flat(weighted.particles)).max() > 1e-3


@pytest.mark.parametrize("chunk", [None, 4])
def test_particles_may_be_spread_over_devices(chunk: int | None) -> None:
    mesh = Mesh(np.array(jax.devices()), ("particles",))
    assert mesh.size == 8
    flow, start = GradientFlow(regression(), scheme="euler", chunk=chunk), cloud(size=16)
    spread = jax.device_put(start, NamedSharding(mesh, PartitionSpec("particles")))
    here, there = (simulate(flow, mu, **RUN) for mu in (start, spread))
    np.testing.assert_allclose(flat(there.ensemble), flat(here.ensemble), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(there.trajectory.loss, here.trajectory.loss, rtol=1e-10)
    if chunk is None:
        assert len(there.ensemble.particles.a.sharding.device_set) == 8
