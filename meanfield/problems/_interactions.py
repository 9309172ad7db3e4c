"""Problems of pair interactions: a gas of charges, and the energy distance to a target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import jax
from jaxtyping import Key

from landscapes import EnergyDistanceLandscape, RieszGasLandscape
from particles import InvalidInput, gaussian

from ..results import Claim
from ..runs import Run
from ._options import Count, NonNegative, Positive, Range
from ._problem import Problem

MODES = 3  # of the target


@dataclass(frozen=True)
class RieszGas:
    """A gas of charges in a quadratic potential: logarithmic, or a power |x|⁻ˢ (SER15).

    Example:
        >>> round(RieszGas(dim=2).build(jax.random.key(0)).levels["equilibrium"], 6)
        0.375
    """

    dim: Annotated[int, Range(1, 1000)] = 2
    """Numbers in a particle."""
    strength: Positive = 1.0
    """λ of the potential ½λ‖x‖²."""
    exponent: NonNegative = 0.0
    """s of the repulsion |x|⁻ˢ/s, below dim; 0 is the logarithm."""

    def build(self, key: Key[jax.Array, ""]) -> Problem:
        """The problem; it draws nothing.

        Raises:
            InvalidInput: an exponent that is not integrable.
        """
        gas = RieszGasLandscape(self.dim, self.strength, self.exponent)
        known = self.exponent == 0 and self.dim <= 2

        def claims(run: Run) -> list[Claim]:
            return [] if self.exponent else [second_moment_claim(gas, run)]

        return Problem(
            gas,
            lambda key, size: gaussian(key, size, gas.particle),
            levels={"equilibrium": gas.level} if known else {},
            claims=claims,
        )


def second_moment_claim(gas: RieszGasLandscape, run: Run) -> Claim:
    """M' = −2λm + (N − 1)/N of a logarithmic gas, from the run's first record to its last."""
    seen = run.trajectory["second_moment"]
    first, last = float(seen[0]), float(seen[-1])
    end = gas.second_moment(run.ensemble.size)
    time = float(run.trajectory["time"][-1] - run.trajectory["time"][0])
    decay = math.exp(-2 * float(gas.strength) * time)
    return Claim.equal(
        "second moment at the end of the run, by its exact law",
        "theory 11",
        end + (first - end) * decay,
        last,
        relative=1e-3,
    )


@dataclass(frozen=True)
class EnergyDistance:
    """Distance of a kernel (MMD) to a sample of three normal clouds (SR13, GBRSS12).

    Example:
        >>> EnergyDistance(samples=8).build(jax.random.key(0)).landscape.target.shape
        (8, 2)
    """

    dim: Annotated[int, Range(1, 1000)] = 2
    """Numbers in a particle."""
    samples: Count = 256
    """Points of the target."""
    spread: Positive = 0.2
    """Standard deviation of each cloud; their centres are standard normal."""
    kernel: Literal["distance", "gaussian", "laplace"] = "distance"
    """−‖x − y‖ (the energy distance), exp(−‖x − y‖²/2w²) or exp(−‖x − y‖/w)."""
    width: NonNegative = 0.0
    """Width w of the kernels that have one; 0 for 1."""

    def build(self, key: Key[jax.Array, ""]) -> Problem:
        """The problem; a key draws the target.

        Raises:
            InvalidInput: a width for a kernel without.
        """
        if self.width and self.kernel == "distance":
            raise InvalidInput(
                f"problem.width is {self.width}, but problem.kernel is 'distance', which has none; "
                "leave it out, or choose another kernel."
            )
        at, which, around = jax.random.split(key, 3)
        centres = jax.random.normal(at, (MODES, self.dim))
        rows = jax.random.randint(which, (self.samples,), 0, MODES)
        noise = jax.random.normal(around, (self.samples, self.dim))
        target = centres[rows] + self.spread * noise
        landscape = EnergyDistanceLandscape(target, self.kernel, self.width or 1.0)
        return Problem(
            landscape,
            lambda key, size: gaussian(key, size, landscape.particle),
            levels={"target": 0.0},
        )
