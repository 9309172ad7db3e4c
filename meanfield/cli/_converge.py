"""`meanfield converge`: the N → ∞ study of any problem."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from particles import InvalidInput

from ..problems import (
    Attention,
    Count,
    DefaultStart,
    Gradient,
    Natural,
    Positive,
    Range,
    Seed,
    build_flow,
    build_problem,
    start_law,
    study_key,
)
from ..reports import convergence_result
from ..studies import convergence_study
from ._common import Common, Folder, resumed_folder
from ._simulate import ConfigFile


@dataclass(frozen=True)
class ConvergeOptions:
    """The sizes of the study."""

    smallest: Count = 64
    """Smallest number of particles; sizes double from there."""
    largest: Count = 8192
    """Largest number of particles; the reference has twice as many."""
    seeds: Annotated[int, Range(2, 10**6)] = 16
    """Independent references."""
    transport: Natural = 1024
    """Particles up to which W2 and Sinkhorn distances are taken; 0 for none."""
    horizon: Positive = 3.0
    """Flow time."""
    dt: Positive = 0.05
    """Step in flow time; the first one when adaptive."""


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
        out = self.folder() if self.resume is None else resumed_folder(self, "nothing")
        sizes = [options.smallest]
        while 2 * sizes[-1] <= options.largest:
            sizes.append(2 * sizes[-1])
        problem = build_problem(self.problem, self.seed)
        flow = build_flow(self.flow, problem)
        with self.report(out, "N → ∞") as report:
            self.say(f"N = {sizes[0]} to {sizes[-1]}, {options.seeds} seeds")
            found = convergence_study(
                flow,
                start_law(self.start, problem, self.seed),
                key=study_key(self.seed),
                horizon=options.horizon,
                dt=options.dt,
                sizes=sizes,
                seeds=options.seeds,
                transport=options.transport,
                saved=out / "checkpoints",
                resume=self.resume is not None,
                progress=self.shows_progress,
            )
            report.add(convergence_result(found))
        report.finish()
        self.show(report)
        return 0
