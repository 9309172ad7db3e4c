"""One look for all figures: what each colour means, units in labels, legends beside the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend
    from matplotlib.ticker import MaxNLocator

#: What was measured; what theory says; a second measured quantity; lines that only guide the eye.
MEASURED = "#1f5fa8"
THEORY = "#c4501b"
SECOND = "#2f8f5b"
QUIET = "#9aa0a6"
#: Lines that must stand out on any colour, such as zero or a limit.
INK, PAPER = "black", "white"
#: Points on a map that is blue and red.
BRIGHT = "gold"
#: Measured quantities that have no order, in the order in which they are drawn.
SERIES = (MEASURED, SECOND, "#7b4fa3", "#b08900", "#3aa6b9", "#8c564b")
MARKERS = "osD^vP"
#: Backgrounds of successive phases.
BACKGROUNDS = ("#f3d9c9", "#f7efc6", "#dcebdc", "#dbe6f3")
#: Colour map of a quantity with a size, and of one with a sign.
SIZES_MAP, SIGNS_MAP = "viridis", "RdBu_r"
SMALL = 8  # points: legends and notes


def series_colour(index: int) -> str:
    """Colour of the index-th quantity of several without an order."""
    return SERIES[index % len(SERIES)]


def series_marker(index: int) -> str:
    """Marker of the index-th quantity of several without an order."""
    return MARKERS[index % len(MARKERS)]


def shades(count: int) -> np.ndarray:
    """Colours of `count` ordered values, dark to light; shape `(count, 4)`."""
    import matplotlib

    return matplotlib.colormaps[SIZES_MAP](np.linspace(0.1, 0.85, max(count, 2)))[:count]


def with_unit(quantity: str, unit: str = "") -> str:
    """An axis label: the quantity, and its unit in parentheses.

    Example:
        >>> with_unit("curvature λ", "1 / time"), with_unit("loss L")
        ('curvature λ (1 / time)', 'loss L')
    """
    return f"{quantity} ({unit})" if unit else quantity


def round_ticks(count: int, **options: bool) -> MaxNLocator:
    """At most `count` intervals between round numbers; options as of matplotlib's locator."""
    from matplotlib.ticker import MaxNLocator  # a second to import, which not every command needs

    return MaxNLocator(count, **options)


def signed_log(ax: Axes, smallest: float) -> None:
    """Heights of both signs over many decades; linear below the power of ten under `smallest`."""
    # A whole decade for the linear part, so that the ticks beside zero stay clear of it.
    ax.set_yscale("symlog", linthresh=10.0 ** np.floor(np.log10(smallest)), linscale=1.0)
    locator: Any = ax.yaxis.get_major_locator()
    locator.set_params(numticks=11)  # further decades are left out evenly


def legend(
    ax: Axes, place: Literal["inside", "below", "right"] = "inside", *, columns: int = 1
) -> Legend:
    """A legend that leaves the data free: where there is most room, or beside the axes.

    Args:
        ax: whose artists it explains.
        place: inside for few lines with room between them; below or right of the axes where the
            data fills the frame.
        columns: entries side by side.
    """
    if place == "below":
        return ax.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            ncols=columns,
            fontsize=SMALL,
            frameon=False,
        )
    if place == "right":
        return ax.legend(
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            ncols=columns,
            fontsize=SMALL,
            frameon=False,
        )
    return ax.legend(loc="best", ncols=columns, fontsize=SMALL, framealpha=0.9)
