"""Seeds of a claim about random runs: their keys, their median, and the interval that holds it."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from scipy.stats import binom

from ..results import Claim

FEWEST = 6  # seeds whose extremes hold the median with 95 %


def seed_keys(key: Key[Array, ""], seeds: int) -> Key[Array, " seeds"]:
    """Independent keys; those of fewer seeds are the first of more."""
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(seeds))


def over_seeds(values: Sequence[float] | np.ndarray, of: str = "seeds") -> tuple[float, str]:
    """The median over seeds, and in words the interval that holds the true one with 95 %.

    Fewer than six seeds have no such interval, and their range is named. What never happened is
    `nan` and counts as later, and larger, than all else.

    Example:
        >>> over_seeds(np.arange(8.0))
        (3.5, 'median of 8 seeds, 0 to 7 at 95 %')
        >>> over_seeds([3.0, 1.0, 2.0])
        (2.0, 'median of 3 seeds, range 1 to 3')
        >>> over_seeds([3.0, 1.0, 2.0], of="teachers")
        (2.0, 'median of 3 teachers, range 1 to 3')
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
    return float(np.median(known)), f"median of {known.size} {of}, {spread}"


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


def median_claims(found: Sequence[Sequence[Claim]], of: str = "seeds") -> list[Claim]:
    """The claims that every seed makes, each as one claim about the median over seeds.

    A prediction that differs between seeds is divided out. What allows no tolerance, such as a
    kind or a count, must hold for every seed.

    Example:
        >>> two, three = (Claim.equal("rate", "KS24", r, 1.25 * r, relative=0.3) for r in (2, 4))
        >>> [claim] = median_claims([[two], [three]])
        >>> claim.statement, claim.predicted, claim.measured
        ('rate, over its prediction (median of 2 seeds, range 1.25 to 1.25)', 1.0, 1.25)
    """
    return [_median_claim(same, of) for same in zip(*found, strict=True)]


def _median_claim(claims: Sequence[Claim], of: str) -> Claim:
    first, count = claims[0], len(claims)
    statement, source = first.statement, first.source
    if count == 1:
        return first
    if first.relation == "is" or first.tolerance == 0:
        held = sum(claim.holds for claim in claims)
        return Claim.equal(f"{statement}: true for this many of {count} {of}", source, count, held)
    values = np.array([claim.measured for claim in claims], float)
    if first.relation == ">":
        values = np.nan_to_num(values, nan=-np.inf)  # what is not known exceeds nothing
    wanted = np.array([claim.predicted for claim in claims], float)
    divided = first.relation == "=" and np.ptp(wanted) > 0
    if divided:
        values, statement = values / wanted, f"{statement}, over its prediction"
    middle, spread = over_seeds(values, of)
    statement = f"{statement} ({spread})"
    match first.relation, first.predicted:
        case "<", float(bound):
            return Claim.below(statement, source, bound=bound, measured=middle)
        case ">", float(bound):
            return Claim.above(statement, source, bound=bound, measured=middle)
        case "in", (low, high):
            return Claim.within(statement, source, low=low, high=high, measured=middle)
        case _:
            scale, tolerance = float(abs(wanted[0])) if divided else 1.0, first.tolerance or 0.0
            return Claim.equal(
                statement,
                source,
                1.0 if divided else float(wanted[0]),
                middle,
                absolute=tolerance / scale,
            )
