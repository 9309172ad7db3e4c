"""Attraction by the logarithm of the distance: cells that follow what they emit."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from particles import InvalidInput

from .._pairs import PairLandscape
from ._positive import require_positive


class ChemotaxisLandscape(PairLandscape):
    """L(μ) = (χ/8π) ∬ log(|x − y|² + δ²) dμ dμ: the attraction of the Keller–Segel equation.

    With diffusion (`BlobLandscape`, or noise of temperature 1) the flow is, as δ → 0 in the plane,
    ∂μ = Δμ − χ div(μ∇c), −Δc = μ. Its second moment changes at the rate 2d − χ/2π in any
    dimension d: beyond χ = 4πd it would reach zero, and particles collapse, to the scale of δ.
    (theory.md, section 11; BDP06)

    Args:
        dim: d, numbers in a particle.
        strength: χ > 0, of a mass of one.
        softening: δ > 0, the length below which attraction ends.

    Raises:
        InvalidInput: an option out of range.

    Example:
        >>> cells = ChemotaxisLandscape(dim=2, strength=12.0, softening=0.1)
        >>> round(cells.critical / 3.14159265, 6)
        8.0
    """

    strength: Float[Array, ""]
    softening: Float[Array, ""]
    dim: int = eqx.field(static=True)

    def __init__(self, dim: int, strength: float, softening: float):
        if dim < 1:
            raise InvalidInput(f"dim is {dim}; it must be at least 1.")
        self.dim = dim
        self.strength, self.softening = jnp.asarray(strength, float), jnp.asarray(softening, float)
        self.require_valid()

    def require_valid(self) -> None:
        """Refuse a strength or a softening that is not positive."""
        require_positive(self, "strength", "softening")

    @property
    def particle(self) -> jax.ShapeDtypeStruct:
        """D numbers."""
        return jax.ShapeDtypeStruct((self.dim,), self.strength.dtype)

    def pair(self, particle: Array, other: Array) -> Float[Array, ""]:
        """(χ/4π) log(|x − y|² + δ²)."""
        strength, softening = (a.astype(particle.dtype) for a in (self.strength, self.softening))
        square = jnp.sum((particle - other) ** 2)
        return strength / (4 * math.pi) * jnp.log(square + softening**2)

    @property
    def critical(self) -> float:
        """χ beyond which particles collapse as δ → 0: 4πd, in the plane 8π."""
        return 4 * math.pi * self.dim
