"""Escape from one saddle by several perturbations, many seeds of each in one compiled call."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from particles import Ensemble, InvalidInput
from particles.internal import stacked
from saddle_analysis import (
    PERTURBATIONS,
    Eigenpairs,
    Perturbation,
    displaced,
    escape_time,
    second_order_prediction,
)

from ..flows import AbstractFlow
from ..runs import component, every, simulate

if TYPE_CHECKING:
    import xarray


class UnusablePerturbationWarning(UserWarning):
    """A perturbation could not be formed at the saddle, and was left out of a study."""


@dataclass(frozen=True)
class Escapes:
    """What one perturbation does.

    Args:
        kind: name of the perturbation.
        norm: L²(μ) norm of the perturbation.
        trajectory: of all seeds, with `unstable_component`.
        times: escape times, one per seed; `nan` for a run that stayed.
        overlaps: size of each start's component in the unstable space, in units of the particles.
        predicted: escape times by the linear theory, from λ and the overlaps alone; `nan` for
            those beyond the horizon.
    """

    kind: str
    norm: float
    trajectory: xarray.Dataset
    times: np.ndarray
    overlaps: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class EscapeStudy:
    """Escapes from one saddle by several perturbations of equal norm.

    Args:
        runs: one entry for each perturbation that could be formed, in the order given.
        left_out: name to reason of those that could not.
    """

    runs: list[Escapes]
    left_out: dict[str, str]


def escape_study(
    flow: AbstractFlow,
    saddle: Ensemble,
    pairs: Eigenpairs,
    *,
    key: Key[Array, ""],
    perturbations: Mapping[str, Perturbation] = PERTURBATIONS,
    norm: float,
    seeds: int,
    horizon: float,
    dt: float,
    start: Ensemble | None = None,
    fall: float = 0.01,
    records: int = 300,
    progress: bool = False,
) -> EscapeStudy:
    """Perturb a saddle in several ways at equal norm, and time how long each takes to leave.

    A perturbation that cannot be formed there is left out, with a warning and the reason.

    Args:
        flow: the flow to run.
        saddle: the critical point, where the perturbations are taken.
        pairs: its negative eigenpairs.
        key: random key; split over seeds, the same for every perturbation.
        perturbations: by name, such as `saddle_analysis.PERTURBATIONS`.
        norm: L²(μ) norm of every perturbation, in units of the particles.
        seeds: runs for each perturbation, vmapped.
        horizon: flow time.
        dt: step size.
        start: what is perturbed instead of the saddle: a point beside it, so that an unperturbed
            run can leave.
        fall: share of the size of the saddle's loss that must be lost to count as having left;
            small, so that the linear theory predicts the time.
        records: along the run.
        progress: show bars.

    Raises:
        InvalidInput: no seeds, no negative eigenvalue, or no perturbation that can be formed.
    """
    if seeds < 1:
        raise InvalidInput(f"seeds is {seeds}; it must be at least 1.")
    start = saddle if start is None else start
    value = float(flow.landscape.value(saddle, chunk=flow.chunk))
    lost = fall * abs(value)
    keys = jax.random.split(key, seeds)
    metric = flow.landscape.metric(saddle, chunk=flow.chunk)
    unstable = component("unstable_component", metric, pairs.fields[0])
    found, left_out = [], {}
    for kind, perturbation in perturbations.items():
        try:
            fields = [perturbation(k, flow.landscape, saddle, norm, chunk=flow.chunk) for k in keys]
            starts = [displaced(start, field) for field in fields]
        except InvalidInput as error:
            left_out[kind] = str(error)
            warnings.warn(
                f"the perturbation {kind!r} is left out: {error}",
                UnusablePerturbationWarning,
                stacklevel=2,
            )
            continue
        predictions = [
            second_order_prediction(
                pairs, metric, jax.tree.map(jnp.subtract, moved.particles, saddle.particles)
            )
            for moved in starts
        ]
        batch = stacked(starts)
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
        # Unperturbed, all seeds are one run; they share the others' compilation all the same.
        still = not any(float(saddle.norm(field)) for field in fields)
        kept = slice(0, 1) if still else slice(None)
        reached = np.array([p.time_to(lost) for p in predictions[kept]])
        trajectory = run.trajectory.isel(seed=kept)
        losses, clock = trajectory["loss"].values, trajectory["time"].values
        found.append(
            Escapes(
                kind,
                norm,
                trajectory,
                np.array([escape_time(clock, column, level=value - lost) for column in losses.T]),
                np.array([np.linalg.norm(p.overlaps) for p in predictions[kept]]),
                np.where(reached <= horizon, reached, np.nan),
            )
        )
    if not found:
        raise InvalidInput(f"no perturbation can be formed at the saddle: {left_out}.")
    return EscapeStudy(found, left_out)
