"""`meanfield diagnose`: where is this ensemble, what surrounds it, and is that real?"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax.numpy as jnp
import numpy as np
import tyro
import xarray
from jaxtyping import Array

from landscapes import Redraw, bootstrap, fresh_samples
from particles import Ensemble, InvalidInput, load_ensemble

from ..reports import DiagnosisOptions, Report, Subject, write_diagnosis
from ..runs import snapshots
from ._common import Common, File
from ._sources import Source, load_source


@dataclass(frozen=True)
class Diagnose(Common):
    """Where is an ensemble, what surrounds it, is it real: criticality, slices, field, samples."""

    source: Annotated[Path, tyro.conf.Positional] = Path("runs/demo")
    """Folder of a run, or an .npz of named arrays (see README), trained anywhere."""
    config: File = None
    """The landscape's configuration, for an .npz."""
    data: File = None
    """An .npz with x and f, in place of the configuration's data."""
    other: File = None
    """An .npz with a second ensemble on the same landscape, to look at the way between."""
    count: int = 3
    """Smallest eigenpairs to find."""
    points: int = 41
    """Points on every line; half of them along each side of a plane."""
    replicates: int = 12
    """Draws of the samples for every way of drawing and size."""
    tolerance: float = 1e-6
    """Gradient norm below which the ensemble counts as critical."""
    time_limit: float = 600.0
    """Seconds for every stage of the classification."""
    seed: int = 0
    """Of every random draw."""

    def __call__(self) -> int:
        """Run the diagnosis; see `meanfield diagnose --help`."""
        source = load_source(self.source, self.config, self.data)
        other = None
        if self.other is not None:
            other = load_ensemble(self.other, like=source.landscape.particle)
        report = Report(self.folder("diagnose"), "The landscape around an ensemble", self)
        subject = Subject(
            source.landscape,
            source.ensemble,
            history(self.source, source),
            other,
            redraws(source),
        )
        options = DiagnosisOptions(
            count=self.count,
            points=self.points,
            replicates=self.replicates,
            tolerance=self.tolerance,
            time_limit=self.time_limit,
            seed=self.seed,
        )
        write_diagnosis(report, subject, options, progress=self.talks)
        report.finish()
        self.show(report, "diagnose")
        return 0


def history(path: Path, source: Source) -> tuple[np.ndarray, list[Ensemble]]:
    """Times and ensembles of a run's snapshots; empty for an `.npz`, or a run without them."""
    file = path / "trajectory.nc"
    if not path.is_dir() or not file.exists():
        return np.zeros(0), []
    with xarray.open_dataset(file, engine="h5netcdf") as trajectory:
        if "snapshot_time" not in trajectory.dims:
            return np.zeros(0), []
        return snapshots(trajectory, source.landscape.particle)


def redraws(source: Source) -> dict[str, Redraw]:
    """Resampling always; where the targets are a drawn teacher's, fresh samples of both kinds."""
    ways = {"bootstrap": bootstrap(source.landscape)}
    if source.positions is None:
        return ways
    target = teacher_of(source, source.positions)
    fresh = functools.partial(
        fresh_samples, source.landscape, target, distribution=source.distribution
    )
    return ways | {
        "fresh samples": fresh(method="plain"),
        "quasi-Monte Carlo": fresh(method="quasi"),
    }


def teacher_of(source: Source, positions: Array) -> Callable[[Array], Array]:
    """The targets as a function: the network on the teacher's neurons that gives them.

    Raises:
        InvalidInput: no network on these neurons does.
    """
    landscape = source.landscape
    hidden = np.asarray(landscape.activation(landscape.x @ positions.T), float)
    targets = np.asarray(landscape.f, float)
    output, *_ = np.linalg.lstsq(hidden, targets, rcond=None)
    missed = float(np.abs(hidden @ output - targets).max())
    if missed > 1e-4 * float(np.abs(targets).max()):
        raise InvalidInput(f"source: its teacher misses the targets by {missed:.1e}.")
    weights = jnp.asarray(output, landscape.f.dtype)
    return lambda x: landscape.activation(x @ positions.T) @ weights
