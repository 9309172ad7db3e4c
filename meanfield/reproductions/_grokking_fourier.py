"""The Fourier transform of the neurons while a network generalises."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from .. import plots
from ..results import Claim, Result
from ._grokking_delay import Headline
from ._grokking_runs import SMALL, times_over
from ._seeds import over_seeds

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

FOURIER = "The Fourier transform of the neurons"
SOURCE = "GRO23; theory 10"


def normal_participation(p: int) -> float:
    """Mean inverse participation ratio of a vector of p independent normal numbers, p odd."""
    return (2 * p + 1) / (p * (p + 2))


def fourier(found: Headline) -> Result:
    """The inverse participation ratio (IPR) at the start, memorised, and at the end."""
    result = Result(FOURIER)
    p = SMALL.p
    runs = found.with_decay[p]
    memorised, generalised = times_over(runs).T
    start = np.array([run["ipr"].values[0] for run in runs])
    middle, end = (
        np.array([np.interp(t, run["time"], run["ipr"]) for t, run in zip(at, runs, strict=True)])
        for at in (memorised, np.nan_to_num(generalised, nan=np.inf))
    )
    late, seeds = over_seeds((end - middle) / (end - start))
    without = np.array([run["ipr"].values[-1] for run in found.without])
    more, also = over_seeds(end / without)
    result.claim(
        Claim.equal(
            f"p = {p}: IPR at the start, mean over neurons and seeds",
            "theory 10",
            normal_participation(p),
            float(start.mean()),
            relative=0.02,
        ),
        Claim.above(
            f"p = {p}: share of its rise that falls between memorising and generalising ({seeds})",
            SOURCE,
            bound=0.5,
            measured=late,
        ),
        Claim.above(
            f"p = {p}: IPR at generalising over that at the end without decay ({also})",
            SOURCE,
            bound=1.0,
            measured=more,
        ),
    )
    result.text(
        f"IPR, mean over neurons: {start.mean():.3g} at the start, {np.median(middle):.3g} when "
        f"memorised, {np.median(end):.3g} when generalised; {np.median(without):.3g} at the end "
        "without decay (medians over seeds). A neuron with a single frequency has ½."
    )
    result.figure(
        "fourier",
        "Inverse participation ratio of the neurons' Fourier transform, one line a seed; dots mark "
        "where a run has memorised its pairs. g = 1/p³.",
        functools.partial(draw_participation, runs=runs, title=f"p = {p}, with decay"),
        functools.partial(draw_participation, runs=found.without, title=f"p = {p}, no decay"),
    )
    return result


def draw_participation(ax: Axes, runs: list[xarray.Dataset], title: str) -> None:
    """IPR and the accuracy on the other pairs against time."""
    memorised = times_over(runs)[:, 0]
    for index, (run, at) in enumerate(zip(runs, memorised, strict=True)):
        time, values = run["time"].values, run["ipr"].values
        label = "" if index else "IPR"
        ax.plot(time[1:], values[1:], color=plots.MEASURED, lw=1, label=label)
        label = "" if index else "memorised"
        ax.plot(at, np.interp(at, time, values), "o", color=plots.SECOND, ms=5, label=label)
    level = normal_participation(SMALL.p)
    ax.axhline(level, color=plots.THEORY, lw=1.2, ls="--", label="theory: normal neurons")
    ax.axhline(0.5, color=plots.QUIET, lw=1, ls=":", label="one frequency")
    ax.set(xscale="log", xlabel="flow time × g", ylabel="IPR", title=title, ylim=(0, 0.55))
    plots.legend(ax)
