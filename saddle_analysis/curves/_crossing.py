"""When a recorded curve first reaches a level."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from particles import InvalidInput


def crossing(
    times: Float[np.ndarray, " times"],
    values: Float[np.ndarray, " values"],
    level: float,
    *,
    rising: bool | None = None,
    log: bool = False,
) -> float:
    """The first time at which a curve reaches a level, interpolated between records.

    Args:
        times: increasing.
        values: of the curve, one for each time.
        level: to reach.
        rising: whether the curve comes from below (`True`) or from above (`False`); by default from
            the side its first record is on.
        log: interpolate in the logarithm of the values, as for exponential growth.

    Returns:
        The time; the first one for a curve that begins at or beyond the level, `nan` for one that
        never reaches it.

    Raises:
        InvalidInput: shapes disagree, no records, or values for a logarithm that are not positive.

    Example:
        >>> t = np.array([0.0, 1.0, 2.0])
        >>> crossing(t, np.array([1.0, 1.0, 0.0]), 0.5)
        1.5
        >>> round(crossing(t, np.array([1.0, 10.0, 100.0]), 10.0**1.5, log=True), 9)
        1.5
    """
    t, v = np.asarray(times, float), np.asarray(values, float)
    if t.ndim != 1 or t.shape != v.shape or t.size < 1:
        raise InvalidInput(
            f"times has shape {t.shape} and values {v.shape}; give two equal-length records."
        )
    if log:
        if not (np.all(v > 0) and level > 0):
            raise InvalidInput("values and level must be positive to interpolate logarithms.")
        v, level = np.log(v), float(np.log(level))
    up = v[0] <= level if rising is None else rising
    reached = np.flatnonzero(v >= level if up else v <= level)
    if not reached.size:
        return float("nan")
    first = int(reached[0])
    if first == 0 or v[first] == level:
        return float(t[first])
    share = (level - v[first - 1]) / (v[first] - v[first - 1])
    return float(t[first - 1] + share * (t[first] - t[first - 1]))
