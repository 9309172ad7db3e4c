"""Plateaus of a loss curve: where it dwells, for how long, and which predicted level that is."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
from jaxtyping import Float

from particles import InvalidInput

#: Records that a plateau of a noisy curve must hold at least.
FEWEST = 12


@dataclass(frozen=True)
class Plateau:
    """A stretch where the loss dwells.

    Args:
        start: time it begins.
        end: time it ends.
        level: the loss there (median over time).
        predicted: the predicted level it was matched to; `None` without a match.
        deviation: (level − predicted) / |total drop of the curve|; `nan` without a match.
    """

    start: float
    end: float
    level: float
    predicted: float | None = None
    deviation: float = float("nan")

    @property
    def duration(self) -> float:
        """Time spent on it."""
        return self.end - self.start


@dataclass(frozen=True)
class Drop:
    """The fall between two plateaus.

    Args:
        start: time it leaves the upper plateau.
        end: time it reaches the lower one.
        height: difference of their levels.
    """

    start: float
    end: float
    height: float


@dataclass(frozen=True)
class Plateaus:
    """The plateaus of a loss curve in order of time, and the drops between them.

    Args:
        plateaus: where the curve dwells.
        drops: one fewer than plateaus.
        unvisited: predicted levels that no plateau was matched to.
    """

    plateaus: list[Plateau]
    drops: list[Drop]
    unvisited: list[float]

    def __str__(self) -> str:
        """One line per plateau."""
        lines = []
        for plateau in self.plateaus:
            line = f"t = {plateau.start:.4g} to {plateau.end:.4g}: level {plateau.level:.6g}"
            if plateau.predicted is not None:
                line += f", predicted {plateau.predicted:.6g}"
            lines.append(line)
        return "\n".join(lines)


def find_plateaus(
    times: Float[np.ndarray, " times"],
    losses: Float[np.ndarray, " losses"],
    levels: Sequence[float] | None = None,
    *,
    width: float = 0.02,
    prominence: float = 3.0,
    match: float = 0.1,
) -> Plateaus:
    """Find the plateaus of a falling loss curve.

    The curve is replaced by the closest non-increasing one (isotonic regression, which absorbs
    noise), and the time it spends near each level is measured: a plateau is a level where that
    time peaks. Nothing is differentiated, and the spacing of the records does not matter.

    Args:
        times: increasing; any spacing.
        losses: the curve.
        levels: predicted levels to match; each is used once, nearest first.
        width: height of the band that counts as one level, relative to the total drop.
        prominence: how many times longer than on the drops beside it the curve must dwell.
        match: largest deviation from a predicted level, relative to the total drop.

    Raises:
        InvalidInput: fewer than five records, non-finite numbers, times that do not increase, or
            a width that is not between 0 and 1.

    Example:
        >>> t = np.linspace(0, 60, 600)
        >>> loss = 0.5 / (1 + np.exp(t - 20)) + 0.5 / (1 + np.exp(t - 40))
        >>> [round(p.level, 2) for p in find_plateaus(t, loss).plateaus]
        [1.0, 0.5, 0.0]
    """
    t, raw = _checked(times, losses, width, prominence)
    smooth = np.asarray(scipy.optimize.isotonic_regression(raw, increasing=False).x)
    drop = float(smooth[0] - smooth[-1])
    scatter = float(np.median(np.abs(raw - smooth)))
    if drop <= 1e-12 * max(1.0, float(np.max(np.abs(raw)))) or drop <= 6 * scatter:
        found = [Plateau(float(t[0]), float(t[-1]), float(np.median(raw)))]
    else:
        half = 0.5 * max(width * drop, 2 * scatter)
        found = _dwells(t, raw, smooth, half, prominence)
        if scatter > 1e-9 * drop:  # on a noisy fall a few records may look level by chance
            found = [p for p in found if np.sum((p.start <= t) & (t <= p.end)) >= FEWEST]
    found, unvisited = _matched(found, levels, match * max(drop, 1e-300), max(drop, 1e-300))
    drops = [
        Drop(above.end, below.start, above.level - below.level)
        for above, below in itertools.pairwise(found)
    ]
    return Plateaus(found, drops, unvisited)


def _dwells(
    t: np.ndarray, raw: np.ndarray, smooth: np.ndarray, half: float, prominence: float
) -> list[Plateau]:
    """Levels where the time spent within ±half of them peaks."""
    from scipy.signal import find_peaks  # slow to import, and of use here alone

    # Strictly decreasing, so that the inverse (time as a function of the level) is defined.
    tilt = 1e-9 * (smooth[0] - smooth[-1]) * np.linspace(0, 1, t.size)
    curve = smooth - tilt
    grid = np.linspace(curve[-1], curve[0], max(200, int(4 * (curve[0] - curve[-1]) / half)))

    def when(level: np.ndarray) -> np.ndarray:
        return np.interp(-level, -curve, t)

    start, end = when(grid + half), when(grid - half)
    # Bands cut off at either end of the curve count as if they were whole.
    inside = np.minimum(grid + half, curve[0]) - np.maximum(grid - half, curve[-1])
    dwell = np.log(np.maximum((end - start) * 2 * half / inside, 1e-12 * (t[-1] - t[0])))
    dwell = np.round(dwell, 6)  # equal levels tie exactly
    padded = np.concatenate([[-np.inf], dwell, [-np.inf]])
    floor = np.min(dwell) - 10 * np.log(prominence)
    peaks, _ = find_peaks(np.maximum(padded, floor), prominence=np.log(prominence), plateau_size=1)
    found = []
    for peak in sorted(peaks - 1, reverse=True):
        if dwell[peak] - np.min(dwell) < np.log(prominence):
            continue  # a steady fall dwells nowhere
        first, last = float(start[peak]), float(end[peak])
        span = np.linspace(first, last, 201)
        level = float(np.median(np.interp(span, t, raw)))
        if found and first < found[-1].end:  # two peaks of one band
            if last - first > found[-1].duration:
                found[-1] = Plateau(first, last, level)
            continue
        found.append(Plateau(first, last, level))
    return found


def _matched(
    found: list[Plateau], levels: Sequence[float] | None, reach: float, drop: float
) -> tuple[list[Plateau], list[float]]:
    if levels is None:
        return found, []
    predicted = [float(level) for level in levels]
    pairs = sorted(
        (abs(plateau.level - level), i, j)
        for i, plateau in enumerate(found)
        for j, level in enumerate(predicted)
    )
    taken: dict[int, int] = {}
    for distance, i, j in pairs:
        if distance <= reach and i not in taken and j not in taken.values():
            taken[i] = j
    matched = [
        plateau
        if i not in taken
        else dataclasses.replace(
            plateau,
            predicted=predicted[taken[i]],
            deviation=(plateau.level - predicted[taken[i]]) / drop,
        )
        for i, plateau in enumerate(found)
    ]
    return matched, [level for j, level in enumerate(predicted) if j not in taken.values()]


def _checked(
    times: np.ndarray, losses: np.ndarray, width: float, prominence: float
) -> tuple[np.ndarray, np.ndarray]:
    t, loss = np.asarray(times, float), np.asarray(losses, float)
    if t.ndim != 1 or t.shape != loss.shape or t.size < 5:
        raise InvalidInput(
            f"times has shape {t.shape} and losses {loss.shape}; give two equal-length records of "
            "at least 5 entries."
        )
    if not (np.isfinite(t).all() and np.isfinite(loss).all()) or not np.all(np.diff(t) > 0):
        raise InvalidInput("times must increase strictly, and all records must be finite.")
    if not 0 < width < 1 or not prominence > 1:
        raise InvalidInput(
            f"width is {width} and prominence {prominence}; width lies between 0 and 1, "
            "prominence above 1."
        )
    return t, loss
