"""Exact laws of diffusion: the variance of heat seen through a kernel, and Barenblatt's profile."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from particles import InvalidInput


def heat_variance(
    times: Float[np.ndarray, " times"], start: float = 1.0, width: float = 0.0, pull: float = 0.0
) -> Float[np.ndarray, " times"]:
    """Variance s of each coordinate: s' = 2 (1 − ε⁴/(s + ε²)²) − 2λs from a normal law.

    Exact for ε = 0; for a kernel of width ε up to the change of shape, which is of higher order.
    (theory.md, section 11)

    Args:
        times: increasing, from 0.
        start: s at time 0.
        width: ε.
        pull: λ of the potential ½λ‖x‖².

    Example:
        >>> heat_variance(np.array([0.0, 1.0])).round(6).tolist()
        [1.0, 3.0]
    """
    from scipy.integrate import solve_ivp

    def slope(_: float, s: np.ndarray) -> np.ndarray:
        return 2 * (1 - (width**2 / (s + width**2)) ** 2) - 2 * pull * s

    span = (0.0, float(times[-1]))
    found = solve_ivp(slope, span, [start], t_eval=times, rtol=1e-11, atol=1e-13, method="DOP853")
    return found.y[0]


@dataclass(frozen=True)
class Barenblatt:
    """The porous medium, ∂μ = Δμ^m, that spreads from a point: ρ = t^(−α) (C − kξ²)₊^(1/(m−1)).

    ξ = ‖x‖ t^(−α/d); the mass is one. (theory.md, section 11; VAZ07)

    Args:
        dim: d.
        exponent: m > 1.

    Raises:
        InvalidInput: an argument out of range.

    Example:
        >>> line = Barenblatt(dim=1)
        >>> round(line.second_moment(8.0) / line.second_moment(1.0), 6)
        4.0
    """

    dim: int = 1
    exponent: float = 2.0

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise InvalidInput(f"dim is {self.dim}; it must be at least 1.")
        if not 1 < self.exponent < math.inf:
            raise InvalidInput(f"exponent is {self.exponent}; the profile has an edge for m > 1.")

    @property
    def alpha(self) -> float:
        """Exponent of the decay of the density in time."""
        return self.dim / (self.dim * (self.exponent - 1) + 2)

    def density(self, x: Float[np.ndarray, "... dim"], time: float) -> Float[np.ndarray, "..."]:
        """ρ at points."""
        d, q, (top, k) = self.dim, 1 / (self.exponent - 1), self._profile
        square = np.sum(np.asarray(x) ** 2, axis=-1) * time ** (-2 * self.alpha / d)
        return time**-self.alpha * np.maximum(top - k * square, 0) ** q

    def radius(self, time: float) -> float:
        """Of the support."""
        top, k = self._profile
        return math.sqrt(top / k) * time ** (self.alpha / self.dim)

    def second_moment(self, time: float) -> float:
        """∫ ‖x‖² dμ = R² d/(d + 2 + 2/(m − 1))."""
        return self.radius(time) ** 2 * self.dim / (self.dim + 2 + 2 / (self.exponent - 1))

    @property
    def _profile(self) -> tuple[float, float]:
        """C, by the mass, and k."""
        d, m = self.dim, self.exponent
        q, k = 1 / (m - 1), self.alpha * (m - 1) / (2 * d * m)
        ball = (math.pi / k) ** (d / 2) * math.gamma(q + 1) / math.gamma(q + 1 + d / 2)
        return ball ** (-1 / (q + d / 2)), k
