"""Escape from one saddle by every kind of perturbation, many seeds in one compiled call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from particles import Ensemble, InvalidInput
from saddle_analysis import (
    Eigenpairs,
    HessianOperator,
    SecondOrderPrediction,
    displaced,
    escape_time,
    extreme_eigenpairs,
    negative_eigenpairs,
    second_order_prediction,
)

from ..flows import GradientFlow
from ..runs import component, every, simulate
from ._perturbed import Kick, kick_field

if TYPE_CHECKING:
    import xarray


class Escapes(NamedTuple):
    """What one kind of perturbation does.

    Args:
        kind: of perturbation.
        norm: L²(μ) norm of the kick.
        trajectory: of all seeds, with `unstable_component`.
        times: escape times, one per seed; `nan` for a run that stayed.
        overlaps: size of each start's component in the unstable space, in units of the particles.
        predicted: escape times by the linear theory, from λ and the overlaps alone.
    """

    kind: Kick
    norm: float
    trajectory: xarray.Dataset
    times: np.ndarray
    overlaps: np.ndarray
    predicted: np.ndarray


def escape_study(
    flow: GradientFlow,
    saddle: Ensemble,
    pairs: Eigenpairs,
    *,
    key: Key[Array, ""],
    kinds: Sequence[Kick],
    norm: float,
    seeds: int,
    horizon: float,
    dt: float,
    start: Ensemble | None = None,
    fall: float = 0.01,
    records: int = 300,
    progress: bool = False,
) -> list[Escapes]:
    """Kick a saddle in several ways at equal norm, and time how long each takes to leave.

    Args:
        flow: the flow to run.
        saddle: the critical point, where the kicks are taken.
        pairs: its negative eigenpairs.
        key: random key; seeds are folded in, the same for every kind.
        kinds: of perturbation.
        norm: L²(μ) norm of every kick, in units of the particles.
        seeds: runs per kind, vmapped.
        horizon: flow time.
        dt: step size.
        start: what is kicked instead of the saddle: a point beside it, so that `none` can leave.
        fall: share of the saddle's loss that must be lost to count as having left; small, so that
            the linear theory predicts the time.
        records: along the run.
        progress: show bars.

    Raises:
        InvalidInput: no seeds, or no negative eigenvalue.
    """
    if seeds < 1:
        raise InvalidInput(f"seeds is {seeds}; it must be at least 1.")
    start = saddle if start is None else start
    value = float(flow.landscape.value(saddle, chunk=flow.chunk))
    level = (1 - fall) * value
    keys = jax.random.split(key, seeds)
    unstable = component("unstable_component", saddle, pairs.fields[0])
    found = []
    for kind in kinds:
        fields = [kick_field(k, kind, flow, saddle, norm) for k in keys]
        starts = [displaced(start, field) for field in fields]
        predictions = [
            second_order_prediction(
                pairs, saddle, jax.tree.map(jnp.subtract, moved.particles, saddle.particles)
            )
            for moved in starts
        ]
        batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
        run = simulate(
            flow,
            batch,
            horizon=horizon,
            dt=dt,
            record=every(horizon / records),
            statistics=[unstable],
            batch=True,
            progress=progress,
            label=kind,
        )
        # Without a kick all seeds are one run; they share the others' compilation all the same.
        kept = slice(0, 1) if kind == "none" else slice(None)
        trajectory = run.trajectory.isel(seed=kept)
        losses, clock = trajectory["loss"].values, trajectory["time"].values
        found.append(
            Escapes(
                kind,
                norm,
                trajectory,
                np.array([escape_time(clock, column, level=level) for column in losses.T]),
                np.array([np.linalg.norm(p.overlaps) for p in predictions[kept]]),
                np.array([_time_to_fall(p, fall * value, horizon) for p in predictions[kept]]),
            )
        )
    return found


def _time_to_fall(prediction: SecondOrderPrediction, fall: float, horizon: float) -> float:
    """When ½ Σ|λ|c²e^{2|λ|t} reaches `fall`; `nan` if not before the horizon."""
    times = np.linspace(0, horizon, 4001)
    fallen = np.log(np.maximum(prediction.decrease(times), 1e-300))
    return float(np.interp(np.log(fall), fallen, times, right=np.nan))


def unstable_pairs(
    flow: GradientFlow, saddle: Ensemble, *, expected: int = 1, relative: float = 1e-6
) -> Eigenpairs:
    """All eigenpairs below −relative·‖H‖ at a saddle, resolved to 1e-8 ‖H‖."""
    operator = HessianOperator(flow.landscape, saddle, chunk=flow.chunk)
    norm = extreme_eigenpairs(operator, 1, tolerance=1e-3).norm
    count = negative_eigenpairs(operator, threshold=relative * norm, expected=expected).values.size
    if count == 0:
        raise InvalidInput("saddle has no negative curvature; there is nothing to escape from.")
    return extreme_eigenpairs(operator, count)
