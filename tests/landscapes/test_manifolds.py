"""Landscapes on manifolds: against angles, geodesics and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import iv

from landscapes import (
    Confinement,
    Constrained,
    ConstrainedPairs,
    Interaction,
    Landscape,
    Sphere,
    Sum,
    TokenLandscape,
    Torus,
)
from landscapes.interactions import equal_angles, orthogonal_cosine
from meanfield import AcceleratedFlow, GradientFlow, at, simulate, snapshots
from particles import Ensemble, InvalidInput
from particles.internal import to_device
from saddle_analysis import HessianOperator


class Ridge(Landscape):
    """A risk that is not linear, of features that are not."""

    def features(self, particle):
        return jnp.array([particle[0] ** 3, particle[1] * particle[2], particle[0]])

    def risk(self, moments, fast=None):
        return jnp.sum(jnp.cosh(moments)) + moments[0] * moments[2]


def tokens(key: int, size: int, dim: int) -> Ensemble:
    points = np.random.default_rng(key).normal(size=(size, dim))
    return Ensemble(to_device(points / np.linalg.norm(points, axis=1, keepdims=True)))


def geodesic(mu: Ensemble, field: jax.Array, t: float) -> Ensemble:
    """Every particle along its great circle."""
    speed = jnp.linalg.norm(field, axis=1, keepdims=True)
    return Ensemble(jnp.cos(t * speed) * mu.particles + jnp.sin(t * speed) * field / speed)


LANDSCAPES = [
    Constrained(Ridge(), Sphere()),
    ConstrainedPairs(Interaction(lambda x, y: (x @ y) ** 3, lambda x: x[0] * x[1]), Sphere()),
    TokenLandscape(dim=3, beta=2.0),
]


@pytest.mark.parametrize("landscape", LANDSCAPES, ids=lambda one: type(one).__name__)
def test_derivatives_are_those_along_geodesics(landscape) -> None:
    mu, raw = tokens(0, 5, 3), np.random.default_rng(1).normal(size=(5, 3))
    points = np.asarray(mu.particles)
    field = to_device(raw - np.sum(raw * points, axis=1, keepdims=True) * points)
    slope_along = jax.grad(lambda t: landscape.value(geodesic(mu, field, t)))
    slope, bent = jax.jit(jax.value_and_grad(slope_along))(1e-12)
    velocity = landscape.velocity(mu)
    assert float(-mu.inner(velocity, field)) == pytest.approx(float(slope), rel=1e-9)
    assert np.abs(np.sum(np.asarray(velocity) * points, axis=1)).max() < 1e-14
    operator = HessianOperator(landscape, mu)
    assert float(mu.inner(field, operator.apply(field))) == pytest.approx(float(bent), rel=1e-8)


def test_an_angle_is_a_point_on_the_circle() -> None:
    beta = 3.0
    angles = jax.random.uniform(jax.random.key(2), (7, 1), maxval=6.0)
    flat = ConstrainedPairs(
        Interaction(lambda x, y: -jnp.exp(beta * jnp.cos(x[0] - y[0])) / beta), Torus()
    )
    on_circle = Ensemble(jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=1))
    landscape = TokenLandscape(2, beta)
    assert float(landscape.value(on_circle)) == pytest.approx(float(flat.value(Ensemble(angles))))
    tangent = jnp.stack([-on_circle.particles[:, 1], on_circle.particles[:, 0]], axis=1)
    turning = jnp.sum(landscape.velocity(on_circle) * tangent, axis=1)
    np.testing.assert_allclose(turning, flat.velocity(Ensemble(angles))[:, 0], rtol=1e-10)


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_spectrum_at_equal_angles(beta: float) -> None:
    landscape = TokenLandscape(2, beta)
    mu = equal_angles(2, 64)
    values = np.linalg.eigvalsh(np.asarray(HessianOperator(landscape, mu).dense()))
    expected = np.sort(np.repeat(landscape.curvatures(20), 2))
    np.testing.assert_allclose(values[:8], expected[:8], rtol=1e-9)
    k = np.arange(1, 5)
    np.testing.assert_allclose(landscape.curvatures(4), -(k**2) * iv(k, beta) / beta, rtol=1e-12)
    assert float(landscape.value(mu)) == pytest.approx(landscape.level, rel=1e-12)


def test_curvatures_in_three_dimensions_by_quadrature() -> None:
    """c_k by Funk and Hecke is ½ ∫ exp(βs) P_k(s) ds."""
    from numpy.polynomial import legendre

    landscape = TokenLandscape(3, 2.5)
    nodes, weights = legendre.leggauss(60)
    for k, found in enumerate(landscape.curvatures(5), 1):
        harmonic = legendre.legval(nodes, [0] * k + [1])
        coefficient = 0.5 * np.sum(weights * np.exp(2.5 * nodes) * harmonic)
        assert found == pytest.approx(-k * (k + 1) * coefficient / 2.5, rel=1e-12)


def test_clusters_at_known_temperatures() -> None:
    known = {1: 1, 4: 3, 9: 4, 16: 6, 36: 8, 64: 11}
    assert {beta: TokenLandscape(2, beta).clusters for beta in known} == known


@pytest.mark.parametrize("scheme", ["tsit5", "adaptive"])
def test_orthogonal_tokens_stay_on_the_sphere_and_meet(scheme: str) -> None:
    landscape = TokenLandscape(dim=4, beta=2.0)
    times = np.array([0.0, 0.25, 0.5, 1.0])
    run = simulate(
        GradientFlow(landscape, scheme=scheme),
        Ensemble(jnp.eye(4)),
        horizon=1.0,
        dt=0.01,
        snapshots=at(*times),
    )
    _, ensembles = snapshots(run)
    measured = [float(mu.particles[0] @ mu.particles[1]) for mu in ensembles]
    expected = orthogonal_cosine(2.0, 4, times)
    np.testing.assert_allclose(measured, expected, atol=1e-5 if scheme == "adaptive" else 1e-7)
    lengths = np.linalg.norm(np.asarray(run.ensemble.particles), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-14)


def test_a_start_is_brought_to_the_manifold() -> None:
    landscape = TokenLandscape(dim=2, beta=1.0)
    state = GradientFlow(landscape, scheme="euler").start(Ensemble(jnp.array([[3.0, 4.0]])), 0.1)
    np.testing.assert_allclose(state.ensemble.particles, [[0.6, 0.8]])
    with pytest.raises(InvalidInput, match="on the manifold"):
        GradientFlow(landscape).start(Ensemble(jnp.zeros((1, 2))), 0.1)


def test_refusals() -> None:
    landscape = TokenLandscape(dim=2, beta=1.0)
    with pytest.raises(InvalidInput, match="bound to Sphere and NoneType"):
        Sum(landscape, Confinement(1.0))
    assert Sum(landscape, landscape).manifold == Sphere()
    with pytest.raises(InvalidInput, match="bound to a Sphere"):
        AcceleratedFlow(landscape)
    for wrong in (lambda: Sphere(0.0), lambda: Torus(-1.0), lambda: TokenLandscape(1, 1.0)):
        with pytest.raises(InvalidInput):
            wrong()
    for beta in (0.0, 100.0, float("nan")):
        with pytest.raises(InvalidInput, match="beta is"):
            TokenLandscape(2, beta)
    with pytest.raises(InvalidInput, match="dim is 3"):
        equal_angles(3, 4)
    with pytest.raises(InvalidInput, match="tokens is 1"):
        orthogonal_cosine(1.0, 1, np.array([0.0, 1.0]))
