"""L(μ_T) to a tolerance: a multilevel estimate over (N, dt), and what it cost."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import NormalDist

import jax
import numpy as np
from jaxtyping import Key

from particles import InvalidInput

from ..flows import AbstractFlow
from ..results import Estimate
from ..runs import Progress
from ._blocks import Draw
from ._exponents import CONFIDENCE
from ._levels import Level, Sampler
from ._saved import SavedStudy

QUANTILE = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
FIRST = 3  # levels that tell the order of the bias that is left
ROUND_OFF = 64  # units in the last digit of L that a difference of levels must be above


@dataclass(frozen=True)
class Multilevel:
    """An estimate of L(μ_T), N → ∞ and dt → 0, with what it is made of.

    Args:
        estimate: the value; its error is what the samples leave (95 %) and what the levels do.
        tolerance: that was asked for.
        levels: from the coarsest on.
        predicted: particle steps that the pilot samples predicted for this tolerance.
        spent: particle steps taken.
        plain: particle steps that equally many independent ensembles of the finest level would
            take for the same random error, without levels below.
        seconds: taken, compilation included.
        shortfall: why the tolerance was not reached; empty where it was.
    """

    estimate: Estimate
    tolerance: float
    levels: tuple[Level, ...]
    predicted: float
    spent: float
    plain: float
    seconds: float
    shortfall: str

    @property
    def reached(self) -> bool:
        """Whether the error is within the tolerance."""
        return not self.shortfall

    def work(self, tolerance: float) -> tuple[float, float]:
        """Particle steps for another tolerance, by the measured laws: with levels, and without.

        Levels beyond those that were run continue the last one by the orders of theory.

        Args:
            tolerance: in units of the loss.
        """
        means = [level.mean for level in self.levels]
        left = [abs(2 * b - a) / 3 for a, b in pairwise(means[1:])]
        spread = [math.sqrt(level.variance) for level in self.levels]
        costs = [level.cost for level in self.levels]
        growth = costs[-1] / costs[-2]
        top = FIRST - 1
        while (left[top - 2] if top - 2 < len(left) else left[-1]) > tolerance / 2:
            top += 1
            if top >= len(costs):
                left, spread = [*left, left[-1] / 4], [*spread, spread[-1] / 2]
                costs.append(costs[-1] * growth)
        scale = (2 * QUANTILE / tolerance) ** 2
        every = (
            np.sum(_weights(top + 1) * np.array(spread[: top + 1]) * np.sqrt(costs[: top + 1])) ** 2
        )
        # A level without the coarse ensembles of its samples: one part in 1 + 1/growth.
        single = spread[0] ** 2 / 2**top * costs[top] / (1 + 1 / growth)
        return float(every * scale), float(single * scale)


def multilevel_estimate(
    flow: AbstractFlow,
    draw: Draw,
    *,
    key: Key[jax.Array, ""],
    horizon: float,
    dt: float,
    tolerance: float,
    smallest: int = 32,
    largest: int = 2**17,
    pilot: int = 16,
    particles: int = 4096,
    budget: float = math.inf,
    saved: str | os.PathLike | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Multilevel:
    """L(μ_T) of the mean-field flow within a tolerance, at the least cost.

    Level l has N_0 2^l particles and steps dt 2^−l. A sample is the loss of one ensemble less the
    mean of those of its two halves on the level below, with the same particles and the same
    noise. Their mean is of order 2^−l and their variance of order 4^−l, so that most samples are
    cheap. The sum over levels is extrapolated by the last one (Richardson), which takes the order
    1/N and dt away; the change by the extrapolation of the level before bounds what is left.
    (theory.md, section 7; GIL15, HT18)

    Args:
        flow: any flow with a fixed step whose noise ensembles can share. With batches the step
            stays as it is.
        draw: i.i.d. particles, `draw(key, size)`.
        key: random key.
        horizon: flow time.
        dt: step on level zero, made to divide the horizon.
        tolerance: wanted error, in units of the loss; half is for samples, half for the levels.
        smallest: particles on level zero; more where so few tell nothing of the next level.
        largest: particles of the finest level at most.
        pilot: least samples of a level.
        particles: drawn in one compiled call.
        budget: seconds after which no new call is begun.
        saved: folder for the samples found on the way.
        resume: go on with what is in `saved`; the result is the same bit for bit.
        progress: show a bar.

    Raises:
        InvalidInput: a tolerance that is not positive or below round-off, a step that is
            controlled or too long, a count out of range, noise that cannot be shared, weights, or
            `saved` holds another study.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import RegressionLandscape, neuron_start
        >>> from meanfield import GradientFlow
        >>> x = jnp.linspace(-1, 1, 8)[:, None]
        >>> landscape = RegressionLandscape(x, jnp.sin(3 * x))
        >>> found = multilevel_estimate(
        ...     GradientFlow(landscape, scheme="euler"),
        ...     lambda key, size: neuron_start(key, landscape, size),
        ...     key=jax.random.key(0),
        ...     horizon=0.5,
        ...     dt=0.25,
        ...     tolerance=0.1,
        ...     particles=512,
        ... )
        >>> found.reached, found.estimate.error <= 0.1
        (True, True)
    """
    began = time.monotonic()
    _check(flow, horizon, dt, tolerance, smallest, largest, pilot, particles, budget)
    sampler = Sampler(flow, draw, key, horizon, math.ceil(horizon / dt - 1e-9), smallest, particles)
    asked = {"horizon": horizon, "dt": dt, "smallest": smallest, "particles": particles}
    asked |= {"pilot": pilot, "largest": largest}
    asked["key"] = np.asarray(jax.random.key_data(key)).tolist()
    parts = SavedStudy(saved, {"levels": True} | asked, resume)
    deadline = began + budget
    sampler, thrown_away = _based(sampler, parts, pilot, largest, deadline)
    values = [_kept(parts, sampler, level) for level in range(FIRST)]
    wanted = [pilot] * FIRST
    predicted, allocated, shortfall = 0.0, 0, ""
    with Progress("levels", 0, 1, progress) as bar:
        while True:
            levels, late = _filled(sampler, parts, values, wanted, deadline, bar, predicted)
            _require_resolved(levels[0], tolerance, jax.numpy.result_type(float))
            found = _estimate(levels)
            if late:
                if found.error > tolerance:
                    shortfall = f"the budget of {budget:g} s is spent"
                break
            wanted = [max(pilot, n) for n in _optimal(levels, tolerance / 2)]
            if allocated < len(levels):
                allocated = len(levels)
                predicted = sum(n * x.cost for n, x in zip(wanted, levels, strict=True))
            if any(n > level.values.size for n, level in zip(wanted, levels, strict=True)):
                continue
            if found.error <= tolerance:
                break
            if sampler.size(len(levels)) > largest:
                shortfall = (
                    f"the levels leave {found.parts['levels']:.1e}, and the next one has "
                    f"{sampler.size(len(levels))} particles, more than largest = {largest}"
                )
                break
            values.append(_kept(parts, sampler, len(levels)))
            wanted.append(pilot)
    spent = thrown_away + sum(level.values.size * level.cost for level in levels)
    target = (tolerance / (2 * QUANTILE)) ** 2
    plain = levels[0].variance * levels[0].size * sampler.steps_of(len(levels) - 1) / target
    seconds = time.monotonic() - began
    return Multilevel(
        found, tolerance, tuple(levels), predicted or spent, spent, plain, seconds, shortfall
    )


def _check(
    flow: AbstractFlow,
    horizon: float,
    dt: float,
    tolerance: float,
    smallest: int,
    largest: int,
    pilot: int,
    particles: int,
    budget: float,
) -> None:
    for name, value in (("tolerance", tolerance), ("horizon", horizon), ("dt", dt)):
        if not 0 < value < math.inf:
            raise InvalidInput(f"{name} is {value}; it must be positive and finite.")
    if not budget > 0:
        raise InvalidInput(f"budget is {budget}; it must be positive, in seconds.")
    for name, count, least in (
        ("smallest", smallest, 1),
        ("pilot", pilot, 2),
        ("particles", particles, 1),
    ):
        if count < least:
            raise InvalidInput(f"{name} is {count}; it must be at least {least}.")
    if largest < smallest * 2 ** (FIRST - 1):
        raise InvalidInput(
            f"largest is {largest}, but {FIRST} levels from {smallest} particles on have up to "
            f"{smallest * 2 ** (FIRST - 1)}; take a larger one, or a smaller smallest."
        )
    if dt > horizon:
        raise InvalidInput(f"dt is {dt}, longer than horizon = {horizon}; take a smaller one.")
    if flow.controlled:
        raise InvalidInput(
            "flow.scheme is adaptive; levels halve a fixed step: choose 'euler', 'heun', 'bosh3' "
            "or 'tsit5'."
        )
    if not flow.shares_noise:
        raise InvalidInput(
            "flow has random steps that ensembles cannot share, such as resampling; levels need a "
            "flow without."
        )


def _based(
    sampler: Sampler, parts: SavedStudy, pilot: int, largest: int, deadline: float
) -> tuple[Sampler, float]:
    """The sampler with a level zero that pays, and the work that was spent on smaller ones.

    Level one should take half of the work of level zero at most: where N is so small that halves
    say little of the whole, N_0 doubles.
    """
    spent = 0.0
    while True:
        values = [_kept(parts, sampler, level) for level in (0, 1)]
        for level in (0, 1):
            while values[level].size < pilot:
                values[level] = _more(sampler, parts, values[level], level)
        work = [v.var(ddof=1) * sampler.cost(level) for level, v in enumerate(values)]
        last = sampler.size(FIRST) > largest or time.monotonic() > deadline
        if 4 * work[1] <= work[0] or last:
            return sampler, spent
        spent += sum(v.size * sampler.cost(level) for level, v in enumerate(values))
        sampler = replace(sampler, smallest=2 * sampler.smallest)


def _more(sampler: Sampler, parts: SavedStudy, values: np.ndarray, level: int) -> np.ndarray:
    """The values of a level with those of one more call, which are kept."""
    new = sampler.sample(level, values.size // sampler.count(level))
    values = np.concatenate([values, new])
    parts.keep(f"level-{sampler.smallest}-{level}", {"values": values})
    return values


def _kept(parts: SavedStudy, sampler: Sampler, level: int) -> np.ndarray:
    known = parts.part(f"level-{sampler.smallest}-{level}")
    return np.zeros(0) if known is None else known["values"]


def _filled(
    sampler: Sampler,
    parts: SavedStudy,
    values: list[np.ndarray],
    wanted: list[int],
    deadline: float,
    bar: Progress,
    predicted: float,
) -> tuple[list[Level], bool]:
    """Every level with at least the wanted samples, unless time is up; and whether it is.

    The first three levels get their pilot samples in any case: without them there is no estimate.
    """
    late = False
    for level, count in enumerate(wanted):
        while values[level].size < count and not late:
            late = time.monotonic() > deadline and all(v.size > 1 for v in values[:FIRST])
            if late:
                break
            values[level] = _more(sampler, parts, values[level], level)
            spent = sum(v.size * sampler.cost(at) for at, v in enumerate(values))
            bar.update(
                min(1.0, spent / predicted) if predicted else 0.0, f"N = {sampler.size(level)}"
            )
    whole = [v for v in values if v.size > 1]
    levels = [
        Level(sampler.size(at), sampler.horizon / sampler.steps_of(at), sampler.cost(at), v)
        for at, v in enumerate(whole)
    ]
    return levels, late


def _weights(levels: int) -> np.ndarray:
    """Of the means in the extrapolated sum: the last difference counts twice."""
    weights = np.ones(levels)
    weights[-1] = 2
    return weights


def _optimal(levels: list[Level], half: float) -> list[int]:
    """Samples of each level for which the random half-width is `half` at the least cost."""
    spread = _weights(len(levels)) * np.sqrt([level.variance for level in levels])
    costs = np.array([level.cost for level in levels])
    total = np.sum(spread * np.sqrt(costs)) * (QUANTILE / half) ** 2
    return [math.ceil(n) for n in total * spread / np.sqrt(costs)]


def _estimate(levels: list[Level]) -> Estimate:
    """The extrapolated sum over levels, with the errors of samples and of levels."""
    means = np.array([level.mean for level in levels])
    weights = _weights(len(levels))
    random = math.sqrt(
        sum((w * level.error) ** 2 for w, level in zip(weights, levels, strict=True))
    )
    # A next order of 4^−l leaves a third of what the extrapolation of the level before changes.
    changes = np.abs(2 * means[2:] - means[1:-1])
    left = max(changes[-1], changes[-2] / 4 if changes.size > 1 else 0.0) / 3
    parts = {"samples": QUANTILE * random, "levels": float(left)}
    return Estimate(float(weights @ means), parts)


def _require_resolved(level: Level, tolerance: float, dtype: np.dtype) -> None:
    finest = ROUND_OFF * float(np.finfo(dtype).eps) * abs(level.mean)
    if tolerance < finest:
        raise InvalidInput(
            f"tolerance is {tolerance}, but L is about {level.mean:.3g}, of which {dtype} resolves "
            f"no less than {finest:.1e}; take a larger one."
        )
