"""Ensembles split over devices: the same numbers, the same draws."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import close, cloud, regression
from jax.sharding import PartitionSpec

from landscapes import RegressionLandscape, neuron_start
from particles import (
    Ensemble,
    InvalidInput,
    drawn_on,
    gathered,
    load_ensemble,
    particle_mesh,
    placed,
    save_ensemble,
)
from saddle_analysis import HessianOperator


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunk", [None, 3])
def test_values_and_fields_agree(precision: str, weighted: bool, chunk: int | None) -> None:
    landscape, mu = regression(), cloud(size=16, weighted=weighted)
    split = placed(mu, particle_mesh())
    close(*(readings(landscape, one, chunk) for one in (split, mu)))


@eqx.filter_jit
def readings(landscape: RegressionLandscape, mu: Ensemble, chunk: int | None) -> tuple:
    """Moments, a mean and the velocity, in one program."""
    mean = mu.mean(lambda neuron: neuron.a, chunk=chunk)
    return landscape.moments(mu, chunk=chunk), mean, landscape.velocity(mu, chunk=chunk)


@pytest.mark.parametrize("chunk", [None, 3])
def test_means_agree_outside_compiled_code(chunk: int | None) -> None:
    mu = cloud(size=16, weighted=True)
    found = placed(mu, particle_mesh()).mean(lambda neuron: neuron.a, chunk=chunk)
    close(found, np.asarray(mu.weights) @ np.asarray(mu.particles.a))


def test_every_device_holds_its_share() -> None:
    split = placed(cloud(size=16), particle_mesh())
    velocity = regression().velocity(split)
    for leaf in jax.tree.leaves((split.particles, velocity)):
        assert leaf.sharding.spec == PartitionSpec("particles")
        assert {shard.data.shape[0] for shard in leaf.addressable_shards} == {2}


@pytest.mark.parametrize("part", ["full", "interaction"])
def test_hessian_products_agree(part) -> None:
    landscape, mu = regression(), cloud(size=16)
    field = cloud(5, size=16).particles
    one = HessianOperator(landscape, mu, part=part, chunk=3).apply(field)
    many = HessianOperator(landscape, placed(mu, particle_mesh()), part=part, chunk=3).apply(field)
    close(many, one)


@pytest.mark.parametrize("devices", [2, 8])
def test_draws_are_equal_exactly(devices: int) -> None:
    landscape = regression()

    def draw() -> Ensemble:
        return neuron_start(jax.random.key(3), landscape, 64)

    split = drawn_on(particle_mesh(devices), draw)
    alone = jax.jit(draw)()
    np.testing.assert_array_equal(split.particles.w, alone.particles.w)
    assert len(split.particles.w.sharding.device_set) == devices


def test_gathering_and_storing_keep_every_bit(tmp_path) -> None:
    mu = cloud(size=16, weighted=True)
    split = placed(mu, particle_mesh())
    back = gathered(split)
    stored = load_ensemble(save_ensemble(tmp_path / "mu.npz", split), like=regression().particle)
    for other in (back, stored):
        assert other.mesh is None
        np.testing.assert_array_equal(other.particles.w, mu.particles.w)
        np.testing.assert_array_equal(other.weights, mu.weights)


def test_refusals() -> None:
    with pytest.raises(InvalidInput, match=r"N = 7 .* over 8 devices; .* such as 8"):
        placed(cloud(size=7), particle_mesh())
    with pytest.raises(InvalidInput, match="devices is 99"):
        particle_mesh(99)
    with pytest.raises(InvalidInput, match="devices is 0"):
        particle_mesh(0)
    with pytest.raises(InvalidInput, match="devices is empty"):
        particle_mesh([])


def test_effective_size() -> None:
    assert float(Ensemble(jnp.arange(4.0)).effective_size) == 4
    assert float(Ensemble(jnp.arange(2.0), jnp.array([1.0, 3.0])).effective_size) == 1.6
