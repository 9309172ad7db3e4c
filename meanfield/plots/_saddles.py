"""Figures about saddles: spectra, escapes, levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from saddle_analysis.spectra import SpectralDensity

from ..studies import Escapes
from ._theme import INK, MEASURED, QUIET, SMALL, THEORY, legend, series_colour, shades

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

LINE = 0.055  # height of a line of text, as a part of the frame


def plot_density(ax: Axes, density: SpectralDensity, eigenvalues: ArrayLike) -> None:
    """Share of eigenvalues below λ with its rigorous band, and the eigenpairs found exactly."""
    low, high = density.support
    margin = 0.05 * (high - low) or 1.0
    grid = np.linspace(low - margin, high + margin, 300)
    share, lower, upper, deviation = density.fraction_below(grid)
    ax.fill_between(
        grid,
        np.clip(lower - 2 * deviation, 0, 1),
        np.clip(upper + 2 * deviation, 0, 1),
        color=MEASURED,
        alpha=0.2,
        label="bounds, ±2 s.d.",
    )
    ax.plot(grid, share, color=MEASURED, label="share below λ")
    for index, value in enumerate(np.atleast_1d(np.asarray(eigenvalues, float))):
        ax.axvline(
            value, color=THEORY, lw=0.6, label="eigenpairs with residual" if not index else None
        )
    ax.set(
        xlabel="curvature λ (1 / time)",
        ylabel="share of eigenvalues below λ",
        title=f"Spectral distribution, {density.size} unknowns",
    )
    legend(ax)


def plot_escapes(ax: Axes, studies: Sequence[Escapes], level: float) -> None:
    """Loss against time for every kind of perturbation: median and range over seeds."""
    for row, study in enumerate(studies):
        loss, time = study.trajectory["loss"].values, study.trajectory["time"].values
        colour = series_colour(row)
        ax.plot(time, np.nanmedian(loss, axis=1), color=colour, lw=2, label=study.kind)
        ax.fill_between(
            time, np.nanmin(loss, axis=1), np.nanmax(loss, axis=1), color=colour, alpha=0.15
        )
    ax.axhline(level, color=THEORY, ls="--", lw=1, label="saddle level, predicted")
    ax.set(
        xlabel="flow time t",
        ylabel="loss L(μ)",
        title=f"Leaving at equal norm {studies[0].norm:g} (median, range over seeds)",
    )
    legend(ax)


def plot_escape_times(ax: Axes, studies: Sequence[Escapes]) -> None:
    """Escape times of all seeds by kind, beside what λ and the overlaps predict."""
    generator = np.random.default_rng(0)
    for row, study in enumerate(studies):
        jitter = row + 0.15 * generator.uniform(-1, 1, study.times.size)
        colour = series_colour(row)
        ax.plot(study.times, jitter, "o", ms=4, alpha=0.6, color=colour)
        label = "" if row else "median predicted by the linear theory"
        ax.vlines(np.nanmedian(study.predicted), row - 0.3, row + 0.3, INK, lw=2, label=label)
    ax.set_yticks(range(len(studies)), [study.kind for study in studies])
    ax.set(
        xlabel="escape time (flow time)", ylabel="perturbation", title="Time to leave, every seed"
    )
    ax.margins(y=0.2)
    legend(ax)


def plot_escape_scaling(ax: Axes, studies: Sequence[Escapes], rate: float) -> None:
    """Escape time against the unstable component; theory has slope −1/|λ_min|."""
    for row, study in enumerate(studies):
        ax.plot(
            np.broadcast_to(study.overlaps, study.times.shape),
            study.times,
            "o",
            ms=4,
            alpha=0.6,
            color=series_colour(row),
            label=study.kind,
        )
    sizes = np.concatenate([study.overlaps for study in studies])
    times = np.concatenate([study.times for study in studies])
    anchor = np.nanmedian(times + np.log(sizes) / rate)
    line = np.geomspace(sizes.min(), sizes.max(), 50)
    ax.plot(
        line,
        anchor - np.log(line) / rate,
        "--",
        color=INK,
        label=r"slope $-1/|\lambda_{\min}|$",
    )
    ax.set_xscale("log")
    ax.set(
        xlabel="unstable component of the perturbation (particle units)",
        ylabel="escape time (flow time)",
        title="Escape time against perturbation",
    )
    legend(ax)


def plot_predictions(
    ax: Axes, predicted: Mapping[str, float], measured: Mapping[str, float], *, quantity: str
) -> None:
    """Measured against predicted, on the diagonal if theory is right; names right of the frame."""
    names = list(predicted)
    x = np.array([predicted[name] for name in names])
    y = np.array([measured[name] for name in names])
    span = [min(x.min(), y.min()), max(x.max(), y.max())]
    ax.plot(span, span, "--", color=THEORY, label="measured = predicted")
    ax.plot(x, y, "o", color=MEASURED, label="measured")
    ax.set(xlabel=f"{quantity}, predicted", ylabel=f"{quantity}, measured", title=quantity)
    ax.margins(0.12)
    legend(ax)
    low, high = ax.get_ylim()
    order = np.argsort(y)
    heights = _apart((y[order] - low) / (high - low))
    for row, height in zip(order, heights, strict=True):
        ax.annotate(
            names[row],
            (x[row], y[row]),
            xytext=(1.02, height),
            textcoords="axes fraction",
            va="center",
            fontsize=SMALL,
            arrowprops={"arrowstyle": "-", "color": QUIET, "lw": 0.6},
            zorder=0,
        )


def _apart(heights: np.ndarray) -> np.ndarray:
    """Increasing heights of a frame, moved as little as needed to be a line of text apart."""
    from scipy.optimize import isotonic_regression

    lines = LINE * np.arange(heights.size)
    return np.clip(isotonic_regression(heights - lines).x, 0.0, 1.0 - lines[-1]) + lines


def plot_timescales(
    ax: Axes,
    trajectories: Mapping[str, xarray.Dataset],
    limits: Mapping[str, xarray.Dataset] | None = None,
) -> None:
    """Loss against time for several timescale ratios, their limits dashed on top.

    Args:
        ax: where to draw.
        trajectories: label to run, in the order of their ratios.
        limits: the same for the flows that the ratios approach.
    """
    colours = shades(len(trajectories))
    for (name, trajectory), colour in zip(trajectories.items(), colours, strict=True):
        ax.plot(trajectory["time"], trajectory["loss"], color=colour, label=name)
    for name, trajectory in (limits or {}).items():
        ax.plot(trajectory["time"], trajectory["loss"], "--", color=INK, label=name)
    ax.set(xlabel="flow time t", ylabel="loss R(h, W)", title="Joint, reduced and frozen training")
    ax.set_yscale("log")
    legend(ax)
