"""Moment landscapes against formulas; the equilibrium against normal laws and brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from landscapes import Confined, InductionLandscape
from landscapes.moments import FourierLandscape, MeanLandscape, equilibrium
from particles import Ensemble, InvalidInput


def test_energies_by_hand() -> None:
    points = np.random.default_rng(0).normal(size=(5, 2))
    mu = Ensemble(jnp.asarray(points))
    mean = MeanLandscape([1.0], [0.5], 2)
    assert float(mean.value(mu)) == pytest.approx(0.25 * (points[:, 0].mean() - 1) ** 2)
    fourier = FourierLandscape(2, 2, strength=3.0, centre=0.4, spread=0.7)
    total = 0.0
    for k in (1, 2):
        goal = np.exp(1j * 0.4 * k - 0.5 * (0.7 * k) ** 2)
        seen = np.exp(1j * k * points).mean(axis=0)
        total += 0.5 * 3.0 / k**2 * np.sum(np.abs(seen - goal) ** 2)
    assert float(fourier.value(mu)) == pytest.approx(total)


@pytest.mark.parametrize("dt", [0.0, 0.05])
def test_equilibrium_of_normal_laws(dt: float) -> None:
    """Euler's stationary variance is τ/(κ(1 − κdt/2)), to second order that of the grid."""
    kappa, tau, h = 0.8, 0.3, 1.7
    found = equilibrium(Confined(MeanLandscape([1.0], [h], 1), kappa), tau, dt=dt)
    assert found.moments[0] == pytest.approx(h / (h + kappa))
    variance = tau / (kappa * (1 - kappa * dt / 2))
    assert found.covariance[0, 0] == pytest.approx(variance, rel=dt**2 + 1e-9)
    c = found.covariance[0, 0]
    assert found.fluctuations[0, 0] == pytest.approx(1 / (1 / c + h / tau))
    assert found.gap == pytest.approx(tau / 2 * np.log(1 + c * h / tau))
    if not dt:
        own = 0.5 * kappa * tau / kappa - tau / 2 * np.log(2 * np.pi * np.e * tau / kappa)
        pulled = 0.5 * h * kappa / (h + kappa)
        assert found.free_energy == pytest.approx(own + pulled)


def test_equilibrium_solves_its_equation() -> None:
    """∫Φ exp(−V/τ) by adaptive quadrature, V the landscape's own first variation."""
    landscape, tau = Confined(FourierLandscape(1, 2, strength=2.0), 1.0), 0.25
    found = equilibrium(landscape, tau)
    inner = landscape.inner
    dual = jax.grad(inner.risk)(jnp.asarray(found.moments))

    def weight(x: float) -> float:
        phi = np.concatenate([np.cos([x, 2 * x]), np.sin([x, 2 * x])])
        return float(np.exp(-(phi @ np.asarray(dual) + 0.5 * x**2) / tau))

    mass = quad(weight, -6, 6, epsabs=1e-12)[0]
    for index, wave in enumerate((np.cos, np.sin)):
        value = quad(lambda x, w=wave: w(x) * weight(x), -6, 6, epsabs=1e-12)[0] / mass
        assert found.moments[2 * index] == pytest.approx(value, abs=1e-9)
    # The equilibrium minimises the free energy among the Gibbs measures of other moments.
    rho, x = found.density, found.points
    assert rho.sum() * (x[1] - x[0]) == pytest.approx(1)


def test_refusals() -> None:
    with pytest.raises(InvalidInput, match="one weight for each target"):
        MeanLandscape([1.0], [1.0, 2.0], 3)
    with pytest.raises(InvalidInput, match="must not be negative"):
        MeanLandscape([1.0], [-1.0], 1)
    with pytest.raises(InvalidInput, match="dim is 1, but 2 coordinates"):
        MeanLandscape([1.0, 2.0], [1.0, 1.0], 1)
    with pytest.raises(InvalidInput, match="orders 0"):
        FourierLandscape(orders=0)
    with pytest.raises(InvalidInput, match="spread is -1"):
        FourierLandscape(spread=-1.0)
    with pytest.raises(InvalidInput, match="particles of one number"):
        equilibrium(Confined(FourierLandscape(2), 1.0), 0.1)
    with pytest.raises(InvalidInput, match="particles of one number"):
        equilibrium(Confined(InductionLandscape(4), 1.0), 0.1)
    with pytest.raises(InvalidInput, match="both must be positive"):
        equilibrium(Confined(FourierLandscape(), 0.0), 0.1)
