"""Figures of convergence studies: errors against N, exponents along the run, loss fanning in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..studies import DISTANCES, ORDERS, Convergence, effective_sizes, measured

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

NAMES = {
    "coupling": "coupling error (particle)",
    "fluctuation": "standard deviation of L",
    "bias": "|bias of L|",
    "moments": "‖error of the moments‖",
    "sinkhorn": "Sinkhorn divergence (particle²)",
    "sliced": "sliced W2 (particle)",
    "w2": "W2, exact (particle)",
}
MARKERS = "osD^vP"


def plot_errors(ax: Axes, found: Convergence) -> None:
    """Coupling error, fluctuation, bias and moment error at the horizon, each with its theory."""
    data = found.data.isel(time=-1)
    for index, (name, order) in enumerate(ORDERS.items()):
        _against_size(ax, name, order, data[name], found, index)
    _finish(ax, f"Errors at t = {float(data['time']):.3g}")
    ax.set_ylabel("error (units in the legend)")


def plot_distances(ax: Axes, found: Convergence) -> None:
    """Distances to independent particles of the reference at the horizon."""
    for index, (name, order) in enumerate(DISTANCES.items()):
        samples = found.data[name] ** (2 if name == "sliced" else 1)
        _against_size(ax, name, order, samples, found, index)
    sizes = found.data["size"].values
    known = np.isfinite(found.data["w2"].values).any(axis=0)
    if known.any():
        mean = np.nanmean(found.data["w2"].values[:, known], axis=0)
        ax.plot(sizes[known], mean, "k:", marker="x", label=NAMES["w2"] + ", no claim")
    _finish(ax, "Distances to the reference")
    ax.set_ylabel("distance (units in the legend)")


def plot_exponents(ax: Axes, found: Convergence) -> None:
    """Every fitted exponent along the run, with its interval, over the predicted one."""
    times = found.data["time"].values
    for index, name in enumerate(ORDERS):
        fits = found.along[name]
        value = np.array([fit.value for fit in fits])
        error = np.array([fit.high - fit.value for fit in fits])
        shift = 0.006 * (index - 1.5) * times[-1]  # bars of equal times side by side
        ax.errorbar(
            times + shift, value, error, color=f"C{index}", marker=MARKERS[index], capsize=3,
            label=name,
        )  # fmt: skip
    for order in sorted(set(ORDERS.values())):
        ax.axhline(order, color="k", lw=1, ls="--", label=f"theory: {order:g}")
    ax.set(xlabel="flow time t", ylabel="exponent of N (95 % interval)", title="Along the run")
    ax.legend(fontsize=8, ncols=2)


def plot_fan(ax: Axes, found: Convergence, most: int = 5) -> None:
    """Loss of single small ensembles around their references: trajectories fanning in."""
    data = found.data
    sizes = data["size"].values
    chosen = sizes[np.unique(np.linspace(0, sizes.size - 1, most).round().astype(int))]
    reference = data["reference_loss"]
    for index, size in enumerate(chosen):
        loss = data["loss"].sel(size=size)
        gap = (loss - reference).stack(run=("seed", "block")).transpose("time", "run")
        color = f"C{index}"
        lines = ax.plot(data["time"], gap, color=color, lw=0.7, alpha=0.6)
        lines[0].set_label(f"N = {size}")
    ax.axhline(0, color="k", lw=1.5, label=f"N = {data.attrs['reference']}, the reference")
    ax.set(xlabel="flow time t", ylabel="L(μᴺ) − L(μ)", title="Single ensembles fan in as N grows")
    legend = ax.legend(fontsize=8)
    for line in legend.get_lines():
        line.set(linewidth=2, alpha=1)


def _against_size(
    ax: Axes,
    name: str,
    order: float,
    samples: xarray.DataArray,
    found: Convergence,
    index: int,
) -> None:
    """Means over seeds with standard errors, and the predicted slope through the largest sizes."""
    rows, known = measured(samples)
    if not known.any():
        return
    scales = effective_sizes(found.data, name)
    power = 1.0 if name in ("bias", "sinkhorn") else 0.5
    rows, scales = rows[:, known], scales[known]
    mean, error = rows.mean(axis=0), rows.std(axis=0, ddof=1) / np.sqrt(rows.shape[0])
    size = np.abs(mean) ** power
    bar = power * size * error / np.maximum(np.abs(mean), 1e-300)
    fit, color = found.exponents[name], f"C{index}"
    ax.errorbar(
        scales, size, np.minimum(bar, 0.9 * size), color=color, marker=MARKERS[index], ls="",
        capsize=3, label=f"{NAMES[name]}: N^({fit.value:.2f} ± {fit.high - fit.value:.2f})",
    )  # fmt: skip
    weights = (size / np.maximum(bar, 1e-12 * size)) ** 2
    level = np.sum(weights * np.log(size / scales**order)) / weights.sum()
    ax.plot(scales, np.exp(level) * scales**order, color=color, lw=1, ls="--")


def _finish(ax: Axes, title: str) -> None:
    ax.plot([], [], color="k", lw=1, ls="--", label="theory: N^(−1/2), N^(−1)")
    ax.set(xscale="log", yscale="log", title=title)
    ax.set_xlabel("particles N (corrected for the finite reference)")
    ax.legend(fontsize=7)
