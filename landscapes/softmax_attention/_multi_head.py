"""Softmax attention with many heads on linear regression: two numbers a head (HPCY25)."""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Key

from particles import Ensemble, InvalidInput, Points, gaussian

from .._base import Landscape
from .._observables import Observable


class AttentionHead(NamedTuple):
    """One head.

    Args:
        value: μ, by which it multiplies the labels that it attends to.
        score: ω of its scores ω ⟨x_i, x_q⟩.
    """

    value: Any
    score: Any


class MultiHeadLandscape(Landscape):
    """In-context loss of many softmax heads on linear regression, for long prompts (HPCY25).

    Labels are y = ⟨w, x⟩ + noise with x ~ N(0, I_d) and w ~ N(0, I/d). From n labelled tokens the
    heads, averaged, answer a query by ŷ = ∫ μ Σ_i softmax_i(ω ⟨x_i, x_q⟩) y_i dρ(μ, ω). For d and n
    large E(y_q − ŷ)² is

        L(ρ) = 1 + σ² − 2m₁ + m₁² + (1 + σ²)/n Σ_k (d^k/k!) m_k²,   m_k = ∫ μ ω^k dρ.

    A sum over H heads is the average of heads with values H times as large. One head is best at
    ω = d^−½; several with values of both signs do better, at most as well as linear attention,
    which they approach as ω → 0. (theory.md, section 6)

    Args:
        dim: d; a traced number, as the two that follow, so a sweep compiles once.
        length: n, number of labelled tokens.
        noise: σ, standard deviation of the labels' noise.
        degree: largest k that is summed; `truncation` bounds the rest.

    Raises:
        InvalidInput: a dimension or length that is not positive and finite, a noise that is
            negative or infinite, a degree below one.

    Example:
        >>> landscape = MultiHeadLandscape(dim=10, length=200, noise=0.3)
        >>> optimum = landscape.one_head()
        >>> round(landscape.one_head_level, 4), round(landscape.linear_level, 4)
        (0.219, 0.1417)
        >>> abs(float(landscape.value(optimum)) - landscape.one_head_level) < 1e-6
        True
    """

    dim: Float[Array, ""]
    length: Float[Array, ""]
    noise: Float[Array, ""]
    degree: int = eqx.field(static=True)
    convex: ClassVar[bool] = True

    def __init__(
        self,
        dim: float | Array = 10,
        length: float | Array = 200,
        noise: float | Array = 0.3,
        degree: int = 24,
    ):
        self.dim, self.length, self.noise = (jnp.asarray(x, float) for x in (dim, length, noise))
        self.degree = degree
        self.require_valid()

    def require_valid(self) -> None:
        """Refuse numbers that describe no prompts."""
        for name, lowest in (("dim", "positive"), ("length", "positive"), ("noise", "at least 0")):
            value = getattr(self, name)
            enough = isinstance(value, Tracer) or value > 0 or (value == 0 and name == "noise")
            if not (enough and (isinstance(value, Tracer) or value < math.inf)):
                raise InvalidInput(f"{name} is {value:g}; it must be {lowest} and finite.")
        if self.degree < 1:
            raise InvalidInput(f"degree is {self.degree}; it must be at least 1.")

    @property
    def particle(self) -> AttentionHead:
        """Two numbers."""
        return AttentionHead(*[jax.ShapeDtypeStruct((), self.dim.dtype)] * 2)

    def features(self, particle: AttentionHead) -> Float[Array, " degrees"]:
        """φ_k = μ ω^k √(d^k/k!) for k = 0 … K."""
        roots = jnp.sqrt(jnp.arange(1.0, self.degree + 1, dtype=self.dim.dtype))
        steps = jnp.sqrt(self.dim) * particle.score / roots
        return particle.value * jnp.concatenate([jnp.ones_like(steps[:1]), jnp.cumprod(steps)])

    def risk(self, moments: Float[Array, " degrees"], fast: None = None) -> Float[Array, ""]:
        """1 + σ² − 2m₁ + m₁² + (1 + σ²)/n Σ φ_k², with φ₁ = √d m₁."""
        answer = moments[1] / jnp.sqrt(self.dim)
        power = 1 + self.noise**2
        return self.noise**2 + (1 - answer) ** 2 + power / self.length * jnp.sum(moments**2)

    def observables(self, moments: Float[Array, " degrees"]) -> dict[str, Observable]:
        """`value`, the mean m₀ of the values, `answer` m₁, and `variance` of the answer."""
        power = (1 + self.noise**2) / self.length
        return {
            "value": Observable(moments[0]),
            "answer": Observable(moments[1] / jnp.sqrt(self.dim)),
            "variance": Observable(power * jnp.sum(moments**2)),
        }

    def one_head(self, size: int = 1, *, negative: int = 0) -> Ensemble:
        """`size` heads that together are the best single head: a critical point of its level.

        All have ω = d^−½. With `negative` = 0 they are equal, and a local minimum. Otherwise so
        many of them have the value −μ and the others share the rest, which is a strict saddle
        whose Morse index is `negative`. (theory.md, section 6)

        Args:
            size: number of heads N.
            negative: heads with a negative value, fewer than N.

        Raises:
            InvalidInput: no head, or none with a positive value.

        Example:
            >>> MultiHeadLandscape().one_head(4, negative=2).particles.value.round().tolist()
            [8.0, 8.0, -3.0, -3.0]
        """
        if not 0 <= negative < size:
            raise InvalidInput(
                f"negative is {negative} and size {size}; at least one head must have a positive "
                "value."
            )
        value, score = self.best_answer * math.sqrt(float(self.dim)), 1 / math.sqrt(float(self.dim))
        others = size - negative
        values = np.repeat([value * (size + negative) / others, -value], [others, negative])
        head = AttentionHead(jnp.asarray(values, self.dim.dtype), jnp.full(size, score))
        return Ensemble(jax.tree.map(lambda leaf: leaf.astype(self.dim.dtype), head))

    @property
    def best_answer(self) -> float:
        """m₁ of the best single head, 1/(1 + e (1 + σ²) d/n)."""
        return 1 / (1 + math.e * self._load)

    @property
    def one_head_level(self) -> float:
        """L of the best single head, σ² + 1 − 1/(1 + e (1 + σ²) d/n)."""
        return 1 + float(self.noise) ** 2 - self.best_answer

    @property
    def linear_level(self) -> float:
        """L of linear attention, σ² + 1 − 1/(1 + (1 + σ²) d/n): the infimum, not attained."""
        return 1 + float(self.noise) ** 2 - 1 / (1 + self._load)

    @property
    def zero_level(self) -> float:
        """L without an answer, 1 + σ²; heads of zeros are a strict saddle of the index N."""
        return 1 + float(self.noise) ** 2

    @property
    def value_curvature(self) -> float:
        """At `one_head` the score of a head with value μ has the curvature μ · 2 (1 − m₁) √d."""
        return 2 * (1 - self.best_answer) * math.sqrt(float(self.dim))

    def truncation(self, ensemble: Ensemble) -> float:
        """A bound on what degrees above K would add to L; zero at K = ∞.

        With x = d max ω², (1 + σ²)/n (∫|μ|)² e^x x^(K + 1)/(K + 1)!.

        Example:
            >>> landscape = MultiHeadLandscape(degree=8)
            >>> 0 < landscape.truncation(landscape.one_head()) < 1e-5
            True
        """
        head: AttentionHead = ensemble.particles
        x = float(self.dim) * float(jnp.max(head.score**2))
        mass = float(jnp.sum(ensemble.probabilities * jnp.abs(head.value)))
        if x == 0 or mass == 0:
            return 0.0
        count = self.degree + 1
        rest = x + count * math.log(x) - math.lgamma(count + 1)
        return (1 + float(self.noise) ** 2) / float(self.length) * mass**2 * math.exp(rest)

    @property
    def _load(self) -> float:
        """(1 + σ²) d/n."""
        return (1 + float(self.noise) ** 2) * float(self.dim) / float(self.length)


def attention_head_start(
    key: Key[Array, ""],
    landscape: MultiHeadLandscape,
    size: int,
    *,
    scale: float = 0.1,
    points: Points = "random",
) -> Ensemble:
    """Heads with normal values and scores of standard deviation `scale`.

    Args:
        key: random key.
        landscape: gives the shapes.
        size: number of heads.
        scale: standard deviation of μ and ω.
        points: how heads are drawn, as in `particles.gaussian`.

    Raises:
        InvalidInput: `size` is below one, or does not suit `points`.

    Example:
        >>> attention_head_start(jax.random.key(0), MultiHeadLandscape(), 5).size
        5
    """
    return gaussian(key, size, landscape.particle, scale=scale, points=points)
