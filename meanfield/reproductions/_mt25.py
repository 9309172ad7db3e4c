"""MT25: exact dynamics of one head, its conservation law and stages; SGD on its way to the ODE."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import jax
import numpy as np
import xarray

from landscapes import principal_angles, rank_measures
from landscapes.linear_attention import (
    ExactDynamics,
    exact_dynamics,
    exact_fixed_point,
    exact_timescales,
)
from saddle_analysis.curves import crossing, fit_line

from .. import plots
from ..flows import GradientFlow
from ..problems import Range, Seed
from ..results import Claim, Result
from ..runs import log_spaced, simulate
from ..studies import fit_exponent
from ._base import Reproduction
from ._mt25_leads import LEADS, leads, random_runs
from ._mt25_model import (
    DIM,
    EIGENVALUES,
    LENGTH,
    QUERY,
    SOURCE,
    TIME,
    VALUE,
    WEIGHTS,
    as_weights,
    landscape,
    queries_of,
    reads_of,
    solution,
    start,
)
from ._mt25_sgd import (
    BATCHES,
    DRIFT,
    RATE,
    TO_THE_ODE,
    drift,
    drifts,
    exponent_claim,
    sgd,
    to_the_ode,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INVARIANT = VALUE**2 - DIM * QUERY**2
END = 1500.0  # of the closed equations alone
RANKS = {
    "effective": "effective rank",
    "stable": "stable rank",
    "participation": "participation ratio",
}
OF = f"in the batch size (rate {RATE:g})"
TITLES = ("The exact dynamics", TO_THE_ODE, DRIFT, "Rank and subspace of W_Q", LEADS)


@dataclass(frozen=True)
class MT25Options:
    """Options of `mt25`."""

    seed: Seed = 0
    """Of every random draw."""
    seeds: Annotated[int, Range(4, 10**12)] = 16
    """Runs of SGD that exponents and their intervals rest on; at least 4."""


def exact_course(progress: bool = False) -> Result:
    """Conservation, fixed point, stages and last decay of the ODE; the landscape's own flow."""
    result = Result(TITLES[0])
    times = np.linspace(0, END, 6001)
    run = solution(times)
    p, u = exact_fixed_point(EIGENVALUES, LENGTH, INVARIANT)
    scales = exact_timescales(EIGENVALUES, LENGTH, INVARIANT)
    followed = landscape_flow(progress)
    result.trajectory(followed)
    exact = solution(followed["time"].values)
    halves = [crossing(times, run.read[:, d], 0.5 * p * u[d]) for d in range(DIM)]
    result.claim(
        Claim.equal(
            "p² − ‖W_Q‖² under the flow: largest change",
            SOURCE,
            0.0,
            float(np.max(np.abs(run.invariant - INVARIANT))),
            absolute=1e-8,
        ),
        Claim.equal(
            "the flow of the one-head landscape solves the ODE: largest difference of a weight",
            SOURCE,
            0.0,
            float(np.max(np.abs(followed["weights"].values - as_weights(exact)))),
            absolute=1e-6,
        ),
        *[
            Claim.equal(
                f"end of p u_{d + 1}, λ²/c (λ = {value:g})",
                SOURCE,
                p * u[d],
                run.read[-1, d],
                relative=1e-5,
            )
            for d, value in enumerate(EIGENVALUES)
        ],
        Claim.true(
            "directions are learned in the order of their eigenvalues: half-times increase",
            SOURCE,
            bool(np.all(np.diff(halves) > 0)),
            detail=", ".join(f"{time:.3g}" for time in halves),
        ),
        Claim.equal(
            "rate of the last decay of the loss, twice the slowest relaxation rate",
            SOURCE,
            2 / scales.relaxation[-1],
            _last_rate(run, times, exact_dynamics([0.0, 4 * END], EIGENVALUES, LENGTH, p, u)),
            relative=0.02,
        ),
    )
    result.text(
        f"Escape from the origin on a time {scales.escape:.3g}; learning of the directions at the "
        f"final p on {', '.join(f'{time:.3g}' for time in scales.learning)}."
    )
    reads = {"flow": reads_of(followed) / (p * u), "ODE": run.read / (p * u)}
    result.figure(
        "stages",
        "The flow of the one-head landscape and the closed ODE: larger eigenvalues are learned "
        "first.",
        functools.partial(
            draw_stages, clock=followed["time"].values, times=times, reads=reads, until=200.0
        ),
    )
    return result


def landscape_flow(progress: bool = False) -> xarray.Dataset:
    """The flow of the one-head landscape from the start of the ODE."""
    return simulate(
        GradientFlow(landscape(), scheme="tsit5"),
        start(),
        horizon=200.0,
        dt=0.05,
        record=log_spaced(0.5, per_decade=40),
        statistics=[WEIGHTS],
        progress=progress,
        label="flow of the landscape",
    ).trajectory


def _last_rate(run: ExactDynamics, times: np.ndarray, end: ExactDynamics) -> float:
    """Decay rate of the excess loss on its last five decades above round-off."""
    excess = run.loss - end.loss[-1]
    tail = (excess < 1e-5) & (excess > 1e-9)
    return -fit_line(times[tail], np.log(excess[tail])).slope


