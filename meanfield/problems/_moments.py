"""The problem of matched Fourier moments, on which Langevin dynamics is known sharply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import jax
from jaxtyping import Key

from landscapes.moments import FourierLandscape
from particles import gaussian

from ._options import Finite, NonNegative, Positive, Range
from ._problem import Problem


@dataclass(frozen=True)
class FourierMoments:
    """Cosines and sines of every coordinate, matched to those of a normal law.

    Bounded and convex: with a confinement and a temperature, Langevin dynamics has known rates.

    Example:
        >>> FourierMoments(dim=2, orders=3).build(jax.random.key(0)).landscape.targets.shape
        (12,)
    """

    dim: Annotated[int, Range(1, 1000)] = 2
    """Numbers in a particle."""
    orders: Annotated[int, Range(1, 1000)] = 2
    """Frequencies 1, …, K of each coordinate."""
    strength: Positive = 1.0
    """h of the weights h/k²."""
    centre: Finite = 1.0
    """Mean of the target in every coordinate."""
    spread: NonNegative = 0.5
    """Standard deviation of the target."""

    def build(self, key: Key[jax.Array, ""]) -> Problem:
        """The problem; it draws nothing."""
        landscape = FourierLandscape(self.dim, self.orders, self.strength, self.centre, self.spread)
        return Problem(
            landscape,
            lambda key, size, points="random": gaussian(
                key, size, landscape.particle, points=points
            ),
            levels={"target": 0.0},
        )
