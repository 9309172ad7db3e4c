"""Figures about linear attention. Re-exported by `meanfield.plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ._theme import INK, PAPER, QUIET, SIGNS_MAP, SIZES_MAP, SMALL, THEORY, legend, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[Any, Any]  # times and values, array-likes; many seeds are columns of the values


def plot_courses(
    ax: Axes,
    measured: Mapping[str, Curve],
    theory: Mapping[str, Curve] | None = None,
    *,
    levels: Mapping[str, float] | None = None,
    log_time: bool = False,
    others: Mapping[str, Curve] | None = None,
    theory_label: str = "theory",
    place: Literal["inside", "below", "right"] = "inside",
) -> None:
    """Curves against time, measured as lines, theory dashed over them, levels dotted.

    Where values have a column a seed, the median over seeds is the line and the seeds are thin.

    Args:
        ax: where to draw; give it labels of your own for axes.
        measured: name to (times, values).
        theory: the same for what theory predicts; the same name gets the same place.
        levels: label to value, written right of the frame.
        log_time: logarithmic times.
        others: name to (times, values) of what stands back: thin and grey.
        theory_label: what the dashed lines are called.
        place: of the legend.
    """
    for name, (times, values) in (others or {}).items():
        for index, line in enumerate(ax.plot(times, values, color=QUIET, lw=0.7, zorder=1)):
            line.set_label(name if index == 0 else "")
    for (name, (times, values)), colour in zip(
        measured.items(), shades(len(measured)), strict=True
    ):
        values = np.asarray(values, float)
        if values.ndim == 2:
            ax.plot(times, values, color=colour, lw=0.6, alpha=0.5)
            values = np.median(values, axis=1)
        ax.plot(times, values, color=colour, lw=2, label=name)
    for index, (times, values) in enumerate((theory or {}).values()):
        label = theory_label if index == 0 else None
        ax.plot(times, values, "--", color=INK, lw=1.2, label=label)
    _draw_levels(ax, levels or {})
    if log_time:
        ax.set_xscale("log")
    legend(ax, place)


def _draw_levels(ax: Axes, levels: Mapping[str, float]) -> None:
    """Dotted lines with their names right of the frame, names of close ones side by side."""
    close = 0.03 * (max(levels.values(), default=0.0) - min(levels.values(), default=0.0))
    before, shift = np.inf, 0
    for index, (name, value) in enumerate(sorted(levels.items(), key=lambda item: -item[1])):
        label = "predicted levels" if index == 0 else None
        ax.axhline(value, color=THEORY, ls=":", lw=1, zorder=0, label=label)
        shift = shift + 1 if before - value < close else 0
        before = value
        ax.annotate(
            name,
            (1, value),
            xycoords=("axes fraction", "data"),
            xytext=(4 + 18 * shift, 0),  # beside the frame, where no data are
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=THEORY,
        )


def plot_alignment(ax: Axes, alignment: ArrayLike, eigenvalues: Sequence[float]) -> None:
    """Which eigen-direction of Λ each head reads: a picture of its part v (k·e_d)(q·e_d) of A.

    Args:
        ax: where to draw.
        alignment: shape `(heads, dim)`, relative to the optimum of each direction.
        eigenvalues: λ, largest first.
    """
    values = np.asarray(alignment, float)
    image = ax.imshow(values, cmap=SIGNS_MAP, vmin=-1, vmax=1, aspect="auto")
    for (head, direction), value in np.ndenumerate(values):
        if abs(value) > 0.01:
            colour = PAPER if abs(value) > 0.5 else INK
            ax.text(direction, head, f"{value:.2f}", ha="center", va="center", color=colour)
    ax.set_xticks(
        range(len(eigenvalues)), [f"$e_{d + 1}$\nλ = {v:.3g}" for d, v in enumerate(eigenvalues)]
    )
    ax.set_yticks(range(len(values)), [str(head + 1) for head in range(len(values))])
    ax.set(xlabel="eigen-direction of Λ", ylabel="head", title="What each head has learned")
    ax.figure.colorbar(image, ax=ax, label="share of the optimum")


def plot_distance_table(
    ax: Axes, distances: ArrayLike, *, rows: str, columns: str, quantity: str, title: str
) -> None:
    """A table of distances as a picture with the numbers in it, on a logarithmic colour scale."""
    from matplotlib.colors import LogNorm

    values = np.asarray(distances, float)
    floor = max(values[values > 0].min(initial=1.0), 1e-6)
    image = ax.imshow(
        values, cmap=SIZES_MAP + "_r", norm=LogNorm(floor, values.max()), aspect="auto"
    )
    for (row, column), value in np.ndenumerate(values):
        dark = value > (floor * np.nanmax(values)) ** 0.5
        colour = PAPER if dark else INK
        ax.text(column, row, f"{value:.2g}", ha="center", va="center", color=colour, fontsize=SMALL)
    ax.set_xticks(range(values.shape[1]))
    ax.set_yticks(range(values.shape[0]))
    ax.set(xlabel=columns, ylabel=rows, title=title)
    ax.figure.colorbar(image, ax=ax, label=quantity)


def plot_power_laws(
    ax: Axes,
    measured: Mapping[str, Curve],
    *,
    exponent: float,
    fitted: Mapping[str, float],
    theory: Mapping[str, Curve] | None = None,
    place: Literal["inside", "below", "right"] = "inside",
) -> None:
    """Quantities against a size on log axes, with fits in the legend and the predicted slope.

    Args:
        ax: where to draw; give it labels for its axes.
        measured: name to (sizes, values).
        exponent: the predicted one, drawn through the middle of the first.
        fitted: name to fitted exponent.
        theory: name to (sizes, values) of a prediction with its constant.
        place: of the legend.
    """
    for (name, (sizes, values)), colour in zip(
        measured.items(), shades(len(measured)), strict=True
    ):
        label = f"{name}, slope {fitted[name]:.2f}" if name in fitted else name
        ax.plot(sizes, values, "o-", ms=5, lw=1, color=colour, label=label)
    for name, (sizes, values) in (theory or {}).items():
        ax.plot(sizes, values, "--", color=INK, lw=1.2, label=name)
    sizes, values = (np.asarray(part, float) for part in next(iter(measured.values())))
    anchor = np.exp(np.mean(np.log(sizes))), np.exp(np.mean(np.log(values)))
    line = 1.6 * anchor[1] * (sizes / anchor[0]) ** exponent  # beside the data, not over them
    ax.plot(sizes, line, ":", color=THEORY, lw=1.5, label=f"predicted slope {exponent:g}")
    ax.set(xscale="log", yscale="log")
    legend(ax, place)
