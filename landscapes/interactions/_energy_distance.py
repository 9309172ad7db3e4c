"""The energy distance to a target sample: a kernel discrepancy without a length scale."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from particles import InvalidInput
from particles.internal import require_finite, require_real

from .._pairs import PairLandscape


class EnergyDistanceLandscape(PairLandscape):
    """L(μ) = ½ D²(μ, ν), D² = 2 E‖X − Y‖ − E‖X − X'‖ − E‖Y − Y'‖, ν a sample with equal weights.

    Zero at μ = ν alone, and convex along mixtures: the maximum mean discrepancy of the kernel
    −‖x − y‖. The force at coincident points is taken as zero. (theory.md, section 11; SR13)

    Args:
        target: points of ν, shape `(samples, dim)`.

    Raises:
        InvalidInput: not a table of finite numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from particles import Ensemble
        >>> landscape = EnergyDistanceLandscape(jnp.array([[1.0]]))
        >>> float(landscape.value(Ensemble(jnp.array([[0.0], [2.0]]))))
        0.5
    """

    target: Float[Array, "samples dim"]
    constant: Float[Array, ""]
    convex: ClassVar[bool] = True

    def __init__(self, target: ArrayLike):
        require_real("target", target)
        self.target = jnp.asarray(target, float)
        if self.target.ndim != 2 or 0 in self.target.shape:
            raise InvalidInput(
                f"target has shape {self.target.shape}; it must be (samples, dim), not empty."
            )
        require_finite("target", self.target)
        means = jax.lax.map(lambda y: jnp.mean(_distances(y, self.target)), self.target)
        self.constant = 0.5 * jnp.mean(means)

    @property
    def particle(self) -> jax.ShapeDtypeStruct:
        """A point like those of the target."""
        return jax.ShapeDtypeStruct(self.target.shape[1:], self.target.dtype)

    def pair(self, particle: Array, other: Array) -> Float[Array, ""]:
        """−‖x − y‖."""
        return -_distances(particle, other)

    def potential(self, particle: Array) -> Float[Array, ""]:
        """E‖x − Y‖ − ½ E‖Y − Y'‖."""
        target, constant = (a.astype(particle.dtype) for a in (self.target, self.constant))
        return jnp.mean(_distances(particle, target)) - constant


def _distances(point: Array, others: Array) -> Array:
    """‖x − y‖ over the last axis, with derivatives zero at coincident points."""
    square = jnp.sum((point - others) ** 2, axis=-1)
    apart = square > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)
