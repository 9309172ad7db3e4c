"""What a time-stepping scheme is: how a step is taken, and what it may ask of the flow."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
from jaxtyping import Array, Bool, Float, PyTree

from landscapes import AbstractLandscape, Observable
from particles import Ensemble


class Field(NamedTuple):
    """What a step moves along.

    Args:
        term: the velocity, as a function of the time since the step began.
        landscape: whose energy falls; it may be a batch's.
        ensemble: weights and devices of the particles.
        chunk: particles held at once.
    """

    term: diffrax.ODETerm
    landscape: AbstractLandscape
    ensemble: Ensemble
    chunk: int | None


class AbstractScheme(eqx.Module):
    """A way to take a step: `Scheme` (Runge–Kutta), or `Proximal` (JKO)."""

    @abc.abstractmethod
    def start(self, field: Field, dt: Array, y: PyTree) -> PyTree:
        """What the scheme carries from step to step."""

    @abc.abstractmethod
    def step(
        self, field: Field, dt: Array, y: PyTree, carried: PyTree, jumped: Bool[Array, ""]
    ) -> tuple[PyTree, Bool[Array, ""], Float[Array, ""], PyTree]:
        """One step: the new state, whether to accept it, the next step size, what to carry."""

    @property
    def adaptive(self) -> bool:
        """Whether the step size follows an error estimate."""
        return False

    @property
    def tolerance(self) -> float:
        """Relative error that the scheme allows itself in a step; 0 where it is not controlled."""
        return 0.0

    @property
    def tableau(self) -> Any:
        """Of a Runge–Kutta scheme; `None` for others."""
        return None

    def numbers(self, carried: PyTree) -> dict[str, Observable]:
        """What is recorded of a step, by name."""
        return {}

    @property
    def title(self) -> str:
        """Its name in the attributes of files."""
        return type(self).__name__
