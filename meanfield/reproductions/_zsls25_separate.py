"""ZSLS25, separate key and query: from saddle to saddle, one eigen-direction after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import xarray

from landscapes import SeparateLinearAttentionLandscape, rank_measures
from landscapes.linear_attention import (
    PopulationMoments,
    PromptDistribution,
    SeparateHead,
    head_start,
    learned_heads,
    plateau_curvature,
    plateau_levels,
    principal_component_regression,
    transition_curve,
    transition_time,
)
from particles import Ensemble
from saddle_analysis import criticality_report, displaced, find_plateaus, isotropic
from saddle_analysis.curves import Plateaus

from .. import plots
from ..flows import FlowState, GradientFlow
from ..reports import Panel, Report
from ..results import Claim
from ..runs import Statistic, log_spaced
from ._linear_attention_runs import DESCENT_TIME, crossing, extended, follow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..cli import Reproduce

EIGENVALUES, LENGTH, HEADS, SOURCE = (0.4, 0.3, 0.2, 0.1), 32, 6, "ZSLS25; theory 4"
DIM = len(EIGENVALUES)
LEVELS = plateau_levels(EIGENVALUES, LENGTH)
OPTIMUM = np.square(EIGENVALUES) / plateau_curvature(EIGENVALUES, LENGTH)
ARRIVED = 1e-7  # of the whole drop: where a run stops
ALIGNED = 0.95  # cosine of key and query with a direction from which its drop is predicted
DWELL = 10.0  # times longer than on the drops beside it: what counts as a distinct plateau
HALF = 1 - 0.5**0.5  # learned share of a direction at half of its drop in loss


def reproduce_zsls25_separate(options: Reproduce, report: Report) -> None:
    """Plateaus, transitions, what the model does at each plateau, and the role of the rank."""
    landscape = SeparateLinearAttentionLandscape(
        PopulationMoments(PromptDistribution(EIGENVALUES, LENGTH)), 1, heads=HEADS
    )
    options.say("zsls25-separate 1/4: aligned heads against the scalar equation")
    aligned_heads(options, landscape, report)
    options.say("zsls25-separate 2/4: a random start, from saddle to saddle")
    trajectory, found = random_start(options, landscape, report)
    options.say("zsls25-separate 3/4: what happens at the plateaus")
    at_plateaus(options, landscape, trajectory, found, report)
    options.say("zsls25-separate 4/4: plateaus against rank")
    ranks(options, report)


def aligned_heads(
    options: Reproduce, landscape: SeparateLinearAttentionLandscape, report: Report
) -> None:
    """One small head on each direction, slightly perturbed: every drop at the predicted time."""
    size = 0.02
    start = learned_heads(landscape, [], HEADS, aligned=range(DIM), scale=size)
    kick = isotropic(jax.random.key(options.seed), start, 1e-4)
    _, trajectory = follow(
        options,
        landscape,
        displaced(start, kick),
        horizon=2e4,
        dt=1.0,
        record=lambda unit: log_spaced(10 * unit, per_decade=400),
        stop_at=_arrival(LEVELS),
        label="aligned heads",
    )
    times, loss = trajectory["time"].values, trajectory["loss"].values
    gain = np.square(EIGENVALUES) * OPTIMUM
    predicted = sum(EIGENVALUES) / 2 * np.ones_like(times)
    for direction in range(DIM):
        curve = transition_curve(times, EIGENVALUES, LENGTH, direction, size)
        predicted -= 0.5 * gain[direction] * (1 - (1 - curve**3 / OPTIMUM[direction]) ** 2)
        half = transition_time(EIGENVALUES, LENGTH, direction, size, HALF)
        middle = 0.5 * (LEVELS[direction] + LEVELS[direction + 1])
        report.claim(
            Claim.equal(
                f"time of drop {direction + 1} from aligned heads, by the scalar equation",
                SOURCE,
                half,
                crossing(times, loss, middle),
                relative=0.05,
            )
        )

    def draw(ax: Axes) -> None:
        plots.plot_courses(
            ax,
            {"loss, measured": (times[1:], loss[1:])},
            {"": (times[1:], predicted[1:])},
            levels=_names(LEVELS),
            log_time=True,
        )
        ax.set(xlabel=DESCENT_TIME, ylabel="loss ½ E(y − ŷ)²", title="Aligned heads")

    report.figure(
        "aligned",
        "Heads aligned to one eigen-direction each; theory is the scalar equation of each "
        "transition, from the start alone.",
        draw,
    )


def random_start(
    options: Reproduce, landscape: SeparateLinearAttentionLandscape, report: Report
) -> tuple[xarray.Dataset, Plateaus]:
    """All plateau levels in the right order; each drop predicted from its head once aligned."""
    start = head_start(jax.random.key(options.seed), landscape, HEADS, scale=0.01)
    _, trajectory = follow(
        options,
        landscape,
        start,
        horizon=1e6,
        dt=1.0,
        record=lambda unit: log_spaced(10 * unit, per_decade=400),
        stop_at=_arrival(LEVELS),
        statistics=[
            Statistic("share", _share, dims=("head", "feature")),
            Statistic("cosine", _cosine, dims=("head", "feature")),
        ],
        snapshots=log_spaced(10 / HEADS, per_decade=400),
        label="random start",
    )
    report.trajectory(trajectory)
    times, loss = trajectory["time"].values, trajectory["loss"].values
    found = find_plateaus(*extended(times, loss), LEVELS.tolist())
    report.text(f"## Plateaus\n\n```\n{found}\n```")
    matched = [p.predicted for p in found.plateaus]
    report.claim(
        Claim.equal("number of plateaus", SOURCE, DIM + 1, len(found.plateaus)),
        Claim.equal(
            "they come in the order of the levels (1 if so)",
            SOURCE,
            1.0,
            float(matched == sorted((m for m in matched if m is not None), reverse=True)),
        ),
    )
    for plateau in found.plateaus:
        if plateau.predicted is not None:
            order = int(np.argmin(np.abs(LEVELS - plateau.predicted)))
            report.claim(
                Claim.equal(
                    f"level of plateau {order}",
                    SOURCE,
                    plateau.predicted,
                    plateau.level,
                    absolute=1e-3,
                )
            )
    shares, cosines = trajectory["share"].values, trajectory["cosine"].values
    before = 0.0
    for direction in range(DIM):
        middle = 0.5 * (LEVELS[direction] + LEVELS[direction + 1])
        measured = crossing(times, loss, middle)
        head = int(np.argmax(shares[np.searchsorted(times, measured), :, direction]))
        row = int(np.argmax((cosines[:, head, direction] > ALIGNED) & (times > before)))
        before = measured
        size = (shares[row, head, direction] * OPTIMUM[direction]) ** (1 / 3)
        predicted = times[row] + transition_time(EIGENVALUES, LENGTH, direction, size, HALF)
        report.claim(
            Claim.equal(
                f"time of drop {direction + 1}, by the scalar equation from t = {times[row]:.4g}, "
                f"when key and query of head {head + 1} are aligned to direction {direction + 1}",
                SOURCE,
                predicted,
                measured,
                relative=0.05,
            )
        )

    def losses(ax: Axes) -> None:
        plots.plot_courses(
            ax, {"loss, measured": (times[1:], loss[1:])}, levels=_names(LEVELS), log_time=True
        )
        ax.set(xlabel=DESCENT_TIME, ylabel="loss ½ E(y − ŷ)²", title="From saddle to saddle")

    def learned(ax: Axes) -> None:
        fractions = trajectory["learned_fraction"].values
        plots.plot_courses(
            ax,
            {
                f"$e_{d + 1}$, λ = {value:g}": (times[1:], fractions[1:, d])
                for d, value in enumerate(EIGENVALUES)
            },
            log_time=True,
        )
        ax.set(
            xlabel=DESCENT_TIME,
            ylabel="learned share of each eigen-direction of Λ",
            title="One direction after the other",
        )

    report.figure(
        "saddle_to_saddle",
        "A random start at rank one visits all saddles in order.",
        losses,
        learned,
    )
    return trajectory, found


def at_plateaus(
    options: Reproduce,
    landscape: SeparateLinearAttentionLandscape,
    trajectory: xarray.Dataset,
    found: Plateaus,
    report: Report,
) -> None:
    """Regression on m components, degenerate saddles, heads on eigen-directions."""
    times, speeds = trajectory["time"].values, trajectory["gradient_norm"].values / HEADS
    nearest = {}  # to the critical point: the slowest record of each plateau
    for plateau in found.plateaus:
        if plateau.predicted is not None:
            inside = np.flatnonzero((times >= plateau.start) & (times <= plateau.end))
            order = int(np.argmin(np.abs(LEVELS - plateau.predicted)))
            nearest[order] = int(inside[np.argmin(speeds[inside])])
    source = PromptDistribution(EIGENVALUES, LENGTH)
    x, y = source.draw(jax.random.key(options.seed + 1), options.samples)
    estimators = [
        principal_component_regression(x, y, np.asarray(landscape.prompts.covariance), m)
        for m in range(DIM + 1)
    ]
    scale = float(np.sqrt(np.mean(np.asarray(y)[:, -1] ** 2)))
    distances = np.zeros((DIM + 1, DIM + 1))
    for order, row in nearest.items():
        predicted = np.asarray(landscape.predict(_snapshot(trajectory, float(times[row])), x, y))
        for m, estimator in enumerate(estimators):
            distances[order, m] = np.sqrt(np.mean((predicted - estimator) ** 2)) / scale
        report.claim(
            Claim.equal(
                f"plateau {order}: root mean square distance of the predictions from regression "
                f"on {order} principal components, in labels",
                SOURCE,
                0.0,
                float(distances[order, order]),
                absolute=0.02,
            )
        )
    for order in range(DIM + 1):
        point = learned_heads(landscape, range(order), HEADS)
        # Heads that are left over are zero; without a missing direction there is no way down.
        verdict = criticality_report(landscape, point, seed=options.seed)
        kind = "degenerate saddle" if order < DIM else "local minimum"
        report.claim(
            Claim.equal(
                f"the critical point of plateau {order} is a {kind} (1 if so classified)",
                SOURCE,
                1.0,
                float(verdict.kind == kind),
            ),
            Claim.equal(
                f"order at which the loss descends there, plateau {order} (0 for a minimum)",
                SOURCE,
                3 if order < DIM else 0,
                verdict.descent_order,
            ),
        )
        passes = f"{speeds[nearest[order]]:.1e}" if order in nearest else "(not found)"
        report.text(
            f"- plateau {order}: {verdict.sentence} The run passes it at a gradient norm of "
            f"{passes}."
        )
    shares = trajectory["share"].values

    def heads_at(row: int, title: str) -> Panel:
        def draw(ax: Axes) -> None:
            plots.plot_alignment(ax, shares[row], EIGENVALUES)
            ax.set_title(title)

        return draw

    report.figure(
        "heads",
        "Each head that has grown reads one eigen-direction of Λ, the others none.",
        *[heads_at(nearest[m], f"Heads at plateau {m}") for m in sorted(nearest)[2::2]],
    )
    report.figure(
        "components",
        "At plateau m the model is in-context regression on the first m principal components.",
        lambda ax: plots.plot_distance_table(
            ax,
            distances,
            rows="model at plateau",
            columns="regression on m principal components",
            quantity="distance of predictions (root mean square, in labels)",
            title="Principal component regression",
        ),
        width=7.0,
    )


def ranks(
    options: Reproduce, report: Report, chosen: Sequence[int] = (1, 2, 4, 8), dim: int = 8
) -> None:
    """Loss curves at several ranks: D/r + 1 distinct plateaus."""
    values = np.arange(dim, 0, -1) / (dim * (dim + 1) / 2)
    levels = plateau_levels(values, LENGTH)
    prompts = PopulationMoments(PromptDistribution(values, LENGTH))
    curves, measures = {}, {}
    for rank in chosen:
        landscape = SeparateLinearAttentionLandscape(prompts, rank, heads=dim + 1)
        start = head_start(jax.random.key(options.seed), landscape, dim + 1, scale=2e-3)
        _, trajectory = follow(
            options,
            landscape,
            start,
            horizon=1e7,
            dt=4.0,
            record=lambda unit: log_spaced(100 * unit, per_decade=150),
            stop_at=_arrival(levels),
            statistics=[Statistic("read_out", _read_out, dims=("row", "column"))],
            label=f"rank {rank}",
        )
        times, loss = trajectory["time"].values, trajectory["loss"].values
        found = find_plateaus(*extended(times, loss), levels.tolist(), width=0.01, prominence=DWELL)
        reached = [
            int(np.argmin(np.abs(levels - p.predicted)))
            for p in found.plateaus
            if p.predicted is not None
        ]
        report.text(f"- rank {rank}: plateaus with m = {reached} directions learned.")
        report.claim(
            Claim.equal(
                f"distinct plateaus at rank {rank}, D = {dim}: D/r + 1 (stays there {DWELL:g} "
                "times longer than on the drops beside)",
                SOURCE,
                dim // rank + 1,
                len(found.plateaus),
            )
        )
        curves[f"rank {rank}"] = times[1:], loss[1:]
        stable = rank_measures(jnp.asarray(trajectory["read_out"].values)).participation
        measures[f"rank {rank}"] = times[1:], np.asarray(stable)[1:]

    def losses(ax: Axes) -> None:
        plots.plot_courses(ax, curves, levels=_names(levels), log_time=True)
        ax.set(xlabel=DESCENT_TIME, ylabel="loss ½ E(y − ŷ)²", title=f"D = {dim}")

    def used(ax: Axes) -> None:
        plots.plot_courses(ax, measures, log_time=True)
        ax.set(
            xlabel=DESCENT_TIME,
            ylabel="participation ratio of A (directions)",
            title="How many directions are used",
        )

    report.figure(
        "ranks",
        "The higher the rank of key and query, the fewer the distinct plateaus.",
        losses,
        used,
    )


def _share(flow: GradientFlow, state: FlowState) -> jax.Array:
    """What every head adds to A, v (k·e_d)(q·e_d), relative to the optimum of the direction."""
    v, k, q = state.ensemble.particles
    return v[:, None] * jnp.sum(k * q, axis=1) / OPTIMUM


def _cosine(flow: GradientFlow, state: FlowState) -> jax.Array:
    """The smaller of the cosines of key and query with each eigen-direction."""
    _, k, q = state.ensemble.particles
    keys, queries = (w[:, 0] / jnp.linalg.norm(w[:, 0], axis=1, keepdims=True) for w in (k, q))
    return jnp.where(keys * queries > 0, jnp.minimum(jnp.abs(keys), jnp.abs(queries)), 0)


def _read_out(flow: GradientFlow, state: FlowState) -> jax.Array:
    return flow.landscape.moments(state.ensemble)


def _snapshot(trajectory: xarray.Dataset, time: float) -> Ensemble:
    row = trajectory.sel(snapshot_time=time, method="nearest")
    return Ensemble(SeparateHead(*(jnp.asarray(row[f"particles.{name}"].values) for name in "vkq")))


def _arrival(levels: np.ndarray) -> float:
    return float(levels[-1] + ARRIVED * (levels[0] - levels[-1]))


def _names(levels: np.ndarray) -> dict[str, float]:
    return {f"$L_{m}$": float(level) for m, level in enumerate(levels)}
