"""Figures of the landscape around an ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ._theme import (
    BRIGHT,
    INK,
    MEASURED,
    PAPER,
    QUIET,
    SIGNS_MAP,
    SIZES_MAP,
    SMALL,
    THEORY,
    legend,
    round_ticks,
    series_colour,
    series_marker,
    shades,
    signed_log,
    with_unit,
)

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

ARROWS = 15  # along each axis of a field


def _width(row: int) -> float:
    """Ever thinner lines: one that hides another shows it on both sides."""
    return max(1.0, 4.5 - 1.2 * row)


def plot_lines(ax: Axes, lines: xarray.Dataset) -> None:
    """Loss along vector fields, each with the parabola of slope and Wasserstein Hessian.

    Args:
        ax: where to draw.
        lines: from `landscapes.loss_lines`.
    """
    distance, loss = lines["distance"].values, lines["loss"].values
    for row, name in enumerate(lines["direction"].values):
        bent = float(lines["curvature"][row])
        ax.plot(
            distance,
            loss[row],
            color=series_colour(row),
            lw=_width(row),
            label=f"{name}: curvature {bent:.3g}",
        )
        ax.plot(distance, lines["prediction"][row], "--", color=series_colour(row), lw=1.2)
    ax.plot([], [], "--", color=INK, lw=1.2, label="dashed: parabola of slope and Hessian")
    span = np.ptp(loss) or 1.0  # the parabolas may leave: the measured lines set the scale
    ax.set_ylim(loss.min() - 0.15 * span, loss.max() + 0.1 * span)
    ax.set(
        xlabel=r"displacement, $L^2(\mu)$ distance (particle units)",
        ylabel="loss L",
        title="Slices through the ensemble",
    )
    legend(ax)


def plot_plane(ax: Axes, plane: xarray.Dataset, path: ArrayLike | None = None) -> None:
    """Loss on a plane of two vector fields, with a trajectory drawn on it.

    Args:
        ax: where to draw.
        plane: from `landscapes.loss_plane`.
        path: a trajectory's coordinates in the plane, shape `(times, 2)`.
    """
    first, second = plane["first"].values, plane["second"].values
    loss, predicted = plane["loss"].values.T, plane["prediction"].values.T
    levels = _levels(loss)
    drawn = ax.contourf(first, second, loss, levels, cmap=SIZES_MAP)
    bar = ax.figure.colorbar(drawn, ax=ax, label="loss L")
    bar.locator = round_ticks(6)
    bar.update_ticks()
    every = levels[::2]
    ax.contour(first, second, loss, every, colors=PAPER, linewidths=0.6, alpha=0.8)
    ax.contour(first, second, predicted, every, colors=THEORY, linewidths=1.2, linestyles="dashed")
    ax.plot([], [], color=PAPER, lw=1, label="contours of the loss")
    ax.plot([], [], "--", color=THEORY, lw=1.2, label="quadratic prediction, same levels")
    if path is not None:
        path = np.asarray(path, float)
        ax.plot(*path.T, "o-", color=PAPER, mec=INK, ms=4, lw=1.5, label="trajectory")
    ax.plot(0, 0, "*", ms=14, color=PAPER, mec=INK, ls="none", label="the ensemble")
    ax.set(
        xlabel=with_unit(plane["first"].attrs["long_name"], "particle units"),
        ylabel=with_unit(plane["second"].attrs["long_name"], "particle units"),
        title=r"Loss on a plane in $L^2(\mu)$",
    )
    shown = legend(ax, "below", columns=2)
    shown.get_frame().set_facecolor(QUIET)  # white lines must show in it
    shown.get_frame().set_alpha(0.6)
    shown.set_frame_on(True)


def _levels(values: np.ndarray, count: int = 20) -> np.ndarray:
    """Round levels from the smallest to the largest value."""
    return np.asarray(round_ticks(count).tick_values(float(values.min()), float(values.max())))


def plot_field(ax: Axes, field: xarray.Dataset, title: str = "First variation") -> None:
    """Centred δL/δμ over a grid, the velocity it drives, and the particles.

    Args:
        ax: where to draw.
        field: from `landscapes.first_variation_field`, on one direction or two.
        title: what ensemble it is of.
    """
    if "second" in field.dims:
        _field_plane(ax, field)
        ax.set_ylabel(with_unit(field["second"].attrs["long_name"], "particle units"))
    else:
        _field_line(ax, field)
        ax.set_ylabel(r"first variation $\delta L/\delta\mu$, centred (loss)")
    ax.set(xlabel=with_unit(field["first"].attrs["long_name"], "particle units"), title=title)
    legend(ax, "below", columns=2)


def _field_line(ax: Axes, field: xarray.Dataset) -> None:
    ax.axhline(0, color=QUIET, lw=1, label="zero: the mean over the ensemble")
    ax.plot(field["first"], field["first_variation"], color=MEASURED, label="on the line")
    ax.plot(
        field["position"][0],
        field["particle_first_variation"],
        ".",
        color=THEORY,
        ms=5,
        alpha=0.6,
        label="at the particles (projected on the line)",
    )


def _field_plane(ax: Axes, field: xarray.Dataset) -> None:
    first, second = field["first"].values, field["second"].values
    values = field["first_variation"].values.T
    most = float(np.abs(values).max()) or 1.0
    levels = round_ticks(20, symmetric=True).tick_values(-most, most)
    drawn = ax.contourf(first, second, values, levels, cmap=SIGNS_MAP)
    bar = ax.figure.colorbar(drawn, ax=ax, label=r"$\delta L/\delta\mu$, centred (loss)")
    bar.locator = round_ticks(6, symmetric=True)
    bar.update_ticks()
    ax.contour(first, second, values, [0.0], colors=QUIET, linewidths=0.8)
    _arrows(ax, first, second, field["velocity"].values)
    ax.plot([], [], color=INK, marker=r"$\rightarrow$", ls="none", ms=10, label="velocity")
    ax.plot([], [], color=QUIET, lw=0.8, label="zero: the mean over the ensemble")
    ax.plot(
        *field["position"].values,
        "o",
        color=BRIGHT,
        mec=INK,
        mew=0.6,
        ms=5,
        ls="none",
        label="particles (projected)",
    )


def _arrows(ax: Axes, first: np.ndarray, second: np.ndarray, velocity: np.ndarray) -> None:
    """Arrows that stay within their cell; lengths grow as the square root of the speed."""
    chosen = []
    for grid in (first, second):
        stride = -(-grid.size // ARROWS)
        chosen.append(np.arange((grid.size - 1) % stride // 2, grid.size, stride))
    x, y = first[chosen[0]], second[chosen[1]]
    across, up = velocity[:, chosen[0]][:, :, chosen[1]]
    cells = np.hypot(across / np.ptp(first) * x.size, up / np.ptp(second) * y.size)
    most = float(cells.max()) or 1.0
    scale = 0.9 * np.sqrt(cells / most) / np.maximum(cells, 1e-300)
    ax.quiver(
        x,
        y,
        (across * scale).T,
        (up * scale).T,
        angles="xy",
        scale_units="xy",
        scale=1,
        pivot="mid",
        color=INK,
        alpha=0.7,
        width=0.0025,
    )


def plot_interpolation(ax: Axes, paths: xarray.Dataset, ends: tuple[str, str] = ("μ", "ν")) -> None:
    """Loss on the way between two ensembles, with barriers above the chord.

    Args:
        ax: where to draw.
        paths: from `landscapes.interpolate`.
        ends: names of the two ensembles.
    """
    t = paths["fraction"].values
    for row, kind in enumerate(paths["kind"].values):
        barrier = float(paths["barrier"][row])
        found = f"barrier {barrier:.3g}" if barrier > 0 else "no barrier"
        colour = series_colour(row)
        ax.plot(t, paths["loss"][row], color=colour, lw=_width(row), label=f"{kind}: {found}")
        if barrier > 0:
            place = float(paths["barrier_at"][row])
            chord = float(np.interp(place, t, paths["chord"][row]))
            ax.vlines(place, chord, chord + barrier, color=colour, lw=1, ls=":")
    ax.plot(t, paths["chord"][0], "--", color=QUIET, label="chord between the ends")
    if (paths["barrier"].values > 0).any():
        ax.plot([], [], ":", color=INK, lw=1, label="dotted: barrier above the chord")
    ax.set(
        xlabel=f"fraction t of the way from {ends[0]} to {ends[1]}",
        ylabel="loss L",
        title="Between two ensembles",
    )
    legend(ax)


def plot_convexity(ax: Axes, paths: xarray.Dataset) -> None:
    """Measured second differences along the paths on the curvature the Hessian predicts."""
    t = paths["fraction"].values
    ax.axhline(0, color=QUIET, lw=1, label="below: not convex")
    for row, kind in enumerate(paths["kind"].values):
        colour = series_colour(row)
        ax.plot(
            t,
            paths["second_difference"][row],
            "o",
            ms=2 + 2 * _width(row),
            color=colour,
            label=f"{kind}, measured",
        )
        ax.plot(
            t,
            paths["curvature"][row],
            "--",
            color=THEORY,
            lw=1,
            label="predicted: second variation along the path" if not row else None,
        )
    ax.set(
        xlabel="fraction t of the way",
        ylabel=r"$d^2L/dt^2$ (loss)",
        title="Convexity along the paths",
    )
    # Curvatures of different paths differ by decades.
    size = np.abs(paths["curvature"].values).max(axis=1)
    if size.max() > 30 * max(size.min(), 1e-12):
        signed_log(ax, max(float(size.min()), 1e-12))
    legend(ax)


def plot_feature_space(ax: Axes, features: xarray.Dataset, time: ArrayLike) -> None:
    """Canonical correlations with the targets, and the distance to the nearest critical set.

    Args:
        ax: where to draw.
        features: from `landscapes.feature_space` of the ensembles of a trajectory.
        time: of each, in flow time.
    """
    time, cosines = np.asarray(time, float), features["correlation"].values
    colours = shades(cosines.shape[1])
    for j in range(cosines.shape[1]):
        ax.plot(
            time,
            cosines[:, j],
            "o-",
            ms=3,
            lw=_width(j),
            color=colours[j],
            label=f"canonical correlation {j + 1}",
        )
    if "distance" in features:
        ax.plot(
            time,
            features["distance"],
            "s--",
            ms=3,
            color=THEORY,
            label=r"$L^2$ distance to the nearest critical set",
        )
        _name_changes(ax, time, features)
    ax.set(
        xlabel="flow time t",
        ylabel=r"correlation, distance (units of $L^2$)",
        title=r"Feature space: span($h_\mu$) and the targets",
    )
    legend(ax, "below", columns=2)


def _name_changes(ax: Axes, time: np.ndarray, features: xarray.Dataset) -> None:
    """The nearest critical set, written where it changes."""
    names, heights = features["missing"].values, features["distance"].values
    for row in range(len(names)):
        if row == 0 or names[row] != names[row - 1]:
            late = time[row] > 0.5 * (time[0] + time[-1])  # words stay within the frame
            ax.annotate(
                f"nearest: missing {names[row]}",
                (time[row], heights[row]),
                xytext=(-6, -12) if late else (6, -3),
                textcoords="offset points",
                ha="right" if late else "left",
                va="top",
                fontsize=SMALL - 1,
                color=THEORY,
            )


def plot_sample_curvature(ax: Axes, seen: xarray.Dataset, found: float) -> None:
    """Curvature along the same vector fields on other samples, against their number.

    Args:
        ax: where to draw.
        seen: from `saddle_analysis.sample_sensitivity`.
        found: the smallest eigenvalue on the samples in question.
    """
    sizes = seen["samples"].values.astype(float)
    count = len(seen["draw"])
    for row, name in enumerate(seen["draw"].values):
        values = seen["curvature"][row].values
        shift = 1.06 ** (row - (count - 1) / 2)
        colour = series_colour(row)
        ax.plot(
            np.repeat(sizes * shift, values.shape[1]), values.ravel(), ".", color=colour, alpha=0.35
        )
        ax.errorbar(
            sizes * shift,
            values.mean(axis=1),
            values.std(axis=1, ddof=1),
            fmt="o",
            color=colour,
            capsize=3,
            label=f"{name} (mean ± s.d. of {values.shape[1]} draws)",
        )
    ax.axhline(0, color=QUIET, lw=1, label="zero: no descent")
    ax.axhline(found, color=INK, ls="--", lw=1.2, label="on the samples in question")
    _sample_axis(ax, sizes)
    ax.set(ylabel="smallest curvature on the span (1 / time)", title="Curvature on other samples")
    ax.margins(y=0.1)
    legend(ax, "below", columns=2)


def plot_sampling_error(ax: Axes, seen: xarray.Dataset, name: str = "value") -> None:
    """Spread of a quantity over draws of the samples, on the M^(−1/2) of independent ones.

    Bars are jackknife standard errors of the standard deviation. The law of independent samples is
    laid through the points of every way of drawing; samples that are spread evenly may beat it.

    Args:
        ax: where to draw.
        seen: from `saddle_analysis.sample_sensitivity`.
        name: which variable.
    """
    sizes = seen["samples"].values.astype(float)
    count = len(seen["draw"])
    for row, way in enumerate(seen["draw"].values):
        spread, error = _spread(seen[name][row].values)
        shifted = sizes * 1.04 ** (row - (count - 1) / 2)
        colour = series_colour(row)
        ax.errorbar(
            shifted, spread, error, fmt=series_marker(row), color=colour, capsize=3, label=f"{way}"
        )
        weights = (spread / np.maximum(error, 1e-3 * spread)) ** 2
        level = np.exp(np.average(np.log(spread * np.sqrt(sizes)), weights=weights))
        line = "theory of independent samples: $M^{-1/2}$" if not row else None
        ax.plot(shifted, level / np.sqrt(sizes), "--", color=colour, lw=1.2, label=line)
    words = {"value": "loss L", "curvature": "curvature (1 / time)"}
    ax.set_yscale("log")
    _sample_axis(ax, sizes)
    ax.set(ylabel=f"standard deviation of the {words.get(name, name)}", title="Sampling error")
    legend(ax, "below", columns=2)


def _spread(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation over the last axis, and its jackknife standard error."""
    count = draws.shape[-1]
    spread = draws.std(axis=-1, ddof=1)
    if count < 3:  # leaving one out leaves no spread
        return spread, np.zeros_like(spread)
    rest = [np.delete(draws, i, axis=-1).std(axis=-1, ddof=1) for i in range(count)]
    return spread, np.sqrt((count - 1) * np.var(rest, axis=0))


