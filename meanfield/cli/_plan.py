"""`meanfield plan`: what a run would need, before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import jax

from ..problems import (
    Attention,
    Count,
    DefaultStart,
    Gradient,
    RunOptions,
    Seed,
    build_flow,
    build_problem,
    start_law,
)
from ..problems import start_key as key_of
from ..reports import PlanOptions, plan_result
from ._common import Common
from ._simulate import ConfigFile

FEW = 16  # particles that show the shape of one


@dataclass(frozen=True)
class Plan(Common):
    """Memory, time and devices that the run of a configuration would need; nothing is run."""

    command = "plan"

    config: ConfigFile = None
    """A configuration, such as `meanfield simulate` takes; every key is optional."""
    seed: Seed = 0
    """Of every random draw."""
    particles: Count = 1024
    """Number N of particles."""
    precision: Literal["float64", "float32"] = "float64"
    """Of all numbers."""
    problem: Any = field(default_factory=Attention)
    start: Any = field(default_factory=DefaultStart)
    flow: Any = field(default_factory=Gradient)
    run: RunOptions = field(default_factory=RunOptions)
    options: PlanOptions = field(default_factory=PlanOptions)

    def __call__(self) -> int:
        """Count; see `meanfield plan --help`."""
        jax.config.update("jax_enable_x64", self.precision == "float64")
        out = self.folder()
        with self.report(out, "What the run would need") as report:
            problem = build_problem(self.problem, self.seed)
            flow = build_flow(self.flow, problem)
            like = start_law(self.start, problem, self.seed)(key_of(self.seed), FEW)
            steps = math.ceil(self.run.horizon / self.run.dt)
            result = plan_result(flow, like, self.particles, steps, self.options)
            report.add(result)
        report.finish()
        if not (self.json or self.quiet):
            from rich.console import Console
            from rich.markdown import Markdown

            for entry in result.body:
                Console().print(Markdown(str(entry)))
        self.show(report)
        return 0
