"""`meanfield animate RUN`: a film of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from particles import InvalidInput

from ..problems import (
    Attention,
    Config,
    Count,
    DefaultStart,
    Gradient,
    RunOptions,
    Seed,
    load,
    run_key,
)
from ..reports import FilmOptions, filmed
from ..results import Result
from ..runs import Progress
from ._common import Common, File
from ._source import require_run, require_there


@dataclass(frozen=True)
class Animate(Common):
    """A film of a run: its particles, its loss, its curvature; the run is repeated for it."""

    command = "animate"

    source: Annotated[
        Path | None,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[RUN]", help_behavior_hint=""),
    ] = None
    """Folder of a run, whose configuration is repeated; or a configuration.toml."""
    config: File = None
    """A configuration, in place of the run's."""
    trust: bool = False
    """Run code of its own that the configuration of a run's folder names."""
    seed: Seed = 0
    """Of every random draw."""
    particles: Count = 256
    """Number N of particles."""
    problem: Any = field(default_factory=Attention)
    start: Any = field(default_factory=DefaultStart)
    flow: Any = field(default_factory=Gradient)
    run: RunOptions = field(default_factory=RunOptions)
    options: FilmOptions = field(default_factory=FilmOptions)

    @classmethod
    def from_words(cls, words: Sequence[str]) -> Animate:
        """A command from its words.

        Raises:
            InvalidInput: a folder without a run.
        """
        from ._parse import parse

        command = parse(cls, words)
        source = command.source
        require_there(source)
        if source is not None and source.is_dir():
            require_run(source, ["config.toml"])
        if source is not None and source.is_file() and source.suffix != ".toml":
            raise InvalidInput(
                f"source is {source}; name the folder of a run, or a configuration that ends in "
                ".toml."
            )
        return command

    def __call__(self) -> int:
        """Make the film; see `meanfield animate --help`."""
        out = self.folder()
        configuration = Config(
            seed=self.seed,
            particles=self.particles,
            problem=self.problem,
            start=self.start,
            flow=self.flow,
            run=self.run,
        )
        with self.report(out, "A film of a run") as report:
            problem, start, flow = load(configuration)
            self.say("1/2 running")
            run, film = filmed(
                problem,
                flow,
                start,
                self.run,
                self.options,
                key=run_key(self.seed) if flow.random else None,
                progress=self.shows_progress,
            )
            self.say("2/2 drawing")
            with Progress("draw", 0, len(film.times), self.shows_progress) as bar:
                path = film.save(
                    report.out,
                    self.options.form,
                    fps=self.options.fps,
                    progress=lambda done, total: bar.update(done, f"frame {done}"),
                )
            result = Result("A film of a run")
            shown = f"![film]({path.name})" if path.suffix == ".gif" else f"[film]({path.name})"
            result.text(shown)
            result.text(f"{len(film.times)} frames. {run.message}")
            result.trajectory(run.trajectory)
            report.add(result)
        report.finish()
        if not (self.json or self.quiet):
            print(path)
        self.show(report, film=str(path))
        return 0
