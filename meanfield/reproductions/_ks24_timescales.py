"""KS24's two timescales: joint training of (μ, W) beside its limit, over teachers."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax

from landscapes import MLPAttentionLandscape, neuron_start
from particles import Ensemble
from saddle_analysis.sensitivity import TimescaleThreshold, timescale_threshold

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import Run, every, simulate
from ._ks24_first_order import distance, rule
from ._seeds import median_claims
from ._setting import Setting

TIMESCALES, SOURCE = "Two timescales", "KS24; theory 2"
RATIOS = (1.0, 0.1, 0.01, 0.001)


class Compared(NamedTuple):
    """Flows of one teacher at several ratios of timescales, from one start.

    Args:
        reduced: the limit ratio → 0.
        joint: by ratio.
        frozen: with W held.
        threshold: of the ratio, by the rule at the start.
    """

    reduced: Run
    joint: dict[float, Run]
    frozen: Run
    threshold: TimescaleThreshold

    @property
    def gaps(self) -> dict[float, float]:
        """L²(μ) distance of the joint flow's end from the reduced flow's, by ratio."""
        reduced = self.reduced.ensemble
        return {ratio: distance(run.ensemble, reduced) for ratio, run in self.joint.items()}


def compared(setting: Setting, particles: int, progress: bool = False) -> Compared:
    """Joint training of (μ, W) for several ratios, the reduced flow, and frozen W."""
    landscape = setting.landscape
    key = jax.random.fold_in(setting.key, 2)
    start = neuron_start(key, landscape, particles, output_mean=2.0)
    return Compared(
        _trained(landscape, start, None, progress),
        {ratio: _trained(landscape, start, ratio, progress) for ratio in RATIOS},
        _trained(landscape, start, math.inf, progress),
        timescale_threshold(landscape, start),
    )


def timescales(settings: Sequence[Setting], particles: int, *, progress: bool = False) -> Result:
    """How far joint training is from its limit, medians over teachers; figures of the first."""
    found = [compared(setting, particles, progress) for setting in settings]
    result = Result(TIMESCALES)
    result.claim(*median_claims([_timescale_claims(one) for one in found], "teachers"))
    first = found[0]
    result.text(_relaxation(first))
    runs = {f"joint, ε = {ratio:g}": run.trajectory for ratio, run in first.joint.items()}
    result.figure(
        "timescales",
        "Joint training approaches the reduced flow as the ratio of timescales shrinks.",
        functools.partial(
            plots.plot_timescales,
            trajectories={"frozen W": first.frozen.trajectory, **runs},
            limits={"limit ε → 0": first.reduced.trajectory},
        ),
    )
    return result


def _timescale_claims(found: Compared) -> list[Claim]:
    gaps = found.gaps
    ends = [float(run.trajectory["loss"][-1]) for run in (found.reduced, found.frozen)]
    return [
        *[
            Claim.below(
                f"the joint flow at ε = {fine:g} is nearer to the reduced flow than at ε = "
                f"{coarse:g}: ratio of distances",
                SOURCE,
                bound=1.0,
                measured=gaps[fine] / gaps[coarse],
            )
            for coarse, fine in itertools.pairwise(RATIOS)
        ],
        Claim.below(
            "the reduced flow ends below frozen W: ratio of losses",
            "KS24",
            bound=1.0,
            measured=ends[0] / ends[1],
        ),
    ]


def _trained(
    landscape: MLPAttentionLandscape, start: Ensemble, ratio: float | None, progress: bool
) -> Run:
    """Joint training at a ratio of timescales; `None` for the limit ratio → 0."""
    # A fast variable that starts off its equilibrium, so that its speed matters.
    fast = 0.5 * landscape.solve_fast(landscape.moments(start))
    return simulate(
        GradientFlow(landscape, scheme="adaptive", ratio=ratio),
        start,
        horizon=4.0,
        dt=1e-4,
        fast=None if ratio is None else fast,
        record=every(0.05),
        progress=progress,
        label="limit" if ratio is None else f"ratio {ratio:g}",
    )


def _relaxation(found: Compared) -> str:
    """Distances from the reduced flow, and the rule for where they become linear in ε."""
    distances = ", ".join(f"{gap:.3g} at ε = {ratio:g}" for ratio, gap in found.gaps.items())
    return (
        "First teacher: L²(μ) distance of the joint flow's end from the reduced flow's: "
        f"{distances}. Rule at the start, where Σ°μ is nearly singular: {rule(found.threshold)}."
    )
