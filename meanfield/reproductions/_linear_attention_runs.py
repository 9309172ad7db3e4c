"""What the recipes for linear attention share: runs in the time of gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray

from landscapes.linear_attention import LinearAttentionLandscape
from particles import Ensemble

from ..flows import GradientFlow
from ..runs import Run, Schedule, Statistic, simulate

if TYPE_CHECKING:
    from ..cli import Reproduce

#: Axis label of the clock of theory, dθ/dt = −∇_θ L: flow time times the number of summed heads.
DESCENT_TIME = "time t of dθ/dt = −∇L"


def follow(
    options: Reproduce,
    landscape: LinearAttentionLandscape,
    start: Ensemble,
    *,
    horizon: float,
    dt: float,
    record: Callable[[float], Schedule],
    scheme: str = "tsit5",
    stop_at: float | None = None,
    statistics: Sequence[Statistic] = (),
    snapshots: Schedule | None = None,
    label: str = "flow",
) -> tuple[Run, xarray.Dataset]:
    """A run, and its trajectory with times of dθ/dt = −∇_θ L, in which all times are given.

    Args:
        options: of the command.
        landscape: whose `heads` are as many as the start has.
        start: heads.
        horizon: last time.
        dt: step; with `euler`, the learning rate.
        record: given the flow time that is one unit of time, a schedule.
        scheme: fixed-step.
        stop_at: loss at which to stop.
        statistics: further records.
        snapshots: of whole ensembles, in flow time.
        label: on the progress bar.
    """
    unit = 1 / start.size

    def arrived(latest: dict[str, np.ndarray]) -> bool:
        return stop_at is not None and float(latest["loss"]) < stop_at

    run = simulate(
        GradientFlow(landscape, scheme=scheme),
        start,
        horizon=horizon * unit,
        dt=dt * unit,
        record=record(unit),
        statistics=statistics,
        snapshots=snapshots,
        stop=arrived,
        progress=options.talks,
        label=label,
    )
    clocks = {
        name: run.trajectory[name] / unit
        for name in ("time", "snapshot_time")
        if name in run.trajectory.coords
    }
    return run, run.trajectory.assign_coords(clocks)


def crossing(times: np.ndarray, values: np.ndarray, level: float) -> float:
    """The first time at which a curve passes a level, by linear interpolation; `nan` if never."""
    side = np.sign(values - level)
    passed = np.flatnonzero(side * side[0] <= 0)
    if not passed.size or passed[0] == 0:
        return float("nan")
    i = passed[0]
    share = (level - values[i - 1]) / (values[i] - values[i - 1])
    return float(times[i - 1] + share * (times[i] - times[i - 1]))


def extended(times: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve with its last value held, as a run that has arrived would go on."""
    return np.append(times, 1.5 * times[-1]), np.append(losses, losses[-1])
