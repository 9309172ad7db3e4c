"""Growth of an unstable component: its linear window, its rate, and whether it is exponential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from particles import InvalidInput

from ._line import fit_line

Kind = Literal["exponential", "hyperbolic", "none"]


@dataclass(frozen=True)
class GrowthFit:
    """A fitted law of growth.

    Args:
        kind: `"exponential"` (v' = λv), `"hyperbolic"` (v' = a v², degenerate saddles), or
            `"none"` when no stretch grows by at least the asked factor.
        rate: λ in 1/time, or a in 1/(time × amplitude).
        interval: confidence interval of the rate, from scatter and from curvature over the window.
        window: first and last time of the stretch the rate was fitted on.
        factor: growth over that stretch.
        residual: root mean square deviation of log v from the law.
    """

    kind: Kind
    rate: float
    interval: tuple[float, float]
    window: tuple[float, float]
    factor: float
    residual: float

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.kind == "none":
            return "No stretch of the record grows steadily: neither exponentially nor faster."
        law = "e^{λt}, λ" if self.kind == "exponential" else "1/(t* − t), coefficient"
        low, high = self.interval
        return (
            f"Growth is {self.kind} ({law} = {self.rate:.6g}, between {low:.6g} and {high:.6g}) "
            f"over a factor of {self.factor:.3g}, t = {self.window[0]:.4g} to {self.window[1]:.4g}."
        )

    def __str__(self) -> str:
        """The sentence."""
        return self.sentence


def fit_growth(
    times: Float[np.ndarray, " times"],
    amplitude: Float[np.ndarray, " amplitudes"],
    *,
    tolerance: float = 0.01,
    min_factor: float = 3.0,
    confidence: float = 0.95,
) -> GrowthFit:
    """Find the stretch of steady growth of an unstable component and fit its law.

    Every window of the record is tried with log v linear in t (exponential) and 1/v linear in t
    (hyperbolic); a window is good if log v stays within `tolerance` of the law (or within the
    record's own scatter). The law that explains the largest growth wins. So the noise floor
    before and the saturation after need not be cut off by hand.

    Args:
        times: increasing; any spacing.
        amplitude: size of the unstable component, e.g. |⟨u, θ − θ*⟩|; its sign does not matter.
        tolerance: root mean square deviation of log v allowed in a window.
        min_factor: least growth over a window that counts.
        confidence: of the interval.

    Raises:
        InvalidInput: fewer than five records, times that do not increase, or non-finite numbers.

    Example:
        >>> t = np.linspace(0, 10, 200)
        >>> fit = fit_growth(t, 1e-6 * np.exp(2 * t) / (1 + 1e-6 * np.exp(2 * t)))
        >>> fit.kind, round(fit.rate, 1)
        ('exponential', 2.0)
    """
    t, v = _checked(times, amplitude)
    positive = v > 0
    t, v = t[positive], v[positive]
    nothing = GrowthFit("none", 0.0, (0.0, 0.0), (float(times[0]), float(times[-1])), 1.0, 0.0)
    if t.size < 5:
        return nothing
    keep = np.unique(np.linspace(0, t.size - 1, min(t.size, 400)).astype(int))
    fits = [
        fit
        for kind in ("exponential", "hyperbolic")
        if (fit := _best(kind, t, v, keep, tolerance, min_factor, confidence)) is not None
    ]
    return max(fits, key=lambda fit: fit.factor, default=nothing)


def _best(
    kind: Kind,
    t: np.ndarray,
    v: np.ndarray,
    keep: np.ndarray,
    tolerance: float,
    min_factor: float,
    confidence: float,
) -> GrowthFit | None:
    """The good window of largest growth under one law."""
    x, y = t[keep], np.log(v[keep])
    # Weighted least squares of z on x, weights chosen so that residuals are those of log v.
    exponential = kind == "exponential"
    z = y if exponential else -1 / v[keep]
    weight = np.ones_like(z) if exponential else v[keep] ** 2
    slope, deviation = _all_windows(x, z, weight)
    first, last = np.indices(slope.shape)
    growth = y[None, :] - y[:, None]
    allowed = np.maximum(tolerance, _scatter(y)[None, :])
    good = (last - first >= 4) & (growth >= np.log(min_factor)) & (slope > 0)
    good &= deviation <= allowed
    if not good.any():
        return None
    # Among windows nearly as long as the longest, the straightest: away from both ends' bends.
    longest = np.max(np.where(good, growth, -np.inf))
    near = good & (growth >= 0.8 * longest)
    i, j = np.unravel_index(np.argmin(np.where(near, deviation / allowed, np.inf)), slope.shape)
    inside = slice(int(keep[i]), int(keep[j]) + 1)
    rate, half = _rate(t[inside], v[inside], exponential, confidence)
    return GrowthFit(
        kind,
        rate,
        (rate - half, rate + half),
        (float(x[i]), float(x[j])),
        float(np.exp(growth[i, j])),
        float(deviation[i, j]),
    )


def _all_windows(x: np.ndarray, z: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and rms weighted residual of the line through every window [i, j].

    Sums run backwards from j, where hyperbolic weights are largest: every term is then of order
    one, and nothing cancels.
    """
    count = x.size
    slope = np.zeros((count, count))
    deviation = np.full((count, count), np.inf)
    for j in range(4, count):
        xs, zs, ws = (part[j::-1] for part in (x - x[j], z - z[j], w))
        s0, s1, s2 = np.cumsum(ws), np.cumsum(ws * xs), np.cumsum(ws * xs * xs)
        r0, r1, r2 = np.cumsum(ws * zs), np.cumsum(ws * xs * zs), np.cumsum(ws * zs * zs)
        spread = s2 - s1 * s1 / s0
        cross = r1 - s1 * r0 / s0
        safe = np.where(spread > 0, spread, 1)
        rest = np.maximum(r2 - r0 * r0 / s0 - cross * cross / safe, 0)
        rms = np.sqrt(rest / np.maximum(np.arange(1, j + 2) - 2, 1))
        slope[: j + 1, j] = np.where(spread > 0, cross / safe, 0)[::-1]
        deviation[: j + 1, j] = np.where(spread > 0, rms, np.inf)[::-1]
    return slope, deviation


def _rate(
    t: np.ndarray, v: np.ndarray, exponential: bool, confidence: float
) -> tuple[float, float]:
    """Slope over a window, and its half-width: statistical, and the disagreement of its halves."""
    z, w = (np.log(v), np.ones_like(v)) if exponential else (-1 / v, v**2)
    whole = fit_line(t, z, w)
    halves = 0.0
    if t.size >= 8:
        middle = t.size // 2
        first = fit_line(t[:middle], z[:middle], w[:middle])
        second = fit_line(t[middle:], z[middle:], w[middle:])
        halves = abs(first.slope - second.slope) / 2
    return whole.slope, float(np.hypot(whole.half_width(confidence), halves))


def _scatter(y: np.ndarray) -> np.ndarray:
    """Local scatter of log v at every record, from the second differences around it."""
    bends = np.abs(np.diff(y, 2)) / np.sqrt(6)
    padded = np.pad(bends, 1, mode="edge")
    width = max(5, y.size // 10)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(padded, (width // 2, width - 1 - width // 2), "edge"), width
    )
    local = 1.4826 * np.median(windows, axis=1)
    # A noise floor scatters by order one: never accept that much as a straight line.
    return np.minimum(1.5 * local, 0.15)


def _checked(times: np.ndarray, amplitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    t, v = np.asarray(times, float), np.abs(np.asarray(amplitude, float))
    if t.ndim != 1 or t.shape != v.shape or t.size < 5:
        raise InvalidInput(
            f"times has shape {t.shape} and amplitude {v.shape}; give two equal-length records of "
            "at least 5 entries."
        )
    if not (np.isfinite(t).all() and np.isfinite(v).all()):
        raise InvalidInput("times and amplitude must be finite; cut the record before it blows up.")
    if not np.all(np.diff(t) > 0):
        raise InvalidInput("times must increase strictly.")
    return t, v
