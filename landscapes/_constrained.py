"""Any landscape, with its particles in a space: bound to a manifold, or with positive leaves."""

from __future__ import annotations

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from particles import Ensemble, InvalidInput

from ._abstract import AbstractLandscape
from ._base import Landscape
from ._manifolds import Manifold
from ._pairs import PairLandscape
from ._spaces import Space, all_points
from ._warnings import StartWarning
from ._wrapper import LandscapeWrapper


class _InSpace(AbstractLandscape):
    """What a landscape on a space has, whatever its kind."""

    inner: eqx.AbstractVar[AbstractLandscape]
    space: eqx.AbstractVar[Space]

    def __check_init__(self) -> None:
        if self.inner.particle is not None:
            jax.eval_shape(self.space.point, self.inner.particle)  # refuses leaves that are missing
        if self.inner.manifold is not None and not isinstance(self.space, Manifold):
            raise InvalidInput(
                f"inner is bound to a {type(self.inner.manifold).__name__}, which a "
                f"{type(self.space).__name__} would bend; put the manifold around the chart: "
                "Constrained(Constrained(inner, chart), manifold)."
            )

    @property
    def manifold(self) -> Manifold | None:
        """What the particles are bound to."""
        return self.space if isinstance(self.space, Manifold) else None

    def points(self, ensemble: Ensemble) -> Ensemble:
        """The points that the particles stand for."""
        return ensemble.with_particles(all_points(self.space, ensemble.particles))

    def concerns(self, ensemble: Ensemble) -> list[StartWarning]:
        """Those of the inner landscape at the points, and of the space."""
        return [*self.space.concerns(ensemble), *self.inner.concerns(self.points(ensemble))]

    def mobility(
        self, particle: PyTree, moments: PyTree, potential: Float[Array, ""]
    ) -> Float[Array, ""]:
        """That of the inner landscape at the point."""
        return self.inner.mobility(self.space.point(particle), moments, potential)


class Constrained(_InSpace, LandscapeWrapper):
    """L on measures on a space: the features are those of the point that a particle stands for.

    On a manifold that is the nearest point: velocities are tangent, the Hessian is the Riemannian
    one on tangent fields and zero on normal ones, and flows bring particles back to the manifold
    after every step. With `Positive` leaves, particles hold r in the place of w = r²/4; what is
    put around the landscape sees r, and `points` gives w. (theory.md, section 11)

    Args:
        inner: any landscape of features and a risk.
        space: what the particles live in.

    Raises:
        InvalidInput: leaves that the particles lack, or a chart of particles bound to a manifold.

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

    inner: Landscape  # pyright: ignore[reportIncompatibleVariableOverride]
    space: Space

    def require_fit(self, ensemble: Ensemble) -> None:
        """Refuse what the inner landscape refuses at the points."""
        self.inner.require_fit(self.points(ensemble))

    def features(self, particle: PyTree) -> PyTree:
        """Φ(ψ(θ))."""
        return self.inner.features(self.space.point(particle))

    def feature_sum(self, particles: PyTree, weights: Float[Array, " particles"]) -> PyTree:
        """As fast as that of the inner landscape."""
        return self.inner.feature_sum(all_points(self.space, particles), weights)

    def pairing(self, particles: PyTree, dual: PyTree) -> Float[Array, " particles"]:
        """As fast as that of the inner landscape."""
        return self.inner.pairing(all_points(self.space, particles), dual)


class ConstrainedPairs(_InSpace, PairLandscape):
    """½ ∬ W dμ dμ + ∫ V dμ on measures on a space; see `Constrained`.

    Args:
        inner: a landscape of pairs.
        space: what the particles live in.

    Raises:
        InvalidInput: leaves that the particles lack, or a chart of particles bound to a manifold.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Interaction, Sphere
        >>> from particles import Ensemble
        >>> away = Interaction(lambda x, y: x @ y)
        >>> mu = Ensemble(jnp.array([[1.0, 0.0], [0.0, 1.0]]))
        >>> (ConstrainedPairs(away, Sphere()).velocity(mu) + 0).tolist()
        [[0.0, -0.5], [-0.5, 0.0]]
    """

    inner: PairLandscape  # pyright: ignore[reportIncompatibleVariableOverride]
    space: Space

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
        """W(ψ(θ), ψ(θ'))."""
        return self.inner.pair(self.space.point(particle), self.space.point(other))

    def potential(self, particle: PyTree) -> Float[Array, ""]:
        """V(ψ(θ))."""
        return self.inner.potential(self.space.point(particle))

    def features(self, particle: PyTree) -> PyTree:
        """Those of the inner landscape at the point."""
        return self.inner.features(self.space.point(particle))

    def interaction(
        self, particles: PyTree, others: PyTree, weights: Float[Array, " others"]
    ) -> Float[Array, " particles"]:
        """As fast as that of the inner landscape."""
        rows, columns = (all_points(self.space, part) for part in (particles, others))
        return self.inner.interaction(rows, columns, weights)
