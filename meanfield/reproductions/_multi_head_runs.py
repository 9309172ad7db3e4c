"""Two heads on their way to linear attention, and many heads from random starts."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array, Key

from landscapes import MultiHeadLandscape
from landscapes.softmax_attention import AttentionHead, attention_head_start
from particles import Ensemble
from saddle_analysis.curves import fit_line

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import at, members, simulate
from ._multi_head_saddle import SMALL, by_seed, draw_levels, heads, kappa, share, variance
from ._seeds import over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAIR, MANY = "Two heads approach linear attention", "Many heads from random starts"
SOURCE = "theory 6"
LAST = 0.1  # of the time: exponents are read off from there on


def pair(landscape: MultiHeadLandscape, time: float, progress: bool = False) -> Result:
    """Two opposite heads: the level is approached as t^−2/3, with its constant."""
    result = Result(PAIR)
    run = simulate(
        GradientFlow(landscape, scheme="adaptive"),
        heads([SMALL, -SMALL], [SMALL, -SMALL]),
        horizon=time,
        dt=1e-3,
        record=at(*np.geomspace(0.1, time, 200)),
        progress=progress,
        label="two heads",
    )
    load, head = kappa(landscape), run.ensemble.particles
    above = run.trajectory["loss"].values - landscape.linear_level
    times = run.trajectory["time"].values
    x = float(landscape.dim * head.score[0] ** 2)
    result.claim(
        Claim.below(
            "two opposite heads: sum of the values over one of them, largest in time",
            "HPCY25; theory 6",
            bound=1e-9,
            measured=float(np.abs(run.trajectory["value"].values).max() / SMALL),
        ),
        Claim.equal(
            f"exponent of L − inf L in time, from t = {LAST * time:g} to {time:g}",
            SOURCE,
            -2 / 3,
            late_slope(times, above),
            absolute=0.03,
        ),
        Claim.equal(
            f"L − inf L at t = {time:g} over its law, C (4κd²t)^−2/3",
            SOURCE,
            1.0,
            float(above[-1] / pair_law(landscape, time)),
            absolute=0.05,
        ),
        Claim.equal(
            f"score at t = {time:g} over its law, (4κd²t)^−1/6",
            SOURCE,
            1.0,
            float(head.score[0] / clock(landscape, time) ** (-1 / 6)),
            absolute=0.02,
        ),
        Claim.equal(
            "variance of one head over that of the pair, at the same answer: e x/sinh x, where "
            f"x = dω² = {x:.3g} has come near zero",
            "HPCY25; theory 6",
            math.e * x / math.sinh(x),
            math.e * load / variance(landscape, run.ensemble),
            relative=1e-6,
        ),
    )
    result.dataset("pair", run.trajectory)
    result.figure(
        "pair",
        "Two opposite heads: the loss passes one head's level and goes down to linear attention's "
        "by a power of time.",
        functools.partial(draw_loss, times=times, loss=above[:, None], landscape=landscape),
        functools.partial(draw_approach, times=times, above=above, landscape=landscape),
    )
    return result


def clock(landscape: MultiHeadLandscape, time: float | np.ndarray) -> float | np.ndarray:
    """4κd²t, which ω^−6 of two opposite heads grows as."""
    return 4 * kappa(landscape) * float(landscape.dim) ** 2 * time


def pair_law(landscape: MultiHeadLandscape, time: float | np.ndarray) -> float | np.ndarray:
    """L − inf L of two opposite heads at late times."""
    load = kappa(landscape)
    constant = load * float(landscape.dim) ** 2 / (6 * (1 + load) ** 2)
    return constant * clock(landscape, time) ** (-2 / 3)


def late_slope(times: np.ndarray, values: np.ndarray) -> float:
    """Exponent in time of the last part of a curve."""
    late = times >= LAST * times[-1]
    return fit_line(np.log(times[late]), np.log(values[late])).slope


def many(
    landscape: MultiHeadLandscape,
    keys: Key[Array, " seeds"],
    size: int,
    time: float,
    progress: bool = False,
) -> Result:
    """Random heads gather in two groups whose values cancel; the level comes near."""
    result = Result(MANY)
    starts = jax.vmap(lambda key: attention_head_start(key, landscape, size, scale=SMALL))(keys)
    run = simulate(
        GradientFlow(landscape, scheme="adaptive"),
        starts,
        horizon=time,
        dt=1e-3,
        record=at(*np.geomspace(0.1, time, 100)),
        batch=True,
        progress=progress,
        label=f"{size} heads",
    )
    times, loss = by_seed(run.trajectory)
    above = loss - landscape.linear_level
    first, ends = (list(members(mu)) for mu in (starts, run.ensemble))
    balance, balance_said = over_seeds(np.array([imbalance(mu) for mu in ends]))
    before, before_said = over_seeds(np.array([imbalance(mu) for mu in first]))
    left, left_said = over_seeds(np.array([share(landscape, mu) for mu in ends]))
    slope, slope_said = over_seeds(np.array([-late_slope(times, seed) for seed in above]))
    result.claim(
        Claim.below(
            f"{size} random heads, t = {time:g}: the values cancel, |∫μ| / ∫|μ| ({balance_said})",
            "HPCY25; theory 6",
            bound=0.05,
            measured=balance,
        ),
        Claim.below(
            f"{size} random heads, t = {time:g}: what is left of the way from one head's level to "
            f"linear attention's ({left_said})",
            "HPCY25; theory 6",
            bound=0.1,
            measured=left,
        ),
        Claim.within(
            f"{size} random heads: L − inf L falls in time by a power that is at least a pair's "
            f"2/3 and at most 1, within 0.05 ({slope_said})",
            SOURCE,
            low=2 / 3 - 0.05,
            high=1.05,
            measured=slope,
        ),
    )
    result.text(f"At the start |∫μ| / ∫|μ| is {before:.3g} ({before_said}).")
    result.dataset("many", run.trajectory)
    result.figure(
        "many",
        "Heads that start at random: those with values of either sign take scores of that sign, "
        "and the loss passes one head's level.",
        functools.partial(draw_loss, times=times, loss=above.T, landscape=landscape),
        functools.partial(draw_plane, before=first[0], after=ends[0]),
    )
    return result


def imbalance(mu: Ensemble) -> float:
    """|∫μ| / ∫|μ|."""
    value = np.asarray(mu.particles.value)
    return float(abs(value.mean()) / np.abs(value).mean())


def draw_loss(ax: Axes, times: np.ndarray, loss: np.ndarray, landscape: MultiHeadLandscape) -> None:
    """Loss in time with the two exact levels; columns are seeds."""
    for index, course in enumerate(loss.T):
        label = "flow" if index == 0 else None
        ax.semilogx(times, course + landscape.linear_level, color=plots.MEASURED, lw=1, label=label)
    draw_levels(ax, landscape)
    ax.set(xlabel="flow time t", ylabel="loss L", title="Loss")
    plots.legend(ax)


def draw_approach(
    ax: Axes, times: np.ndarray, above: np.ndarray, landscape: MultiHeadLandscape
) -> None:
    """Distance from the infimum in time, with its law."""
    late = times > 1
    ax.loglog(times[late], above[late], color=plots.MEASURED, label="flow")
    law = np.asarray(pair_law(landscape, times[late]))
    ax.loglog(times[late], law, color=plots.THEORY, ls="--", label="C (4κd²t)$^{-2/3}$")
    ax.set(xlabel="flow time t", ylabel="L − inf L", title="Approach to linear attention")
    plots.legend(ax)


def draw_plane(ax: Axes, before: Ensemble, after: Ensemble) -> None:
    """Heads in the plane of scores and values at the start and at the end."""
    for mu, name, colour in ((before, "start", plots.QUIET), (after, "end", plots.MEASURED)):
        head: AttentionHead = mu.particles
        ax.plot(head.score, head.value, "o", ms=4, color=colour, label=name)
    ax.axhline(0, color=plots.QUIET, lw=0.8)
    ax.axvline(0, color=plots.QUIET, lw=0.8)
    ax.set(xlabel="score ω", ylabel="value μ", title="Heads of the first seed")
    plots.legend(ax)
