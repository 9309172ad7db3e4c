"""A confining potential added to any landscape, as Langevin dynamics needs it to settle."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from particles import Ensemble, InvalidInput

from ._base import Landscape


class ConfinedMoments(NamedTuple):
    """Moments of a confined landscape.

    Args:
        inner: those of the landscape within.
        energy: ½ ∫ ‖θ‖² dμ.
    """

    inner: PyTree
    energy: Float[Array, ""]


class Confined(Landscape):
    """L(μ) + (λ/2) ∫ ‖θ‖² dμ: weight decay, the confinement of mean-field Langevin dynamics.

    With it the flow at temperature τ has a stationary measure; on a convex risk that is the
    minimiser of the free energy, proportional to exp(−(δL/δμ + λ‖θ‖²/2)/τ).

    Args:
        landscape: any landscape.
        strength: λ ≥ 0.

    Raises:
        InvalidInput: negative strength.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> inner = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[0.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.array([[0.0]]), w=jnp.array([[2.0]])))
        >>> float(Confined(inner, 0.5).value(mu))
        1.0
    """

    landscape: Landscape
    strength: Float[Array, ""]

    def __init__(self, landscape: Landscape, strength: float):
        if not 0 <= strength < float("inf"):
            raise InvalidInput(f"strength is {strength}; it must be finite and not negative.")
        self.landscape, self.strength = landscape, jnp.asarray(strength, float)

    def features(self, particle: PyTree) -> ConfinedMoments:
        """Φ(θ) and ½‖θ‖²."""
        return ConfinedMoments(self.landscape.features(particle), 0.5 * _square(particle))

    def risk(self, moments: ConfinedMoments, fast: PyTree | None = None) -> Float[Array, ""]:
        """R(m) + λ q."""
        inner = self.landscape.energy(moments.inner, fast)
        return inner + self.strength.astype(inner.dtype) * moments.energy

    def solve_fast(self, moments: ConfinedMoments) -> PyTree | None:
        """That of the landscape within."""
        return self.landscape.solve_fast(moments.inner)

    def feature_sum(
        self, particles: PyTree, weights: Float[Array, " particles"]
    ) -> ConfinedMoments:
        """As fast as the landscape within."""
        energy = 0.5 * jnp.sum(weights * jax.vmap(_square)(particles))
        return ConfinedMoments(self.landscape.feature_sum(particles, weights), energy)

    def pairing(self, particles: PyTree, dual: ConfinedMoments) -> Float[Array, " particles"]:
        """As fast as the landscape within."""
        own = 0.5 * dual.energy * jax.vmap(_square)(particles)
        return self.landscape.pairing(particles, dual.inner) + own

    def particle_bytes(self, particle: PyTree) -> int:
        """That of the landscape within."""
        return self.landscape.particle_bytes(particle)

    def concerns(self, ensemble: Ensemble) -> list[str]:
        """Those of the landscape within."""
        return self.landscape.concerns(ensemble)

    def observables(self, moments: ConfinedMoments) -> dict[str, Array]:
        """Those of the landscape within."""
        return self.landscape.observables(moments.inner)

    def minibatch(self, key: Key[Array, ""], size: int) -> Confined:
        """A batch of the landscape within, equally confined."""
        return eqx.tree_at(lambda c: c.landscape, self, self.landscape.minibatch(key, size))

    @property
    def particle(self) -> PyTree | None:
        """That of the landscape within."""
        return self.landscape.particle


def _square(particle: PyTree) -> Float[Array, ""]:
    return jnp.sum(jnp.stack([jnp.sum(leaf**2) for leaf in jax.tree.leaves(particle)]))
