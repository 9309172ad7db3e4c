"""The problem of tokens on the sphere (GLPR25)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import jax
from jaxtyping import Array, Key

from landscapes import TokenLandscape
from landscapes.interactions import equal_angles
from particles import Ensemble, InvalidInput, gaussian

from ._options import Range
from ._problem import Problem


@dataclass(frozen=True)
class Tokens:
    """Tokens on the unit sphere that attract each other by self-attention (GLPR25).

    Example:
        >>> problem = Tokens(beta=4.0).build(jax.random.key(0))
        >>> problem.landscape.clusters, sorted(problem.levels)
        (3, ['one cluster', 'uniform'])
    """

    dim: Annotated[int, Range(2, 1000)] = 2
    """Numbers in a token; 2 is the circle."""
    beta: Annotated[float, Range(0, 80, open_low=True)] = 4.0
    """Inverse temperature β of the attention."""
    attention: Literal["usa", "sa"] = "usa"
    """Self-attention without its normalisation (usa), or divided by its sum, as a softmax (sa)."""

    def build(self, key: Key[jax.Array, ""]) -> Problem:
        """The problem; it draws nothing."""
        landscape = TokenLandscape(self.dim, self.beta, normalised=self.attention == "sa")

        def saddle(key: Key[Array, ""], size: int, missing: Sequence[int]) -> Ensemble:
            if missing:
                raise InvalidInput(
                    f"missing is {tuple(missing)}, but tokens have no features; leave it out."
                )
            return equal_angles(self.dim, size)

        return Problem(
            landscape,
            lambda key, size, points="random": landscape.onto_manifold(
                gaussian(key, size, landscape.particle, points=points)
            ),
            saddle=saddle if self.dim == 2 else None,
            levels={
                "uniform": landscape.level,
                "one cluster": -math.exp(self.beta) / (2 * self.beta),
            },
        )
