"""Two students of φ(⟨u*, x⟩), x ~ N(0, I_d): neurons with readouts of their own, or one link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from particles import InvalidInput
from particles.internal import require_finite

from .._base import Landscape
from .._observables import Observable

Numbers = Sequence[float] | np.ndarray | Array


class IndexNeuron(NamedTuple):
    """One neuron, or the neurons of an ensemble.

    Args:
        readout: √ε a, of a neuron a σ(⟨u, x⟩).
        angle: β, by which u leaves the plane orthogonal to u*: ⟨u, u*⟩ = sin β.
    """

    readout: Array
    angle: Array


class SingleIndexLandscape(Landscape):
    """½ Σ_k (φ_k − σ_k ∫ a s^k dμ)²: infinitely wide networks in infinite dimension (BMZ24).

    The target is φ(⟨u*, x⟩) and a neuron a σ(⟨u, x⟩), both by their coefficients on normalised
    Hermite polynomials; s = ⟨u, u*⟩. In the particle (√ε a, β) with s = sin β the flat gradient
    flow is the source's: ε da/dt = −∂_a, ds/dt = −(1 − s²) ∂_s. (theory.md, section 15; BMZ24)

    Args:
        teacher: φ_k of degrees k = 0, 1, …
        activation: σ_k of the same degrees.
        ratio: ε > 0, timescale of the readouts over that of the directions.

    Raises:
        InvalidInput: coefficients of different numbers, or a ratio that is not positive.

    Example:
        >>> from particles import Ensemble
        >>> landscape = SingleIndexLandscape([0.0, 1.0], [0.0, 1.0], ratio=0.25)
        >>> aligned = Ensemble(IndexNeuron(jnp.array([0.5]), jnp.array([jnp.pi / 2])))  # a = 1
        >>> float(landscape.value(aligned))
        0.0
    """

    teacher: Float[Array, " degrees"]
    activation: Float[Array, " degrees"]
    ratio: Float[Array, ""]
    convex: ClassVar[bool] = True

    def __init__(self, teacher: Numbers, activation: Numbers, ratio: float = 1.0):
        self.teacher = coefficients("teacher", teacher)
        self.activation = coefficients("activation", activation)
        if self.teacher.shape != self.activation.shape:
            raise InvalidInput(
                f"teacher has {self.teacher.size} coefficients and activation "
                f"{self.activation.size}; give as many, with zeros for degrees that are missing."
            )
        if not 0 < ratio < float("inf"):
            raise InvalidInput(f"ratio is {ratio}; it must be positive and finite.")
        self.ratio = jnp.asarray(ratio, float)

    @property
    def particle(self) -> IndexNeuron:
        """Two numbers."""
        number: Any = jax.ShapeDtypeStruct((), self.teacher.dtype)
        return IndexNeuron(number, number)

    def features(self, particle: IndexNeuron) -> Float[Array, " degrees"]:
        """A s^k."""
        root = jnp.sqrt(self.ratio).astype(particle.readout.dtype)
        return particle.readout / root * powers(jnp.sin(particle.angle), self.teacher.size)

    def risk(self, moments: Float[Array, " degrees"], fast: None = None) -> Float[Array, ""]:
        """½ Σ (φ − σm)²."""
        off = self.teacher - self.activation * moments
        return 0.5 * jnp.sum(off.astype(moments.dtype) ** 2)

    def observables(self, moments: Float[Array, " degrees"]) -> dict[str, Observable]:
        """Hermite coefficients of the network."""
        return {"coefficients": Observable(self.activation * moments, ("degree",))}


class SharedLinkLandscape(Landscape):
    """½ Σ_k (φ_k² − 2φ_k c_k ∫ s^k dμ + c_k²): students Σ c_k he_k(⟨u, x⟩) of one link (BBPV25).

    A particle is a direction, and the energy the mean loss of the students; the link c is shared
    by all and is the fast variable. At its optimum, c_k = φ_k ∫ s^k dμ. One particle is the
    source's setting. (theory.md, section 15; BBPV25)

    Args:
        teacher: φ_k of degrees k = 0, 1, …, on normalised Hermite polynomials.

    Raises:
        InvalidInput: coefficients that are no list of finite numbers.

    Example:
        >>> from particles import Ensemble
        >>> landscape = SharedLinkLandscape([0.0, 0.0, 1.0])
        >>> mu = Ensemble(jnp.full((1, 1), jnp.pi / 6))  # s = ½: ½ (1 − s⁴)
        >>> round(float(landscape.value(mu)), 6)
        0.46875
    """

    teacher: Float[Array, " degrees"]

    def __init__(self, teacher: Numbers):
        self.teacher = coefficients("teacher", teacher)

    @property
    def particle(self) -> jax.ShapeDtypeStruct:
        """One angle."""
        return jax.ShapeDtypeStruct((1,), self.teacher.dtype)

    def features(self, particle: Float[Array, "1"]) -> Float[Array, " degrees"]:
        """s^k."""
        return powers(jnp.sin(particle[0]), self.teacher.size)

    def risk(
        self, moments: Float[Array, " degrees"], fast: Float[Array, " degrees"] | None = None
    ) -> Float[Array, ""]:
        """½ Σ (φ² − 2φcm + c²)."""
        phi = self.teacher.astype(moments.dtype)
        link = self.solve_fast(moments) if fast is None else fast
        return 0.5 * jnp.sum(phi**2 - 2 * phi * link * moments + link**2)

    def solve_fast(self, moments: Float[Array, " degrees"]) -> Float[Array, " degrees"]:
        """C = φ m."""
        return self.teacher.astype(moments.dtype) * moments

    def observables(self, moments: Float[Array, " degrees"]) -> dict[str, Observable]:
        """Mean powers of the overlap s."""
        return {"overlaps": Observable(moments, ("degree",))}


def overlap_angles(
    key: Key[Array, ""], coordinate: Float[Array, "*size"], dim: int
) -> Float[Array, "*size"]:
    """β of directions that are uniform on the sphere of R^d: sin β is a coordinate of them.

    Args:
        key: of the other coordinates' length.
        coordinate: independent standard normal numbers, the coordinate before normalisation.
        dim: d ≥ 2; 0 is infinite dimension, where all are orthogonal to u*.

    Raises:
        InvalidInput: another dimension.

    Example:
        >>> overlap_angles(jax.random.key(0), jnp.ones(2), 0).tolist()
        [0.0, 0.0]
    """
    if dim == 0:
        return jnp.zeros_like(coordinate)
    if dim < 2:
        raise InvalidInput(f"dim is {dim}; it must be at least 2, or 0 for infinite dimension.")
    across = jax.random.chisquare(key, dim - 1, coordinate.shape, coordinate.dtype)
    return jnp.arctan2(coordinate, jnp.sqrt(across))


def powers(s: Float[Array, ""], count: int) -> Float[Array, " degrees"]:
    """s^0, …, s^(count − 1), as products, whose slopes are right at zero too."""
    found = [jnp.ones_like(s)]
    while len(found) < count:
        found.append(found[-1] * s)
    return jnp.stack(found)


def coefficients(name: str, given: Numbers) -> Float[Array, " degrees"]:
    """Numbers by degree.

    Raises:
        InvalidInput: no list of finite numbers.
    """
    found = jnp.asarray(given, float)
    if found.ndim != 1 or not found.size:
        raise InvalidInput(f"{name} has shape {found.shape}; give one coefficient a degree.")
    require_finite(name, found)
    return found
