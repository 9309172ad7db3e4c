"""The softmax attention problem: prompts of K orthonormal features, heads as particles (HCL23)."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Annotated

import jax
import numpy as np
from jaxtyping import Array, Key

from landscapes import SoftmaxAttentionLandscape
from landscapes.softmax_attention import (
    feature_probabilities,
    query_floor,
    softmax_head_start,
)
from particles import InvalidInput

from ._options import Length, Natural, Range
from ._problem import Problem

START_SCALE = 1.0  # of the default start's logits; HCL23's start at zero is `gaussian`, scale 0


@dataclass(frozen=True)
class SoftmaxAttention:
    """One layer of softmax attention on prompts of K features, heads averaged (HCL23).

    Example:
        >>> problem = SoftmaxAttention(features=3, prompts=16).build(jax.random.key(0))
        >>> problem.landscape.counts.shape
        (16, 3)
    """

    features: Annotated[int, Range(2, 10**6)] = 4
    """Number K of features."""
    dominant: Annotated[float, Range(0, 1)] = 0.0
    """Probability of the first feature; 0 for balanced features."""
    length: Length = 16.0
    """Prompt length n; infinity for the limit."""
    prompts: Natural = 128
    """Prompts that are drawn once and kept; 0 for the exact expectation over all."""

    def build(self, key: Key[Array, ""]) -> Problem:
        """The problem; a key draws its prompts.

        Raises:
            InvalidInput: an option out of range, prompts in the infinite limit, or too many
                prompts to enumerate.
        """
        if self.length == math.inf and self.prompts:
            raise InvalidInput(
                f"problem.prompts is {self.prompts}, but problem.length is infinite, where all "
                "prompts are alike; set prompts to 0."
            )
        probabilities = feature_probabilities(self.features, self.dominant or None)
        make = functools.partial(SoftmaxAttentionLandscape.of_length, probabilities, self.length)
        landscape = make(prompts=self.prompts, key=key) if self.prompts else make()

        def fresh(key: Key[Array, ""], size: int) -> SoftmaxAttentionLandscape:
            return make(prompts=size, key=key)

        def test() -> SoftmaxAttentionLandscape:
            return fresh(jax.random.fold_in(key, 1), 4096)

        levels = {}
        if self.dominant == 0 and (self.length == math.inf or not self.prompts):
            levels = {"minimum": float(np.mean(query_floor(probabilities, self.length)))}
        return Problem(
            landscape,
            lambda key, size, points="random": softmax_head_start(
                key, landscape, size, scale=START_SCALE, points=points
            ),
            redraws={} if self.length == math.inf else {"fresh prompts": fresh},
            levels=levels,
            fresh=None
            if self.length == math.inf
            else lambda: fresh(jax.random.fold_in(key, 1), 4096),
        )
