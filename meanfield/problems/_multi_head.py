"""The problem of many softmax heads on linear regression, two numbers a head (HPCY25)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import jax.numpy as jnp
from jaxtyping import Array, Key

from landscapes import MultiHeadLandscape
from landscapes.softmax_attention import AttentionHead, attention_head_start
from particles import Ensemble, InvalidInput

from ..results import CriticalPoint
from ._options import NonNegative, Range
from ._problem import Problem

SAME = 1e-4  # relative distance of scores and values from those of theory


@dataclass(frozen=True)
class MultiHeadSoftmax:
    """Softmax heads on linear regression in context, averaged, for long prompts (HPCY25).

    Example:
        >>> import jax
        >>> problem = MultiHeadSoftmax(dim=20).build(jax.random.key(0))
        >>> {name: round(level, 3) for name, level in problem.levels.items()}
        {'no answer': 1.09, 'one head': 0.319, 'linear attention': 0.188}
    """

    dim: Annotated[float, Range(1, 1e6)] = 10.0
    """d, numbers in a token."""
    length: Annotated[float, Range(1, 1e12)] = 200.0
    """n, labelled tokens of a prompt."""
    noise: NonNegative = 0.3
    """Standard deviation of the labels' noise; labels without it have variance one."""
    degree: Annotated[int, Range(8, 1000)] = 24
    """Largest power of the scores that is kept; levels are those of all powers."""

    def build(self, key: Key[Array, ""]) -> Problem:
        """The problem; it draws nothing.

        Raises:
            InvalidInput: an option out of range.
        """
        landscape = MultiHeadLandscape(self.dim, self.length, self.noise, self.degree)

        def saddle(key: Key[Array, ""], size: int, missing: Sequence[int]) -> Ensemble:
            if missing:
                raise InvalidInput(
                    f"missing is {tuple(missing)}, but heads have no features; leave it out."
                )
            if size < 2:
                raise InvalidInput(
                    f"particles is {size}; the saddle has heads of both signs, so at least 2."
                )
            return landscape.one_head(size, negative=size // 2)

        def predicted(ensemble: Ensemble) -> CriticalPoint | None:
            head: AttentionHead = ensemble.particles
            source, p = "theory 6", ensemble.probabilities
            if not (jnp.any(head.value) or jnp.any(head.score)):
                return CriticalPoint("no answer", landscape.zero_level, ensemble.size, source)
            score = landscape.dim**-0.5
            answer = float(score * jnp.sum(p * head.value)) / landscape.best_answer
            apart = float(jnp.max(jnp.abs(head.score / score - 1)))
            if max(abs(answer - 1), apart) > SAME:
                return None
            negative = int(jnp.sum(head.value < 0))
            return CriticalPoint("one head", landscape.one_head_level, negative, source)

        return Problem(
            landscape,
            lambda key, size, points="random": attention_head_start(
                key, landscape, size, points=points
            ),
            saddle=saddle,
            levels={
                "no answer": landscape.zero_level,
                "one head": landscape.one_head_level,
                "linear attention": landscape.linear_level,
            },
            predicted=predicted,
        )
