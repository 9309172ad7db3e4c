"""Figure of an error budget: its parts side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..studies import ErrorBudget
from ._theme import INK, legend, series_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_budget(ax: Axes, found: ErrorBudget) -> None:
    """The parts of the error as bars on a logarithmic axis, their sum as a line."""
    parts = found.estimate.parts
    ax.barh(range(len(parts)), list(parts.values()), color=series_colour(0), height=0.6)
    ax.set_yticks(range(len(parts)), list(parts))
    ax.invert_yaxis()
    total = found.estimate.error
    ax.axvline(total, color=INK, lw=1, ls="--", label=f"sum: {total:.1e}")
    ax.set(xscale="log", xlabel="error of L (loss)", title=f"L = {found.estimate}")
    legend(ax, "below")
