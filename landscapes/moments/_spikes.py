"""Sparse deconvolution: a positive measure of few spikes, from its low Fourier moments."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from particles import InvalidInput
from particles.internal import require_finite, to_device

from .._spans import namespace
from ._landscape import MomentLandscape


class Spike(NamedTuple):
    """A particle θ = (w, x): the mass w at the angle x.

    Args:
        weight: w, a number.
        position: x, a number.
    """

    weight: Any
    position: Any


class SpikeLandscape(MomentLandscape):
    """½ Σ_{|k| ≤ K} |∫ w e^{ikx} dμ − y_k|² + λ ∫ w dμ, y those of given spikes on the circle.

    The measure ν = ∫ w δ_x dμ is what is sought, and λ what its mass costs. Bind the weights by
    `Constrained(SpikeLandscape(…), Positive("weight"))`. (theory.md, section 11; CHI19)

    Args:
        positions: angles of the spikes sought.
        masses: of each.
        orders: K ≥ 1.
        penalty: λ ≥ 0.

    Raises:
        InvalidInput: shapes that do not fit, numbers not finite, or an option out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from particles import Ensemble
        >>> landscape = SpikeLandscape([0.0], [2.0], orders=2, penalty=0.5)
        >>> one = Ensemble(Spike(jnp.array([1.0]), jnp.array([0.0])))
        >>> float(landscape.value(one))  # ½ · 5 · (1 − 2)² + 0.5 · 1
        3.0
    """

    targets: Float[Array, " moments"]
    weights: Float[Array, " moments"]
    penalty: Float[Array, ""]
    orders: int = eqx.field(static=True)
    convex: ClassVar[bool] = True

    def __init__(
        self, positions: ArrayLike, masses: ArrayLike, orders: int = 3, penalty: float = 0.0
    ):
        x, w = np.asarray(positions, float), np.asarray(masses, float)
        if x.ndim != 1 or x.shape != w.shape or x.size < 1:
            raise InvalidInput(
                f"positions have shape {x.shape} and masses {w.shape}; give one mass for each "
                "position."
            )
        if orders < 1:
            raise InvalidInput(f"orders is {orders}; it must be at least 1.")
        self.orders, self.penalty = orders, to_device(penalty, float)
        self.targets = to_device(w @ _waves(x[:, None], orders))
        self.weights = to_device(np.repeat([1.0, 2.0], [1, 2 * orders]))  # k and −k
        require_finite("positions, masses and penalty", (self.targets, self.penalty))
        self.require_valid()

    def require_valid(self) -> None:
        """Refuse a negative penalty."""
        super().require_valid()
        if not (isinstance(self.penalty, Tracer) or 0 <= float(self.penalty) < float("inf")):
            raise InvalidInput(f"penalty is {self.penalty}; it must be finite and not negative.")

    @property
    def particle(self) -> Spike:
        """Two numbers."""
        number = jax.ShapeDtypeStruct((), self.targets.dtype)
        return Spike(number, number)

    def features(self, particle: Spike) -> Float[Array, " moments"]:
        """w, then w cos kx of all k, then w sin kx."""
        return particle.weight * _waves(particle.position, self.orders)

    def risk(self, moments: Float[Array, " moments"], fast: None = None) -> Float[Array, ""]:
        """The misfit of the moments, and λ times the mass."""
        return super().risk(moments) + self.penalty.astype(moments.dtype) * moments[0]


def _waves(position: Any, orders: int) -> Any:
    """1, cos kx of all k, sin kx, along the last axis; given arrays of NumPy, by NumPy."""
    xp = namespace(position)
    angles = xp.arange(1, orders + 1) * position
    one = xp.ones((*angles.shape[:-1], 1), angles.dtype)
    return xp.concatenate([one, xp.cos(angles), xp.sin(angles)], axis=-1)
