"""The result of a multilevel estimate: the answer, its error, what it cost, and its laws."""

from __future__ import annotations

import math

import numpy as np

from ..results import Claim, Result
from ..studies import Level, Multilevel

RESOLVED = 3.0  # standard errors that a mean must be away from zero to have a logarithm
JOINT = 2.24  # normal quantile of two intervals that hold together with 95 %


def level_claims(found: Multilevel) -> list[Claim]:
    """Means and variances of the differences fall at least as fast as theory's N^−1 and N^−2.

    More slowly, and the error of the levels would be wrong; faster happens before higher orders
    have died out. Slopes are held to intervals of 95 % for both. Without two means that the
    samples tell from zero there is no claim about means.

    Args:
        found: of `multilevel_estimate`.
    """
    finer = found.levels[1:]
    clear = [x for x in finer if abs(x.mean) > RESOLVED * x.error]
    claims = []
    for name, order, levels, values in (
        ("mean", -1.0, clear, [(abs(x.mean), x.error) for x in clear]),
        ("variance", -2.0, finer, [(x.variance, x.variance_error) for x in finer]),
    ):
        if len(levels) < 2:
            continue
        slope, error = _slope(levels, np.array(values))
        statement = f"{name} of the difference of levels: exponent of N, up to its interval"
        claims.append(
            Claim.below(statement, "GIL15; theory 7", bound=order + JOINT * error, measured=slope)
        )
    return claims


def levels_result(found: Multilevel, title: str = "N → ∞, dt → 0") -> Result:
    """The estimate in a sentence, what was spent, a table of levels, claims and figures.

    Args:
        found: of `multilevel_estimate`.
        title: heading.
    """
    from .. import plots

    result = Result(title)
    result.claim(
        Claim.below(
            "the error is within the tolerance",
            "GIL15; theory 7",
            bound=found.tolerance * (1 + 1e-12),
            measured=found.estimate.error,
        ),
        *level_claims(found),
    )
    short = (
        "" if found.reached else f" **Not the tolerance that was asked for:** {found.shortfall}."
    )
    result.text(
        f"**L(μ_T) = {found.estimate}** for N → ∞ and dt → 0 ({found.estimate.shares}; tolerance "
        f"{found.tolerance:g}).{short}"
    )
    result.text(
        f"Spent: {found.spent:.3g} particle steps in {found.seconds:.3g} s; predicted by the pilot "
        f"samples: {found.predicted:.3g}. Ensembles of the finest level alone, for the same random "
        f"error: {found.plain:.3g}."
    )
    result.text(_table(found))
    result.summary["limit"] = {
        "value": found.estimate.value,
        "error": found.estimate.error,
        **found.estimate.parts,
        "tolerance": found.tolerance,
        "shortfall": found.shortfall,
        "spent": found.spent,
        "predicted": found.predicted,
    }
    result.figure(
        "levels",
        "Means and variances of the differences between levels, and the work for a tolerance.",
        lambda ax: plots.plot_levels(ax, found),
        lambda ax: plots.plot_work(ax, found),
    )
    return result


def _slope(levels: list[Level] | tuple[Level, ...], values: np.ndarray) -> tuple[float, float]:
    """Weighted straight line through logarithms, and the standard error of its slope."""
    x, y = np.log([level.size for level in levels]), np.log(values[:, 0])
    weights = (values[:, 0] / values[:, 1]) ** 2
    centre = np.sum(weights * x) / weights.sum()
    spread = np.sum(weights * (x - centre) ** 2)
    return float(np.sum(weights * (x - centre) * y) / spread), 1 / math.sqrt(float(spread))


def _table(found: Multilevel) -> str:
    """Every level with its samples."""
    rows = ["| N | dt | samples | mean | variance |", "|---|---|---|---|---|"]
    rows += [
        f"| {level.size} | {level.dt:.3g} | {level.values.size} | {level.mean:.3g} ± "
        f"{level.error:.1g} | {level.variance:.3g} |"
        for level in found.levels
    ]
    return "\n".join(rows)
