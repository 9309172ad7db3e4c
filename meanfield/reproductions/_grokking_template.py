"""Saddle to saddle: a template's frequencies are learned one after the other (KMCK25)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray
from jaxtyping import Array, Key

from landscapes import ModularArithmeticLandscape
from landscapes.modular_arithmetic import frequency_level, frequency_order, modular_start
from saddle_analysis.curves import crossing

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import every, simulate
from ._grokking_neuron import MAGNITUDES, P, small_template
from ._seeds import over_seeds, seed_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEMPLATE = "A template, frequency by frequency"
SOURCE = "KMCK25; theory 10"
PARTICLES, SCALE, HORIZON = 100, 0.1, 1500.0


class Stages(NamedTuple):
    """Runs from a small start, and what they waited at.

    Args:
        runs: one a seed.
        order: frequencies in the template, strongest first.
        levels: predicted, before the first, the second, … frequency is learned.
        halves: times at which each frequency, in that order, is learned by half, shape
            `(seeds, frequencies)`; `nan` for never.
        plateaus: loss where it falls most slowly between two of these times, alike.
    """

    runs: list[xarray.Dataset]
    order: list[int]
    levels: np.ndarray
    halves: np.ndarray
    plateaus: np.ndarray


def stages(
    key: Key[Array, ""],
    seeds: int,
    *,
    particles: int = PARTICLES,
    horizon: float = HORIZON,
    progress: bool = False,
) -> Stages:
    """Runs until the weakest frequency is nearly learned, or to the horizon."""
    landscape = ModularArithmeticLandscape(P, template=small_template())
    runs = [
        simulate(
            GradientFlow(landscape, scheme="adaptive"),
            modular_start(own, landscape, particles, scale=SCALE),
            horizon=horizon,
            dt=1.0,
            record=every(horizon / 3000),
            stop=lambda latest: bool(latest["learned_fraction"][-1] > 0.9),
            progress=progress,
            label="template",
        ).trajectory
        for own in seed_keys(key, seeds)
    ]
    return read(runs)


def read(runs: list[xarray.Dataset]) -> Stages:
    """Halves and plateaus of runs, beside the levels."""
    template = small_template()
    order = [int(k) for k in frequency_order(template)]
    levels = [frequency_level(P, order[:done], template=template) for done in range(len(order))]
    halves = np.array([_halves(run) for run in runs])
    plateaus = np.array([_slowest(run, row) for run, row in zip(runs, halves, strict=True)])
    return Stages(runs, order, np.array(levels), halves, plateaus)


def _halves(run: xarray.Dataset) -> list[float]:
    times, shares = run["time"].values, run["learned_fraction"].values
    return [crossing(times, share, 0.5) for share in shares.T]


def _slowest(run: xarray.Dataset, halves: np.ndarray) -> list[float]:
    """The loss at its smallest rate before each of these times, after the one before."""
    times, loss = run["time"].values, run["loss"].values
    rate = np.abs(np.gradient(loss, times))
    found = []
    for begin, end in zip([0.0, *halves[:-1]], halves, strict=True):
        between = np.flatnonzero((times > begin) & (times < end))
        found.append(loss[between[np.argmin(rate[between])]] if between.size else np.nan)
    return found


def template(found: Stages) -> Result:
    """Plateaus and order of frequencies."""
    result = Result(TEMPLATE)
    finished = np.isfinite(found.halves).all(axis=1)
    ordered = finished & (np.diff(found.halves, axis=1) > 0).all(axis=1)
    names = ", ".join(map(str, found.order))
    result.claim(
        Claim.equal(
            f"seeds of {len(found.runs)} that learn the frequencies by magnitude: {names}",
            SOURCE,
            len(found.runs),
            int(ordered.sum()),
        )
    )
    off = 0
    for done, (level, column) in enumerate(zip(found.levels, found.plateaus.T, strict=True)):
        middle, seeds = over_seeds(column)
        learned = ", ".join(map(str, found.order[:done])) or "none"
        result.claim(
            Claim.equal(
                f"plateau with frequencies {{{learned}}} learned ({seeds})",
                SOURCE,
                level,
                middle,
                relative=0.02,
            )
        )
        off += int((np.abs(column / level - 1) > 0.02).sum())
    result.text(
        f"p = {P}, magnitudes {', '.join(map(str, MAGNITUDES))} of frequencies 1, 2, 3, N = "
        f"{PARTICLES}, standard deviation {SCALE:g} at the start. {off} of the "
        f"{found.plateaus.size} plateaus lie more than 2 % from the level: there the run waits "
        "longest where a single neuron has begun the next frequency; with others that cancel its "
        "constant it learns a fifth to a quarter of it."
    )
    result.figure(
        "template",
        "The loss against time, one line a seed, and the levels; how much of each frequency is "
        "learned, in the first run.",
        functools.partial(draw_losses, found=found),
        functools.partial(draw_shares, found=found),
    )
    return result


def draw_losses(ax: Axes, found: Stages) -> None:
    """Losses of all seeds and the predicted plateaus."""
    for index, run in enumerate(found.runs):
        label = "" if index else "seeds"
        ax.plot(run["time"], run["loss"], color=plots.MEASURED, lw=1, alpha=0.7, label=label)
    for index, level in enumerate(found.levels):
        label = "" if index else r"theory: $\frac{1}{2}\sum m_k^2$ of the missing"
        ax.axhline(level, color=plots.THEORY, lw=1.2, ls="--", label=label)
    ax.set(xlabel="flow time t", ylabel="loss L(μ)", title=f"Template, p = {P}")
    plots.legend(ax)


def draw_shares(ax: Axes, found: Stages) -> None:
    """Learned share of every frequency in the first run."""
    run = found.runs[0]
    colours = plots.shades(len(found.order))
    for index, (k, colour) in enumerate(zip(found.order, colours, strict=True)):
        ax.plot(
            run["time"],
            run["learned_fraction"][:, index],
            color=colour,
            label=f"frequency {k}, magnitude {MAGNITUDES[k - 1]:g}",
        )
    ax.axhline(1, color=plots.QUIET, lw=0.8, ls=":")
    ax.set(xlabel="flow time t", ylabel="learned share", title="One run")
    plots.legend(ax)
