"""Gases against Hermite polynomials and the virial law; energy distance against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import expi
from scipy.stats import energy_distance

from landscapes import EnergyDistanceLandscape, RieszGasLandscape
from landscapes.interactions import hermite_points
from meanfield import GradientFlow, simulate
from meanfield.problems import EnergyDistance
from particles import Ensemble, InvalidInput
from saddle_analysis import HessianOperator

POINTS = np.random.default_rng(1).normal(size=(6, 2))


def test_the_hessian_at_hermite_zeros_has_the_eigenvalues_of_theory() -> None:
    gas, size = RieszGasLandscape(dim=1, strength=3.0), 7
    mu = hermite_points(gas, size)
    value, velocity = gas.value_and_velocity(mu)
    np.testing.assert_allclose(velocity, 0, atol=1e-13)
    found = np.linalg.eigvalsh(HessianOperator(gas, mu).dense())
    np.testing.assert_allclose(found, 3.0 * np.arange(1, size + 1), rtol=1e-10)
    np.testing.assert_allclose(jnp.mean(mu.particles**2), gas.second_moment(size), rtol=1e-12)
    pairs = np.abs(mu.particles - mu.particles[:, 0])[~np.eye(size, dtype=bool)]
    by_hand = -0.5 * np.log(pairs).sum() / size**2 + 1.5 * np.mean(mu.particles**2)
    np.testing.assert_allclose(value, by_hand, rtol=1e-12)


@pytest.mark.parametrize("dim", [1, 2])
def test_levels_are_those_of_the_semicircle_and_the_disc(dim: int) -> None:
    gas = RieszGasLandscape(dim, strength=2.0)
    if dim == 1:  # Gauss–Legendre in the angle: x = R sin φ, density ∝ cos² φ
        nodes, weights = np.polynomial.legendre.leggauss(400)
        angle = np.pi / 2 * nodes
        points, share = gas.radius * np.sin(angle)[:, None], weights * np.cos(angle) ** 2
    else:  # equal areas, an even spiral
        index = np.arange(3000) + 0.5
        radius, turn = gas.radius * np.sqrt(index / 3000), np.pi * (1 + 5**0.5) * index
        points, share = np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1), np.ones(3000)
    mu = Ensemble(jnp.array(points), jnp.array(share))
    # The pairs left out weigh about Σ p² log of the spacing.
    np.testing.assert_allclose(gas.value(mu), gas.level, atol=0.02)
    variation = gas.first_variation(mu)
    inside = jax.vmap(variation)(mu.particles[::50] * 0.9)
    np.testing.assert_allclose(inside, inside[0], atol=0.05)
    assert variation(jnp.full(dim, 1.5 * gas.radius)) > variation(jnp.zeros(dim)) + 0.1


def test_the_second_moment_obeys_its_law() -> None:
    gas, mu = RieszGasLandscape(dim=2, strength=0.5), Ensemble(jnp.array(POINTS))
    run = simulate(GradientFlow(gas, scheme="tsit5"), mu, horizon=1.0, dt=0.02)
    start, end = (float(jnp.mean(jnp.sum(e.particles**2, 1))) for e in (mu, run.ensemble))
    rest = gas.second_moment(6)
    np.testing.assert_allclose(end, rest + (start - rest) * np.exp(-1.0), rtol=1e-6)
    np.testing.assert_allclose(run.trajectory["second_moment"][-1], end, rtol=1e-12)


def test_a_power_law_and_coincident_particles() -> None:
    gas = RieszGasLandscape(dim=2, exponent=1.0)
    mu = Ensemble(jnp.array([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0]]))
    # Pairs (1,3) and (2,3) at distance 2, twice each; ½‖x‖² is 2 for one of three.
    np.testing.assert_allclose(gas.value(mu), 0.5 * 4 * 0.5 / 9 + 2 / 3, rtol=1e-12)
    assert np.isfinite(HessianOperator(gas, mu).dense()).all()


def test_energy_distance_is_scipy_s() -> None:
    rng = np.random.default_rng(2)
    x, y, weights = rng.normal(size=5), rng.normal(size=4) + 1, np.arange(1.0, 6.0)
    landscape = EnergyDistanceLandscape(y[:, None])
    mu = Ensemble(jnp.array(x[:, None]), jnp.array(weights))
    np.testing.assert_allclose(
        landscape.value(mu), 0.5 * energy_distance(x, y, weights) ** 2, rtol=1e-10
    )
    at_target = Ensemble(landscape.target)
    np.testing.assert_allclose(landscape.value(at_target), 0, atol=1e-15)
    np.testing.assert_allclose(landscape.velocity(at_target), 0, atol=1e-15)


@pytest.mark.parametrize("kernel", ["gaussian", "laplace"])
def test_other_kernels_are_their_dense_sums(kernel: str) -> None:
    rng = np.random.default_rng(4)
    x, y, w = rng.normal(size=(5, 2)), rng.normal(size=(4, 2)), 0.7
    metric, scale = ("sqeuclidean", 2 * w**2) if kernel == "gaussian" else ("euclidean", w)
    k = lambda a, b: np.exp(-cdist(a, b, metric) / scale).mean()  # noqa: E731
    landscape, mu = EnergyDistanceLandscape(y, kernel, w), Ensemble(jnp.asarray(x))
    exact = 0.5 * (k(x, x) - 2 * k(x, y) + k(y, y))
    np.testing.assert_allclose(landscape.value(mu), exact, rtol=1e-12)
    assert abs(float(landscape.value(Ensemble(jnp.asarray(y))))) < 1e-15
    assert np.isfinite(landscape.velocity(mu)).all()
    pairs = [landscape.value(Ensemble(jnp.asarray(y[[i, j]]))) for i in range(4) for j in range(4)]
    assert landscape.sample_mean(2) == pytest.approx(np.mean(pairs), rel=1e-12)


def test_a_gaussian_kernel_keeps_a_far_particle_waiting() -> None:
    """r' = −r exp(−r²/2) takes ½(Ei(r₀²/2) − Ei(r₁²/2)); a distance takes r₀ − r₁."""
    far, near = 4.0, 1.0
    flow = GradientFlow(EnergyDistanceLandscape(np.zeros((1, 1)), "gaussian"), scheme="tsit5")
    time = 0.5 * (expi(far**2 / 2) - expi(near**2 / 2))
    assert time > 10 * (far - near)
    run = simulate(flow, Ensemble(jnp.array([[far]])), horizon=time, dt=time / 400)
    assert float(run.ensemble.particles[0, 0]) == pytest.approx(near, rel=1e-5)


