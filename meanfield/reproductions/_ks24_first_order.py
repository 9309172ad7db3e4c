"""KS24's two timescales where all of W relaxes fast: the distance to the limit, order by order."""

from __future__ import annotations

import warnings

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
from ._setting import Setting

EVEN_SPECTRUM = (1.0, 0.9, 0.8)  # even, so that G and Σμμ have no small eigenvalue at the minimum
BELOW = (0.01, 0.1, 1.0)  # times the threshold: two decades of first order
ABOVE = (2.0, 20.0)  # and the decade just above
DISPLACEMENT = 0.1


def first_order(setting: Setting, particles: int, *, progress: bool = False) -> Result:
    """Slopes of the distance to the reduced flow on both sides of the threshold."""
    landscape, minimum = setting.landscape, setting.saddle((), particles)
    key = jax.random.fold_in(setting.key, 3)
    noise = isotropic(key, landscape, minimum, DISPLACEMENT)
    start = displaced(minimum, noise)
    threshold = timescale_threshold(landscape, start)
    ratios = threshold.ratio * np.array([*BELOW, *ABOVE])
    horizon = 1 / threshold.reduced_rate
    reduced = _end(setting, start, None, horizon, progress)
    gaps = [distance(_end(setting, start, r, horizon, progress), reduced) for r in ratios]
    slopes = np.diff(np.log(gaps)) / np.diff(np.log(ratios))
    below, above = slopes[: len(BELOW) - 1], float(slopes[-1])
    furthest = float(below[np.argmax(np.abs(below - 1))])
    result = Result("First order in the ratio")
    result.claim(
        Claim.within(
            "well-conditioned W: distance to the reduced flow ∝ ε^s over the two decades below "
            f"ε = {threshold.ratio:.2g}, s of the decade furthest from 1",
            "theory 2",
            low=0.95,
            high=1.05,
            measured=furthest,
        ),
        Claim.below(
            "well-conditioned W: s over the decade that begins at twice that ε",
            "theory 2",
            bound=0.9,
            measured=above,
        ),
    )
    listed = ", ".join(f"{gap:.3g} at ε = {r:.2g}" for r, gap in zip(ratios, gaps, strict=True))
    result.text(
        f"Eigenvalues {EVEN_SPECTRUM} of Σ°°, beside the minimum: distances to the reduced flow at "
        f"t = {horizon:.2g} are {listed}. Rule: {rule(threshold)}."
    )
    return result


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
            record=at(),
            progress=progress,
            label="limit" if ratio is None else f"ratio {ratio:.2g}",
        )
    return run.ensemble
