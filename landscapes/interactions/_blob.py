"""Diffusion without noise: entropy and powers of a density smoothed by a Gaussian."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from particles import Ensemble, InvalidInput

from .._densities import DensityLandscape
from .._observables import Observable
from .._warnings import StartWarning
from ._positive import require_positive


class NarrowKernelWarning(StartWarning):
    """A kernel so narrow that particles do not see each other: nothing diffuses."""


class BlobLandscape(DensityLandscape):
    """L(μ) = σ ∫ log ρ dμ, or σ/(m − 1) ∫ ρ^(m−1) dμ: the flow is ∂μ = σ Δμ^m without noise.

    ρ is the density of μ smoothed by a Gaussian of width ε. The heat equation is m = 1, the porous
    medium m > 1, fast diffusion m < 1. The kernel must be wider than the gaps between particles.
    Errors are of order ε⁴ for m = 1 and ε² otherwise. (theory.md, section 11; CCP19)

    Args:
        dim: d, numbers in a particle.
        width: ε > 0, standard deviation of the kernel.
        exponent: m > 0.
        strength: σ > 0, the coefficient of diffusion.

    Raises:
        InvalidInput: an option out of range.

    Example:
        >>> heat = BlobLandscape(dim=1, width=1.0)
        >>> mu = Ensemble(jnp.array([[-0.5], [0.5]]))
        >>> heat.velocity(mu)[1, 0] > 0  # apart
        Array(True, dtype=bool)
    """

    width: Float[Array, ""]
    strength: Float[Array, ""]
    dim: int = eqx.field(static=True)
    exponent: float = eqx.field(static=True)

    def __init__(self, dim: int, width: float, exponent: float = 1.0, strength: float = 1.0):
        if dim < 1:
            raise InvalidInput(f"dim is {dim}; it must be at least 1.")
        if not 0 < exponent < math.inf:
            raise InvalidInput(
                f"exponent is {exponent}; ∂μ = Δμ^m is a diffusion for m above 0 alone (1: heat)."
            )
        self.dim, self.exponent = dim, float(exponent)
        self.width, self.strength = jnp.asarray(width, float), jnp.asarray(strength, float)
        self.require_valid()

    def require_valid(self) -> None:
        """Refuse a width or a strength that is not positive."""
        require_positive(self, "width", "strength")

    @property
    def particle(self) -> jax.ShapeDtypeStruct:
        """D numbers."""
        return jax.ShapeDtypeStruct((self.dim,), self.width.dtype)

    def pair(self, particle: Array, other: Array) -> Float[Array, ""]:
        """The normal density of θ − θ' with standard deviation ε."""
        width = self.width.astype(particle.dtype)
        apart = (particle - other) / width
        return jnp.exp(-0.5 * jnp.sum(apart**2)) / (math.sqrt(2 * math.pi) * width) ** self.dim

    def internal(self, density: Float[Array, ""]) -> Float[Array, ""]:
        """σ log ρ, or σ ρ^(m−1)/(m − 1)."""
        strength = self.strength.astype(density.dtype)
        # Far from all particles ρ is below what can be written down: the log of that, not −∞.
        seen = jnp.maximum(density, jnp.finfo(density.dtype).tiny)
        if self.exponent == 1:
            return strength * jnp.log(seen)
        return strength * seen ** (self.exponent - 1) / (self.exponent - 1)

    def observables(self, moments: tuple[Array, Array]) -> dict[str, Observable]:
        """∫ ‖x‖² dμ."""
        return {"second_moment": Observable(jnp.sum(moments[1]), units="particle²")}

    def concerns(self, ensemble: Ensemble) -> list[StartWarning]:
        """Particles that fill more than half of the density around them themselves."""
        density = np.asarray(self.density(ensemble, ensemble))
        peak = 1 / (math.sqrt(2 * math.pi) * float(self.width)) ** self.dim
        own = float(np.median(np.asarray(ensemble.probabilities) * peak / density))
        if own <= 0.5:
            return []
        return [
            NarrowKernelWarning(
                f"width is {float(self.width):g}: half of the particles make {own:.0%} or more of "
                "the density around them themselves, so that little diffuses; choose a wider "
                "kernel or more particles."
            )
        ]
