"""Single-index landscapes against networks on Gaussian inputs, and against scipy's flows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import hermite_e
from scipy.integrate import solve_ivp
from scipy.special import factorial

from landscapes.single_index import (
    IndexNeuron,
    SharedLinkLandscape,
    SingleIndexLandscape,
    escape_time,
    linear_time,
    overlap_angles,
    plateau_levels,
)
from particles import Ensemble, InvalidInput

PHI, SIGMA = np.array([0.3, 1.0, -0.7, 0.5]), np.array([0.4, 0.8, 1.1, -0.6])
A, S = np.array([1.3, -0.8]), np.array([0.6, -0.3])


def normalised(coefficients: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Σ c_k He_k(x)/√k!."""
    return hermite_e.hermeval(x, coefficients / np.sqrt(factorial(np.arange(len(coefficients)))))


def gaussian_mean(values: np.ndarray, weights: np.ndarray) -> float:
    for _ in range(values.ndim):
        values = values @ weights
    return float(values)


@pytest.fixture(scope="module")
def nodes() -> tuple[np.ndarray, np.ndarray]:
    x, weights = hermite_e.hermegauss(8)
    return x, weights / weights.sum()


def own(ratio: float = 0.3) -> tuple[SingleIndexLandscape, Ensemble]:
    neurons = IndexNeuron(jnp.asarray(np.sqrt(ratio) * A), jnp.asarray(np.arcsin(S)))
    return SingleIndexLandscape(PHI, SIGMA, ratio), Ensemble(neurons)


def test_the_risk_is_a_network_of_orthogonal_remainders(nodes) -> None:
    """In R³; what a finite network adds is the own terms σ_k²(1 − s^(2k)) a²/(2N²)."""
    landscape, mu = own()
    x, weights = nodes
    along, first, second = np.meshgrid(x, x, x, indexing="ij")
    across = np.sqrt(1 - S**2)
    network = 0.5 * (
        A[0] * normalised(SIGMA, S[0] * along + across[0] * first)
        + A[1] * normalised(SIGMA, S[1] * along + across[1] * second)
    )
    loss = 0.5 * gaussian_mean((normalised(PHI, along) - network) ** 2, weights)
    beyond = np.sum(A**2 * (SIGMA**2 @ (1 - S ** (2 * np.arange(4)[:, None])))) / 8
    assert float(landscape.value(mu)) == pytest.approx(loss - beyond, rel=1e-5)


def test_the_velocity_is_that_of_the_source() -> None:
    """ε da/dt = V(s) − mean of a U, ds/dt = (1 − s²) a (V' − mean of a s U')."""
    landscape, mu = own()
    k = np.arange(4)
    slope = np.maximum(k - 1, 0)
    both = S[:, None] * S[None]
    v = [np.sum(PHI * SIGMA * s**k) for s in S]
    dv = [np.sum(k * PHI * SIGMA * s**slope) for s in S]
    u = (SIGMA**2 * both[..., None] ** k).sum(-1) @ A / 2
    du = (k * SIGMA**2 * both[..., None] ** slope).sum(-1) @ (A * S) / 2
    found = landscape.velocity(mu)
    rates = found.readout / np.sqrt(0.3), found.angle * np.cos(np.arcsin(S))
    np.testing.assert_allclose(rates[0], (v - u) / 0.3, rtol=1e-4)
    np.testing.assert_allclose(rates[1], (1 - S**2) * A * (dv - du), rtol=1e-4)


def test_without_degree_one_nothing_leaves_the_equator() -> None:
    landscape = SingleIndexLandscape([0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0])
    mu = Ensemble(IndexNeuron(jnp.array([2.0, -1.0]), jnp.zeros(2)))
    assert jnp.all(landscape.velocity(mu).angle == 0)
    assert jnp.all(own()[0].velocity(mu).angle != 0)


