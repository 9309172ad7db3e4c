"""Figures of a run: loss, energy balance, features learned, particles."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
from numpy.typing import ArrayLike

from landscapes.mlp_attention import InContextError
from particles import Ensemble
from particles.internal import leaf_names

from ._theme import (
    MEASURED,
    QUIET,
    SECOND,
    SMALL,
    THEORY,
    legend,
    round_ticks,
    shades,
    signed_log,
    with_unit,
)

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes


def plot_loss(
    ax: Axes,
    trajectory: xarray.Dataset,
    levels: Mapping[str, float] | None = None,
    *,
    log: bool = False,
) -> None:
    """Loss against flow time, with critical levels as labelled lines.

    Args:
        ax: where to draw.
        trajectory: of a run; a `seed` axis gives one line each.
        levels: label to value.
        log: logarithmic axes (levels and times at zero are left out).
    """
    loss = trajectory["loss"]
    many = "seed" in loss.dims
    lines = ax.plot(
        trajectory["time"],
        loss,
        color=MEASURED,
        lw=1 if many else 2,
        alpha=0.5 if many else 1,
        zorder=3,
    )
    lines[0].set_label("loss, measured" + (f" ({loss.sizes['seed']} seeds)" if many else ""))
    drawn = {name: v for name, v in (levels or {}).items() if v > 0 or not log}
    for index, (name, value) in enumerate(drawn.items()):
        ax.axhline(
            value, color=THEORY, lw=1, ls="--", label="critical levels" if not index else None
        )
        ax.annotate(
            name,
            (1 - 0.17 * (index % 4) * log, value),  # levels crowd on a log axis: stagger them
            xytext=(-4, 2 if value else -2),  # nothing lies below zero: there is room for a label
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va="bottom" if value else "top",
            fontsize=SMALL,
            color=THEORY,
        )
    if log:
        ax.set(xscale="log", yscale="log")
    ax.set(xlabel="flow time t", ylabel="loss L(μ)", title="Loss")
    if not log and drawn:  # room for the label of the highest level
        ax.margins(y=0.1)
    legend(ax)


def plot_learned(ax: Axes, trajectory: xarray.Dataset, eigenvalues: Sequence[float]) -> None:
    """How much of each eigen-feature is learned, against flow time."""
    fractions = trajectory["learned_fraction"]
    colours = shades(len(eigenvalues))
    for j, value in enumerate(eigenvalues):
        ax.plot(
            trajectory["time"],
            fractions[:, j],
            color=colours[j],
            label=f"feature {j + 1} (λ = {value:.3g})",
        )
    ax.axhline(0.5, color=QUIET, lw=0.8, ls=":")
    ax.set(
        xlabel="flow time t",
        ylabel=r"learned fraction $\|P e_j\|^2$",
        title="Which features, when",
        ylim=(-0.03, 1.03),
    )
    legend(ax, columns=1 + len(eigenvalues) // 6)


def plot_energy_balance(ax: Axes, trajectory: xarray.Dataset) -> None:
    """−dL/dt measured from the loss curve, and ∫‖∇δL/δμ‖²dμ from the particles, log scale."""
    time, loss = trajectory["time"].values, trajectory["loss"].values
    middle = 0.5 * (time[1:] + time[:-1])
    slope = -np.diff(loss) / np.diff(time)
    rate = trajectory["dissipation_rate"].values
    ax.plot(
        time,
        np.where(rate > 0, rate, np.nan),
        color=THEORY,
        lw=1.2,
        zorder=3,
        label=r"theory: $\int\|\nabla\,\delta L/\delta\mu\|^2\,d\mu$",
    )
    ax.plot(
        middle,
        np.where(slope > 0, slope, np.nan),
        "o",
        ms=5,
        alpha=0.5,
        color=MEASURED,
        label=r"measured: $-\Delta L/\Delta t$ between records",
    )
    ax.set_yscale("log")
    ax.set(xlabel="flow time t", ylabel="dissipation rate (1 / time)", title="Energy balance")
    legend(ax)


def plot_spectrum(
    ax: Axes, eigenvalues: ArrayLike, *, threshold: float, index: int | None = None
) -> None:
    """Eigenvalues of the Wasserstein Hessian in increasing order; negative ones stand out.

    Args:
        ax: where to draw.
        eigenvalues: the ones computed, from the small end.
        threshold: below −threshold an eigenvalue counts as negative.
        index: the predicted number of negative ones.
    """
    values = np.sort(np.asarray(eigenvalues, float))
    rank = np.arange(1, values.size + 1)
    negative = values < -threshold
    ax.axhline(0, color=QUIET, lw=1)
    zero = rf"counts as zero: $|\lambda| \leq$ {threshold:.1g}"
    ax.axhspan(-threshold, threshold, color=QUIET, alpha=0.3, lw=0, label=zero)
    if index is not None:
        ax.axvline(index + 0.5, color=THEORY, ls="--", label=f"predicted Morse index {index}")
    for chosen, colour, name in (
        (negative, MEASURED, "negative"),
        (~negative, SECOND, "others computed"),
    ):
        if chosen.any():
            ax.vlines(rank[chosen], 0, values[chosen], color=colour, lw=1, alpha=0.5)
            ax.plot(
                rank[chosen], values[chosen], "o", color=colour, label=f"{name}: {chosen.sum()}"
            )
    # Linear where every eigenvalue that is not zero can be seen so; else from the smallest such.
    beyond = np.abs(values[np.abs(values) > threshold])
    if beyond.size and beyond.max() > 100 * beyond.min():
        signed_log(ax, float(beyond.min()))
    elif not beyond.size:
        ax.set_ylim(-3 * threshold, 3 * threshold)
    ax.margins(y=0.12)
    ax.set_xlim(0.4, max(values.size, (index or 0) + 1) + 0.6)
    ax.xaxis.set_major_locator(round_ticks(10, integer=True))
    ax.set(
        xlabel="eigenvalue number, from the smallest",
        ylabel=with_unit("curvature λ", "1 / time"),
        title="Wasserstein Hessian",
    )
    legend(ax, "below", columns=2)


def plot_growth(
    ax: Axes,
    time: np.ndarray,
    amplitude: np.ndarray,
    *,
    rate: float,
    window: tuple[float, float],
    fitted: float | None = None,
) -> None:
    """Unstable component against time on a log scale, with the predicted slope drawn in.

    Args:
        ax: where to draw.
        time: flow times.
        amplitude: |⟨θ(t) − θ_saddle, u⟩| in L²(μ).
        rate: the predicted rate |λ_min|.
        window: times between which growth is linear.
        fitted: the rate fitted there.
    """
    shown = time <= window[0] + 2.5 * (window[1] - window[0])
    time, amplitude = time[shown], np.abs(amplitude[shown])
    name = "measured" if fitted is None else f"measured, rate {fitted:.4g} in the window"
    ax.plot(time, amplitude, color=MEASURED, lw=2, label=name)
    inside = (time >= window[0]) & (time <= window[1])
    ax.axvspan(*window, color=MEASURED, alpha=0.1, label="linear window")
    anchor = np.flatnonzero(inside)[inside.sum() // 2]
    line = amplitude[anchor] * np.exp(rate * (time - time[anchor]))
    shown = line < 3 * amplitude.max()
    ax.plot(
        time[shown],
        line[shown],
        "--",
        color=THEORY,
        label=rf"predicted, $|\lambda_{{\min}}|$ = {rate:.4g}",
    )
    ax.set_yscale("log")
    ax.set(
        xlabel="flow time t",
        ylabel=r"unstable component, $L^2(\mu)$ norm (particle units)",
        title="Leaving the saddle",
        ylim=(0.5 * amplitude[amplitude > 0].min(), None),
    )
    legend(ax)


def plot_particles(
    ax: Axes, name: str, before: ArrayLike, after: ArrayLike, *, most: int = 400
) -> None:
    """One part of the particles before and after, in its two leading principal coordinates.

    Args:
        ax: where to draw.
        name: of the part.
        before: shape `(particles, ...)`.
        after: the same particles later.
        most: draw at most so many of them.
    """
    count = min(most, len(np.asarray(before)))
    old, new = (np.asarray(leaf)[:count].reshape(count, -1) for leaf in (before, after))
    both = np.concatenate([old, new])
    centre = both.mean(axis=0)
    _, spread, directions = np.linalg.svd(both - centre, full_matrices=False)
    plane = directions[:2].T
    start, end = ((points - centre) @ plane for points in (old, new))
    if plane.shape[1] == 1:
        start, end = (np.pad(points, ((0, 0), (0, 1))) for points in (start, end))
    ax.plot(*np.stack([start, end]).transpose(2, 0, 1), color=QUIET, lw=0.3, alpha=0.6, zorder=1)
    ax.plot(*start.T, "o", color=THEORY, ms=6, mfc="none", mew=0.8, label="before")
    ax.plot(*end.T, ".", color=MEASURED, ms=4, label="after")
    share = (spread[:2] ** 2).sum() / max((spread**2).sum(), 1e-300)
    ax.set(
        xlabel=f"{name}: principal coordinate 1",
        ylabel=f"{name}: principal coordinate 2",
        title=f"Particles, {name} ({share:.0%} of the variance)",
    )
    ax.margins(y=0.15)  # room for the legend above the points
    legend(ax, columns=2)


def particle_panels(before: Ensemble, after: Ensemble) -> list[Callable[[Axes], None]]:
    """One `plot_particles` for each part of the particles, ready for a figure of panels."""
    leaves = zip(
        leaf_names(before.particles),
        jax.tree.leaves(before.particles),
        jax.tree.leaves(after.particles),
        strict=True,
    )
    return [
        functools.partial(plot_particles, name=name, before=old, after=new)
        for name, old, new in leaves
    ]


def plot_in_context(ax: Axes, errors: Mapping[str, InContextError]) -> None:
    """In-context error against prompt length, measured with error bars on the exact expectation."""
    colours = itertools.cycle((THEORY, MEASURED, SECOND))
    for (name, error), colour in zip(errors.items(), colours, strict=False):
        ax.plot(error.lengths, error.expected, color=colour, lw=1.2, label=f"{name}, theory")
        ax.errorbar(
            error.lengths,
            error.measured,
            2 * error.standard_error,
            fmt="o",
            ms=4,
            color=colour,
            capsize=2,
            label=f"{name}, fresh prompts (±2 s.e.)",
        )
    zero = next(iter(errors.values())).zero
    ax.axhline(zero, color=QUIET, ls=":", label="predicting zero")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="prompt length n (examples)",
        ylabel="error ½ E(y − ŷ)²",
        title="In-context error",
    )
    legend(ax)
