"""The distance of a kernel to a target sample: the energy distance, and others with a width."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

from particles import InvalidInput
from particles.internal import require_finite, require_real

from .._pairs import PairLandscape

KERNELS = ("distance", "gaussian", "laplace")


class EnergyDistanceLandscape(PairLandscape):
    """L(μ) = ½ ∬ k d(μ − ν) d(μ − ν), ν a sample with equal weights: maximum mean discrepancy.

    With the kernel −‖x − y‖ it is half the energy distance, D² = 2 E‖X − Y‖ − E‖X − X'‖ −
    E‖Y − Y'‖. Zero at μ = ν alone, and convex along mixtures; along the flow of particles it is
    not: a bounded kernel leaves particles far from ν almost without force. Forces between
    coincident points are zero. (theory.md, section 11; SR13, GBRSS12)

    Args:
        target: points of ν, shape `(samples, dim)`.
        kernel: `distance` −‖x − y‖, `gaussian` exp(−‖x − y‖²/2w²) or `laplace` exp(−‖x − y‖/w).
        width: w > 0; the distance has none, and takes no notice.

    Raises:
        InvalidInput: not a table of finite numbers, an unknown kernel, or no positive width.

    Example:
        >>> import jax.numpy as jnp
        >>> from particles import Ensemble
        >>> landscape = EnergyDistanceLandscape(jnp.array([[1.0]]))
        >>> float(landscape.value(Ensemble(jnp.array([[0.0], [2.0]]))))
        0.5
    """

    target: Float[Array, "samples dim"]
    width: Float[Array, ""]
    constant: Float[Array, ""]
    kernel: str = eqx.field(static=True)
    convex: ClassVar[bool] = True

    def __init__(self, target: ArrayLike, kernel: str = "distance", width: float = 1.0):
        require_real("target", target)
        self.target = jnp.asarray(target, float)
        if self.target.ndim != 2 or 0 in self.target.shape:
            raise InvalidInput(
                f"target has shape {self.target.shape}; it must be (samples, dim), not empty."
            )
        require_finite("target", self.target)
        if kernel not in KERNELS:
            raise InvalidInput(f"kernel is {kernel!r}; choose one of {list(KERNELS)}.")
        self.kernel, self.width = kernel, jnp.asarray(width, float)
        self.require_valid()
        means = jax.lax.map(lambda y: jnp.mean(self._kernel(y, self.target)), self.target)
        self.constant = 0.5 * jnp.mean(means)

    def require_valid(self) -> None:
        """Refuse a width that is not positive."""
        if not (isinstance(self.width, Tracer) or 0 < float(self.width) < float("inf")):
            raise InvalidInput(f"width is {self.width}; it must be positive and finite.")

    @property
    def particle(self) -> jax.ShapeDtypeStruct:
        """A point like those of the target."""
        return jax.ShapeDtypeStruct(self.target.shape[1:], self.target.dtype)

    def sample_mean(self, size: int) -> float:
        """The mean of L over `size` independent points of the target, (k(y, y) − E k(Y, Y'))/2N.

        Example:
            >>> target = jnp.array([[0.0], [1.0]])  # E‖Y − Y'‖ = ½
            >>> EnergyDistanceLandscape(target).sample_mean(4)
            0.0625
        """
        one = self.target[0]
        return (0.5 * float(self._kernel(one, one)) - float(self.constant)) / size

    def pair(self, particle: Array, other: Array) -> Float[Array, ""]:
        """k(x, y)."""
        return self._kernel(particle, other)

    def potential(self, particle: Array) -> Float[Array, ""]:
        """½ E k(Y, Y') − E k(x, Y)."""
        target, constant = (a.astype(particle.dtype) for a in (self.target, self.constant))
        return constant - jnp.mean(self._kernel(particle, target))

    def _kernel(self, point: Array, others: Array) -> Array:
        """K over the last axis, with derivatives zero at coincident points."""
        square = jnp.sum((point - others) ** 2, axis=-1)
        width = self.width.astype(square.dtype)
        if self.kernel == "gaussian":
            return jnp.exp(-0.5 * square / width**2)
        apart = square > 0
        distance = jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)
        return jnp.exp(-distance / width) if self.kernel == "laplace" else -distance
