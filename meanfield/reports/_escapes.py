"""Escape from a saddle: growth along the unstable eigenvector, and perturbations side by side."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Key

from particles import Ensemble
from saddle_analysis import Eigenpairs, along, displaced, fit_growth, isotropic
from saddle_analysis.curves import escape_scaling

from .. import plots
from ..flows import AbstractFlow
from ..results import Claim, Result
from ..runs import component, every, simulate
from ..studies import Escapes, escape_study

DISTANCE = 1e-6  # L²(μ) distance from the saddle where growth starts
GROWTH_TIMES = 18  # units of 1/|λ_min| in which growth is followed
STEPS = 100  # in a unit of 1/|λ_min|


def growth_result(
    flow: AbstractFlow,
    saddle: Ensemble,
    pairs: Eigenpairs,
    *,
    name: str = "",
    progress: bool = False,
) -> Result:
    """A start moved along the most unstable eigenvector leaves at the rate |λ_min|.

    (KS24; theory.md, section 2)

    Args:
        flow: the flow to run.
        saddle: the critical point.
        pairs: its negative eigenpairs, smallest first.
        name: of the saddle; ends the claim's statement.
        progress: show a bar.

    Returns:
        One claim, of the fitted rate, with the trajectory and a figure.
    """
    rate = -float(pairs.values[0])
    metric = flow.landscape.metric(saddle, chunk=flow.chunk)
    run = simulate(
        flow,
        displaced(saddle, along(saddle, pairs.fields[0], DISTANCE)),
        horizon=GROWTH_TIMES / rate,
        dt=1 / (STEPS * rate),
        record=every(0.1 / rate),
        statistics=[component("unstable_component", metric, pairs.fields[0])],
        progress=progress,
        label="growth",
    )
    time = run.trajectory["time"].values
    amplitude = np.abs(run.trajectory["unstable_component"].values)
    fit = fit_growth(time, amplitude)
    result = Result("Growth along the unstable eigenvector")
    statement = "growth rate along the unstable eigenvector is |λ_min|"
    result.claim(
        Claim.equal(
            f"{statement}, {name}" if name else statement,
            "KS24; theory 2",
            rate,
            fit.rate,
            relative=0.03,
        )
    )
    result.trajectory(run.trajectory)
    result.figure(
        "growth",
        f"Growth along the unstable eigenvector, {fit.factor:.3g}-fold in the window.",
        functools.partial(
            plots.plot_growth,
            time=time,
            amplitude=amplitude,
            rate=rate,
            window=fit.window,
            fitted=fit.rate,
        ),
    )
    return result


def escape_result(
    flow: AbstractFlow,
    saddle: Ensemble,
    pairs: Eigenpairs,
    *,
    key: Key[Array, ""],
    norm: float,
    offset: float,
    seeds: int,
    level: float,
    progress: bool = False,
) -> Result:
    """Every kind of perturbation at equal norm from one saddle: who leaves first, and when.

    (YKS25; theory.md, section 3)

    Args:
        flow: the flow to run.
        saddle: the critical point.
        pairs: its negative eigenpairs, smallest first.
        key: random key.
        norm: L²(μ) norm of every perturbation, in units of the particles.
        offset: L²(μ) distance from the saddle before the perturbation, so that a run without one
            can leave.
        seeds: runs for each kind.
        level: predicted loss at the saddle, drawn in the figure.
        progress: show bars.

    Returns:
        Claims about the order of the kinds and the linear theory, a table, figures, and the runs.

    Raises:
        InvalidInput: no seeds.
    """
    rate = -float(pairs.values[0])
    key_offset, key_perturbations = jax.random.split(key)
    study = escape_study(
        flow,
        saddle,
        pairs,
        key=key_perturbations,
        norm=norm,
        seeds=seeds,
        horizon=(np.log(1 / offset) + 12) / rate,
        dt=1 / (STEPS * rate),
        start=displaced(saddle, isotropic(key_offset, flow.landscape, saddle, offset)),
        progress=progress,
    )
    studies = study.runs
    result = Result("Perturbations of equal norm")
    for kind, reason in study.left_out.items():
        result.text(f"Left out: {kind}, since {reason}")
    result.claim(*_order_claims(studies), *_linear_claims(studies))
    if pairs.values.size == 1:
        result.extend(_scaling(studies, rate))
    result.text(_table(studies))
    for study in studies:
        result.dataset(f"escapes-{study.kind}", study.trajectory)
    result.figure(
        "escapes",
        "Loss against time for every kind of perturbation at equal norm, and every seed's time to "
        "leave.",
        functools.partial(plots.plot_escapes, studies=studies, level=level),
        functools.partial(plots.plot_escape_times, studies=studies),
    )
    result.figure(
        "scaling",
        "Escape time against the unstable component of the perturbation.",
        functools.partial(plots.plot_escape_scaling, studies=studies, rate=rate),
    )
    return result


def _order_claims(studies: Sequence[Escapes]) -> list[Claim]:
    """Each kind leaves before the one that precedes it."""
    return [
        Claim.below(
            f"{faster.kind} leaves before {slower.kind}: median escape time over the other's",
            "YKS25; theory 3",
            bound=1.0,
            measured=_ratio(float(np.nanmedian(faster.times)), float(np.nanmedian(slower.times))),
        )
        for slower, faster in itertools.pairwise(studies)
    ]


def _ratio(time: float, other: float) -> float:
    """Of two times; not a number where both left at once."""
    return time / other if other else math.nan


def _linear_claims(studies: Sequence[Escapes]) -> list[Claim]:
    measured = np.concatenate([study.times for study in studies])
    predicted = np.concatenate([study.predicted for study in studies])
    left = int(np.isfinite(measured).sum())
    return [
        Claim.equal("runs that left the saddle: all", "KS24; theory 2", measured.size, left),
        Claim.equal(
            "escape times follow the linear theory: median measured / predicted",
            "theory 2",
            1.0,
            float(np.nanmedian(measured[predicted > 0] / predicted[predicted > 0])),
            absolute=0.1,
        ),
    ]


def _scaling(studies: Sequence[Escapes], rate: float) -> Result:
    """Escape time against the logarithm of the unstable component, where there is only one."""
    sizes = np.concatenate([study.overlaps for study in studies])
    times = np.concatenate([study.times for study in studies])
    scaling = escape_scaling(sizes, times)
    result = Result("Scaling of escape times")
    result.claim(
        Claim.equal(
            "escape time against log of the unstable component: slope is 1/|λ_min|",
            "theory 2",
            1 / rate,
            scaling.slope,
            relative=0.05,
        )
    )
    result.text(str(scaling))
    return result


def _table(studies: Sequence[Escapes]) -> str:
    rows = [
        "| perturbation | median time | range | unstable part of the perturbation |",
        "|---|---|---|---|",
    ]
    for study in studies:
        times = f"{np.nanmin(study.times):.4g} to {np.nanmax(study.times):.4g}"
        rows.append(
            f"| {study.kind} | {np.nanmedian(study.times):.4g} | {times} | "
            f"{np.median(study.overlaps):.3g} |"
        )
    return "\n".join(rows)
