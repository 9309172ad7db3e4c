"""A straight line through data, with the half-width of its slope's confidence interval."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Line(NamedTuple):
    """y = intercept + slope · x, slope known to ± half."""

    slope: float
    half: float
    intercept: float


def fit_line(x: np.ndarray, y: np.ndarray, confidence: float) -> Line:
    """Least squares, with Student's t at n − 2 degrees of freedom."""
    import scipy.stats  # takes a second to import, and few need it

    fit: Any = scipy.stats.linregress(x, y)
    quantile = float(scipy.stats.t.ppf(0.5 + confidence / 2, x.size - 2))
    return Line(float(fit.slope), quantile * float(fit.stderr), float(fit.intercept))
