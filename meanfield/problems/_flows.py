"""Kinds of flows by their options."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from landscapes import AbstractLandscape, Confined, Confinement, Landscape, Sum
from particles import InvalidInput

from ..flows import (
    AbstractScheme,
    AcceleratedFlow,
    Diffusion,
    GradientFlow,
    Resampling,
    scheme_from,
)
from ._options import Natural, NonNegative, Positive, Range

SchemeName = Literal["euler", "heun", "bosh3", "tsit5", "jko", "adaptive"]


@dataclass(frozen=True)
class SchemeOptions:
    """Base of flows that a scheme moves."""

    scheme: SchemeName = "adaptive"
    """Time-stepping scheme."""
    rtol: NonNegative = 0.0
    """Relative tolerance per step of the adaptive scheme; 0 for 1e-5."""
    atol: NonNegative = 0.0
    """Absolute tolerance per step of the adaptive scheme; 0 for 1e-8."""
    confinement: NonNegative = 0.0
    """λ of the weight decay ½λ‖θ‖² added to the landscape."""
    chunk: Natural = 0
    """Particles in memory at once; 0 chooses."""

    def stepper(self) -> AbstractScheme:
        """The scheme.

        Raises:
            InvalidInput: tolerances for a fixed step.
        """
        given = {"rtol": self.rtol, "atol": self.atol}
        if self.scheme == "adaptive":
            return scheme_from("adaptive", rtol=self.rtol or 1e-5, atol=self.atol or 1e-8)
        for name, value in given.items():
            if value:
                raise InvalidInput(
                    f"flow.{name} is {value}, but flow.scheme is {self.scheme!r}, whose step is "
                    "fixed; leave it out, or choose 'adaptive'."
                )
        return scheme_from(self.scheme)

    def confined(self, landscape: AbstractLandscape) -> AbstractLandscape:
        """The landscape with the weight decay, if there is any."""
        if not self.confinement:
            return landscape
        if isinstance(landscape, Landscape):
            return Confined(landscape, self.confinement)
        return Sum(landscape, Confinement(self.confinement))


@dataclass(frozen=True)
class Gradient(SchemeOptions):
    """The Wasserstein gradient flow, and the dynamics built upon it."""

    ratio: Annotated[float, Range(0, open_low=True)] | Literal["limit", "frozen"] = "limit"
    """Timescale ratio ε of the fast variables."""
    temperature: NonNegative = 0.0
    """τ of entropic noise (mean-field Langevin dynamics); 0 for none."""
    birth_death: NonNegative = 0.0
    """Rate α of birth and death (Wasserstein–Fisher–Rao); 0 for none."""
    resample_below: Annotated[float, Range(0, 1)] = 0.0
    """Share of N below which the effective number of particles calls for resampling; 0: never."""
    batch_size: Natural = 0
    """Fresh prompts per step (stochastic gradient descent); 0 for the full landscape."""

    def build(self, landscape: AbstractLandscape) -> GradientFlow:
        """The flow.

        Raises:
            InvalidInput: options that do not fit together, or not the landscape.
        """
        ratios = {"limit": None, "frozen": math.inf}
        ratio = ratios[self.ratio] if isinstance(self.ratio, str) else self.ratio
        jumps = [Diffusion(self.temperature)] if self.temperature else []
        jumps += [Resampling(self.resample_below)] if self.resample_below else []
        return GradientFlow(
            self.confined(landscape),
            scheme=self.stepper(),
            ratio=ratio,
            birth_death=self.birth_death or None,
            batch_size=self.batch_size or None,
            jumps=tuple(jumps),
            chunk=self.chunk or None,
        )


@dataclass(frozen=True)
class Accelerated(SchemeOptions):
    """The accelerated (heavy-ball or Nesterov) mean-field flow."""

    damping: Positive | Literal["nesterov"] = "nesterov"
    """Friction γ, per time; nesterov is 3/t."""

    def build(self, landscape: AbstractLandscape) -> AcceleratedFlow:
        """The flow.

        Raises:
            InvalidInput: options that do not fit together.
        """
        return AcceleratedFlow(
            self.confined(landscape),
            scheme=self.stepper(),
            damping=self.damping,
            chunk=self.chunk or None,
        )


FLOWS: Mapping[str, type] = {"gradient": Gradient, "accelerated": Accelerated}
