"""Energies of a density against dense formulas, pairs, and the diffusion of a normal law."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import mixed_derivatives, readings
from saddle_analysis_spectra import euclidean_hessian
from scipy.special import gamma
from scipy.stats import multivariate_normal

from landscapes import BlobLandscape, DensityLandscape, Interaction, RieszGasLandscape, Sum
from landscapes.interactions import Barenblatt, NarrowKernelWarning
from particles import Ensemble, InvalidInput, particle_mesh, placed
from particles.internal import to_device
from saddle_analysis import HessianOperator

SIZE, DIM = 7, 2
POINTS = np.random.default_rng(0).normal(size=(SIZE, DIM))
WEIGHTS = np.arange(1.0, SIZE + 1) / np.arange(1.0, SIZE + 1).sum()
BLOBS = {m: BlobLandscape(DIM, width=0.8, exponent=m, strength=1.5) for m in (1.0, 3.0)}


class Half(DensityLandscape):
    """F = ρ/2: ½ ∬ K."""

    def pair(self, particle, other):
        return jnp.cos(jnp.sum(particle - other)) + jnp.dot(particle, other)

    def internal(self, density):
        return density / 2


def mu(weighted: bool = False) -> Ensemble:
    return Ensemble(to_device(POINTS), to_device(WEIGHTS) if weighted else None)


def dense(blob: BlobLandscape, particles: jax.Array, weights: jax.Array) -> jax.Array:
    """L from the N × N table of the kernel."""
    squares = jnp.sum((particles[:, None] - particles) ** 2, axis=-1)
    width, m = float(blob.width), blob.exponent
    density = jnp.exp(-squares / (2 * width**2)) @ weights / (2 * jnp.pi * width**2)
    energy = jnp.log(density) if m == 1 else density ** (m - 1) / (m - 1)
    return 1.5 * weights @ energy


def derivatives(exponent: float) -> Callable:
    """L, its slope in the particles, its slope and curvature in the weights, in one program."""
    energy = functools.partial(dense, BLOBS[exponent])

    @jax.jit
    def at(particles: jax.Array, weights: jax.Array) -> tuple:
        value, gradient = jax.value_and_grad(energy)(particles, weights)
        along, table = (d(energy, argnums=1)(particles, weights) for d in (jax.grad, jax.hessian))
        return value, gradient, along, table

    return at


def same(one: object, other: object) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-12), one, other)


@pytest.mark.parametrize(("exponent", "weighted"), [(1.0, False), (3.0, True)])
def test_value_velocity_and_variations_are_the_dense_ones(exponent: float, weighted: bool) -> None:
    blob, ensemble = BLOBS[exponent], mu(weighted)
    particles, weights = ensemble.particles, np.asarray(ensemble.probabilities)
    value, gradient, along, table = map(np.asarray, derivatives(exponent)(particles, weights))
    elsewhere = Ensemble(to_device(np.asarray(particles)[:2] + 0.5))
    found, alone, variations, there, second = readings(blob, ensemble, elsewhere, 3)
    same((found.value, alone), (value, value))
    same(found.gradient, gradient / weights[:, None])
    same(found.potential, along)
    inside, outside, slope_outside = variations
    same(inside, along - weights @ along)
    same(there, (outside, slope_outside))
    same(second, table[0, 3])


def test_the_hessian_is_that_of_the_particle_energy() -> None:
    blob, ensemble = BLOBS[1.0], mu(weighted=True)
    weights = np.asarray(ensemble.probabilities)
    full = HessianOperator(blob, ensemble, chunk=3).dense()
    same(full, euclidean_hessian(lambda p, w: dense(blob, p, w), ensemble))
    part = HessianOperator(blob, ensemble, part="interaction", chunk=3).dense()
    second = blob.second_variation(ensemble)
    mixed = np.asarray(mixed_derivatives(second, ensemble.particles))
    scaled = mixed * np.sqrt(weights[:, None] * weights)[:, :, None, None]
    same(part, scaled.transpose(0, 2, 1, 3).reshape(SIZE * DIM, -1))


def test_half_of_a_density_is_an_energy_of_pairs() -> None:
    density, pairs, ensemble = Half(), Interaction(Half().pair), mu(weighted=True)
    same(density.first_order(ensemble)[0::2], pairs.first_order(ensemble)[0::2])
    same(HessianOperator(density, ensemble).dense(), HessianOperator(pairs, ensemble).dense())
    total = Sum(density, pairs)
    same(total.velocity(ensemble), 2 * np.asarray(pairs.velocity(ensemble)))


def test_eight_devices_are_one() -> None:
    points = np.concatenate([np.array(POINTS), np.ones((1, DIM))])
    alone = Ensemble(to_device(points), to_device(np.arange(1.0, 9.0)))
    split, blob, field = placed(alone, particle_mesh(8)), BLOBS[3.0], to_device(points[::-1])
    same(blob.first_order(split), blob.first_order(alone))
    same(blob.curvature(split)(field), blob.curvature(alone)(field))
    spot, origin = to_device(np.ones(DIM)), to_device(np.zeros(DIM))
    same(blob.first_variation(split)(spot), blob.first_variation(alone)(spot))
    same(blob.second_variation(split)(spot, origin), blob.second_variation(alone)(spot, origin))


def test_the_density_is_that_of_scipy() -> None:
    blob, points = BLOBS[1.0], Ensemble(jnp.array(POINTS[:3] + 0.1))
    found = blob.density(points, mu(weighted=True), chunk=2)
    normal = multivariate_normal(np.zeros(DIM), 0.8**2 * np.eye(DIM))
    table = normal.pdf(np.asarray(points.particles)[:, None] - POINTS)
    np.testing.assert_allclose(found, table @ WEIGHTS, rtol=1e-12)


@pytest.mark.parametrize(("exponent", "order"), [(1.0, 4), (2.0, 2)])
def test_the_force_is_that_of_the_limit_to_an_order_of_the_width(
    exponent: float, order: int
) -> None:
    # A normal law on a fine grid: sums over it are integrals to all digits.
    grid = jnp.linspace(-9, 9, 601)[:, None]
    mass = jnp.exp(-0.5 * grid[:, 0] ** 2) / jnp.sqrt(2 * jnp.pi)
    ensemble, places = Ensemble(grid, mass), Ensemble(jnp.array([[0.4], [1.0]]))
    density = np.exp(-0.5 * np.array([0.4, 1.0]) ** 2) / np.sqrt(2 * np.pi)
    exact = -np.array([0.4, 1.0]) * (1 if exponent == 1 else 2 * density)
    errors = []
    for width in (0.1, 0.05):
        variation = BlobLandscape(1, width, exponent).first_variation(ensemble)
        _, slopes = variation.potential_and_gradient(places)
        errors.append(np.abs(np.asarray(slopes)[:, 0] - exact).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def test_observables_of_a_sum_keep_apart() -> None:
    total, ensemble = Sum(RieszGasLandscape(DIM), BLOBS[1.0]), mu()
    found = total.observables(total.moments(ensemble))
    assert list(found) == ["second_moment", "second_moment_2"]
    same(found["second_moment"].value, jnp.mean(jnp.sum(ensemble.particles**2, axis=1)))


@pytest.mark.parametrize(("dim", "exponent"), [(1, 2.0), (2, 2.0), (3, 1.5)])
def test_barenblatt_solves_the_porous_medium(dim: int, exponent: float) -> None:
    law, time = Barenblatt(dim, exponent), 1.7
    radius, step = np.linspace(0.0, law.radius(time), 20001), 1e-4
    shell = 2 * np.pi ** (dim / 2) / gamma(dim / 2) * radius ** (dim - 1)
    places = np.stack([radius, *[0 * radius] * (dim - 1)], axis=-1)
    density = law.density(places, time)
    assert np.trapezoid(shell * density, radius) == pytest.approx(1, rel=1e-6)
    second = np.trapezoid(shell * radius**2 * density, radius)
    assert law.second_moment(time) == pytest.approx(second, rel=1e-6)
    # ∂ρ = Δρ^m, by differences about a point inside.
    spot = np.full((1, dim), 0.3 * law.radius(time) / np.sqrt(dim))
    later, earlier = law.density(spot, time + step), law.density(spot, time - step)
    around = law.density(spot + step * np.concatenate([np.eye(dim), -np.eye(dim)]), time)
    middle = 2 * dim * law.density(spot, time) ** exponent
    laplacian = (np.sum(around**exponent) - middle) / step**2
    assert (later - earlier) / (2 * step) == pytest.approx(laplacian, rel=1e-5)


def test_refusals() -> None:
    with pytest.raises(InvalidInput, match="exponent is 0"):
        BlobLandscape(1, 0.1, exponent=0)
    with pytest.raises(InvalidInput, match="exponent is 1; the profile has an edge"):
        Barenblatt(exponent=1)
    with pytest.raises(InvalidInput, match="width is 0"):
        BlobLandscape(1, 0.0)
    with pytest.raises(InvalidInput, match="strength is -1"):
        BLOBS[1.0].replace(strength=-1.0)
    with pytest.raises(InvalidInput, match="no fast variables"):
        BLOBS[1.0].value(mu(), jnp.ones(1))
    with pytest.raises(InvalidInput, match="needs"):
        BLOBS[1.0].require_fit(Ensemble(jnp.ones((2, 3))))
    assert BLOBS[1.0].concerns(mu()) == []
    (concern,) = BlobLandscape(DIM, 0.01).concerns(mu())
    assert isinstance(concern, NarrowKernelWarning)
