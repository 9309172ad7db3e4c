"""Pair interactions against dense formulas, feature landscapes and finite differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import mixed_derivatives, readings
from saddle_analysis_spectra import euclidean_hessian

from landscapes import AbstractLandscape, Confinement, Interaction, Landscape, PairLandscape, Sum
from meanfield import GradientFlow, simulate
from particles import Ensemble, InvalidInput, particle_mesh, placed
from particles.internal import to_device
from saddle_analysis import HessianOperator, criticality_report
from saddle_analysis.spectra import interaction_spectrum

SIZE, DIM = 8, 2
POINTS = np.random.default_rng(0).normal(size=(SIZE, DIM))
WEIGHTS = np.arange(1.0, SIZE + 1) / np.arange(1.0, SIZE + 1).sum()


class Bumps(PairLandscape):
    """W = exp(−‖θ − θ'‖²/2) + (θ·θ')², V = Σ θ⁴/4."""

    def pair(self, particle, other):
        return jnp.exp(-0.5 * jnp.sum((particle - other) ** 2)) + jnp.dot(particle, other) ** 2

    def potential(self, particle):
        return 0.25 * jnp.sum(particle**4)


class Lopsided(PairLandscape):
    """No number comes of a pair."""

    def pair(self, particle, other):
        return particle - other


class Squares(Landscape):
    """½ ‖∫ θθᵀ dμ‖²: the feature form of W = (θ·θ')²."""

    def features(self, particle):
        return jnp.outer(particle, particle)

    def risk(self, moments, fast=None):
        return 0.5 * jnp.sum(moments**2)


def mu(weighted: bool = False) -> Ensemble:
    return Ensemble(to_device(POINTS), to_device(WEIGHTS) if weighted else None)


def dense(particles: jax.Array, weights: jax.Array) -> jax.Array:
    """L of `Bumps` from the N × N table."""
    squares = jnp.sum((particles[:, None] - particles) ** 2, axis=-1)
    table = jnp.exp(-0.5 * squares) + (particles @ particles.T) ** 2
    return 0.5 * weights @ table @ weights + weights @ (0.25 * jnp.sum(particles**4, axis=1))


@jax.jit
def derivatives(particles: jax.Array, weights: jax.Array) -> tuple:
    """L, its slope in the particles, its slope and curvature in the weights."""
    value, gradient = jax.value_and_grad(dense)(particles, weights)
    along, table = (d(dense, argnums=1)(particles, weights) for d in (jax.grad, jax.hessian))
    return value, gradient, along, table


@eqx.filter_jit
def term_by_term(term: AbstractLandscape, ensemble: Ensemble, spot: jax.Array) -> tuple:
    return *term.value_and_velocity(ensemble), term.first_variation(ensemble)(spot)


def same(one: object, other: object) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13), one, other)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunk", [None, 3])
def test_value_velocity_and_variations_are_the_dense_ones(weighted: bool, chunk: int) -> None:
    ensemble, landscape = mu(weighted), Bumps()
    particles, weights = ensemble.particles, np.asarray(ensemble.probabilities)
    value, gradient, along, table = map(np.asarray, derivatives(particles, weights))
    elsewhere = Ensemble(to_device(np.asarray(particles)[:3] + 0.5))
    found, alone, variations, there, second = readings(landscape, ensemble, elsewhere, chunk)
    same(found.value, value)
    same(alone, value)
    same(found.gradient, gradient / weights[:, None])
    inside, outside, slope_outside = variations
    same(inside, along - weights @ along)
    same(found.potential, along)
    same(there, (outside, slope_outside))
    same(second, table[0, 3])


@pytest.mark.parametrize("weighted", [False, True])
def test_the_hessian_is_that_of_the_particle_energy(weighted: bool) -> None:
    ensemble = mu(weighted)
    weights = np.asarray(ensemble.probabilities)
    full = HessianOperator(Bumps(), ensemble, chunk=3).dense()
    same(full, euclidean_hessian(dense, ensemble))
    part = HessianOperator(Bumps(), ensemble, part="interaction", chunk=3).dense()
    mixed = np.asarray(mixed_derivatives(Bumps().pair, ensemble.particles))
    scaled = mixed * np.sqrt(weights[:, None] * weights)[:, :, None, None]
    same(part, scaled.transpose(0, 2, 1, 3).reshape(SIZE * DIM, -1))


