"""L(μ) = ½ Σ h_j (∫Φ_j dμ − y_j)²: means of coordinates, or of cosines and sines."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from particles import InvalidInput
from particles.internal import require_finite, to_host

from .._base import Landscape
from .._observables import Observable


class MomentLandscape(Landscape):
    """L(μ) = ½ Σ h_j (m_j − y_j)², m = ∫Φ dμ: a convex quadratic of a few moments.

    The base of `MeanLandscape` and `FourierLandscape`; write `features`. (theory.md, section 13)
    """

    targets: eqx.AbstractVar[Float[Array, " moments"]]
    weights: eqx.AbstractVar[Float[Array, " moments"]]
    convex: ClassVar[bool] = True

    def risk(self, moments: Float[Array, " moments"], fast: None = None) -> Float[Array, ""]:
        """½ Σ h (m − y)²."""
        off = moments - self.targets.astype(moments.dtype)
        return 0.5 * jnp.sum(self.weights.astype(moments.dtype) * off**2)

    def observables(self, moments: Float[Array, " moments"]) -> dict[str, Observable]:
        """The moments themselves."""
        return {"moments": Observable(moments, ("moment",))}

    def require_valid(self) -> None:
        """Refuse a negative weight, and targets of another number than the weights."""
        if self.targets.shape != self.weights.shape or self.targets.ndim != 1:
            raise InvalidInput(
                f"targets have shape {self.targets.shape} and weights {self.weights.shape}; give "
                "one weight for each target."
            )
        if not isinstance(self.weights, Tracer) and (to_host(self.weights) < 0).any():
            raise InvalidInput(f"weights are {self.weights}; they must not be negative.")


class MeanLandscape(MomentLandscape):
    """The means of the first coordinates of a particle: ½ Σ_j h_j (∫θ_j dμ − y_j)².

    With a confinement, Langevin dynamics keeps normal laws normal: everything is exact.
    (theory.md, section 13)

    Args:
        targets: y.
        weights: h ≥ 0, per squared unit of a particle.
        dim: numbers in a particle, at least as many as targets.

    Raises:
        InvalidInput: shapes that do not fit, a negative weight, or numbers that are not finite.

    Example:
        >>> from particles import Ensemble
        >>> landscape = MeanLandscape([1.0], [0.5], dim=2)
        >>> float(landscape.value(Ensemble(jnp.zeros((3, 2)))))
        0.25
    """

    targets: Float[Array, " moments"]
    weights: Float[Array, " moments"]
    dim: int = eqx.field(static=True)

    def __init__(self, targets: ArrayLike, weights: ArrayLike, dim: int):
        self.targets, self.weights = jnp.asarray(targets, float), jnp.asarray(weights, float)
        self.dim = dim
        require_finite("targets and weights", (self.targets, self.weights))
        self.require_valid()
        if self.targets.size > dim:
            raise InvalidInput(
                f"dim is {dim}, but {self.targets.size} coordinates have a target; dim must be at "
                "least as large."
            )

    @property
    def particle(self) -> jax.ShapeDtypeStruct:
        """`dim` numbers."""
        return jax.ShapeDtypeStruct((self.dim,), self.targets.dtype)

    def features(self, particle: Float[Array, " dim"]) -> Float[Array, " moments"]:
        """The first coordinates."""
        return particle[: self.targets.size]


class FourierLandscape(MomentLandscape):
    """The characteristic function of every coordinate at the frequencies 1, …, K.

    Φ(θ) = (cos kθ_i, sin kθ_i), frequencies in the order of k, weights h_k = h/k² and targets those
    of a normal law with independent coordinates: a bounded, convex energy. (theory.md, section 13)

    Args:
        dim: numbers in a particle.
        orders: K.
        strength: h ≥ 0.
        centre: mean of the target in every coordinate.
        spread: standard deviation of the target, ≥ 0.

    Raises:
        InvalidInput: an option out of range.

    Example:
        >>> from particles import Ensemble
        >>> landscape = FourierLandscape(orders=1, strength=2.0, centre=0.0, spread=0.0)
        >>> round(float(landscape.value(Ensemble(jnp.array([[jnp.pi]])))), 6)  # 4/2 · 2
        4.0
    """

    targets: Float[Array, " moments"]
    weights: Float[Array, " moments"]
    dim: int = eqx.field(static=True)
    orders: int = eqx.field(static=True)

    def __init__(
        self,
        dim: int = 1,
        orders: int = 2,
        strength: float = 1.0,
        centre: float = 1.0,
        spread: float = 0.5,
    ):
        if dim < 1 or orders < 1:
            raise InvalidInput(f"dim is {dim} and orders {orders}; both must be at least 1.")
        if not spread >= 0:
            raise InvalidInput(f"spread is {spread}; it must not be negative.")
        self.dim, self.orders = dim, orders
        k = jnp.repeat(jnp.arange(1.0, orders + 1), dim)
        waves = jnp.concatenate([jnp.cos(k * centre), jnp.sin(k * centre)])
        self.targets = waves * jnp.tile(jnp.exp(-0.5 * (k * spread) ** 2), 2)
        self.weights = jnp.tile(strength / k**2, 2)
        require_finite("strength, centre and spread", (self.targets, self.weights))
        self.require_valid()

    @property
    def particle(self) -> jax.ShapeDtypeStruct:
        """`dim` numbers."""
        return jax.ShapeDtypeStruct((self.dim,), self.targets.dtype)

    def features(self, particle: Float[Array, " dim"]) -> Float[Array, " moments"]:
        """Cosines of kθ_i for all k and i, then the sines."""
        angles = jnp.outer(jnp.arange(1, self.orders + 1), particle).ravel()
        return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)])
