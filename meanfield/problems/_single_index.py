"""The problem of a target along one hidden direction (BMZ24, BBPV25)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from landscapes.single_index import (
    IndexNeuron,
    SharedLinkLandscape,
    SingleIndexLandscape,
    overlap_angles,
    plateau_levels,
)
from particles import Ensemble, InvalidInput, Points, gaussian

from ._options import Finite, Natural, NonNegative
from ._problem import Problem

RATIO = 0.01  # of own readouts, by default


@dataclass(frozen=True)
class SingleIndex:
    """A target φ(⟨u*, x⟩) of Gaussian inputs, learned degree by degree (BMZ24, BBPV25).

    Example:
        >>> problem = SingleIndex(teacher=(0.0, 1.0, 1.0)).build(jax.random.key(0))
        >>> {name: float(level) for name, level in problem.levels.items()}
        {'nothing learned': 1.0, 'degree 1 learned': 0.5, 'minimum': 0.0}
    """

    teacher: tuple[Finite, ...] = (0.0, 1.0, 0.7, 0.5)
    """Coefficients of the target on normalised Hermite polynomials, from degree 0 on."""
    activation: tuple[Finite, ...] = ()
    """The same of the activation; empty for all ones."""
    readout: Literal["own", "shared"] = "own"
    """`own`: a number a for each neuron; `shared`: one link function for all, the fast variable."""
    ratio: NonNegative = 0.0
    """Timescale ε of own readouts over that of directions; 0 for 0.01."""
    dimension: Natural = 0
    """Of the inputs at the start, where overlaps are of order d^(-1/2); 0 for infinite."""

    def build(self, key: Key[jax.Array, ""]) -> Problem:
        """The problem; it draws nothing.

        Raises:
            InvalidInput: options that do not fit together, or a start that stays where it is.
        """
        phi = self.teacher
        if not any(phi[1:]):
            raise InvalidInput(
                f"problem.teacher is {phi}; give a coefficient of degree 1 or more that is not "
                "zero, else there is no direction to learn."
            )
        if self.dimension == 1:
            raise InvalidInput(
                "problem.dimension is 1; it must be at least 2, or 0 for infinite dimension."
            )
        return self._own() if self.readout == "own" else self._shared()

    def _own(self) -> Problem:
        phi, sigma = self.teacher, self.activation or (1.0,) * len(self.teacher)
        landscape = SingleIndexLandscape(phi, sigma, self.ratio or RATIO)
        missed = [k for k, one in enumerate(phi) if one and not sigma[k]]
        if missed:
            raise InvalidInput(
                f"problem.activation has no degree {missed[0]}, which problem.teacher has; it is "
                "never learned: give the activation that degree."
            )
        if self.dimension == 0 and len(phi) > 1 and phi[1] == 0:
            raise InvalidInput(
                "problem.teacher has no degree 1 and problem.dimension is 0: all overlaps start at "
                "zero and stay there, and nothing is learned; give degree 1 or a dimension."
            )

        def start(key: Key[Array, ""], size: int, points: Points = "random") -> Ensemble:
            drawn, across = jax.random.split(key)
            a, coordinate = gaussian(drawn, size, landscape.particle, points=points).particles
            angle = overlap_angles(across, coordinate, self.dimension)
            return Ensemble(IndexNeuron(jnp.sqrt(landscape.ratio) * a, angle))

        levels = plateau_levels(phi)
        learned = [k for k, one in enumerate(phi) if one]
        names = ["nothing learned", *(f"degree {k} learned" for k in learned[:-1]), "minimum"]
        places = [0, *(k + 1 for k in learned[:-1]), len(phi)]
        return Problem(landscape, start, levels=dict(zip(names, levels[places], strict=True)))

    def _shared(self) -> Problem:
        landscape = SharedLinkLandscape(self.teacher)
        given = {"activation": self.activation, "ratio": self.ratio}
        for name, value in given.items():
            if value:
                raise InvalidInput(
                    f"problem.{name} is {value}, but problem.readout is 'shared', which has none; "
                    "leave it out (flow.ratio is the link's timescale), or choose 'own'."
                )
        if self.dimension == 0:
            raise InvalidInput(
                "problem.dimension is 0, but problem.readout is 'shared': the best link of a "
                "direction without overlap is constant, and nothing moves; give a dimension."
            )

        def start(key: Key[Array, ""], size: int, points: Points = "random") -> Ensemble:
            drawn, across = jax.random.split(key)
            coordinate = gaussian(drawn, size, landscape.particle, points=points).particles
            return Ensemble(overlap_angles(across, coordinate, self.dimension))

        level = float(plateau_levels(self.teacher)[1])
        return Problem(landscape, start, levels={"no direction": level, "minimum": 0.0})