def _sample_axis(ax: Axes, sizes: np.ndarray) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
    ax.set_xlabel("number of samples M")


def plot_parameter_curvature(
    ax: Axes,
    seen: xarray.Dataset,
    label: str,
    found: float,
    limits: Mapping[str, float] | None = None,
) -> None:
    """Curvature along the same vector fields against a parameter of the landscape.

    Args:
        ax: where to draw.
        seen: from `parameter_sensitivity` or `timescale_sensitivity`; its one axis is drawn.
        label: of that axis.
        found: the smallest eigenvalue of the landscape in question.
        limits: further values to mark, by name.
    """
    (axis,) = seen["curvature"].dims
    ax.axhline(0, color=QUIET, lw=1, label="zero: no descent")
    ax.axhline(found, color=INK, ls="--", lw=1.2, label="the landscape in question")
    for (name, value), style in zip((limits or {}).items(), (":", "-."), strict=False):
        ax.axhline(value, color=INK, ls=style, lw=1, label=name)
    ax.plot(
        seen[axis], seen["curvature"], "o-", color=MEASURED, label="smallest curvature on the span"
    )
    ax.set_xscale("log")
    ax.set(
        xlabel=label,
        ylabel="curvature (1 / time)",
        title=f"Curvature against {label.split(' (')[0]}",
    )
    ax.margins(y=0.1)
    legend(ax)
