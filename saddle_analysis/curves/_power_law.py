"""Power laws: a straight line in logarithms, with a confidence interval of the exponent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from particles import InvalidInput

from ._line import fit_line, student_quantile


@dataclass(frozen=True)
class PowerLaw:
    """y ≈ prefactor · x^exponent; all numbers are `nan` where the data cannot resolve it.

    Args:
        exponent: the slope of log y against log x.
        low: lower end of its confidence interval.
        high: upper end.
        prefactor: y at x = 1.
        error: standard error of the exponent.
        freedom: degrees of freedom of that error.
        used: the x that the fit rests on.
        statement: the same in a sentence.
    """

    exponent: float
    low: float
    high: float
    prefactor: float
    error: float
    freedom: int
    used: tuple[float, ...]
    statement: str

    def __call__(self, x: float | Float[np.ndarray, "..."]) -> float | Float[np.ndarray, "..."]:
        """The law at x."""
        return self.prefactor * np.asarray(x, float) ** self.exponent

    def __str__(self) -> str:
        """The statement."""
        return self.statement

    def contains(self, theory: float) -> bool:
        """Whether the interval holds a predicted exponent."""
        return self.low <= theory <= self.high

    def half_width(self, confidence: float) -> float:
        """Of the interval at another confidence, as for several statements at once."""
        return self.error * student_quantile(confidence, self.freedom)


def fit_power_law(
    x: Float[np.ndarray, " points"], y: Float[np.ndarray, " points"], *, confidence: float = 0.95
) -> PowerLaw:
    """Fit y = c x^b by least squares in logarithms.

    The interval is Student's t on the scatter about the line; curvature over the range counts as
    scatter, so a law that only approaches a power gets a wide one.

    Args:
        x: positive.
        y: positive, one for each x.
        confidence: of the interval.

    Raises:
        InvalidInput: fewer than three points, or values that are not positive and finite.

    Example:
        >>> law = fit_power_law(np.array([1.0, 2.0, 4.0]), np.array([3.0, 12.0, 48.0]))
        >>> round(law.exponent, 6), round(law.prefactor, 6)
        (2.0, 3.0)
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.ndim != 1 or x.shape != y.shape or len(np.unique(x)) < 3:
        raise InvalidInput(
            f"x has shape {x.shape} and y {y.shape}; give two equal lists with at least three "
            "different x."
        )
    both = np.concatenate([x, y])
    if not (np.all(both > 0) and np.all(np.isfinite(both))):
        raise InvalidInput("x and y must be positive and finite to have logarithms.")
    line = fit_line(np.log(x), np.log(y))
    slope, half = line.slope, line.half_width(confidence)
    return PowerLaw(
        slope,
        slope - half,
        slope + half,
        float(np.exp(line.intercept)),
        line.error,
        line.freedom,
        tuple(x.tolist()),
        f"exponent {slope:.4g} (between {slope - half:.4g} and {slope + half:.4g})",
    )
