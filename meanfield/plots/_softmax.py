"""Figures about softmax attention on prompts of features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from saddle_analysis.curves import QueryStages

from ..studies import SoftmaxGrowth, SoftmaxImbalance, SoftmaxTail
from ._theme import BACKGROUNDS, INK, MEASURED, QUIET, SECOND, SIZES_MAP, THEORY, legend, shades

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

PHASES: dict[str, str] = dict(
    zip(("turning away", "turning point", "growth", "convergence"), BACKGROUNDS, strict=True)
)


def plot_query_losses(
    ax: Axes,
    trajectory: xarray.Dataset,
    stages: QueryStages | None = None,
    theory: Mapping[str, ArrayLike] | None = None,
    dominant: int | None = None,
) -> None:
    """L_k of every query against time, logarithmic, with the phases of one query shaded.

    Args:
        ax: where to draw.
        trajectory: of a run on a softmax attention landscape.
        stages: the phases of the query to shade.
        theory: label to predicted losses at the records' times.
        dominant: the dominant feature, drawn apart; by default the one the phases name.
    """
    t, losses = trajectory["time"].values, trajectory["query_loss"].values
    if dominant is None and stages is not None:
        dominant = stages.dominant
    named = _groups(losses.shape[1], dominant)
    for label, (columns, colour) in named.items():
        ax.plot(t, losses[:, columns[0]], color=colour, lw=1.2, alpha=0.8, label=label, zorder=3)
        ax.plot(t, losses[:, columns[1:]], color=colour, lw=0.7, alpha=0.4, zorder=2)
    for label, curve in (theory or {}).items():
        ax.plot(
            t, np.broadcast_to(curve, t.shape), "--", color=THEORY, lw=1.5, label=label, zorder=4
        )
    _shade(ax, t, stages)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="flow time t",
        ylabel="loss of query k, $L_k$",
        title="Loss of every query",
        xlim=(t[t > 0][0], t[-1]),
    )
    legend(ax)


def plot_logits(ax: Axes, trajectory: xarray.Dataset, stages: QueryStages) -> None:
    """A_k and B_km of one query against time, its phases shaded."""
    t, k = trajectory["time"].values, stages.query
    own, others = trajectory["A"].values[:, k], trajectory["B"].values[:, k]
    rest = [m for m in range(others.shape[1]) if m not in (k, stages.dominant)]
    ax.plot(t, own, color=MEASURED, lw=2, label=rf"$A_{{{k + 1}}}$, to itself")
    if stages.dominant is not None:
        m = stages.dominant
        ax.plot(
            t,
            others[:, m],
            color=THEORY,
            lw=2,
            label=rf"$B_{{{k + 1},{m + 1}}}$, to the dominant token",
        )
    lines = ax.plot(t, others[:, rest], color=SECOND, lw=0.7, alpha=0.5)
    lines[0].set_label(rf"$B_{{{k + 1},m}}$, to the others")
    if stages.dominant is None:
        predicted = -own / (others.shape[1] - 1)
        ax.plot(t, predicted, "--", color=THEORY, label=r"theory: mean of $B$ is $-A_k/(K-1)$")
    _shade(ax, t, stages)
    ax.set(
        xscale="log",
        xlabel="flow time t",
        ylabel=f"logits of query {k + 1}",
        title=f"Logits of query {k + 1}",
        xlim=(t[t > 0][0], t[-1]),
    )
    legend(ax)


def plot_attention_map(ax: Axes, trajectory: xarray.Dataset, time: float) -> None:
    """The mean attention of every query (rows) to every token (columns) at one time."""
    seen = trajectory.sel(time=time, method="nearest")
    table = seen["attention"].values
    features = table.shape[0]
    edge = features + 0.5
    image = ax.imshow(table, cmap=SIZES_MAP, vmin=0, vmax=1, extent=(0.5, edge, edge, 0.5))
    ax.figure.colorbar(image, ax=ax, label="attention $a_{km}$ (mean over prompts)", shrink=0.8)
    ax.set(
        xlabel="token m",
        ylabel="query k",
        title=f"t = {float(seen['time']):.5g}",
    )
    ax.locator_params(integer=True)


def plot_softmax_growth(ax: Axes, studies: Mapping[str, SoftmaxGrowth]) -> None:
    """Growth time against K: measured, exact, and the bound K² log K."""
    colours = (MEASURED, SECOND, QUIET)
    for (name, study), colour in zip(studies.items(), colours, strict=False):
        ax.plot(
            study.sizes,
            study.means,
            "o",
            color=colour,
            label=f"{name}: exponent {study.law.exponent:.3f}",
        )
        ax.plot(
            study.sizes, study.predicted, "-", lw=1, color=colour, label=f"{name}, exact theory"
        )
    sizes = next(iter(studies.values())).sizes
    ax.plot(sizes, sizes**2 * np.log(sizes), "--", color=THEORY, label="$K^2\\log K$ (HCL23)")
    ax.plot(sizes, sizes**2, ":", color=THEORY, label="$K^2$")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="number of features K",
        ylabel="growth time (flow time)",
        title="How long until half of the attention is right",
    )
    _plain_ticks(ax, sizes)
    legend(ax)


def plot_softmax_tail(ax: Axes, study: SoftmaxTail) -> None:
    """Late losses for every K, with the exact curve and (K − 1)/(4t) drawn in."""
    colours = shades(len(study.sizes))
    positive = study.times > 0
    t = study.times[positive]
    for row, (size, colour) in enumerate(zip(study.sizes, colours, strict=True)):
        ax.plot(
            t,
            study.losses[row][positive],
            color=colour,
            lw=2.5,
            alpha=0.6,
            label=f"K = {size}: exponent {study.time_laws[row].exponent:.3f}",
        )
        exact, tail = ("exact theory", "$(K-1)/(4t)$") if not row else (None, None)
        ax.plot(t, study.predicted[row][positive], "--", color=INK, lw=0.8, label=exact)
        late = t >= study.window[0] / 30
        ax.plot(t[late], (size - 1) / (4 * t[late]), ":", color=THEORY, lw=1.5, label=tail)
    ax.axvspan(*study.window, color=QUIET, alpha=0.15, label="fitted")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="flow time t",
        ylabel="loss of a query, $L_k$",
        title="Tail of the loss, large-prompt limit",
        xlim=(t[0], t[-1]),
    )
    legend(ax)


def plot_softmax_imbalance(ax: Axes, study: SoftmaxImbalance) -> None:
    """Convergence times of the dominant and the other features against p_1."""
    ax.plot(study.dominant, study.dominant_times, "o-", color=MEASURED, label="dominant feature")
    ax.plot(
        study.dominant, study.other_times, "s", color=THEORY, label="under-represented, measured"
    )
    rare = (1 - study.dominant) / (study.features - 1)
    ax.plot(
        study.dominant,
        study.law(rare),
        "--",
        color=THEORY,
        lw=1,
        label=f"fit $p_k^{{{study.law.exponent:.2f}}}$",
    )
    anchor = study.other_times[0]
    for power, style in ((-1, ":"), (-2, "-.")):
        line = anchor * (rare / rare[0]) ** power
        ax.plot(study.dominant, line, style, color=QUIET, label=f"theory: bound $p_k^{{{power}}}$")
    ax.set(
        yscale="log",
        xlabel="probability of the dominant feature, $p_1$",
        ylabel="start of convergence (flow time)",
        title=f"Imbalance, K = {study.features}, large-prompt limit",
    )
    legend(ax)


def plot_floors(
    ax: Axes, runs: Mapping[int, tuple[ArrayLike, ArrayLike, ArrayLike, float]]
) -> None:
    """Losses that end at the floor of prompts without the queried feature.

    Args:
        ax: where to draw.
        runs: prompt length to (times, measured losses, exact losses, floor).
    """
    colours = shades(len(runs))
    for row, ((length, (t, losses, exact, floor)), colour) in enumerate(
        zip(runs.items(), colours, strict=True)
    ):
        ax.plot(t, losses, color=colour, lw=2.5, alpha=0.6, label=f"n = {length}, measured")
        name = "exact theory" if not row else None
        ax.plot(t, exact, "--", color=INK, lw=0.8, label=name)
        name = "floor, closed form" if not row else None
        ax.axhline(floor, color=THEORY, ls=":", label=name)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="flow time t",
        ylabel="loss of a query, $L_k$",
        title="The floor that short prompts leave",
    )
    legend(ax)


def _groups(queries: int, dominant: int | None) -> dict[str, tuple[list[int], str]]:
    """Label to (queries, colour): the dominant one apart from the others."""
    rest = [k for k in range(queries) if k != dominant]
    if dominant is None:
        return {f"{queries} queries": (rest, MEASURED)}
    return {
        f"query {dominant + 1}, dominant": ([dominant], SECOND),
        f"{len(rest)} under-represented queries": (rest, MEASURED),
    }


def _shade(ax: Axes, t: np.ndarray, stages: QueryStages | None) -> None:
    for stage in [] if stages is None else stages.stages:
        label = f"{stage.name} (query {stages.query + 1})"  # pyright: ignore
        start = max(stage.start, t[t > 0][0])
        ax.axvspan(start, stage.end, color=PHASES[stage.name], zorder=0, label=label)


def _plain_ticks(ax: Axes, values: np.ndarray) -> None:
    from matplotlib.ticker import NullLocator

    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(values, [str(v) for v in values])
