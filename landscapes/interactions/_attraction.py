"""Attraction at long range and repulsion at short range, both by powers of the distance."""

from __future__ import annotations

import math

import equinox as eqx
import jax
from jaxtyping import Array, Float

from particles import InvalidInput

from .._pairs import PairLandscape
from ._powers import power


class AttractionRepulsionLandscape(PairLandscape):
    """L(μ) = ½ ∬ (|x − y|^a/a − |x − y|^b/b) dμ dμ, with log |x − y| for |x − y|⁰/0.

    A particle does not act on itself. L is invariant under translations. With a = 2 and the
    repulsion of Coulomb, b = 2 − d, particles fill the unit ball evenly; the uniform measure on a
    sphere is critical, and for b = 2 < a < 4 the minimum. (theory.md, section 11; FH11, DLM21)

    Args:
        dim: d, numbers in a particle.
        attraction: a > 0.
        repulsion: b below a and above −d: otherwise every measure with a density has infinite
            energy.

    Raises:
        InvalidInput: an option out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from particles import Ensemble
        >>> line = AttractionRepulsionLandscape(dim=1, repulsion=1.0)
        >>> float(abs(line.velocity(Ensemble(jnp.array([[0.5], [-0.5]])))).max())
        0.0
    """

    dim: int = eqx.field(static=True)
    attraction: float = eqx.field(static=True)
    repulsion: float = eqx.field(static=True)

    def __init__(self, dim: int = 2, attraction: float = 2.0, repulsion: float = 0.0):
        if dim < 1:
            raise InvalidInput(f"dim is {dim}; it must be at least 1.")
        if not 0 < attraction < math.inf:
            raise InvalidInput(f"attraction is {attraction}; it must be positive and finite.")
        if not repulsion < attraction:
            raise InvalidInput(
                f"repulsion is {repulsion} and attraction {attraction}; repulsion must be the "
                "smaller exponent, or particles fly apart."
            )
        if not repulsion > -dim:
            raise InvalidInput(
                f"repulsion is {repulsion}; |x|^b is not integrable unless b > −dim = {-dim}, and "
                "there is no cut-off: choose an exponent above."
            )
        self.dim, self.attraction, self.repulsion = dim, float(attraction), float(repulsion)

    @property
    def particle(self) -> jax.ShapeDtypeStruct:
        """D numbers."""
        return jax.ShapeDtypeStruct((self.dim,), jax.numpy.result_type(float))

    def pair(self, particle: Array, other: Array) -> Float[Array, ""]:
        """|x − y|^a/a − |x − y|^b/b, zero at x = y."""
        return power(particle, other, self.attraction) - power(particle, other, self.repulsion)

    @property
    def fills_ball(self) -> bool:
        """Whether the minimum is the uniform measure on the unit ball: a = 2, b = 2 − d."""
        return self.attraction == 2 and self.repulsion == 2 - self.dim

    @property
    def ball_level(self) -> float:
        """L of the uniform measure on the unit ball, the minimum: d²/(2(d² − 4)), 3/8 for d = 2.

        Raises:
            InvalidInput: other exponents.
        """
        d = self.dim
        if not self.fills_ball:
            raise InvalidInput(
                f"ball_level is known for attraction 2 and repulsion 2 − dim = {2 - d}, not for "
                f"{self.attraction} and {self.repulsion}."
            )
        return 3 / 8 if d == 2 else d**2 / (2 * (d**2 - 4))

    @property
    def sphere_radius(self) -> float:
        """R of the sphere on which the uniform measure is critical: (2R)^(a−b) = β(b)/β(a).

        β(p) is Euler's B((p + d − 1)/2, (d − 1)/2).

        Raises:
            InvalidInput: one dimension, or a repulsion too singular for a sphere, b ≤ 1 − d.
        """
        ratio = self._mean_sine(self.repulsion) / self._mean_sine(self.attraction)
        return 0.5 * ratio ** (1 / (self.attraction - self.repulsion))

    @property
    def sphere_level(self) -> float:
        """L there.

        Raises:
            InvalidInput: as `sphere_radius`; or a logarithm, whose level is not written down here.
        """
        a, b = self.attraction, self.repulsion
        reach = (2 * self.sphere_radius) ** a * self._mean_sine(a)  # ∬ |x − y|^a, and that of b
        if b == 0:
            raise InvalidInput("sphere_level is known for powers, not for repulsion 0.")
        return 0.5 * reach * (1 / a - 1 / b)

    def _mean_sine(self, exponent: float) -> float:
        """Mean of |x − y|^p over two points of the sphere of diameter 1."""
        from scipy.special import beta

        half = (self.dim - 1) / 2
        if half == 0 or exponent / 2 + half <= 0:
            raise InvalidInput(
                f"dim is {self.dim} and an exponent {exponent}; a uniform measure on a sphere "
                "needs two dimensions and exponents above 1 − dim."
            )
        return float(beta(exponent / 2 + half, half) / beta(half, half))
