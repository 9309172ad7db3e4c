"""The stationary measure of Langevin dynamics in one dimension, by quadrature."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from particles import InvalidInput

from .._confined import Confined
from ._landscape import MomentLandscape


@dataclass(frozen=True)
class Equilibrium:
    """The measure μ* ∝ exp(−δL/δμ[μ*]/τ), and what it says of N particles.

    Args:
        points: of the grid.
        density: μ* there, of unit integral.
        moments: m* = ∫Φ dμ*.
        free_energy: L(μ*) + τ ∫μ* log μ*.
        covariance: C of Φ under μ*.
        fluctuations: (C⁻¹ + H/τ)⁻¹, the limit of N Cov(m) as N → ∞, with H = D²R(m*).
        gap: (τ/2) log det(I + CH/τ), the limit of N times the free energy of N particles, one
            particle's share of it, above that of μ*.
    """

    points: Float[np.ndarray, " points"]
    density: Float[np.ndarray, " points"]
    moments: Float[np.ndarray, " moments"]
    free_energy: float
    covariance: Float[np.ndarray, "moments moments"]
    fluctuations: Float[np.ndarray, "moments moments"]
    gap: float


def equilibrium(
    landscape: Confined, temperature: float, *, dt: float = 0.0, points: int = 2001
) -> Equilibrium:
    """The equilibrium of a confined `MomentLandscape` of particles on a line.

    Its moments solve m = ∫Φ ρ_m, with ρ_m ∝ exp(−V_m/τ) the Gibbs measure of the first variation
    at m; a convex problem in as many numbers as there are moments. (theory.md, section 13)

    Args:
        landscape: `Confined(MomentLandscape)` with particles of one number.
        temperature: τ > 0.
        dt: step of Euler–Maruyama. Its stationary law is, to second order, the Gibbs measure of
            V + dt (τV''/2 − V'²/4); zero is the limit dt → 0.
        points: of the grid, over eight standard deviations √(τ/κ) to each side and as far as V
            may move them.

    Raises:
        InvalidInput: another landscape, or a temperature that is not positive.

    Example:
        >>> from landscapes.moments import MeanLandscape
        >>> found = equilibrium(Confined(MeanLandscape([2.0], [1.0], 1), 1.0), 0.5)
        >>> found.moments.round(6).tolist(), round(float(found.fluctuations[0, 0]), 6)
        ([1.0], 0.25)
    """
    from scipy.optimize import root

    inner = landscape.inner
    line = inner.particle is not None and jax.tree.leaves(inner.particle)[0].shape == (1,)
    if not (isinstance(inner, MomentLandscape) and line):
        raise InvalidInput(
            "landscape must be Confined(MomentLandscape) with particles of one number."
        )
    if not (temperature > 0 and float(landscape.strength) > 0):
        raise InvalidInput(
            f"temperature is {temperature} and the confinement {float(landscape.strength)}; both "
            "must be positive."
        )
    kappa = float(landscape.strength)
    weights, targets = np.asarray(inner.weights), np.asarray(inner.targets)

    def waves(x: jax.Array) -> jax.Array:
        return inner.features(x[None])

    slope = jax.jacfwd(waves)
    steps = np.asarray(jax.vmap(slope)(jnp.linspace(-1.0, 1.0, 201)))
    pull = np.sum(weights * (1 + abs(targets)) * abs(steps).max(axis=0)) / kappa
    edge = 8 * np.sqrt(temperature / kappa) + pull
    x = np.linspace(-edge, edge, points)
    width = x[1] - x[0]
    phi, first, second = (
        np.asarray(jax.vmap(fn)(jnp.asarray(x))) for fn in (waves, slope, jax.jacfwd(slope))
    )

    def density(moments: np.ndarray) -> np.ndarray:
        dual = weights * (moments - targets)
        v = phi @ dual + 0.5 * kappa * x**2
        if dt:
            force, bend = first @ dual + kappa * x, second @ dual + kappa
            v = v + dt * (0.5 * temperature * bend - 0.25 * force**2)
        rho = np.exp(-(v - v.min()) / temperature)
        return rho / (rho.sum() * width)

    found = root(lambda m: phi.T @ density(m) * width - m, targets, tol=1e-13)
    m, rho = found.x, density(found.x)
    centred = phi - m
    covariance = centred.T @ (rho[:, None] * centred) * width
    hessian = np.diag(weights)
    response = np.eye(len(m)) + covariance @ hessian / temperature
    inside = rho[rho > 0]
    free = 0.5 * np.sum(weights * (m - targets) ** 2) + 0.5 * kappa * np.sum(x**2 * rho) * width
    return Equilibrium(
        x,
        rho,
        m,
        float(free + temperature * np.sum(inside * np.log(inside)) * width),
        covariance,
        np.linalg.solve(response, covariance),
        0.5 * temperature * float(np.linalg.slogdet(response)[1]),
    )
