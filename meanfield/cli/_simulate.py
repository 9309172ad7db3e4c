"""`meanfield simulate CONFIG.toml`: one flow of any problem."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro

from particles import Ensemble, InvalidInput, gathered, save_ensemble

from ..flows import AbstractFlow
from ..problems import (
    Attention,
    Config,
    Count,
    DefaultStart,
    Gradient,
    Natural,
    RunOptions,
    Seed,
    load,
    run_key,
    study_key,
)
from ..reports import Report, budget_result, require_own_folder, run_result, undone_if_refused
from ..results import Result
from ..runs import Checkpoints, FlowFailed, RunInterrupted, at, every, join, simulate, speaks
from ..studies import error_budget, require_halves
from ._common import Common, Folder, resumed_folder

ConfigFile = Annotated[
    Path | None,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="[CONFIG.toml]", help_behavior_hint=""),
]


@dataclass(frozen=True)
class Simulate(Common):
    """One flow of any problem, from a configuration file or from options alone."""

    command = "simulate"

    config: ConfigFile = None
    """A configuration, such as the config.toml that any command wrote; every key is optional."""
    resume: Folder = None
    """Go on with the earlier run in this folder, perhaps to a later --horizon."""
    trust: bool = False
    """Run code of its own that the configuration of a resumed folder names."""
    distributed: str = ""
    """Join other hosts: 'auto' under SLURM, else ADDRESS:PORT/COUNT/INDEX; needs --out."""
    seed: Seed = 0
    """Of every random draw."""
    particles: Count = 1024
    """Number N of particles."""
    precision: Literal["float64", "float32"] = "float64"
    """Of all numbers."""
    devices: Natural = 1
    """Devices to split the particles over, 0 for all; may change when resuming."""
    errors: bool = False
    """Measure the error of the final loss too, by halves of particles, samples and step."""
    problem: Any = field(default_factory=Attention)
    start: Any = field(default_factory=DefaultStart)
    flow: Any = field(default_factory=Gradient)
    run: RunOptions = field(default_factory=RunOptions)

    @property
    def configuration(self) -> Config:
        """What `meanfield.load` takes."""
        return Config(
            seed=self.seed,
            particles=self.particles,
            precision=self.precision,
            devices=self.devices,
            problem=self.problem,
            start=self.start,
            flow=self.flow,
            run=self.run,
        )

    def __call__(self) -> int:
        """Run the flow; see `meanfield simulate --help`."""
        jax.config.update("jax_enable_x64", self.precision == "float64")
        if self.distributed:
            if self.out is None and self.resume is None:
                raise InvalidInput("out is missing; all hosts of a run need the same --out.")
            join(self.distributed)
        out = (
            self.folder()
            if self.resume is None
            else resumed_folder(self, "only --horizon and --devices")
        )
        require_own_folder(out, self.command)
        options = self.run
        checkpoints = Checkpoints(out / "checkpoints", options.checkpoint_steps)
        if self.resume is None and checkpoints.latest() is not None:
            raise InvalidInput(
                f"out is {out}, which holds an earlier run; go on with that by --resume {out}, or "
                "choose another folder."
            )
        problem, start, flow = load(self.configuration)
        if self.errors:
            self._require_halves(flow, start)
        # One host writes results; checkpoints are written by all, each its own particles.
        written = out if speaks() else Path(tempfile.mkdtemp())
        failure = None
        with undone_if_refused(written):
            # The configuration is there before the run, so that a run that is killed can go on.
            title = "A Wasserstein gradient flow"
            report = Report(written, title, self.command, self.configuration)
            try:
                run = simulate(
                    flow,
                    start,
                    horizon=options.horizon,
                    dt=options.dt,
                    key=run_key(self.seed) if flow.random else None,
                    record=every(options.every) if options.every else None,
                    snapshots=at(0.0, *options.snapshots, options.horizon),
                    checkpoints=checkpoints,
                    resume=self.resume is not None,
                    progress=self.shows_progress,
                    label="simulate",
                )
            except (FlowFailed, RunInterrupted) as error:
                run, failure = error.run, error
        try:
            begin, end = gathered(start), gathered(run.ensemble)
            save_ensemble(report.out / "ensemble.npz", end)
            report.add(run_result(problem, flow, begin, end, run))
            if self.errors and failure is None:
                report.add(self._budget(flow, start))
            report.finish()
        except OSError as error:  # the same full disk, perhaps: what failed first is what to say
            failure = failure or error
        if isinstance(failure, RunInterrupted):
            self.say(f"Go on with: meanfield simulate --resume {out}")
        if failure is not None:
            raise failure
        if speaks():
            self.show(report)
        return 0

    def _require_halves(self, flow: AbstractFlow, start: Ensemble) -> None:
        """Refuse `errors` where halves do not tell them."""
        if self.devices != 1 or self.distributed:
            raise InvalidInput(
                f"errors is True, but devices is {self.devices} and distributed is "
                f"{self.distributed!r}; errors are measured on one device."
            )
        if not getattr(self.start, "independent", True):
            raise InvalidInput(
                "errors is True, but start is no i.i.d. draw, of which halves would tell the "
                "error; choose another, with points 'random'."
            )
        require_halves(flow, start)

    def _budget(self, flow: AbstractFlow, start: Ensemble) -> Result:
        """The final loss with its error."""
        found = error_budget(
            flow,
            start,
            key=study_key(self.seed),
            horizon=self.run.horizon,
            dt=self.run.dt,
            progress=self.shows_progress,
        )
        if not (self.json or self.quiet):
            print(f"L(μ_T) = {found.estimate} ({found.estimate.shares})")
        return budget_result(found)
