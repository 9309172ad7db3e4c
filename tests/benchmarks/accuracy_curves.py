"""Work and precision: the error of an estimate against its time, and what is read off it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float


class Point(NamedTuple):
    """One size of an estimate.

    Args:
        size: particles.
        error: rms, of L.
        bias: mean error.
        seconds: of the processor.
    """

    size: int
    error: float
    bias: float
    seconds: float

    @classmethod
    def of(cls, size: int, errors: Float[np.ndarray, " keys"], seconds: float) -> Point:
        """From the errors of several keys."""
        return cls(size, float(np.sqrt(np.mean(errors**2))), float(errors.mean()), seconds)


@dataclass(frozen=True)
class Curve:
    """Points of one estimate, by growing size."""

    name: str
    points: tuple[Point, ...]

    @property
    def least(self) -> float:
        """The smallest error reached."""
        return min(point.error for point in self.points)

    @property
    def slope(self) -> float:
        """Exponent of the error in the number of particles."""
        return self._line()[0]

    def fitted(self, index: int) -> float:
        """The error of a point on the straight line through all, in logarithms."""
        slope, level = self._line()
        return float(np.exp(level) * self.points[index].size ** slope)

    def extrapolated(self, error: float) -> float:
        """Seconds to an error beyond the last point, by the line of `fitted` and that of time."""
        before, last = self.points[-2:]
        rate = np.log(last.seconds / before.seconds) / np.log(last.size / before.size)
        more = (error / self.fitted(-1)) ** (1 / self.slope)
        return float(last.seconds * more**rate)

    def _line(self) -> tuple[float, float]:
        sizes, errors = np.log([(point.size, point.error) for point in self.points]).T
        slope, level = np.polyfit(sizes, errors, 1)
        return float(slope), float(level)

    def seconds_at(self, error: float) -> float | None:
        """Seconds to an error, between points in logarithms; `None` where it is not reached.

        An error above that of the first point takes the first point's time, which is too long.
        """
        last = None
        for point in self.points:
            if point.error <= error:
                if last is None:
                    return point.seconds
                share = np.log(last.error / error) / np.log(last.error / point.error)
                return float(last.seconds * (point.seconds / last.seconds) ** share)
            last = point
        return None

    def why_not(self, best: Curve, coordinates: int) -> str:
        """What of a better curve keeps its gain small."""
        return (
            f"errors fall as N^{best.slope:.2f} with {best.name} and as N^{self.slope:.2f} at "
            f"random, where a particle has {coordinates} coordinates; the gain grows as the error "
            f"shrinks, and random ones were run to {self.least:.1e} only."
        )

    def data(self) -> list[dict[str, Any]]:
        """For a file."""
        return [point._asdict() for point in self.points]

    @classmethod
    def read(cls, name: str, data: list[dict[str, Any]]) -> Curve:
        """What `data` gave."""
        return cls(name, tuple(Point(**point) for point in data))
