"""Escape from a saddle as data: when a run leaves, and how that depends on the perturbation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from particles import InvalidInput

from ._crossing import crossing
from ._line import fit_line


@dataclass(frozen=True)
class EscapeScaling:
    """Escape time against perturbation size: t = offset + slope · log(1/size).

    Args:
        slope: time per e-folding of the perturbation; theory says 1/|λ_min|.
        interval: confidence interval of the slope.
        offset: escape time extrapolated to a perturbation of size one.
        rate: 1/slope, to compare with |λ_min|; 1/time.
        left: number of runs that left, on which the fit rests.
        runs: number of runs.
    """

    slope: float
    interval: tuple[float, float]
    offset: float
    rate: float
    left: int
    runs: int

    def __str__(self) -> str:
        """The fit in words."""
        low, high = self.interval
        return (
            f"Escape time grows by {self.slope:.5g} ({low:.5g} to {high:.5g}) per e-folding of the "
            f"perturbation, a rate of {self.rate:.5g}; {self.left} of {self.runs} runs left."
        )


def escape_time(
    times: Float[np.ndarray, " times"],
    losses: Float[np.ndarray, " losses"],
    *,
    level: float | None = None,
    fraction: float = 0.5,
) -> float:
    """First time the loss falls to a level, interpolated between records.

    Args:
        times: increasing.
        losses: shape of `times`.
        level: the loss that counts as having left; by default the given fraction of the way from
            the first loss to the smallest.
        fraction: of the drop; used without `level`.

    Returns:
        The time, or `nan` for a run that stays (or whose loss never drops).

    Raises:
        InvalidInput: shapes disagree, or the fraction is not between 0 and 1.

    Example:
        >>> escape_time(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0]))
        1.5
    """
    t, loss = np.asarray(times, float), np.asarray(losses, float)
    if t.ndim != 1 or t.shape != loss.shape or t.size < 2:
        raise InvalidInput(
            f"times has shape {t.shape} and losses {loss.shape}; give two equal-length records."
        )
    if not 0 < fraction < 1:
        raise InvalidInput(f"fraction is {fraction}; it must lie between 0 and 1.")
    if level is None:
        bottom = float(np.nanmin(loss))
        if not bottom < loss[0]:
            return float("nan")
        level = float(loss[0] - fraction * (loss[0] - bottom))
    return crossing(t, loss, level, rising=False)


def escape_scaling(
    sizes: Float[np.ndarray, " runs"],
    times: Float[np.ndarray, " times"],
    *,
    confidence: float = 0.95,
) -> EscapeScaling:
    """Slope of escape time against log perturbation, whose theory value is 1/|λ_min|.

    Args:
        sizes: L²(μ) norms of the perturbations (or their unstable components).
        times: escape times; `nan` for runs that stayed, which are left out and counted.
        confidence: of the interval.

    Raises:
        InvalidInput: shapes disagree, sizes are not positive, or fewer than three runs of at
            least two different sizes left.

    Example:
        >>> sizes = np.array([1e-2, 1e-4, 1e-6])
        >>> fit = escape_scaling(sizes, 1.0 - np.log(sizes) / 5)
        >>> round(fit.rate, 6), round(fit.offset, 6)
        (5.0, 1.0)
    """
    size, time = np.asarray(sizes, float).ravel(), np.asarray(times, float).ravel()
    if size.shape != time.shape:
        raise InvalidInput(f"sizes has shape {size.shape} and times {time.shape}; one per run.")
    if not np.all(size > 0):
        raise InvalidInput("sizes must be positive: an unperturbed run has no place in this fit.")
    left = np.isfinite(time)
    if left.sum() < 3 or np.unique(size[left]).size < 2:
        raise InvalidInput(
            f"only {int(left.sum())} of {size.size} runs left, from {np.unique(size[left]).size} "
            "sizes; at least three runs of two different sizes are needed: run longer."
        )
    line = fit_line(-np.log(size[left]), time[left])
    slope, half = line.slope, line.half_width(confidence)
    rate = 1 / slope if slope else float("inf")
    return EscapeScaling(
        slope, (slope - half, slope + half), line.intercept, rate, int(left.sum()), size.size
    )
