"""The tape that the records of a run are written on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from particles import InvalidInput

from ._records import Track, Values

if TYPE_CHECKING:
    import xarray

Row = tuple[float, dict[str, np.ndarray]]


class Tape:
    """The rows recorded so far, by track; plain arrays that save and reload without loss."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}

    def append(self, track: str, time: float, values: Values) -> None:
        """Add one row.

        Raises:
            InvalidInput: rows of a resumed run that hold other names.
        """
        rows = self.rows.setdefault(track, [])
        if rows and set(rows[0][1]) != set(values):
            differ = sorted(set(rows[0][1]) ^ set(values))
            raise InvalidInput(
                f"statistics: {differ} are recorded in only one part of the run; resume with the "
                "statistics that it began with."
            )
        rows.append((float(time), {name: np.asarray(value) for name, value in values.items()}))

    def first(self, track: str) -> dict[str, np.ndarray] | None:
        """The values of the first row of a track, if there is one."""
        rows = self.rows.get(track)
        return rows[0][1] if rows else None

    def latest(self, track: str) -> dict[str, np.ndarray] | None:
        """The values of the latest row of a track, if there is one."""
        rows = self.rows.get(track)
        return rows[-1][1] if rows else None

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
        return {track: self.columns(track) for track, rows in self.rows.items() if rows}

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
