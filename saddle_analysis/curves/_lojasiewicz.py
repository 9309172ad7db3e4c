"""The Łojasiewicz exponent, read off a loss and how fast it falls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from particles import InvalidInput

from ._line import fit_line


@dataclass(frozen=True)
class LojasiewiczFit:
    """Local Łojasiewicz inequality ‖∇L‖ ≥ c (L − L*)^θ, fitted.

    Args:
        exponent: θ; ½ at a non-degenerate minimum (exponential decay), more where it is flatter.
        interval: confidence interval of θ.
        constant: c.
        records: number of records used.
    """

    exponent: float
    interval: tuple[float, float]
    constant: float
    records: int


def fit_lojasiewicz(
    losses: Float[np.ndarray, " losses"],
    dissipations: Float[np.ndarray, " dissipations"],
    limit: float,
    *,
    confidence: float = 0.95,
    floor: float = 1e-12,
) -> LojasiewiczFit:
    """Slope of log(−dL/dt) against log(L − L*): twice the Łojasiewicz exponent θ.

    Args:
        losses: L along a run; use the part that approaches the limit.
        dissipations: −dL/dt there, from `dissipation` or by differences.
        limit: L*, e.g. the level of the minimum or saddle approached.
        confidence: of the interval.
        floor: records with L − L* below this, or not dissipating, are left out; loss units.

    Raises:
        InvalidInput: shapes disagree, or fewer than three records remain.

    Example:
        >>> t = np.linspace(0, 5, 20)
        >>> fit = fit_lojasiewicz(np.exp(-2 * t), 2 * np.exp(-2 * t), 0.0)
        >>> round(fit.exponent, 6)
        0.5
    """
    loss, rate = np.asarray(losses, float), np.asarray(dissipations, float)
    if loss.ndim != 1 or loss.shape != rate.shape:
        raise InvalidInput(
            f"losses has shape {loss.shape} and dissipations {rate.shape}; one of each per record."
        )
    above = loss - limit
    keep = (above > floor) & (rate > 0) & np.isfinite(above) & np.isfinite(rate)
    if keep.sum() < 3 or np.ptp(above[keep]) == 0:
        raise InvalidInput(
            f"only {int(keep.sum())} records dissipate above limit = {limit}; at least three "
            "different ones are needed: check the limit, or record more often."
        )
    line = fit_line(np.log(above[keep]), np.log(rate[keep]))
    slope, half, intercept = line.slope, line.half_width(confidence), line.intercept
    interval = ((slope - half) / 2, (slope + half) / 2)
    return LojasiewiczFit(slope / 2, interval, float(np.exp(intercept / 2)), int(keep.sum()))