def test_pairs_and_features_are_two_ways_to_the_same() -> None:
    pairs, features = Interaction(lambda x, y: jnp.dot(x, y) ** 2), Squares()
    ensemble, others = mu(weighted=True), (Ensemble(to_device(np.array(POINTS[:2]) + 1.0)),)
    for one, other in [
        (pairs.first_order(ensemble)[0::2], features.first_order(ensemble)[0::2]),
        (pairs.mixture(ensemble, others)(jnp.array([0.3])),) * 1
        + (features.mixture(ensemble, others)(jnp.array([0.3])),),
        (HessianOperator(pairs, ensemble).dense(), HessianOperator(features, ensemble).dense()),
    ]:
        same(one, other)


def test_a_sum_is_the_sum_of_its_terms() -> None:
    ensemble, terms = mu(weighted=True), (Bumps(), Squares(), Confinement(0.5))
    total = Sum(*terms)
    spot = to_device(np.ones(DIM))
    each = [term_by_term(term, ensemble, spot) for term in terms]
    for found, parts in zip(
        term_by_term(total, ensemble, spot), zip(*each, strict=True), strict=True
    ):
        same(found, sum(map(np.asarray, parts)))
    same(
        HessianOperator(total, ensemble).dense(),
        sum(np.asarray(HessianOperator(term, ensemble).dense()) for term in terms),
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_eight_devices_are_one(weighted: bool) -> None:
    alone = mu(weighted)
    split, landscape, field = (
        placed(alone, particle_mesh(8)),
        Bumps(),
        to_device(np.array(POINTS)[::-1]),
    )
    same(landscape.first_order(split), landscape.first_order(alone))
    same(landscape.value(split), landscape.value(alone))
    same(landscape.curvature(split)(field), landscape.curvature(alone)(field))
    spot = to_device(np.ones(DIM))
    same(landscape.first_variation(split)(spot), landscape.first_variation(alone)(spot))


def test_a_flow_ends_in_a_minimum_that_the_report_knows() -> None:
    # Springs and confinement: all particles meet at the origin, with curvature 1 + 1 and 1.
    landscape = Sum(Interaction(lambda x, y: 0.5 * jnp.sum((x - y) ** 2)), Confinement(1.0))
    run = simulate(GradientFlow(landscape), mu(), horizon=20.0, dt=0.1)
    report = criticality_report(landscape, run.ensemble)
    assert report.kind == "local minimum"
    np.testing.assert_allclose(report.smallest.values[0], 1.0, rtol=1e-6)
    np.testing.assert_allclose(report.largest.values[-1], 2.0, rtol=1e-6)
    # ½∫‖θ‖² falls at least as fast as e^{−2t}: here ½‖θ − mean‖² alone falls like e^{−4t}.
    spread = lambda e: float(jnp.sum(jnp.var(e.particles, axis=0)))  # noqa: E731
    short = simulate(GradientFlow(landscape, scheme="tsit5"), mu(), horizon=0.5, dt=0.05)
    np.testing.assert_allclose(spread(short.ensemble), spread(mu()) * np.exp(-2.0), rtol=1e-5)


def test_refusals() -> None:
    lopsided = Interaction(lambda x, y: jnp.sum(x * y**2))
    with pytest.raises(InvalidInput, match="not symmetric"):
        GradientFlow(lopsided).start(mu(), dt=0.1)
    with pytest.raises(InvalidInput, match=r"pair of Lopsided returned an array of shape \(2,\)"):
        Lopsided().value(mu())
    with pytest.raises(InvalidInput, match="terms is empty"):
        Sum()
    with pytest.raises(InvalidInput, match="no fast variables"):
        Bumps().value(mu(), jnp.ones(1))
    operator = HessianOperator(Bumps(), mu(), part="interaction")
    with pytest.raises(InvalidInput, match="no function of moments"):
        interaction_spectrum(operator)
    with pytest.raises(InvalidInput, match="chunk is 0"):
        Bumps().value(mu(), chunk=0)
