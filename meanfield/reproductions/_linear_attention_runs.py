"""What the reproductions of linear attention share: seeds, and runs in gradient descent's time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, Key

from landscapes.linear_attention import LinearAttentionLandscape, head_start
from particles import Ensemble

from ..flows import GradientFlow
from ..runs import Schedule, Statistic, simulate, whole

#: Axis label of the clock of theory, dθ/dt = −∇_θ L: flow time times the number of summed heads.
DESCENT_TIME = "time t of dθ/dt = −∇L"


def seed_keys(key: Key[Array, ""], seeds: int) -> Key[Array, " seeds"]:
    """Independent keys; those of fewer seeds are the first of more."""
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(seeds))


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

    trajectory = whole(
        simulate(
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
        )
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


def over_seeds(values: Sequence[float] | np.ndarray) -> tuple[float, str]:
    """The median over seeds, and in words what it is the median of.

    What never happened is `nan` and counts as later, and larger, than all else.

    Example:
        >>> over_seeds([3.0, 1.0, 2.0])
        (2.0, 'median of 3 seeds, 1 to 3')
    """
    known = np.where(np.isnan(values), np.inf, np.asarray(values, float))
    low, high = (
        "never" if np.isinf(end) else f"{end:.3g}" for end in (np.min(known), np.max(known))
    )
    if known.size == 1:
        return float(known[0]), "one run"
    return float(np.median(known)), f"median of {known.size} seeds, {low} to {high}"