def test_a_shared_link_is_one_student(nodes) -> None:
    link, s = np.array([0.1, 0.5, -0.2, 0.9]), 0.4
    x, weights = nodes
    along, beyond = np.meshgrid(x, x, indexing="ij")
    student = normalised(link, s * along + np.sqrt(1 - s**2) * beyond)
    loss = 0.5 * gaussian_mean((normalised(PHI, along) - student) ** 2, weights)
    landscape, mu = SharedLinkLandscape(PHI), Ensemble(jnp.full((1, 1), np.arcsin(s)))
    assert float(landscape.value(mu, jnp.asarray(link))) == pytest.approx(loss, rel=1e-5)
    best = 0.5 * np.sum(PHI**2 * (1 - s ** (2 * np.arange(4))))
    assert float(landscape.value(mu)) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("link", [None, PHI])
def test_escape_times(link: np.ndarray | None) -> None:
    phi = np.array([0.0, 0.0, 0.8, 0.5])

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        c = phi * y[0] ** np.arange(4) if link is None else phi
        slopes = (np.arange(4) * phi * c)[1:] * y[0] ** np.arange(3)
        return np.array([(1 - y[0] ** 2) * np.sum(slopes)])

    def met(t: float, y: np.ndarray) -> float:
        return y[0] - 0.5

    met.terminal = True
    expected = solve_ivp(slope, (0, 1e4), [0.05], events=met, rtol=1e-10, atol=1e-12).t_events[0]
    found = escape_time(phi, 0.05, link=None if link is None else phi)
    assert found == pytest.approx(expected[0], rel=1e-7)
    assert escape_time(phi, 0.05, link=-phi) == np.inf


def test_the_time_of_degree_one() -> None:
    """Against the flow of a and s with degree 1 alone and 1 − s² ≈ 1."""
    phi, sigma, ratio, a = 0.8, 1.5, 1e-6, np.array([0.5, -1.0, 1.2])

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        left = sigma * (phi - sigma * np.mean(y[:3] * y[3:]))
        return np.concatenate([left * y[3:] / ratio, left * y[:3]])

    def learned(t: float, y: np.ndarray) -> float:
        return sigma * np.mean(y[:3] * y[3:]) - 0.5 * phi

    learned.terminal = True
    start = np.concatenate([a, np.zeros(3)])
    found = solve_ivp(slope, (0, 1), start, events=learned, method="LSODA", rtol=1e-9, atol=1e-14)
    spread = float(np.sqrt(np.mean(a**2)))
    expected = linear_time(phi, sigma, ratio, spread=spread)
    assert found.t_events[0][0] == pytest.approx(expected, rel=1e-5)


def test_levels_and_overlaps() -> None:
    levels = plateau_levels(PHI)
    assert levels[0] == pytest.approx(0.5 * np.sum(PHI**2))
    assert levels[-1] == 0
    s = np.sin(overlap_angles(jax.random.key(0), jax.random.normal(jax.random.key(1), (4096,)), 5))
    error = np.sqrt(2 * (5 - 1) / (5**2 * (5 + 2)) / 4096)  # Var s² = 2(d − 1)/(d²(d + 2))
    assert abs(np.mean(s**2) - 1 / 5) < 4 * error


def test_refusals() -> None:
    with pytest.raises(InvalidInput, match="teacher has 1 coefficients and activation 2"):
        SingleIndexLandscape([1.0], [1.0, 1.0])
    with pytest.raises(InvalidInput, match="ratio is 0"):
        SingleIndexLandscape([1.0], [1.0], 0.0)
    with pytest.raises(InvalidInput, match="one coefficient a degree"):
        SharedLinkLandscape([])
    with pytest.raises(InvalidInput, match="dim is 1"):
        overlap_angles(jax.random.key(0), jnp.ones(2), 1)
    with pytest.raises(InvalidInput, match="both are different from zero"):
        linear_time(0.0, 1.0, 0.1)
    with pytest.raises(InvalidInput, match="share 2"):
        linear_time(1.0, 1.0, 0.1, share=2.0)
    with pytest.raises(InvalidInput, match="0 < start < level"):
        escape_time([0.0, 1.0], 0.9)
