"""Times of memorising and generalising as the number of neurons grows."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from .. import plots
from ..results import Claim, Result
from ._grokking_delay import DELAYED, plain_ticks
from ._grokking_runs import DECAY, LONGEST, SMALLEST, Network, follow, times_of
from ._seeds import median_interval, over_seeds, seed_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZES = "More and more neurons"
PARTICLES = (50, 100, 200, 400, 800)


class TimesBySize(NamedTuple):
    """Times at several N.

    Args:
        particles: N.
        times: of memorising and generalising, in units of 1/g, shape `(seeds, sizes, 2)`.
    """

    particles: np.ndarray
    times: np.ndarray


def times_by_size(
    key: Key[Array, ""],
    seeds: int,
    *,
    network: Network = SMALLEST,
    particles: Sequence[int] = PARTICLES,
    progress: bool = False,
) -> TimesBySize:
    """Runs at every N on the same pairs; every run draws neurons of its own."""
    pairs, starts = jax.random.split(key)
    times = []
    for size in particles:
        sized = network._replace(particles=size)
        own = seed_keys(jax.random.fold_in(starts, size), seeds)
        runs = [
            follow(sized, pairs, one, decay=DECAY, horizon=LONGEST / DECAY, progress=progress)
            for one in own
        ]
        times.append([times_of(run) for run in runs])
    return TimesBySize(np.array(particles), np.array(times).transpose(1, 0, 2))


def sizes(found: TimesBySize) -> Result:
    """Medians and spread over seeds against N."""
    result = Result(SIZES)
    ratios = [over_seeds(one) for one in (found.times[..., 1] / found.times[..., 0]).T]
    least = int(np.argmin([ratio for ratio, _ in ratios]))
    result.claim(
        Claim.above(
            "generalising is delayed at every N: smallest median of its time over that of "
            f"memorising (N = {found.particles[least]}: {ratios[least][1]})",
            "GRO23; theory 10",
            bound=DELAYED,
            measured=ratios[least][0],
        )
    )
    rows = []
    for size, column in zip(found.particles, found.times.transpose(1, 0, 2), strict=True):
        cells = []
        for values in column.T:
            known = np.where(np.isnan(values), np.inf, values)
            cells.append(f"{np.median(known):.3g} ({known.min():.3g} to {known.max():.3g})")
        rows.append(f"| {size} | {' | '.join(cells)} |")
    result.text(
        f"p = {SMALLEST.p}, {SMALLEST.fraction:.0%} of the pairs, the same ones for all, λ = "
        f"{DECAY:g}/p³. Times in units of p³, medians and range over {len(found.times)} seeds:\n\n"
        "| N | memorising | generalising |\n|---|---|---|\n" + "\n".join(rows) + "\n\nA network of "
        "few neurons has hardly more weights than the training pairs have outputs, so that the "
        "limit is reached late (theory 10). The law N^(−1/2) of the spread is for larger N; it is "
        "not claimed here."
    )
    result.figure(
        "sizes",
        "Times of memorising and generalising against the number of neurons: median over seeds, "
        "the interval that holds it with 95 %, and the seeds; g = 1/p³.",
        functools.partial(draw_times, found=found),
    )
    return result


def draw_times(ax: Axes, found: TimesBySize) -> None:
    """Medians, their intervals, and all seeds."""
    names = {"memorising": plots.SECOND, "generalising": plots.MEASURED}
    for index, (name, colour) in enumerate(names.items()):
        times = found.times[..., index]
        known = np.where(np.isnan(times), np.inf, times)
        middle = np.median(known, axis=0)
        low, high = np.array([median_interval(column) for column in known.T]).T
        ax.plot(found.particles, times.T, ".", color=colour, ms=3, alpha=0.5)
        ax.errorbar(
            found.particles,
            middle,
            [middle - low, high - middle],
            fmt="o-",
            color=colour,
            ms=5,
            lw=1.2,
            capsize=3,
            label=name,
        )
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="neurons N",
        ylabel="flow time × g",
        title=f"p = {SMALLEST.p}",
    )
    plain_ticks(ax, [float(size) for size in found.particles])
    plots.legend(ax)
