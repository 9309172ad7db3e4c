"""Rank, subspace, curvature and loss along a run. Re-exported by `meanfield.plots`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from saddle_analysis.curves import crossing

from ._linear_attention import plot_courses
from ._theme import QUIET, legend, with_unit

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

Values = dict[str, np.ndarray]

MEASURED_ANYWAY = ("loss", "curvature_products")  # over time alone, without a panel of their own
CURVATURE = "Curvature"  # title of the panel whose zero is marked


def measure_panels(
    data: xarray.Dataset,
    matrix: str,
    *,
    ranks: Mapping[str, float] | None = None,
    log_time: bool = False,
) -> list[Callable[[Axes], None]]:
    """Rank, subspace, curvature and further numbers (if measured), loss, on a common time axis.

    One panel each; further numbers are all that have no axis but time and seeds. Where there are
    seeds, the median is the line and the seeds are thin. A vertical line in every
    panel marks where the (median) loss has fallen by half.

    Args:
        data: of `meanfield.studies.RunMeasures`.
        matrix: name.
        ranks: label to rank that theory predicts for the end.
        log_time: logarithmic times; the record at time zero is left out.
    """
    one = data.sel(matrix=matrix)
    names = {
        "effective rank": "effective",
        "stable rank": "stable",
        "participation ratio": "participation",
        "effective rank of the increment": "increment_effective",
    }
    shown = {label: _columns(one[name]) for label, name in names.items()}
    angles = {
        f"to the {label}": np.degrees(_columns(one[name].max("angle")))
        for label, name in (("end", "angle_to_end"), ("previous record", "angle_to_previous"))
    }
    drawn: list[tuple[str, str, Values, Mapping[str, float] | None]] = [
        (f"Rank of {matrix}", "rank (directions)", shown, ranks),
        (f"Subspace of {matrix}", "largest principal angle (degrees)", angles, None),
    ]
    if "curvature" in one:
        ends = {str(end): _columns(one["curvature"].sel(end=end)) for end in one["end"].values}
        drawn.append((CURVATURE, with_unit("curvature λ", "1 / time"), ends, None))
    further = [str(name) for name in data.data_vars if name not in MEASURED_ANYWAY]
    drawn += [
        (name, name, {name: _columns(one[name])}, None)
        for name in further
        if set(data[name].dims) <= {"time", "seed"}
    ]
    drawn.append(("Loss", "loss L(μ)", {"loss": _columns(one["loss"])}, None))
    loss = _columns(one["loss"])
    loss = np.median(loss, axis=1) if loss.ndim == 2 else loss
    half = crossing(one["time"].values, loss, 0.5 * (loss[0] + loss[-1]))
    return [
        functools.partial(
            _draw,
            times=one["time"].values,
            title=title,
            quantity=quantity,
            values=values,
            levels=levels,
            half=half,
            log_time=log_time,
        )
        for title, quantity, values, levels in drawn
    ]


def _draw(
    ax: Axes,
    times: np.ndarray,
    title: str,
    quantity: str,
    values: Values,
    levels: Mapping[str, float] | None,
    half: float,
    log_time: bool,
) -> None:
    if np.isfinite(half):
        ax.axvline(half, color=QUIET, lw=1, ls="--", zorder=0, label="half the loss")
    kept = slice(1, None) if log_time else slice(None)
    if title == CURVATURE:
        ax.axhline(0, color=QUIET, lw=1, zorder=0, label="zero: no descent")
    curves = {name: (times[kept], every[kept]) for name, every in values.items()}
    plot_courses(ax, curves, levels=levels, log_time=log_time)
    ax.set_xlim(times[kept][0], times[-1])
    ax.set(xlabel="flow time t", ylabel=quantity, title=title)
    legend(ax, "below", columns=2)


def _columns(values: xarray.DataArray) -> np.ndarray:
    """Times first, seeds second."""
    return values.transpose("time", ...).values
