"""The problem of spikes on a circle, recovered from their low Fourier moments (CHI19)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Key

from landscapes import Constrained, Positive
from landscapes.moments import Spike, SpikeLandscape
from particles import Ensemble, InvalidInput, Points, uniform

from ._options import NonNegative, Range
from ._options import Positive as Above
from ._problem import Problem


@dataclass(frozen=True)
class Spikes:
    """Positive spikes at equal distances on a circle, from their Fourier moments (CHI19).

    Particles are weights w > 0, stored as 2√w, and positions. The penalty takes the same from each
    mass, and no more than the least of them has. (theory.md, section 11)

    Example:
        >>> problem = Spikes(masses=(1.0, 0.5), orders=2, penalty=0.3).build(jax.random.key(0))
        >>> {name: round(float(level), 6) for name, level in problem.levels.items()}
        {'spikes': 0.435, 'nothing': 3.625}
    """

    masses: tuple[Above, ...] = (1.0, 0.6)
    """Of the spikes sought; the first is at the angle 0."""
    orders: Annotated[int, Range(1, 1000)] = 3
    """K, the highest frequency; at least the number of spikes."""
    penalty: NonNegative = 0.1
    """λ, what a unit of mass costs."""

    def build(self, key: Key[jax.Array, ""]) -> Problem:
        """The problem; it draws nothing.

        Raises:
            InvalidInput: no spikes, more of them than orders, or a penalty that consumes one.
        """
        count, total = len(self.masses), sum(self.masses)
        if not 1 <= count <= self.orders:
            raise InvalidInput(
                f"problem.masses holds {count} spikes and orders is {self.orders}; give at "
                "least one spike and no more than orders."
            )
        # Σ_j D(x_i − x_j) over the spikes, in which only multiples of their number are left.
        kernel = count * (1 + 2 * (self.orders // count))
        lost = self.penalty / kernel
        if lost >= min(self.masses):
            raise InvalidInput(
                f"problem.penalty is {self.penalty}, which takes {lost:.3g} from every mass, and "
                f"the least of them is {min(self.masses)}; take one below "
                f"{kernel * min(self.masses):.3g}."
            )
        positions = 2 * math.pi * np.arange(count) / count
        spikes = SpikeLandscape(positions, np.asarray(self.masses), self.orders, self.penalty)
        chart = Positive("weight")
        landscape = Constrained(spikes, chart)

        def start(key: Key[jax.Array, ""], size: int, points: Points = "random") -> Ensemble:
            """Weights of one, positions anywhere."""
            high = Spike(weight=1.0, position=2 * math.pi)
            low = Spike(weight=1.0, position=0.0)
            drawn = uniform(key, size, landscape.particle, low=low, high=high, points=points)
            return drawn.with_particles(chart.stored(drawn.particles))

        return Problem(
            landscape,
            start,
            levels={
                "spikes": self.penalty * (total - 0.5 * count * lost),
                "nothing": float(spikes.risk(jnp.zeros_like(spikes.targets))),
            },
        )
