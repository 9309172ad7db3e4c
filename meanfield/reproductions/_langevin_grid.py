"""The nonlinear Fokker–Planck equation of mean-field Langevin dynamics, on a grid of a line."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from landscapes import Confined
from landscapes.moments import MomentLandscape

CELLS = 400
EDGE = 7.0  # of the grid, in units of a particle


@dataclass(frozen=True)
class Course:
    """The free energy of the limit N → ∞ in time.

    Args:
        times: increasing.
        free_energy: L + τ ∫μ log μ.
        convexity: smallest V'' at each time: α τ of the Gibbs measure of V, by Bakry and Émery.
    """

    times: Float[np.ndarray, " times"]
    free_energy: Float[np.ndarray, " times"]
    convexity: Float[np.ndarray, " times"]


def fokker_planck(
    landscape: Confined, temperature: float, mean: float, spread: float, times: np.ndarray
) -> Course:
    """∂μ/∂t = ∂(μ V') + τ ∂²μ from a normal law, by finite volumes that keep Gibbs measures.

    Between two cells the flux is that of the stationary solution of constant force (Scharfetter and
    Gummel), so that the only error is of second order in the width of a cell.
    """
    from scipy.integrate import solve_ivp
    from scipy.special import exprel

    inner = landscape.inner
    assert isinstance(inner, MomentLandscape)
    kappa, tau = float(landscape.strength), temperature
    x, width = np.linspace(-EDGE, EDGE, CELLS, retstep=True)
    weights, targets = np.asarray(inner.weights), np.asarray(inner.targets)

    def wave(at: jax.Array) -> jax.Array:
        return inner.features(at[None])

    phi = np.asarray(jax.vmap(wave)(jnp.asarray(x)))
    bend = np.asarray(jax.vmap(jax.jacfwd(jax.jacfwd(wave)))(jnp.asarray(x)))

    def dual(rho: np.ndarray) -> np.ndarray:
        return weights * (rho @ phi * width - targets)

    def change(_: float, rho: np.ndarray) -> np.ndarray:
        z = np.diff(phi @ dual(rho) + 0.5 * kappa * x**2) / tau
        flux = tau / width * (rho[:-1] / exprel(z) - rho[1:] / exprel(-z))
        return -np.diff(flux, prepend=0.0, append=0.0) / width

    start = np.exp(-0.5 * ((x - mean) / spread) ** 2)
    start /= start.sum() * width
    # Newton's method may neglect that V follows the density: the band of the cells is enough.
    solver = functools.partial(solve_ivp, method="LSODA", lband=1, uband=1, rtol=1e-8, atol=1e-11)
    found = solver(change, (0.0, times[-1]), start, t_eval=times).y.T
    energies, convexities = [], []
    for rho in found:
        slope = dual(rho)
        risk = 0.5 * np.sum(slope**2 / np.where(weights > 0, weights, 1))
        inside = rho[rho > 1e-300]
        own = 0.5 * kappa * np.sum(x**2 * rho) + tau * np.sum(inside * np.log(inside))
        energies.append(risk + own * width)
        convexities.append(kappa + float((bend @ slope).min()))
    return Course(times, np.array(energies), np.array(convexities))
