"""Delayed generalisation: with and without weight decay, and the delay against the decay."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray
from jaxtyping import Array, Key

from saddle_analysis.curves import fit_line, student_quantile

from .. import plots
from ..results import Claim, Result
from ._grokking_runs import (
    DECAY,
    LARGE,
    LONGEST,
    MEMORISED,
    SMALL,
    SMALLEST,
    Network,
    over_starts,
    times_over,
)
from ._seeds import over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DELAYED_GENERALISATION, DELAY = "Memorising and generalising", "The delay against weight decay"
SOURCE = "GRO23; theory 10"
DECAYS = tuple(DECAY * 20 ** (i / 4 - 1) for i in range(5))  # λ in units of g, over a factor of 20
DELAYED = 2.0  # times as late as memorising counts as delayed
UNDECAYED = 8.0  # horizon without decay, in units of 1/g
MOST = 0.9  # fraction of the pairs at which nothing is delayed


class Headline(NamedTuple):
    """Runs of p = 23 and 31, one a seed.

    Args:
        with_decay: p to runs at a fraction where decay is needed.
        without: those of p = 23 without decay, on the same pairs, from the same neurons.
        most: without decay on most of the pairs.
    """

    with_decay: dict[int, list[xarray.Dataset]]
    without: list[xarray.Dataset]
    most: list[xarray.Dataset]


def headline(key: Key[Array, ""], seeds: int, *, progress: bool = False) -> Headline:
    """Runs with decay and without."""
    run = functools.partial(over_starts, key, seeds=seeds, progress=progress)
    return Headline(
        {
            network.p: run(network, decay=DECAY, horizon=LONGEST / DECAY)
            for network in (SMALL, LARGE)
        },
        run(SMALL, decay=0.0, horizon=UNDECAYED),
        run(SMALL._replace(fraction=MOST), decay=0.0, horizon=UNDECAYED),
    )


def grokking(found: Headline) -> Result:
    """Which runs memorise, which generalise, and how much later."""
    result = Result(DELAYED_GENERALISATION)
    for network, (p, runs) in zip((SMALL, LARGE), found.with_decay.items(), strict=True):
        times = times_over(runs)
        what = f"p = {p}, {network.fraction:.0%} of the pairs, λ = {DECAY:g}/p³"
        result.claim(_generalising(what, runs, len(runs)), _lateness(what, times, delayed=True))
    p = SMALL.p
    result.claim(
        _generalising(
            f"p = {p}, the same without decay until t = {UNDECAYED:g} p³", found.without, 0
        ),
        _generalising(
            f"p = {p} without decay, {MOST:.0%} of the pairs", found.most, len(found.most)
        ),
        _lateness(f"p = {p} without decay, {MOST:.0%}", times_over(found.most), delayed=False),
    )
    left, seeds = over_seeds([float(run["train_loss"].values[-1]) for run in found.without])
    right, also = over_seeds([float(run["test_accuracy"].values[-1]) for run in found.without])
    result.text(
        f"Without decay the flow goes on only as far as there is training loss. At the end of "
        f"those runs this is {left:.2g} ({seeds}), from 1/p = {1 / p:.2g}, and the accuracy on the "
        f"other pairs {right:.2g} ({also}). How fast the rest vanishes is not predicted."
    )
    result.figure(
        "accuracy",
        "Accuracy on the training pairs and on the others, one line a seed; runs end when they "
        "generalise. g = 1/p³.",
        *[
            functools.partial(draw_accuracies, runs=runs, title=f"p = {p}, λ = {DECAY:g}/p³")
            for p, runs in found.with_decay.items()
        ],
        functools.partial(draw_accuracies, runs=found.without, title=f"p = {p}, no decay"),
        functools.partial(draw_accuracies, runs=found.most, title=f"p = {p}, no decay, {MOST:.0%}"),
        width=4.5,
    )
    return result


def _generalising(what: str, runs: list[xarray.Dataset], predicted: int) -> Claim:
    count = int(np.isfinite(times_over(runs)[:, 1]).sum())
    return Claim.equal(f"{what}: seeds of {len(runs)} that generalise", SOURCE, predicted, count)


def _lateness(what: str, times: np.ndarray, *, delayed: bool) -> Claim:
    """How many times as late as memorising generalising is."""
    ratio, seeds = over_seeds(times[:, 1] / times[:, 0])
    statement = f"{what}: time of generalising over that of memorising ({seeds})"
    make = Claim.above if delayed else Claim.below
    return make(statement, SOURCE, bound=DELAYED, measured=ratio)


def draw_accuracies(ax: Axes, runs: list[xarray.Dataset], title: str) -> None:
    """Accuracy on both sets of pairs against time."""
    names = {"train": ("training pairs", plots.SECOND), "test": ("other pairs", plots.MEASURED)}
    for name, (label, colour) in names.items():
        for index, run in enumerate(runs):
            time, values = run["time"].values[1:], run[f"{name}_accuracy"].values[1:]
            ax.plot(time, values, color=colour, lw=1, label="" if index else label)
    ax.axhline(MEMORISED, color=plots.QUIET, lw=0.8, ls=":")
    ax.set(
        xscale="log",
        xlabel="flow time × g",
        ylabel="accuracy",
        title=title,
        ylim=(-0.03, 1.03),
    )
    plots.legend(ax)


class Delays(NamedTuple):
    """Times of all runs at several decays.

    Args:
        decays: λ, in units of g.
        times: of memorising and generalising, in units of 1/g, shape `(seeds, decays, 2)`.
        last: the runs at the last decay, one a seed.
    """

    decays: np.ndarray
    times: np.ndarray
    last: Sequence[xarray.Dataset] = ()

    @property
    def delay(self) -> np.ndarray:
        """From memorising to generalising."""
        return self.times[..., 1] - self.times[..., 0]

    @property
    def exponent(self) -> tuple[float, float]:
        """Mean over seeds of the slope of log delay in log λ, and half its 95 % interval."""
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(self.delay)
        slopes = np.array([fit_line(np.log(self.decays), row).slope for row in logs])
        freedom = len(slopes) - 1
        error = np.std(slopes, ddof=1) / np.sqrt(len(slopes))
        return float(slopes.mean()), float(student_quantile(0.95, freedom) * error)


def delays(
    key: Key[Array, ""],
    seeds: int,
    *,
    network: Network = SMALLEST,
    decays: Sequence[float] = DECAYS,
    progress: bool = False,
) -> Delays:
    """Runs at every decay, from the same pairs and neurons."""
    times, runs = [], []
    for decay in decays:
        runs = over_starts(
            key, network, seeds, decay=decay, horizon=LONGEST / decay, progress=progress
        )
        times.append(times_over(runs))
    return Delays(np.array(decays), np.stack(times, axis=1), runs)


def delay(found: Delays) -> Result:
    """The exponent of the delay in the decay."""
    result = Result(DELAY)
    exponent, half = found.exponent
    early, seeds = over_seeds(found.times[:, 0, 0] / found.times[:, -1, 0])
    result.claim(
        Claim.equal(
            "delay ∝ λ^b, b over the seeds' slopes "
            f"({exponent - half:.3f} to {exponent + half:.3f} at 95 %, {len(found.delay)} seeds)",
            "theory 10",
            -1.0,
            exponent,
            absolute=0.1,
        ),
        Claim.equal(
            f"time of memorising at the weakest decay over that at the strongest ({seeds})",
            "theory 10",
            1.0,
            early,
            absolute=0.2,
        ),
    )
    scaled = found.delay * found.decays
    rows = [
        f"| {decay:.3g} | {over_seeds(column)[0]:.3g} | {np.min(column):.3g} to "
        f"{np.max(column):.3g} |"
        for decay, column in zip(found.decays, scaled.T, strict=True)
    ]
    result.text(
        f"Plain gradient descent, p = {SMALLEST.p}, {SMALLEST.fraction:.0%} of the pairs, N = "
        f"{SMALLEST.particles}. Delay times λ:\n\n| λ p³ | median | seeds |\n|---|---|---|\n"
        + "\n".join(rows)
    )
    result.figure(
        "delay",
        "The delay from memorising to generalising against weight decay, one thin line a seed; "
        "g = 1/p³.",
        functools.partial(draw_delays, found=found),
    )
    return result


def draw_delays(ax: Axes, found: Delays) -> None:
    """Delays of all seeds and their median, with the predicted slope; memorising beside them."""
    ax.plot(found.decays, found.delay.T, color=plots.QUIET, lw=0.7, zorder=1)
    plots.plot_power_laws(
        ax,
        {
            "delay, median": (found.decays, np.median(found.delay, axis=0)),
            "time of memorising, median": (found.decays, np.median(found.times[..., 0], axis=0)),
        },
        exponent=-1.0,
        fitted={"delay, median": found.exponent[0]},
    )
    ax.set(xlabel="weight decay λ / g", ylabel="flow time × g", title=f"Delay, p = {SMALLEST.p}")
    plain_ticks(ax, [float(f"{decay:.2g}") for decay in found.decays])


def plain_ticks(ax: Axes, values: Sequence[float]) -> None:
    """Ticks at these places of a logarithmic axis and no others."""
    from matplotlib.ticker import NullFormatter

    ax.set_xticks(values, [f"{value:g}" for value in values])
    ax.xaxis.set_minor_formatter(NullFormatter())
