"""`meanfield converge`: the N → ∞ study of any problem."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from particles import InvalidInput

from ..flows import AbstractFlow
from ..problems import (
    Attention,
    Count,
    DefaultStart,
    Gradient,
    Natural,
    NonNegative,
    Positive,
    Range,
    Seed,
    build_flow,
    build_problem,
    start_law,
    study_key,
)
from ..reports import convergence_result, levels_result
from ..results import Result
from ..studies import Draw, convergence_study, multilevel_estimate
from ._common import Common, Folder, resumed_folder
from ._simulate import ConfigFile


@dataclass(frozen=True)
class ConvergeOptions:
    """The sizes of the study."""

    smallest: Count = 64
    """Smallest number of particles; sizes double from there."""
    largest: Count = 8192
    """Largest number of particles; without a tolerance the reference has twice as many."""
    seeds: Annotated[int, Range(2, 10**6)] = 16
    """Independent references; with a tolerance, least samples of a level."""
    times: Count = 6
    """Times at which errors are taken, evenly up to the horizon."""
    transport: Natural = 1024
    """Particles up to which W2 and Sinkhorn distances are taken; 0 for none."""
    horizon: Positive = 3.0
    """Flow time."""
    dt: Positive = 0.05
    """Step in flow time; the first one when adaptive, the coarsest one with a tolerance."""
    tolerance: NonNegative = 0.0
    """Wanted error of L(μ_T) for N → ∞ and dt → 0; 0 for the study of exponents."""
    budget: NonNegative = 0.0
    """Seconds that a tolerance may take; 0 for no bound."""


@dataclass(frozen=True)
class Converge(Common):
    """N to infinity: errors of finite ensembles against N, with fitted exponents."""

    command = "converge"

    config: ConfigFile = None
    """A configuration, such as the config.toml that any command wrote; every key is optional."""
    resume: Folder = None
    """Go on with the earlier study in this folder."""
    trust: bool = False
    """Run code of its own that the configuration of a resumed folder names."""
    seed: Seed = 0
    """Of every random draw."""
    problem: Any = field(
        default_factory=lambda: Attention(dim=4, samples=128, spectrum=(1.0, 0.5), ridge=1e-3)
    )
    start: Any = field(default_factory=DefaultStart)
    flow: Any = field(default_factory=lambda: Gradient(scheme="euler"))
    options: ConvergeOptions = field(default_factory=ConvergeOptions)

    def __call__(self) -> int:
        """Run the study; see `meanfield converge --help`."""
        options = self.options
        if options.smallest > options.largest:
            raise InvalidInput(
                f"smallest is {options.smallest} and largest is {options.largest}; they must be in "
                "order."
            )
        if not getattr(self.start, "independent", True):
            points = getattr(self.start, "points", None)
            what = " is a construction or a file" if points is None else f".points is {points!r}"
            raise InvalidInput(
                f"start{what}; laws of N → ∞ are about i.i.d. draws: choose 'default', "
                "'gaussian', 'sphere' or 'uniform' with points 'random'."
            )
        if options.budget and not options.tolerance:
            raise InvalidInput(
                f"budget is {options.budget}, but tolerance is 0; it bounds the work for a "
                "tolerance: give one."
            )
        if options.tolerance and options.transport != ConvergeOptions.transport:
            raise InvalidInput(
                f"transport is {options.transport}, but with a tolerance no distances are taken; "
                "leave it out."
            )
        if options.tolerance and options.times != ConvergeOptions.times:
            raise InvalidInput(
                f"times is {options.times}, but with a tolerance the horizon alone counts; leave "
                "it out."
            )
        out = self.folder() if self.resume is None else resumed_folder(self, "nothing")
        problem = build_problem(self.problem, self.seed)
        flow = build_flow(self.flow, problem)
        with self.report(out, "N → ∞") as report:
            study = self._levels if options.tolerance else self._exponents
            report.add(study(flow, start_law(self.start, problem, self.seed), out))
        report.finish()
        self.show(report)
        return 0

    def _exponents(self, flow: AbstractFlow, draw: Draw, out: Path) -> Result:
        """Errors of finite ensembles against N."""
        options = self.options
        sizes = [options.smallest]
        while 2 * sizes[-1] <= options.largest:
            sizes.append(2 * sizes[-1])
        self.say(f"N = {sizes[0]} to {sizes[-1]}, {options.seeds} seeds")
        found = convergence_study(
            flow,
            draw,
            key=study_key(self.seed),
            horizon=options.horizon,
            dt=options.dt,
            sizes=sizes,
            seeds=options.seeds,
            times=options.times,
            transport=options.transport,
            saved=out / "checkpoints",
            resume=self.resume is not None,
            progress=self.shows_progress,
        )
        return convergence_result(found)

    def _levels(self, flow: AbstractFlow, draw: Draw, out: Path) -> Result:
        """L(μ_T) to a tolerance."""
        options = self.options
        found = multilevel_estimate(
            flow,
            draw,
            key=study_key(self.seed),
            horizon=options.horizon,
            dt=options.dt,
            tolerance=options.tolerance,
            smallest=options.smallest,
            largest=options.largest,
            pilot=options.seeds,
            budget=options.budget or math.inf,
            saved=out / "checkpoints",
            resume=self.resume is not None,
            progress=self.shows_progress,
        )
        if not (self.json or self.quiet):
            print(f"L(μ_T) = {found.estimate}" + ("" if found.reached else f"; {found.shortfall}"))
        return levels_result(found)
