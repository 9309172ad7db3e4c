"""Figures of convergence studies: errors against N, exponents along the run, loss fanning in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..studies import MEASURES, Convergence, Measure
from ._theme import INK, legend, series_colour, series_marker, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RECORDED = tuple(measure for measure in MEASURES if not measure.at_horizon)
DISTANCES = tuple(measure for measure in MEASURES if measure.at_horizon)


def plot_errors(ax: Axes, found: Convergence) -> None:
    """Coupling error, fluctuation, bias and moment error at the horizon, each with its theory."""
    time = float(found.data["time"][-1])
    _against_size(ax, RECORDED, found, f"Errors at t = {time:.3g}", "error (units in the legend)")


def plot_distances(ax: Axes, found: Convergence) -> None:
    """Distances to independent particles of the reference at the horizon."""
    _against_size(
        ax, DISTANCES, found, "Distances to the reference", "distance (units in the legend)"
    )


def plot_exponents(ax: Axes, found: Convergence) -> None:
    """Every fitted exponent along the run, with its interval, over the predicted one."""
    times = found.data["time"].values
    for index, measure in enumerate(RECORDED):
        fits = found.along[measure.name]
        value = np.array([fit.exponent for fit in fits])
        error = np.array([fit.high - fit.exponent for fit in fits])
        shift = 0.006 * (index - 1.5) * times[-1]  # bars of equal times side by side
        ax.errorbar(
            times + shift,
            value,
            error,
            color=series_colour(index),
            marker=series_marker(index),
            capsize=3,
            label=measure.name,
        )
    for order in sorted({measure.order for measure in RECORDED if measure.order is not None}):
        ax.axhline(order, color=INK, lw=1, ls="--", label=f"theory: {order:g}")
    ax.set(xlabel="flow time t", ylabel="exponent of N (95 % interval)", title="Along the run")
    legend(ax, "below", columns=3)


def plot_fan(ax: Axes, found: Convergence, most: int = 5) -> None:
    """Loss of single small ensembles around their references: trajectories fanning in.

    Args:
        ax: where to draw.
        found: the study.
        most: sizes to show.
    """
    data = found.data
    sizes = data["size"].values
    chosen = sizes[np.unique(np.linspace(0, sizes.size - 1, most).round().astype(int))]
    reference = data["reference_loss"]
    for size, colour in zip(chosen, shades(chosen.size), strict=True):
        loss = data["loss"].sel(size=size)
        gap = (loss - reference).stack(run=("seed", "block")).transpose("time", "run")
        lines = ax.plot(data["time"], gap, color=colour, lw=0.7, alpha=0.6)
        lines[0].set_label(f"N = {size}")
    ax.axhline(0, color=INK, lw=1.5, label=f"N = {data.attrs['reference']}, the reference")
    ax.set(xlabel="flow time t", ylabel="L(μᴺ) − L(μ)", title="Single ensembles fan in as N grows")
    for line in legend(ax).get_lines():
        line.set(linewidth=2, alpha=1)


def _against_size(
    ax: Axes, measures: Sequence[Measure], found: Convergence, title: str, ylabel: str
) -> None:
    drawn = [_law(ax, measure, found, index) for index, measure in enumerate(measures)]
    if any(drawn):
        orders = {f"N^{m.order:g}" for m, one in zip(measures, drawn, strict=True) if one}
        label = f"theory: {', '.join(sorted(orders))}"
        ax.plot([], [], color=INK, lw=1, ls="--", label=label)
    else:
        ax.plot([], [], " ", label="nothing to show: no values at any size")
    ax.set(xscale="log", yscale="log", title=title, ylabel=ylabel)
    ax.set_xlabel("particles N (corrected for the finite reference)")
    legend(ax, "below", columns=2)


def _law(ax: Axes, measure: Measure, found: Convergence, index: int) -> bool:
    """Means over seeds with standard errors, and the predicted slope; true if theory has one."""
    scales, rows = found.samples(measure)
    if not scales.size:
        return False
    mean = rows.mean(axis=0)
    size = np.abs(mean) ** measure.power
    style = {"color": series_colour(index), "marker": series_marker(index), "capsize": 3}
    if len(rows) < 2:  # no spread, and so no error
        bar = np.zeros_like(size)
    else:
        error = rows.std(axis=0, ddof=1) / np.sqrt(len(rows))
        bar = measure.power * size * error / np.maximum(np.abs(mean), 1e-300)
    shown = np.minimum(bar, 0.9 * size)  # a logarithmic axis has no room below
    if measure.order is None:
        ax.errorbar(scales, size, shown, ls=":", label=f"{measure.label}: no claim", **style)
        return False
    fit = found.exponents[measure.name]
    said = "exponent not resolved"
    if np.isfinite(fit.exponent):
        said = f"N^({fit.exponent:.2f} ± {fit.high - fit.exponent:.2f})"
    ax.errorbar(scales, size, shown, ls="", label=f"{measure.label}: {said}", **style)
    weights = (size / np.maximum(bar, 1e-12 * size)) ** 2
    level = np.sum(weights * np.log(size / scales**measure.order)) / weights.sum()
    law = np.exp(level) * scales**measure.order
    ax.plot(scales, law, color=series_colour(index), lw=1, ls="--")
    return True
