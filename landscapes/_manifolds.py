"""Manifolds that particles are bound to, given by the point of the manifold nearest to a particle.

A landscape on a manifold is L ∘ π on the space around it, π the nearest point. It is constant along
the normals; so its gradient there is tangent, its Hessian on tangent vectors is the Riemannian one,
and on normals it is zero. All derived functions of a landscape are right without knowing of it.
(theory.md, section 11; AMS08)
"""

from __future__ import annotations

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from particles import InvalidInput

from ._spaces import Space


class Manifold(Space):
    """Abstract base: write `nearest`. Flows bring particles back to it after every step."""

    @abc.abstractmethod
    def nearest(self, particle: PyTree) -> PyTree:
        """π(θ), the point of the manifold nearest to a particle; smooth near the manifold."""

    def point(self, particle: PyTree) -> PyTree:
        """The nearest one."""
        return self.nearest(particle)


class Sphere(Manifold):
    """‖θ‖ = radius, over all numbers of a particle together.

    Args:
        radius: > 0.

    Raises:
        InvalidInput: a radius that is not positive.

    Example:
        >>> float(Sphere(10.0).nearest(jnp.array([3.0, 4.0]))[0])
        6.0
    """

    radius: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        if not 0 < self.radius < float("inf"):
            raise InvalidInput(f"radius is {self.radius}; it must be positive and finite.")

    def nearest(self, particle: PyTree) -> PyTree:
        """Radius · θ/‖θ‖; not a number at the centre, which no point is nearest to."""
        length = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(particle)))
        return jax.tree.map(lambda leaf: self.radius * leaf / length, particle)


class Torus(Manifold):
    """Angles: every number of a particle modulo a period. It is flat, so that π changes no slope.

    Args:
        period: > 0.

    Raises:
        InvalidInput: a period that is not positive.

    Example:
        >>> Torus(1.0).nearest(jnp.array([1.25, -0.25])).tolist()
        [0.25, 0.75]
    """

    period: float = eqx.field(static=True, default=6.283185307179586)

    def __check_init__(self) -> None:
        if not 0 < self.period < float("inf"):
            raise InvalidInput(f"period is {self.period}; it must be positive and finite.")

    def nearest(self, particle: PyTree) -> PyTree:
        """θ modulo the period."""
        return jax.tree.map(lambda leaf: jnp.mod(leaf, self.period), particle)
