"""Any landscape, with its particles bound to a manifold."""

from __future__ import annotations

from jaxtyping import Array, Float, PyTree

from ._abstract import AbstractLandscape
from ._base import Landscape
from ._manifolds import Manifold, all_nearest
from ._pairs import PairLandscape
from ._wrapper import LandscapeWrapper


class Constrained(LandscapeWrapper):
    """L on measures on a manifold: the features are those of the nearest point.

    Velocities are tangent, the Hessian is the Riemannian one on tangent fields and zero on normal
    ones, and flows bring particles back to the manifold after every step. (theory.md, section 11)

    Args:
        inner: any landscape of features and a risk.
        space: the manifold that the particles live on.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Sphere
        >>> from particles import Ensemble
        >>> class Height(Landscape):
        ...     def features(self, particle):
        ...         return particle[1]
        ...
        ...     def risk(self, moments, fast=None):
        ...         return moments
        >>> mu = Ensemble(jnp.array([[1.0, 0.0], [0.0, 1.0]]))
        >>> Constrained(Height(), Sphere()).velocity(mu) + 0  # down, but not at the pole
        Array([[ 0., -1.],
               [ 0.,  0.]], dtype=float32)
    """

    inner: Landscape
    space: Manifold

    @property
    def manifold(self) -> Manifold:
        """Where the particles live."""
        return self.space

    def features(self, particle: PyTree) -> PyTree:
        """Φ(π(θ))."""
        return self.inner.features(self.manifold.nearest(particle))

    def feature_sum(self, particles: PyTree, weights: Float[Array, " particles"]) -> PyTree:
        """As fast as that of the inner landscape."""
        return self.inner.feature_sum(all_nearest(self.manifold, particles), weights)

    def pairing(self, particles: PyTree, dual: PyTree) -> Float[Array, " particles"]:
        """As fast as that of the inner landscape."""
        return self.inner.pairing(all_nearest(self.manifold, particles), dual)

    def mobility(
        self, particle: PyTree, moments: PyTree, potential: Float[Array, ""]
    ) -> Float[Array, ""]:
        """That of the inner landscape at the nearest point."""
        return self.inner.mobility(self.manifold.nearest(particle), moments, potential)


class ConstrainedPairs(PairLandscape):
    """½ ∬ W dμ dμ + ∫ V dμ on measures on a manifold; see `Constrained`.

    Args:
        inner: a landscape of pairs.
        space: the manifold that the particles live on.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Interaction, Sphere
        >>> from particles import Ensemble
        >>> away = Interaction(lambda x, y: x @ y)
        >>> mu = Ensemble(jnp.array([[1.0, 0.0], [0.0, 1.0]]))
        >>> (ConstrainedPairs(away, Sphere()).velocity(mu) + 0).tolist()
        [[0.0, -0.5], [-0.5, 0.0]]
    """

    inner: PairLandscape
    space: Manifold

    @property
    def manifold(self) -> Manifold:
        """Where the particles live."""
        return self.space

    @property
    def mobile(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the inner landscape."""
        return self.inner.mobile

    @property
    def unwrapped(self) -> AbstractLandscape:
        """The innermost landscape."""
        return self.inner.unwrapped

    @property
    def particle(self) -> PyTree | None:
        """That of the inner landscape."""
        return self.inner.particle

    def pair(self, particle: PyTree, other: PyTree) -> Float[Array, ""]:
        """W(π(θ), π(θ'))."""
        nearest = self.manifold.nearest
        return self.inner.pair(nearest(particle), nearest(other))

    def potential(self, particle: PyTree) -> Float[Array, ""]:
        """V(π(θ))."""
        return self.inner.potential(self.manifold.nearest(particle))

    def mobility(
        self, particle: PyTree, moments: PyTree, potential: Float[Array, ""]
    ) -> Float[Array, ""]:
        """That of the inner landscape at the nearest point."""
        return self.inner.mobility(self.manifold.nearest(particle), moments, potential)

    def features(self, particle: PyTree) -> PyTree:
        """Those of the inner landscape."""
        return self.inner.features(self.manifold.nearest(particle))

    def interaction(
        self, particles: PyTree, others: PyTree, weights: Float[Array, " others"]
    ) -> Float[Array, " particles"]:
        """As fast as that of the inner landscape."""
        rows, columns = (all_nearest(self.manifold, part) for part in (particles, others))
        return self.inner.interaction(rows, columns, weights)
