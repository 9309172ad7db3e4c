"""Kinds of starts: how the ensemble at time zero is drawn, built or read."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax
from jaxtyping import Array, Key, PyTree

from landscapes import NeuronLandscape, neuron_start
from particles import Ensemble, InvalidInput, Points, gaussian, load_ensemble, sphere, uniform
from saddle_analysis import HessianOperator, along, displaced, smallest_eigenpair

from ._options import Feature, Finite, NonNegative, Positive
from ._problem import Draw, Problem

# Each kind has `build(problem, law)`, which returns draw(key, size). `law` is a key that all draws
# of one seed share. `independent` says whether a draw is i.i.d., as N → ∞ studies need it.


@dataclass(frozen=True)
class DrawnStart:
    """Base of the starts that are drawn from a law."""

    points: Points = "random"
    """How particles are drawn: evenly spread ones represent the law with fewer."""

    @property
    def independent(self) -> bool:
        """Whether draws are i.i.d."""
        return self.points == "random"


@dataclass(frozen=True)
class DefaultStart(DrawnStart):
    """The problem's own law of starts."""

    def build(self, problem: Problem, law: Key[Array, ""]) -> Draw:
        """Draws from the problem's law.

        Raises:
            InvalidInput: the problem's draw has no argument `points`.
        """
        if self.independent:
            return problem.start
        if "points" not in inspect.signature(problem.start).parameters:
            raise InvalidInput(
                f"start.points is {self.points!r}, but the start of problem {problem.name!r} has "
                "no argument `points`; give it one, or choose start 'gaussian'."
            )
        return functools.partial(problem.start, points=self.points)  # pyright: ignore[reportCallIssue]


@dataclass(frozen=True)
class NeuronsStart(DrawnStart):
    """I.i.d. neurons whose mean output is not zero, so that there is an N → ∞ limit."""

    output_mean: Finite = 1.0
    """Strength of the correlation of output with input weights; 0 makes the mean output zero."""
    scale_a: NonNegative = 1.0
    """Standard deviation of the uncorrelated part of the output weights."""
    scale_w: Positive = 1.0
    """Root mean square norm of the input weights."""

    def build(self, problem: Problem, law: Key[Array, ""]) -> Draw:
        """Draws of `neuron_start`.

        Raises:
            InvalidInput: the particles are no neurons.
        """
        landscape = problem.landscape.unwrapped
        if not isinstance(landscape, NeuronLandscape):
            raise InvalidInput(
                f"start is 'neurons', but the particles of problem {problem.name!r} are no "
                "neurons; choose 'default' or 'gaussian'."
            )
        return lambda key, size: neuron_start(
            key,
            landscape,
            size,
            output_mean=self.output_mean,
            scale_a=self.scale_a,
            scale_w=self.scale_w,
            law=law,
            points=self.points,
        )


@dataclass(frozen=True)
class GaussianStart(DrawnStart):
    """Independent normal coordinates."""

    scale: NonNegative = 1.0
    """Standard deviation of every coordinate."""

    def build(self, problem: Problem, law: Key[Array, ""]) -> Draw:
        """Draws of `gaussian`."""
        like = particle_of(problem)
        return functools.partial(gaussian, like=like, scale=self.scale, points=self.points)


@dataclass(frozen=True)
class SphereStart(DrawnStart):
    """Every part of a particle uniform on a sphere."""

    radius: Positive = 1.0
    """Of the sphere."""

    def build(self, problem: Problem, law: Key[Array, ""]) -> Draw:
        """Draws of `sphere`."""
        like = particle_of(problem)
        return functools.partial(sphere, like=like, radius=self.radius, points=self.points)


@dataclass(frozen=True)
class UniformStart(DrawnStart):
    """Every coordinate uniform on an interval around zero."""

    scale: Positive = 1.0
    """Half the length of the interval."""

    def build(self, problem: Problem, law: Key[Array, ""]) -> Draw:
        """Draws of `uniform`."""
        like = particle_of(problem)
        return functools.partial(
            uniform, like=like, low=-self.scale, high=self.scale, points=self.points
        )


@dataclass(frozen=True)
class SaddleStart:
    """Beside an exact saddle of the problem, along its most unstable direction."""

    independent: ClassVar[bool] = False

    missing: tuple[Feature, ...] = ()
    """Features that the saddle misses, numbered from 0; none for the problem's own choice."""
    distance: NonNegative = 1e-4
    """L²(μ) distance from the saddle; 0 starts on it."""

    def build(self, problem: Problem, law: Key[Array, ""]) -> Draw:
        """Places particles beside the saddle.

        Raises:
            InvalidInput: the problem has no exact saddle, or a feature is named twice.
        """
        place = problem.require("saddle", "start 'saddle'")
        missing = checked_missing(self.missing, problem)

        def draw(key: Key[Array, ""], size: int) -> Ensemble:
            saddle = place(key, size, missing)
            if self.distance == 0 or not missing:
                return saddle
            unstable = smallest_eigenpair(HessianOperator(problem.landscape, saddle)).fields[0]
            return displaced(saddle, along(saddle, unstable, self.distance))

        return draw


@dataclass(frozen=True)
class FileStart:
    """Particles of a file."""

    independent: ClassVar[bool] = False

    file: str = ""
    """An .npz of named arrays, as `save_ensemble` writes them."""

    def __post_init__(self) -> None:
        if self.file:  # so that a run can be repeated from anywhere
            object.__setattr__(self, "file", str(Path(self.file).absolute()))

    def build(self, problem: Problem, law: Key[Array, ""]) -> Draw:
        """Reads the file; the number of particles is the file's.

        Raises:
            InvalidInput: no file is named.
        """
        if not self.file:
            raise InvalidInput("start.file is empty, but start is 'file'; name an .npz.")
        return lambda key, size: load_ensemble(self.file, like=problem.landscape.particle)


STARTS: Mapping[str, type] = {
    "default": DefaultStart,
    "neurons": NeuronsStart,
    "gaussian": GaussianStart,
    "sphere": SphereStart,
    "uniform": UniformStart,
    "saddle": SaddleStart,
    "file": FileStart,
}


def checked_missing(missing: tuple[int, ...], problem: Problem) -> tuple[int, ...]:
    """Features that a saddle misses, each once; the problem's own choice where none are named.

    Raises:
        InvalidInput: a feature is named twice.
    """
    chosen = missing or tuple(problem.missing)
    if len(set(chosen)) < len(chosen):
        raise InvalidInput(f"missing is {list(chosen)}; name each feature once.")
    return chosen


def particle_of(problem: Problem) -> PyTree[jax.ShapeDtypeStruct]:
    """Shapes and dtypes of one particle.

    Raises:
        InvalidInput: the landscape does not know them.
    """
    if problem.landscape.particle is None:
        raise InvalidInput(
            f"problem {problem.name!r} does not know the shape of a particle; give its landscape a "
            "property `particle`, or choose start 'default'."
        )
    return problem.landscape.particle
