"""KS24's two timescales where all of W relaxes fast: the distance to the limit, order by order."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from landscapes import StartWarning
from particles import Ensemble
from saddle_analysis import displaced, isotropic
from saddle_analysis.sensitivity import TimescaleThreshold, timescale_threshold

from ..flows import GradientFlow, scheme_from
from ..results import Claim, Result
from ..runs import at, simulate
from ._seeds import median_claims
from ._setting import Setting

EVEN_SPECTRUM = (1.0, 0.9, 0.8)  # even, so that G and Σμμ have no small eigenvalue at the minimum
BELOW = (0.01, 0.1, 1.0)  # times the threshold: two decades of first order
ABOVE = (2.0, 20.0)  # and the decade just above
DISPLACEMENT = 0.1


class Ordered(NamedTuple):
    """Distances to the reduced flow beside the minimum of one teacher.

    Args:
        threshold: where they cease to be of first order, by the rule.
        horizon: flow time at which they are measured.
        ratios: ε, those below the threshold first.
        gaps: L²(μ) distances.
    """

    threshold: TimescaleThreshold
    horizon: float
    ratios: np.ndarray
    gaps: list[float]

    @property
    def slopes(self) -> tuple[float, float]:
        """Of log distance in log ε: that furthest from 1 below the threshold, and that above."""
        slopes = np.diff(np.log(self.gaps)) / np.diff(np.log(self.ratios))
        below = slopes[: len(BELOW) - 1]
        return float(below[np.argmax(np.abs(below - 1))]), float(slopes[-1])


def ordered(setting: Setting, particles: int, progress: bool = False) -> Ordered:
    """Flows at ratios on both sides of the threshold, and the reduced flow."""
    landscape, minimum = setting.landscape, setting.saddle((), particles)
    key = jax.random.fold_in(setting.key, 3)
    noise = isotropic(key, landscape, minimum, DISPLACEMENT)
    start = displaced(minimum, noise)
    threshold = timescale_threshold(landscape, start)
    ratios = threshold.ratio * np.array([*BELOW, *ABOVE])
    horizon = 1 / threshold.reduced_rate
    reduced = _end(setting, start, None, horizon, progress)
    gaps = [distance(_end(setting, start, r, horizon, progress), reduced) for r in ratios]
    return Ordered(threshold, horizon, ratios, gaps)


def first_order(settings: Sequence[Setting], particles: int, *, progress: bool = False) -> Result:
    """Slopes of the distance to the reduced flow on both sides of the threshold, over teachers."""
    found = [ordered(setting, particles, progress) for setting in settings]
    result = Result("First order in the ratio")
    result.claim(*median_claims([_slope_claims(one) for one in found], "teachers"))
    first = found[0]
    listed = ", ".join(
        f"{gap:.3g} at ε = {r:.2g}" for r, gap in zip(first.ratios, first.gaps, strict=True)
    )
    result.text(
        f"Eigenvalues {EVEN_SPECTRUM} of Σ°°, beside the minimum of the first teacher: distances "
        f"to the reduced flow at t = {first.horizon:.2g} are {listed}. Rule: "
        f"{rule(first.threshold)}."
    )
    return result


def _slope_claims(found: Ordered) -> list[Claim]:
    below, above = found.slopes
    return [
        Claim.within(
            "well-conditioned W: distance to the reduced flow ∝ ε^s over the two decades below "
            "the threshold, s of the decade furthest from 1",
            "theory 2",
            low=0.95,
            high=1.05,
            measured=below,
        ),
        Claim.below(
            "well-conditioned W: s over the decade that begins at twice the threshold",
            "theory 2",
            bound=0.9,
            measured=above,
        ),
    ]


def distance(one: Ensemble, other: Ensemble) -> float:
    """L²(μ) distance of two ensembles whose particles correspond."""
    return float(one.norm(jax.tree.map(jnp.subtract, one.particles, other.particles)))


def rule(threshold: TimescaleThreshold) -> str:
    """The threshold in words."""
    return (
        "the distance is of first order in ε (slope within 0.05 of 1) below 1/40 of the slowest "
        "relaxation rate of W over the rate of the reduced flow, here "
        f"{threshold.fast_rate:.2g} / {threshold.reduced_rate:.2g} / 40 = {threshold.ratio:.2g}"
    )


def _end(
    setting: Setting, start: Ensemble, ratio: float | None, horizon: float, progress: bool
) -> Ensemble:
    """Where the flow ends that starts at the equilibrium of W; `None` for the reduced flow."""
    scheme = scheme_from("adaptive", rtol=1e-9, atol=1e-11)
    with warnings.catch_warnings():
        # It warns of draws; this start is a construction beside the minimum.
        warnings.simplefilter("ignore", StartWarning)
        run = simulate(
            GradientFlow(setting.landscape, scheme=scheme, ratio=ratio),
            start,
            horizon=horizon,
            dt=1e-3 * horizon,
            record=at(0.0, horizon),  # by the program of the runs that are shown
            progress=progress,
            label="limit" if ratio is None else f"ratio {ratio:.2g}",
        )
    return run.ensemble
