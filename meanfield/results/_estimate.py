"""A number with its error: no digit is printed beyond it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value, and what its error is made of.

    Args:
        value: the number.
        parts: half-widths of its error by cause, in the value's unit; random ones at 95 %. They
            add up, since nothing says that they cancel.

    Example:
        >>> found = Estimate(0.123456, {"draws": 0.0021, "step": 0.0003})
        >>> str(found), found.contains(0.1252)
        ('0.123 ± 0.003', True)
        >>> str(Estimate(1234.5, {"draws": 130.0}))
        '1230 ± 130'
    """

    value: float
    parts: Mapping[str, float]

    @property
    def error(self) -> float:
        """The whole half-width."""
        return float(sum(self.parts.values()))

    def contains(self, value: float) -> bool:
        """Whether a value lies within the error."""
        return bool(abs(value - self.value) <= self.error)

    @property
    def shares(self) -> str:
        """The parts in words, largest first."""
        ordered = sorted(self.parts.items(), key=lambda part: -part[1])
        return ", ".join(f"{name} {value:.1e}" for name, value in ordered)

    def __str__(self) -> str:
        """Value ± error: the error rounded up to one digit, or to two that begin with 1."""
        error = self.error
        if not (math.isfinite(self.value) and math.isfinite(error)):
            return f"{self.value:.6g} ± an error that is not known"
        if error == 0:
            return f"{self.value:.15g} (exact)"
        place = math.floor(math.log10(error))
        place -= error < 2 * 10.0**place
        unit = 10.0**place
        up = math.ceil(error / unit - 1e-9) * unit
        decimals = max(0, -place)
        return f"{round(self.value / unit) * unit:.{decimals}f} ± {up:.{decimals}f}"
