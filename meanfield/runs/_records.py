"""What a run writes down: (when, statistic) pairs, and the tape they are written on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from landscapes import Landscape
from particles import InvalidInput
from particles.internal import leaf_names

from ..flows import GradientFlow
from ._schedules import Schedule
from ..flows import FlowState

if TYPE_CHECKING:
    import xarray

Values = dict[str, Any]
Compute = Callable[[GradientFlow, FlowState], Array]


class Statistic(NamedTuple):
    """A number or array to record along a run.

    Args:
        name: its name in the trajectory.
        compute: a pure function of (flow, state); it is compiled, and mapped over a batch.
        when: a schedule of its own; `None` records it together with the loss.
        dims: names of the result's axes; made up from the name by default.
        units: for axis labels; empty for pure numbers.
    """

    name: str
    compute: Compute
    when: Schedule | None = None
    dims: tuple[str, ...] | None = None
    units: str = ""


class Track(NamedTuple):
    """Statistics that share a schedule, and so a time axis."""

    name: str
    when: Schedule
    compute: Callable[[GradientFlow, FlowState], Values]
    dims: Mapping[str, tuple[str, ...] | None]
    units: Mapping[str, str]
    lead: tuple[str, ...] = ()  # names of the leading axes of every value

    def require_fit(self, values: Mapping[str, np.ndarray], batch: bool) -> None:
        """Refuse names of axes that are more or fewer than the axes."""
        for name, value in values.items():
            dims, shape = self.dims.get(name), value.shape[1:] if batch else value.shape
            if dims is not None and len(dims) != len(shape):
                raise InvalidInput(f"statistic {name!r} has dims {dims} but shape {shape}.")


UNITS = {
    "loss": "",
    "gradient_norm": "particle / time",
    "dissipation_rate": "1 / time",
    "dissipated": "",
    "dt": "time",
    "step": "",
    "effective_size": "particle",
}


def tracks(
    landscape: Landscape,
    record: Schedule,
    statistics: Sequence[Statistic],
    snapshots: Schedule | None,
) -> list[Track]:
    """The tracks of a run: the main one, one per statistic with its own schedule, snapshots."""
    _require_free_names(landscape, statistics)
    along = tuple(s for s in statistics if s.when is None)
    units = UNITS | {s.name: s.units for s in along}
    dims = landscape.observable_dims | {s.name: s.dims for s in along}
    main = Track("time", record, _Main(tuple((s.name, s.compute) for s in along)), dims, units)
    own = [
        Track(
            name=f"{s.name}_time",
            when=s.when,
            compute=_Single(s.name, s.compute),
            dims={s.name: s.dims},
            units={s.name: s.units},
        )
        for s in statistics
        if s.when is not None
    ]
    if snapshots is not None:
        own.append(Track("snapshot_time", snapshots, _snapshot, {}, {}, ("particle",)))
    return [main, *own]


def _require_free_names(landscape: Landscape, statistics: Sequence[Statistic]) -> None:
    taken = {*UNITS, *landscape.observable_dims, "time", "snapshot_time"}
    for statistic in statistics:
        own_time = [f"{statistic.name}_time"] if statistic.when is not None else []
        for name in (statistic.name, *own_time):
            if name in taken:
                raise InvalidInput(f"statistics: the name {name!r} is taken; choose another.")
            taken.add(name)


# Modules, not closures: equal ones share one compilation across runs, and arrays that a statistic
# holds are traced.
class _Main(eqx.Module):
    extra: tuple[tuple[str, Compute], ...]

    def __call__(self, flow: GradientFlow, state: FlowState) -> Values:
        seen = flow.observe(state)
        weighted = flow.birth_death is not None
        weights = {"effective_size": state.ensemble.effective_size} if weighted else {}
        return {
            "loss": seen.loss,
            "gradient_norm": seen.gradient_norm,
            "dissipation_rate": seen.dissipation_rate,
            "dissipated": state.dissipated,
            "step": state.step,
            "dt": state.dt,
            **weights,
            **seen.observables,
            **{name: compute(flow, state) for name, compute in self.extra},
        }


class _Single(eqx.Module):
    name: str
    compute: Compute

    def __call__(self, flow: GradientFlow, state: FlowState) -> Values:
        return {self.name: self.compute(flow, state)}


class Tape:
    """The rows recorded so far, by track; plain arrays that save and reload without loss."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[float, dict[str, np.ndarray]]]] = {}

    def append(self, track: str, time: float, values: Values) -> None:
        """Add one row."""
        row = (float(time), {name: np.asarray(value) for name, value in values.items()})
        self.rows.setdefault(track, []).append(row)

    def ends_at(self, track: str, time: float) -> bool:
        """Whether the latest row of a track is of this time."""
        rows = self.rows.get(track)
        return bool(rows) and rows[-1][0] == float(time)

    def columns(self, track: str) -> dict[str, np.ndarray]:
        """`time` and every recorded name, stacked along time."""
        rows = self.rows.get(track, [])
        stacked = {"time": np.array([time for time, _ in rows])}
        for name in rows[0][1] if rows else ():
            stacked[name] = np.stack([values[name] for _, values in rows])
        return stacked

    def to_arrays(self) -> dict[str, dict[str, np.ndarray]]:
        """Everything, for a checkpoint."""
        return {track: self.columns(track) for track in self.rows}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> Tape:
        """The tape of a checkpoint."""
        tape = cls()
        for track, columns in arrays.items():
            for row, time in enumerate(columns["time"]):
                values = {name: col[row] for name, col in columns.items() if name != "time"}
                tape.append(track, float(time), values)
        return tape

    def to_dataset(
        self, tracks: Sequence[Track], attributes: Mapping[str, Any], *, batch: bool
    ) -> xarray.Dataset:
        """The trajectory with named dimensions, units and provenance."""
        import xarray

        variables, coordinates = {}, {}
        for track in tracks:
            columns = self.columns(track.name)
            coordinates[track.name] = (track.name, columns.pop("time"), {"units": "flow time"})
            for name, column in columns.items():
                lead = (track.name, *(("seed",) if batch else ()), *track.lead)
                inner = track.dims.get(name)
                if inner is None:
                    inner = tuple(f"{name}_{axis}" for axis in range(column.ndim - len(lead)))
                dims = (*lead, *inner)
                variables[name] = (dims, column, {"units": track.units.get(name, "")})
        return xarray.Dataset(variables, coordinates, dict(attributes))


def _snapshot(flow: GradientFlow, state: FlowState) -> Values:
    particles = state.ensemble.particles
    named = {
        f"particles.{name}" if name != "particles" else name: leaf
        for name, leaf in zip(leaf_names(particles), jax.tree.leaves(particles), strict=True)
    }
    if state.ensemble.weights is not None:
        named["weights"] = state.ensemble.weights
    return named
