"""A landscape around another one: everything is that of the inner landscape until overridden."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import equinox as eqx
from jaxtyping import Array, Float, Key, PyTree

from particles import Ensemble

from ._base import Landscape
from ._manifolds import Manifold
from ._observables import Observable
from ._warnings import StartWarning

W = TypeVar("W", bound="LandscapeWrapper")


class LandscapeWrapper(Landscape):
    """Abstract base of landscapes that change something about an `inner` one.

    All that a landscape declares is forwarded; override what differs. `value`, `velocity` and the
    rest follow from that as always. What is asked of the innermost landscape (its class, its
    samples, what theory predicts) is asked of `unwrapped`.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import RegressionLandscape
        >>> class Doubled(LandscapeWrapper):
        ...     inner: Landscape
        ...
        ...     def risk(self, moments, fast=None):
        ...         return 2 * self.inner.energy(moments, fast)
        >>> landscape = Doubled(RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]])))
        >>> landscape.convex, type(landscape.unwrapped).__name__
        (True, 'RegressionLandscape')
    """

    inner: eqx.AbstractVar[Landscape]

    @property
    def convex(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the inner landscape."""
        return self.inner.convex

    @property
    def pairwise(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the inner landscape."""
        return self.inner.pairwise

    @property
    def mobile(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the inner landscape."""
        return self.inner.mobile

    @property
    def unwrapped(self) -> Landscape:
        """The innermost landscape."""
        return self.inner.unwrapped

    @property
    def particle(self) -> PyTree | None:
        """That of the inner landscape."""
        return self.inner.particle

    @property
    def manifold(self) -> Manifold | None:
        """That of the inner landscape."""
        return self.inner.manifold

    def features(self, particle: PyTree) -> PyTree:
        """Those of the inner landscape."""
        return self.inner.features(particle)

    def risk(self, moments: PyTree, fast: PyTree | None = None) -> Float[Array, ""]:
        """That of the inner landscape."""
        return self.inner.risk(moments, fast)

    def solve_fast(self, moments: PyTree) -> PyTree | None:
        """Those of the inner landscape."""
        return self.inner.solve_fast(moments)

    def feature_sum(self, particles: PyTree, weights: Float[Array, " particles"]) -> PyTree:
        """As fast as that of the inner landscape."""
        return self.inner.feature_sum(particles, weights)

    def pairing(self, particles: PyTree, dual: PyTree) -> Float[Array, " particles"]:
        """As fast as that of the inner landscape."""
        return self.inner.pairing(particles, dual)

    def mobility(
        self, particle: PyTree, moments: PyTree, potential: Float[Array, ""]
    ) -> Float[Array, ""]:
        """That of the inner landscape."""
        return self.inner.mobility(particle, moments, potential)

    def particle_bytes(self, particle: PyTree) -> int:
        """Those of the inner landscape."""
        return self.inner.particle_bytes(particle)

    def observables(self, moments: PyTree) -> dict[str, Observable]:
        """Those of the inner landscape."""
        return self.inner.observables(moments)

    def concerns(self, ensemble: Ensemble) -> list[StartWarning]:
        """Those of the inner landscape."""
        return self.inner.concerns(ensemble)

    def require_fit(self, ensemble: Ensemble) -> None:
        """Refuse what the inner landscape refuses."""
        self.inner.require_fit(ensemble)

    def require_valid(self) -> None:
        """Refuse what the inner landscape refuses."""
        self.inner.require_valid()

    def minibatch(self: W, key: Key[Array, ""], size: int) -> W:
        """A batch of the inner landscape, equally wrapped."""
        return self.around(self.inner.minibatch(key, size))

    def replace(self: W, **fields: Any) -> W:
        """Other values for fields of its own, or of the landscapes within."""
        own = {name: value for name, value in fields.items() if name in self._replaceable()}
        rest = {name: value for name, value in fields.items() if name not in own}
        changed = cast(W, Landscape.replace(self, **own)) if own else self
        return changed.around(changed.inner.replace(**rest)) if rest else changed

    def around(self: W, inner: Landscape) -> W:
        """The same wrapper around another landscape."""
        return eqx.tree_at(lambda wrapper: wrapper.inner, self, inner)
