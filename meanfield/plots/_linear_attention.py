"""Figures about linear attention. Re-exported by `meanfield.plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[Any, Any]  # times and values, array-likes


def plot_courses(
    ax: Axes,
    measured: Mapping[str, Curve],
    theory: Mapping[str, Curve] | None = None,
    *,
    levels: Mapping[str, float] | None = None,
    log_time: bool = False,
) -> None:
    """Curves against time, measured as lines, theory dashed in black over them, levels dotted.

    Args:
        ax: where to draw; give it labels of your own for axes.
        measured: name to (times, values).
        theory: the same for what theory predicts; the same name gets the same place.
        levels: label to value, written at the right end.
        log_time: logarithmic times.
    """
    import matplotlib

    shades = matplotlib.colormaps["viridis"](np.linspace(0.1, 0.85, max(len(measured), 2)))
    for (name, (times, values)), colour in zip(measured.items(), shades, strict=False):
        ax.plot(times, values, color=colour, lw=2, label=name)
    for index, (times, values) in enumerate((theory or {}).values()):
        label = "theory" if index == 0 else None
        ax.plot(times, values, "--", color="black", lw=1.2, label=label)
    for index, (name, value) in enumerate((levels or {}).items()):
        label = "predicted levels" if index == 0 else None
        ax.axhline(value, color="#c4501b", ls=":", lw=1, zorder=0, label=label)
        ax.annotate(
            name,
            (1, value),
            xycoords=("axes fraction", "data"),
            xytext=(-3, 2),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color="#c4501b",
        )
    if log_time:
        ax.set_xscale("log")
    ax.legend(fontsize=8)


def plot_alignment(ax: Axes, alignment: ArrayLike, eigenvalues: Sequence[float]) -> None:
    """Which eigen-direction of Λ each head reads: a picture of its part v (k·e_d)(q·e_d) of A.

    Args:
        ax: where to draw.
        alignment: shape `(heads, dim)`, relative to the optimum of each direction.
        eigenvalues: λ, largest first.
    """
    values = np.asarray(alignment, float)
    image = ax.imshow(values, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for (head, direction), value in np.ndenumerate(values):
        if abs(value) > 0.01:
            colour = "white" if abs(value) > 0.5 else "black"
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
    image = ax.imshow(values, cmap="viridis_r", norm=LogNorm(floor, values.max()), aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        dark = value > (floor * values.max()) ** 0.5
        colour = "white" if dark else "black"
        ax.text(column, row, f"{value:.2g}", ha="center", va="center", color=colour, fontsize=8)
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
) -> None:
    """Quantities against a size on log axes, with fits in the legend and the predicted slope.

    Args:
        ax: where to draw; give it labels for its axes.
        measured: name to (sizes, values).
        exponent: the predicted one, drawn through the middle of the first.
        fitted: name to fitted exponent.
        theory: name to (sizes, values) of a prediction with its constant.
    """
    import matplotlib

    shades = matplotlib.colormaps["viridis"](np.linspace(0.1, 0.75, max(len(measured), 2)))
    for (name, (sizes, values)), colour in zip(measured.items(), shades, strict=False):
        label = f"{name}, slope {fitted[name]:.2f}" if name in fitted else name
        ax.plot(sizes, values, "o-", ms=5, lw=1, color=colour, label=label)
    for name, (sizes, values) in (theory or {}).items():
        ax.plot(sizes, values, "--", color="black", lw=1.2, label=name)
    sizes, values = (np.asarray(part, float) for part in next(iter(measured.values())))
    anchor = np.exp(np.mean(np.log(sizes))), np.exp(np.mean(np.log(values)))
    line = 1.6 * anchor[1] * (sizes / anchor[0]) ** exponent  # beside the data, not over them
    ax.plot(sizes, line, ":", color="#c4501b", lw=1.5, label=f"predicted slope {exponent:g}")
    ax.set(xscale="log", yscale="log")
    ax.legend(fontsize=8)
