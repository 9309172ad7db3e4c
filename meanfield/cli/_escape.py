"""`meanfield escape`: every kind of perturbation from one controlled saddle, side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from particles import InvalidInput, load_ensemble
from saddle_analysis import HessianOperator, unstable_eigenpairs
from saddle_analysis.spectra import NothingUnstable

from ..flows import GradientFlow
from ..problems import (
    Attention,
    Count,
    Feature,
    Positive,
    Problem,
    Seed,
    build_problem,
    checked_missing,
    start_key,
    study_key,
)
from ..reports import escape_result, growth_result
from ._common import Common
from ._simulate import ConfigFile


@dataclass(frozen=True)
class EscapeOptions:
    """The saddle and the perturbations."""

    missing: tuple[Feature, ...] = ()
    """Features that the saddle misses, numbered from 0; none for the problem's own choice."""
    saddle: str = ""
    """An .npz with an ensemble at a saddle, in place of the problem's exact one."""
    seeds: Count = 16
    """Runs for each kind of perturbation."""
    norm: Positive = 1e-3
    """L²(μ) norm of every perturbation."""
    offset: Positive = 1e-7
    """L²(μ) distance from the saddle before the perturbation, so that a run without can leave."""

    def __post_init__(self) -> None:
        if self.saddle:  # so that a run can be repeated from anywhere
            object.__setattr__(self, "saddle", str(Path(self.saddle).absolute()))


@dataclass(frozen=True)
class Escape(Common):
    """Escape from a saddle of any problem, all perturbation kinds side by side."""

    command = "escape"

    config: ConfigFile = None
    """A configuration, such as the config.toml that any command wrote; every key is optional."""
    seed: Seed = 0
    """Of every random draw."""
    particles: Count = 96
    """Number N of particles."""
    problem: Any = field(default_factory=lambda: Attention(dim=5))
    options: EscapeOptions = field(default_factory=EscapeOptions)

    def __call__(self) -> int:
        """Run the study; see `meanfield escape --help`."""
        options, out = self.options, self.folder()
        problem = build_problem(self.problem, self.seed)
        saddle, level = self._saddle(problem)
        flow = GradientFlow(problem.landscape, scheme="adaptive")
        self.say("1/3 curvature at the saddle")
        try:
            pairs = unstable_eigenpairs(HessianOperator(problem.landscape, saddle))
        except NothingUnstable as error:
            raise InvalidInput(
                f"saddle at L = {level:.4g} has no negative eigenvalue: it is a minimum, or "
                "degenerate, where displacements grow as a power of time and there is no rate to "
                "measure. `meanfield spectrum --start saddle --start.distance 0` tells which; name "
                "another one by --missing or --saddle."
            ) from error
        with self.report(out, "Escape from a saddle") as report:
            self.say("2/3 growth along the unstable eigenvector")
            report.add(growth_result(flow, saddle, pairs, progress=self.shows_progress))
            self.say(f"3/3 the kinds of perturbation, {options.seeds} seeds each")
            report.add(
                escape_result(
                    flow,
                    saddle,
                    pairs,
                    key=study_key(self.seed),
                    norm=options.norm,
                    offset=options.offset,
                    seeds=options.seeds,
                    level=level,
                    progress=self.shows_progress,
                )
            )
        report.finish()
        self.show(report)
        return 0

    def _saddle(self, problem: Problem) -> tuple[Any, float]:
        """The saddle and its level.

        Raises:
            InvalidInput: no saddle, or none with a way out.
        """
        options = self.options
        if options.saddle:
            if options.missing:
                raise InvalidInput(
                    f"missing is {list(options.missing)}, but saddle names a file; give one of "
                    "the two."
                )
            saddle = load_ensemble(options.saddle, like=problem.landscape.particle)
        else:
            place = problem.require("saddle", "meanfield escape")
            missing = checked_missing(options.missing, problem)
            saddle = place(start_key(self.seed), self.particles, missing)
        known = None if problem.predicted is None else problem.predicted(saddle)
        level = float(problem.landscape.value(saddle)) if known is None else known.level
        return saddle, level