def draw_stages(
    ax: Axes,
    clock: np.ndarray,
    times: np.ndarray,
    reads: Mapping[str, np.ndarray],
    until: float,
) -> None:
    """What is learned of every direction against time, measured and by the ODE."""
    shown = (times > 0) & (times <= until)
    plots.plot_courses(
        ax,
        {
            f"flow of the landscape, λ = {value:g}": (clock[1:], reads["flow"][1:, d])
            for d, value in enumerate(EIGENVALUES)
        },
        {str(d): (times[shown], reads["ODE"][shown, d]) for d in range(DIM)},
        levels={"fixed\npoint": 1.0},
        log_time=True,
        theory_label="closed ODE",
    )
    ax.set(xlabel=TIME, ylabel=r"$p\,u_d$ / its fixed point", title="Staged learning")


def measures(runs: Mapping[int, xarray.Dataset]) -> Result:
    """Ranks of W_Q and the stability of its subspaces, SGD beside the ODE.

    Args:
        runs: batch size to all seeds of SGD.
    """
    result = Result(TITLES[3])
    sizes, batch = np.array(list(runs)), max(runs)
    gaps = [_measure_gaps(run) for run in runs.values()]
    for name, label in RANKS.items():
        squares = np.stack([np.mean(gap[name] ** 2, axis=0) for gap in gaps], axis=1)
        fit = fit_exponent(sizes, squares, power=0.5, correction=False)
        result.claim(exponent_claim(f"distance of the {label} of W_Q from the ODE's, {OF}", fit))
    angles = np.stack([np.mean(gap["angle"] ** 2, axis=0) for gap in gaps], axis=1)
    fit = fit_exponent(sizes, angles, power=0.5, correction=False)
    result.claim(exponent_claim(f"angle of W_Q's top two directions to the ODE's, {OF}", fit))
    result.figure(
        "rank",
        "Spectral rank and subspace of W_Q along training; the median over seeds is bold.",
        functools.partial(draw_ranks, run=runs[batch], batch=batch),
        functools.partial(draw_angles, run=runs[batch]),
    )
    return result


def _measure_gaps(run: xarray.Dataset) -> dict[str, np.ndarray]:
    """Of every rank and of the largest angle from the ODE's, shape (times, seeds)."""
    exact = solution(run["time"].values).u[:, :, None] * np.eye(DIM)
    trained = queries_of(run)
    found, ideal = rank_measures(trained), rank_measures(exact)
    gaps = {name: getattr(found, name) - getattr(ideal, name)[:, None] for name in RANKS}
    # At the start all singular values are equal, and there are no top two directions.
    return gaps | {"angle": np.asarray(principal_angles(trained[1:], exact[1:, None], 2))[..., -1]}


def draw_ranks(ax: Axes, run: xarray.Dataset, batch: int) -> None:
    """Three measures of rank against time, of SGD and of the ODE."""
    times = run["time"].values
    ideal = rank_measures(solution(times).u[:, :, None] * np.eye(DIM))
    trained = rank_measures(queries_of(run))
    plots.plot_courses(
        ax,
        {label: (times, getattr(trained, name)) for name, label in RANKS.items()},
        {label: (times, getattr(ideal, name)) for name, label in RANKS.items()},
        theory_label="closed ODE",
    )
    ax.set(xlabel=TIME, ylabel="rank (directions)", title=f"Rank of W_Q, SGD at batch {batch}")


def draw_angles(ax: Axes, run: xarray.Dataset) -> None:
    """Principal angles of the top two singular directions to those at the end, against time."""
    # At the start all singular values are equal, and there are no top two directions.
    times, queries = run["time"].values[1:], queries_of(run)[1:]
    ideal = solution(times).u[:, :, None] * np.eye(DIM)
    trained, exact = (
        np.degrees(principal_angles(every, every[-1], 2)) for every in (queries, ideal)
    )
    names = [f"principal angle {i + 1}" for i in range(2)]
    plots.plot_courses(
        ax,
        {name: (times, trained[..., i]) for i, name in enumerate(names)},
        {name: (times, exact[:, i]) for i, name in enumerate(names)},
        theory_label="closed ODE",
    )
    ax.set(
        xlabel=TIME,
        ylabel="angle to the final subspace (degrees)",
        title="Top two singular directions of W_Q",
    )


def _parts(options: MT25Options, progress: bool) -> Iterator[Result]:
    yield exact_course(progress)
    key = jax.random.key(options.seed)
    runs = {size: sgd(key, RATE, size, options.seeds, progress) for size in BATCHES}
    yield to_the_ode(runs)
    yield drift(drifts(key, options.seeds, progress=progress))
    yield measures(runs)
    yield leads(random_runs(jax.random.fold_in(key, 400), progress=progress))


MT25 = Reproduction(
    "mt25", "linear attention, exact dynamics of one head", MT25Options, _parts, TITLES
)
