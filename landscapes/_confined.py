"""A confining potential added to any landscape, as Langevin dynamics needs it to settle."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from particles import InvalidInput

from ._base import Landscape
from ._observables import Observable
from ._wrapper import LandscapeWrapper


class ConfinedMoments(NamedTuple):
    """Moments of a confined landscape.

    Args:
        inner: those of the inner landscape.
        energy: ½ ∫ ‖θ‖² dμ.
    """

    inner: PyTree
    energy: Float[Array, ""]


class Confined(LandscapeWrapper):
    """L(μ) + (λ/2) ∫ ‖θ‖² dμ: weight decay, the confinement of mean-field Langevin dynamics.

    With it the flow at temperature τ has a stationary measure; on a convex risk that is the
    minimiser of the free energy, proportional to exp(−(δL/δμ + λ‖θ‖²/2)/τ). A confined convex risk
    is convex.

    Args:
        inner: any landscape.
        strength: λ ≥ 0.

    Raises:
        InvalidInput: negative strength.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> from particles import Ensemble
        >>> inner = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[0.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.array([[0.0]]), w=jnp.array([[2.0]])))
        >>> float(Confined(inner, 0.5).value(mu))
        1.0
    """

    inner: Landscape
    strength: Float[Array, ""]

    def __init__(self, inner: Landscape, strength: float):
        self.inner, self.strength = inner, jnp.asarray(strength, float)
        self.require_valid()

    def require_valid(self) -> None:
        """Refuse a negative strength, and what the inner landscape refuses."""
        super().require_valid()
        _require_strength(self.strength)

    def features(self, particle: PyTree) -> ConfinedMoments:
        """Φ(θ) and ½‖θ‖²."""
        return ConfinedMoments(self.inner.features(particle), 0.5 * _square(particle))

    def risk(self, moments: ConfinedMoments, fast: PyTree | None = None) -> Float[Array, ""]:
        """R(m) + λ q."""
        inner = self.inner.energy(moments.inner, fast)
        return inner + self.strength.astype(inner.dtype) * moments.energy

    def solve_fast(self, moments: ConfinedMoments) -> PyTree | None:
        """Those of the inner landscape."""
        return self.inner.solve_fast(moments.inner)

    def feature_sum(
        self, particles: PyTree, weights: Float[Array, " particles"]
    ) -> ConfinedMoments:
        """As fast as that of the inner landscape."""
        energy = 0.5 * jnp.sum(weights * jax.vmap(_square)(particles))
        return ConfinedMoments(self.inner.feature_sum(particles, weights), energy)

    def pairing(self, particles: PyTree, dual: ConfinedMoments) -> Float[Array, " particles"]:
        """As fast as that of the inner landscape."""
        own = 0.5 * dual.energy * jax.vmap(_square)(particles)
        return self.inner.pairing(particles, dual.inner) + own

    def mobility(
        self, particle: PyTree, moments: ConfinedMoments, potential: Float[Array, ""]
    ) -> Float[Array, ""]:
        """That of the inner landscape, of its own first variation."""
        own = self.strength.astype(potential.dtype) * 0.5 * _square(particle)
        return self.inner.mobility(particle, moments.inner, potential - own)

    def observables(self, moments: ConfinedMoments) -> dict[str, Observable]:
        """Those of the inner landscape."""
        return self.inner.observables(moments.inner)


class Confinement(Landscape):
    """(λ/2) ∫ ‖θ‖² dμ alone: a term of a `Sum`.

    Args:
        strength: λ ≥ 0.

    Raises:
        InvalidInput: negative strength.

    Example:
        >>> from particles import Ensemble
        >>> float(Confinement(0.5).value(Ensemble(jnp.array([[2.0]]))))
        1.0
    """

    strength: Float[Array, ""]
    convex: ClassVar[bool] = True

    def __init__(self, strength: float):
        self.strength = jnp.asarray(strength, float)
        self.require_valid()

    def require_valid(self) -> None:
        """Refuse a negative strength."""
        _require_strength(self.strength)

    def features(self, particle: PyTree) -> Float[Array, ""]:
        """½‖θ‖²."""
        return 0.5 * _square(particle)

    def risk(self, moments: Float[Array, ""], fast: PyTree | None = None) -> Float[Array, ""]:
        """λ q."""
        return self.strength.astype(moments.dtype) * moments


def _require_strength(strength: Array) -> None:
    if not (isinstance(strength, Tracer) or 0 <= float(strength) < float("inf")):
        raise InvalidInput(f"strength is {strength}; it must be finite and not negative.")


def _square(particle: PyTree) -> Float[Array, ""]:
    return jnp.sum(jnp.stack([jnp.sum(leaf**2) for leaf in jax.tree.leaves(particle)]))
