"""An ensemble to look at: that of a run's folder, that of a file, or a start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from particles import Ensemble, InvalidInput, load_ensemble, read_tensors

from ..problems import (
    Attention,
    Count,
    DefaultStart,
    Problem,
    Seed,
    TensorMap,
    build_problem,
    draw_start,
    from_tensors,
)
from ..reports import History
from ..runs import snapshots
from ._common import Common, File


class Source(NamedTuple):
    """An ensemble on a problem's landscape, and what led there.

    Args:
        problem: the run's, or the configured one.
        ensemble: on its landscape.
        history: flow times and ensembles of the run; `None` if unknown.
    """

    problem: Problem
    ensemble: Ensemble
    history: History | None


@dataclass(frozen=True)
class FromSource(Common):
    """Options of the commands that look at an ensemble."""

    source: Annotated[
        Path | None,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[RUN_OR_FILE]", help_behavior_hint=""),
    ] = None
    """Folder of a run, or an .npz or .safetensors of named arrays; else the configured start."""
    config: File = None
    """A configuration, in place of the run's."""
    trust: bool = False
    """Run code of its own that the configuration of a run's folder names."""
    map: TensorMap = field(default_factory=TensorMap)
    """Tensors of a network trained elsewhere."""
    seed: Seed = 0
    """Of every random draw."""
    particles: Count = 1024
    """Number N of particles of a start."""
    problem: Any = field(default_factory=Attention)
    start: Any = field(default_factory=DefaultStart)

    @classmethod
    def from_words(cls, words: Sequence[str]) -> FromSource:
        """A command from its words.

        Raises:
            InvalidInput: no ensemble, or an ensemble without anything that says on which landscape.
        """
        from ._parse import parse

        command = parse(cls, words)
        told = any(w.startswith(("--problem", "--config", "--data")) for w in words)
        source = command.source
        require_there(source)
        if source is not None and source.is_file() and not told:
            read_tensors(source)  # a file that is none is refused as such
            raise InvalidInput(
                f"source {source} is an ensemble without its landscape; add --config CONFIG.toml, "
                "--problem KIND or --data FILE.npz, or name the folder of a run."
            )
        if source is not None and source.is_dir() and not told:
            require_run(source)
        if command.map.given and (source is None or source.is_dir()):
            raise InvalidInput(
                f"map.{command.map.given[0]} is given, but source is {source}; name the file of "
                "tensors that it maps."
            )
        return command

    def load(self) -> Source:
        """The ensemble and its problem.

        Raises:
            InvalidInput: an ensemble of another landscape, or a file that cannot be used.
        """
        problem = build_problem(self.problem, self.seed)
        path = self.source
        if path is None:
            start = draw_start(self.start, problem, self.seed, self.particles)
            return Source(problem, start, None)
        if self.map.given:
            return Source(*from_tensors(problem, path, self.map), None)
        file = path / "ensemble.npz" if path.is_dir() else path
        ensemble = load_ensemble(file, like=problem.landscape.particle)
        return Source(problem, ensemble, history(path, problem))


def require_there(source: Path | None) -> None:
    """Refuse a source that is named and not there.

    Raises:
        InvalidInput: names it.
    """
    if source is not None and not source.exists():
        raise InvalidInput(f"source is {source}; there is no such file or folder.")


def require_run(folder: Path, files: Sequence[str] = ("config.toml", "ensemble.npz")) -> None:
    """Refuse a folder without a run.

    Args:
        folder: of results.
        files: of the run that are needed.

    Raises:
        InvalidInput: names what is missing.
    """
    for name in files:
        if not (folder / name).exists():
            raise InvalidInput(f"source is {folder}, which holds no run: no {name}.")


def history(path: Path, problem: Problem) -> History | None:
    """Times and ensembles of a run's snapshots; `None` for an `.npz`, or a run without them.

    Raises:
        InvalidInput: a trajectory that cannot be read.
    """
    import xarray

    file = path / "trajectory.nc"
    if not path.is_dir() or not file.exists():
        return None
    try:
        with xarray.open_dataset(file, engine="h5netcdf") as trajectory:
            if "snapshot_time" not in trajectory.dims:
                return None
            times, ensembles = snapshots(trajectory, problem.landscape.particle)
    except (OSError, KeyError, ValueError) as error:
        raise InvalidInput(
            f"{file} cannot be read ({error}); it is damaged or no trajectory of this library."
        ) from error
    return times.tolist(), ensembles
