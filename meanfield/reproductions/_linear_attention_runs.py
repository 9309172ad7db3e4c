"""What the reproductions of linear attention share: runs in gradient descent's time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np
import xarray
from jaxtyping import Array, Key

from landscapes.linear_attention import LinearAttentionLandscape, head_start
from particles import Ensemble

from ..flows import GradientFlow
from ..runs import Schedule, Statistic, simulate

#: Axis label of the clock of theory, dθ/dt = −∇_θ L: flow time times the number of summed heads.
DESCENT_TIME = "time t of dθ/dt = −∇L"


def random_heads(
    keys: Key[Array, " seeds"], landscape: LinearAttentionLandscape, heads: int, scale: float
) -> Ensemble:
    """Small Gaussian heads, one start for every key along a leading axis."""
    return jax.vmap(lambda key: head_start(key, landscape, heads, scale=scale))(keys)


def follow(
    landscape: LinearAttentionLandscape,
    start: Ensemble,
    *,
    horizon: float,
    dt: float,
    record: Callable[[float], Schedule],
    scheme: str = "tsit5",
    stop_at: float | None = None,
    statistics: Sequence[Statistic] = (),
    snapshots: Callable[[float], Schedule] | None = None,
    batch: bool = False,
    progress: bool = False,
    label: str = "flow",
) -> xarray.Dataset:
    """The trajectory of a run, with times of dθ/dt = −∇_θ L, in which all times are given.

    Args:
        landscape: whose `heads` are as many as the start has.
        start: heads; with `batch`, many starts along a leading axis.
        horizon: last time.
        dt: step; with `euler`, the learning rate.
        record: given the flow time that is one unit of time, a schedule.
        scheme: fixed-step.
        stop_at: loss at which to stop, all starts having arrived.
        statistics: further records.
        snapshots: of whole ensembles; as `record`.
        batch: run many starts at once.
        progress: show a bar.
        label: on the progress bar.
    """
    unit = 1 / jax.tree.leaves(start.particles)[0].shape[1 if batch else 0]

    def arrived(latest: dict[str, np.ndarray]) -> bool:
        # A lost seed, whose loss is nan, is not waited for.
        return stop_at is not None and not np.any(latest["loss"] >= stop_at)

    trajectory = simulate(
        GradientFlow(landscape, scheme=scheme),
        start,
        horizon=horizon * unit,
        dt=dt * unit,
        record=record(unit),
        statistics=statistics,
        snapshots=None if snapshots is None else snapshots(unit),
        stop=arrived,
        batch=batch,
        progress=progress,
        label=label,
    ).trajectory
    clocks = {
        name: trajectory[name] / unit
        for name in ("time", "snapshot_time")
        if name in trajectory.coords
    }
    return trajectory.assign_coords(clocks)


def extended(times: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve with its last value held, as a run that has arrived would go on."""
    return np.append(times, 1.5 * times[-1]), np.append(losses, losses[-1])