def test_refusals() -> None:
    with pytest.raises(InvalidInput, match=r"exponent is 1.0; .* not integrable"):
        RieszGasLandscape(dim=1, exponent=1.0)
    with pytest.raises(InvalidInput, match="strength is 0"):
        RieszGasLandscape(dim=1, strength=0.0)
    with pytest.raises(InvalidInput, match="Hermite zeros"):
        hermite_points(RieszGasLandscape(dim=2), 3)
    with pytest.raises(InvalidInput, match="level is known for exponent 0"):
        _ = RieszGasLandscape(dim=3).level
    with pytest.raises(InvalidInput, match=r"target has shape \(3,\)"):
        EnergyDistanceLandscape(jnp.ones(3))
    with pytest.raises(InvalidInput, match="kernel is 'box'"):
        EnergyDistanceLandscape(jnp.ones((3, 1)), "box")
    with pytest.raises(InvalidInput, match="width is 0"):
        EnergyDistanceLandscape(jnp.ones((3, 1)), "gaussian", 0.0)
    with pytest.raises(InvalidInput, match=r"problem.width is 2\.0, but problem.kernel is"):
        EnergyDistance(width=2.0).build(jax.random.key(0))
    with pytest.raises(InvalidInput, match="needs"):
        GradientFlow(RieszGasLandscape(dim=1)).start(Ensemble(jnp.array(POINTS)), dt=0.1)
