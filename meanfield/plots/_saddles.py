"""Figures about saddles: spectra, escapes, levels. Re-exported by `meanfield.plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from saddle_analysis import SpectralDensity

from ..studies import Escapes

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

MEASURED, THEORY, SECOND, QUIET = "#1f5fa8", "#c4501b", "#2f8f5b", "#9aa0a6"
KIND_COLOURS = {
    "none": QUIET,
    "isotropic": MEASURED,
    "hessian-guided": SECOND,
    "eigenvector": THEORY,
}


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
    ax.legend(loc="lower right")


def plot_escapes(ax: Axes, studies: Sequence[Escapes], level: float) -> None:
    """Loss against time for every kind of perturbation: median and range over seeds."""
    for study in studies:
        loss, time = study.trajectory["loss"].values, study.trajectory["time"].values
        colour = KIND_COLOURS[study.kind]
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
    ax.legend()


def plot_escape_times(ax: Axes, studies: Sequence[Escapes]) -> None:
    """Escape times of all seeds by kind, beside what λ and the overlaps predict."""
    generator = np.random.default_rng(0)
    for row, study in enumerate(studies):
        jitter = row + 0.15 * generator.uniform(-1, 1, study.times.size)
        colour = KIND_COLOURS[study.kind]
        ax.plot(study.times, jitter, "o", ms=4, alpha=0.6, color=colour)
        label = "" if row else "median predicted by the linear theory"
        ax.vlines(np.nanmedian(study.predicted), row - 0.3, row + 0.3, "black", lw=2, label=label)
    ax.set_yticks(range(len(studies)), [study.kind for study in studies])
    ax.set(
        xlabel="escape time (flow time)", ylabel="perturbation", title="Time to leave, every seed"
    )
    ax.margins(y=0.2)
    ax.legend(loc="center right")


def plot_escape_scaling(ax: Axes, studies: Sequence[Escapes], rate: float) -> None:
    """Escape time against the unstable component of the kick; theory has slope 1/|λ_min|."""
    for study in studies:
        ax.plot(
            np.broadcast_to(study.overlaps, study.times.shape),
            study.times,
            "o",
            ms=4,
            alpha=0.6,
            color=KIND_COLOURS[study.kind],
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
        color="black",
        label=r"slope $-1/|\lambda_{\min}|$",
    )
    ax.set_xscale("log")
    ax.set(
        xlabel="unstable component of the kick (particle units)",
        ylabel="escape time (flow time)",
        title="Escape time against perturbation",
    )
    ax.legend(fontsize=8)


def plot_predictions(
    ax: Axes, predicted: Mapping[str, float], measured: Mapping[str, float], *, quantity: str
) -> None:
    """Measured against predicted, one labelled point each, on the diagonal if theory is right."""
    names = list(predicted)
    x = np.array([predicted[name] for name in names])
    y = np.array([measured[name] for name in names])
    span = [min(x.min(), y.min()), max(x.max(), y.max())]
    ax.plot(span, span, "--", color=THEORY, label="measured = predicted")
    ax.plot(x, y, "o", color=MEASURED, label="measured")
    for name, px, py in zip(names, x, y, strict=True):
        ax.annotate(name, (px, py), xytext=(5, -9), textcoords="offset points", fontsize=8)
    ax.set(xlabel=f"{quantity}, predicted", ylabel=f"{quantity}, measured", title=quantity)
    ax.margins(0.12)
    ax.legend()


def plot_timescales(ax: Axes, trajectories: Mapping[str, xarray.Dataset]) -> None:
    """Loss against time for several timescale ratios, the limit dashed on top."""
    import matplotlib

    colours = matplotlib.colormaps["viridis"](np.linspace(0.1, 0.9, len(trajectories)))
    for (name, trajectory), colour in zip(trajectories.items(), colours, strict=True):
        limit = name.startswith("limit")
        ax.plot(
            trajectory["time"],
            trajectory["loss"],
            color="black" if limit else colour,
            ls="--" if limit else "-",
            label=name,
        )
    ax.set(xlabel="flow time t", ylabel="loss R(h, W)", title="Joint, reduced and frozen training")
    ax.set_yscale("log")
    ax.legend(fontsize=8)
