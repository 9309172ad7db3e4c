"""Figures of multilevel estimates: means and variances level by level, work against tolerance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..studies import Multilevel
from ._theme import INK, legend, series_colour, series_marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_levels(ax: Axes, found: Multilevel) -> None:
    """Mean and variance of the differences between levels, over the slopes of theory."""
    finer = found.levels[1:]
    sizes = np.array([level.size for level in finer], float)
    rows = (
        ("|mean| (loss)", [abs(x.mean) for x in finer], [x.error for x in finer], -1),
        ("variance (loss²)", [x.variance for x in finer], [x.variance_error for x in finer], -2),
    )
    for index, (name, values, errors, order) in enumerate(rows):
        value, error = np.array(values), np.array(errors)
        colour = series_colour(index)
        shown = [np.minimum(error, 0.9 * value), error]  # a logarithmic axis has no room below
        style = {"color": colour, "marker": series_marker(index), "capsize": 3, "ls": ""}
        ax.errorbar(sizes, value, shown, label=f"{name} ± 1 s.e.", **style)
        weights = (value / error) ** 2
        level = np.sum(weights * np.log(value / sizes**order)) / weights.sum()
        law = np.exp(level) * sizes**order
        ax.plot(sizes, law, color=colour, lw=1, ls="--", label=f"theory: N^{order}")
    ax.set(xscale="log", yscale="log", title="Differences between levels")
    ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
    ax.minorticks_off()
    ax.set(xlabel="particles N of the finer level", ylabel="difference (units in the legend)")
    legend(ax, "below", columns=2)


def plot_work(ax: Axes, found: Multilevel) -> None:
    """Work for a tolerance, with levels and without, by the measured variances."""
    tolerances = found.tolerance * np.geomspace(0.03, 10, 41)
    work = np.array([found.work(float(tolerance)) for tolerance in tolerances])
    ax.plot(tolerances, work[:, 0], color=series_colour(0), label="levels, predicted")
    ax.plot(tolerances, work[:, 1], color=series_colour(1), label="one size, predicted")
    reference = work[-1, 0] * (tolerances / tolerances[-1]) ** -2.0
    ax.plot(tolerances, reference, color=INK, lw=1, ls="--", label="theory: tolerance^−2")
    ax.plot(
        [found.estimate.error],
        [found.spent],
        color=series_colour(2),
        marker=series_marker(2),
        ls="",
        label="spent, at the error reached",
    )
    ax.set(xscale="log", yscale="log", title="Work against tolerance")
    ax.set(xlabel="tolerance (loss)", ylabel="work (particles × steps)")
    legend(ax, "below", columns=2)
