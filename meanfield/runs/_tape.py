"""The tape that the records of a run are written on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from particles import InvalidInput

from ._records import Track, Values

if TYPE_CHECKING:
    import xarray

Columns = dict[str, np.ndarray]


class Tape:
    """The rows recorded so far, by track; plain arrays that save and reload without loss."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[np.ndarray, Columns]]] = {}  # times and columns

    def append(self, track: str, time: float, values: Values) -> None:
        """Add one row.

        Raises:
            InvalidInput: rows of a resumed run that hold other names.
        """
        row = {name: np.asarray(value)[None] for name, value in values.items()}
        self.extend(track, np.array([float(time)]), row)

    def extend(self, track: str, times: np.ndarray, columns: Columns) -> None:
        """Add rows, stacked along a leading axis.

        Raises:
            InvalidInput: rows of a resumed run that hold other names.
        """
        if times.size == 0:
            return
        parts = self._parts.setdefault(track, [])
        if parts and set(parts[0][1]) != set(columns):
            differ = sorted(set(parts[0][1]) ^ set(columns))
            raise InvalidInput(
                f"statistics: {differ} are recorded in only one part of the run; resume with the "
                "statistics that it began with."
            )
        parts.append((np.asarray(times, float), columns))

    def first(self, track: str) -> dict[str, np.ndarray] | None:
        """The values of the first row of a track, if there is one."""
        return self._row(track, 0)

    def latest(self, track: str) -> dict[str, np.ndarray] | None:
        """The values of the latest row of a track, if there is one."""
        return self._row(track, -1)

    def _row(self, track: str, at: int) -> dict[str, np.ndarray] | None:
        parts = self._parts.get(track)
        return {n: np.asarray(c[at]) for n, c in parts[at][1].items()} if parts else None

    def latest_time(self, track: str) -> float:
        """Time of the latest row of a track; NaN if there is none."""
        parts = self._parts.get(track)
        return float(parts[-1][0][-1]) if parts else float("nan")

    def ends_at(self, track: str, time: float) -> bool:
        """Whether the latest row of a track is of this time."""
        return self.latest_time(track) == float(time)

    def columns(self, track: str) -> Columns:
        """`time` and every recorded name, stacked along time."""
        parts = self._parts.get(track)
        if not parts:
            return {"time": np.array([])}
        stacked = {name: np.concatenate([c[name] for _, c in parts]) for name in parts[0][1]}
        return {"time": np.concatenate([times for times, _ in parts])} | stacked

    def to_arrays(self) -> dict[str, dict[str, np.ndarray]]:
        """Everything, for a checkpoint."""
        return {track: self.columns(track) for track in self._parts}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> Tape:
        """The tape of a checkpoint."""
        tape = cls()
        for track, columns in arrays.items():
            rest = {name: column for name, column in columns.items() if name != "time"}
            tape.extend(track, columns["time"], rest)
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
