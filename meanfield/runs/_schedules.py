"""When to record: functions from a span of time to the times due in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from particles import InvalidInput

#: (start, end) ↦ the due times in between, both ends included where they fall due.
Schedule = Callable[[float, float], np.ndarray]


def every(interval: float) -> Schedule:
    """At multiples of `interval`, and at both ends of the run.

    Example:
        >>> every(0.5)(0.0, 1.2).tolist()
        [0.0, 0.5, 1.0, 1.2]
    """
    if not 0 < interval < np.inf:
        raise InvalidInput(f"interval is {interval}; it must be positive and finite.")

    def times(start: float, end: float) -> np.ndarray:
        first, last = np.ceil(start / interval - 1e-9), np.floor(end / interval + 1e-9)
        return _with_ends(start, np.arange(first, last + 1) * interval, end)

    return times


def at(*when: float) -> Schedule:
    """At the given times, those before the start of the run left out.

    Raises:
        InvalidInput: a time that is negative or no number; within a run, one beyond its end.

    Example:
        >>> at(0.0, 3.0, 9.0)(0.0, 9.0).tolist()
        [0.0, 3.0, 9.0]
    """
    moments = np.unique(np.asarray(when, float))
    if not np.all(np.isfinite(moments) & (moments >= 0)):
        bad = next(float(t) for t in moments if not 0 <= t < np.inf)
        raise InvalidInput(f"when holds {bad}; times must be finite and not negative.")

    def times(start: float, end: float) -> np.ndarray:
        close = 1e-9 * (end - start)
        if moments.size and moments[-1] > end + close:
            raise InvalidInput(
                f"when holds {moments[-1]:g}, which the run never reaches: it ends at {end:g}."
            )
        return np.unique(np.minimum(moments[moments >= start - close], end))

    return times


def log_spaced(first: float, per_decade: int = 20) -> Schedule:
    """At both ends of the run and at logarithmically spaced times from `first` on.

    Example:
        >>> log_spaced(1.0, per_decade=1)(0.0, 100.0).round().tolist()
        [0.0, 1.0, 10.0, 100.0]
    """
    if not (first > 0 and per_decade >= 1):
        raise InvalidInput(
            f"first is {first} and per_decade is {per_decade}; first must be positive and "
            "per_decade at least 1."
        )

    def times(start: float, end: float) -> np.ndarray:
        count = max(0, int(np.floor(per_decade * np.log10(max(end / first, 1)) + 1e-9)) + 1)
        grid = first * 10 ** (np.arange(count) / per_decade)
        return _with_ends(start, grid, end)

    return times


def _with_ends(start: float, grid: np.ndarray, end: float) -> np.ndarray:
    """Both ends and the grid between them, without points that only rounding sets apart."""
    close = 1e-9 * (end - start)
    return np.unique([start, *grid[(grid > start + close) & (grid < end - close)], end])
