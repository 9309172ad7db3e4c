"""Seeds of a claim about random runs: their keys, their median, and the interval that holds it."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from scipy.stats import binom

FEWEST = 6  # seeds whose extremes hold the median with 95 %


def seed_keys(key: Key[Array, ""], seeds: int) -> Key[Array, " seeds"]:
    """Independent keys; those of fewer seeds are the first of more."""
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(seeds))


def over_seeds(values: Sequence[float] | np.ndarray) -> tuple[float, str]:
    """The median over seeds, and in words the interval that holds the true one with 95 %.

    Fewer than six seeds have no such interval, and their range is named. What never happened is
    `nan` and counts as later, and larger, than all else.

    Example:
        >>> over_seeds(np.arange(8.0))
        (3.5, 'median of 8 seeds, 0 to 7 at 95 %')
        >>> over_seeds([3.0, 1.0, 2.0])
        (2.0, 'median of 3 seeds, range 1 to 3')
    """
    known = np.where(np.isnan(values), np.inf, np.asarray(values, float))
    if known.size == 1:
        return float(known[0]), "one run"
    enough = known.size >= FEWEST
    low, high = (
        "never" if np.isinf(end) else f"{end:.3g}"
        for end in (median_interval(known) if enough else (np.min(known), np.max(known)))
    )
    spread = f"{low} to {high} at 95 %" if enough else f"range {low} to {high}"
    return float(np.median(known)), f"median of {known.size} seeds, {spread}"


def median_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Order statistics that hold the median with at least this probability, if any do.

    Example:
        >>> median_interval(np.arange(8.0))
        (0.0, 7.0)
        >>> median_interval(np.arange(16.0))
        (3.0, 12.0)
    """
    ordered = np.sort(values)
    inside = int(binom.ppf((1 - level) / 2, len(ordered), 0.5))
    outer = max(inside - 1, 0)
    return float(ordered[outer]), float(ordered[-1 - outer])
