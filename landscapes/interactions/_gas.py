"""Gases of charges: repulsion |x − y|⁻ˢ or −log |x − y|, held together by a quadratic potential."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from particles import Ensemble, InvalidInput

from .._observables import Observable
from .._pairs import PairLandscape
from ._positive import require_positive
from ._powers import power


class RieszGasLandscape(PairLandscape):
    """L(μ) = ½ ∬ g(x − y) dμ dμ + (λ/2) ∫ ‖x‖² dμ, g = |x|⁻ˢ/s, or −log |x| for s = 0.

    A particle does not repel itself: sums go over pairs of different particles. Then for s = 0 the
    second moment of N particles obeys m' = −2λm + (N − 1)/N in any dimension. The equilibrium is
    the semicircle law on a line and the uniform disc in the plane. (theory.md, section 11; SER15)

    Args:
        dim: d, numbers in a particle.
        strength: λ > 0.
        exponent: s ≥ 0, below d: otherwise every measure with a density has infinite energy.

    Raises:
        InvalidInput: an option out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> gas = RieszGasLandscape(dim=1)
        >>> float(abs(gas.velocity(Ensemble(jnp.array([[0.5], [-0.5]])))).max())  # ½ − 1/(2·1)
        0.0
    """

    strength: Float[Array, ""]
    dim: int = eqx.field(static=True)
    exponent: float = eqx.field(static=True)

    def __init__(self, dim: int, strength: float = 1.0, exponent: float = 0.0):
        if dim < 1:
            raise InvalidInput(f"dim is {dim}; it must be at least 1.")
        if not 0 <= exponent < dim:
            raise InvalidInput(
                f"exponent is {exponent}; |x|^(−s) is not integrable unless s < dim = {dim}, and "
                "there is no cut-off: choose 0 (logarithm) up to below dim."
            )
        self.dim, self.exponent = dim, float(exponent)
        self.strength = jnp.asarray(strength, float)
        self.require_valid()

    def require_valid(self) -> None:
        """Refuse a strength that is not positive."""
        require_positive(self, "strength")

    @property
    def particle(self) -> jax.ShapeDtypeStruct:
        """D numbers."""
        return jax.ShapeDtypeStruct((self.dim,), self.strength.dtype)

    def pair(self, particle: Array, other: Array) -> Float[Array, ""]:
        """g(x − y), zero at x = y."""
        return -power(particle, other, -self.exponent)

    def potential(self, particle: Array) -> Float[Array, ""]:
        """(λ/2) ‖x‖²."""
        return 0.5 * self.strength.astype(particle.dtype) * jnp.sum(particle**2)

    def observables(self, moments: tuple[Array, Array]) -> dict[str, Observable]:
        """∫ ‖x‖² dμ."""
        return {"second_moment": Observable(jnp.sum(moments[1]), units="particle²")}

    @property
    def radius(self) -> float:
        """Of the support of the equilibrium, for s = 0 in one or two dimensions.

        Raises:
            InvalidInput: another gas.
        """
        self._require_known("radius")
        return math.sqrt((2.0 if self.dim == 1 else 1.0) / float(self.strength))

    @property
    def level(self) -> float:
        """Min L = 3/8 − ½ log ρ: ρ is half the radius on a line, the radius in the plane.

        Raises:
            InvalidInput: another gas than of `radius`.
        """
        self._require_known("level")
        return 3 / 8 - 0.5 * math.log(self.radius / (2 if self.dim == 1 else 1))

    def second_moment(self, size: int) -> float:
        """∫ ‖x‖² dμ at every critical point of N particles, for s = 0: (N − 1)/(2λN).

        Raises:
            InvalidInput: s > 0.
        """
        if self.exponent:
            raise InvalidInput(f"second_moment is known for exponent 0, not for {self.exponent}.")
        return (size - 1) / (2 * size * float(self.strength))

    def _require_known(self, what: str) -> None:
        if self.exponent or self.dim > 2:
            raise InvalidInput(
                f"{what} is known for exponent 0 in one and two dimensions; this gas has exponent "
                f"{self.exponent} and dim {self.dim}."
            )


def hermite_points(gas: RieszGasLandscape, size: int) -> Ensemble:
    """The equilibrium of N charges on a line, s = 0: zeros of a Hermite polynomial over √(λN).

    The Wasserstein Hessian there has the eigenvalues λ, 2λ, …, Nλ. (theory.md, section 11; SZE75)

    Raises:
        InvalidInput: a gas in more dimensions, or with s > 0.

    Example:
        >>> hermite_points(RieszGasLandscape(1), 2).particles.round(6).tolist()
        [[-0.5], [0.5]]
    """
    from scipy.special import roots_hermite

    if gas.dim != 1 or gas.exponent:
        raise InvalidInput(
            f"gas has dim {gas.dim} and exponent {gas.exponent}; Hermite zeros are the equilibrium "
            "of dim 1 and exponent 0."
        )
    zeros, _ = roots_hermite(size)
    points = np.asarray(zeros) / math.sqrt(float(gas.strength) * size)
    return Ensemble(jnp.asarray(points[:, None], gas.strength.dtype))
