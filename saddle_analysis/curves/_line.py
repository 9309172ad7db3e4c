"""A straight line through data, with the errors of its slope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.special
from jaxtyping import Float

from particles import InvalidInput


@dataclass(frozen=True)
class Line:
    """y ≈ intercept + slope · x.

    Args:
        slope: of the line.
        intercept: its value at x = 0.
        error: standard error of the slope, from the scatter about the line.
        freedom: points minus two.
    """

    slope: float
    intercept: float
    error: float
    freedom: int

    def half_width(self, confidence: float = 0.95) -> float:
        """Of the slope's confidence interval, by Student's t; infinite through two points."""
        return student_quantile(confidence, self.freedom) * self.error


def fit_line(
    x: Float[np.ndarray, " points"],
    y: Float[np.ndarray, " heights"],
    weights: Float[np.ndarray, " weights"] | None = None,
) -> Line:
    """Weighted least squares.

    Args:
        x: at least two different values.
        y: one for each x.
        weights: inverse variances of y, up to a common factor; equal by default.

    Raises:
        InvalidInput: shapes disagree, fewer than two different x, or numbers that are not finite.

    Example:
        >>> line = fit_line(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]))
        >>> round(line.slope, 12), round(line.intercept, 12), line.freedom
        (2.0, 1.0, 1)
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    w = np.ones_like(x) if weights is None else np.asarray(weights, float)
    if x.ndim != 1 or x.shape != y.shape or x.shape != w.shape or np.unique(x).size < 2:
        raise InvalidInput(
            f"x has shape {x.shape}, y {y.shape} and weights {w.shape}; give equal lists with at "
            "least two different x."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all() and np.isfinite(w).all()):
        raise InvalidInput("x, y and weights must be finite to fit a line.")
    w = w / np.sum(w)
    x0, y0 = np.sum(w * x), np.sum(w * y)
    spread = np.sum(w * (x - x0) ** 2)
    slope = np.sum(w * (x - x0) * (y - y0)) / spread
    freedom = x.size - 2
    rest = np.sum(w * (y - y0 - slope * (x - x0)) ** 2)
    error = float(np.sqrt(rest / freedom / spread)) if freedom else float("inf")
    return Line(float(slope), float(y0 - slope * x0), error, freedom)


def student_quantile(confidence: float, freedom: int) -> float:
    """Half-width of Student's two-sided interval in standard errors; infinite without freedom."""
    if freedom < 1:
        return float("inf")
    return float(scipy.special.stdtrit(freedom, 0.5 + confidence / 2))
