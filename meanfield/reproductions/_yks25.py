"""YKS25: Hessian-guided noise leaves saddles faster than isotropic noise of the same norm."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from landscapes.mlp_attention import benign_threshold, saddle_level
from particles import Ensemble
from saddle_analysis import (
    Eigenpairs,
    HessianOperator,
    displaced,
    isotropic,
    unstable_eigenpairs,
)

from .. import plots
from ..flows import GradientFlow
from ..problems import Count, Seed
from ..reports import escape_result
from ..results import Claim, Result
from ..studies import PerturbedRun, simulate_perturbed
from ._base import Reproduction
from ._seeds import median_claims, over_seeds
from ._setting import Setting, several_teachers

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

SPECTRUM = (1.0, 0.5, 0.2)
MISSING = (2,)
NORM, OFFSET = 1e-3, 1e-7  # of every perturbation, and from the saddle before it; L²(μ)
TITLES = ("Perturbations of equal norm", "The perturbed flow")


@dataclass(frozen=True)
class YKS25Options:
    """Options of the reproduction of YKS25."""

    seed: Seed = 0
    """Of every random draw."""
    teachers: Count = 8
    """Teachers, over which medians are taken; each with a saddle of its own."""
    seeds: Count = 4
    """Runs for each kind of perturbation and each teacher."""
    particles: Count = 72
    """Number N of particles."""
    samples: Count = 512
    """Number M of samples."""


class Saddle(NamedTuple):
    """The saddle of one teacher, and the ways down from it.

    Args:
        flow: of its landscape.
        point: the saddle.
        pairs: its unstable eigenpairs.
        key: of perturbations and runs.
    """

    flow: GradientFlow
    point: Ensemble
    pairs: Eigenpairs
    key: Key[Array, ""]

    @property
    def rate(self) -> float:
        """Rate of the fastest way down, |λ_min|."""
        return -float(self.pairs.values[0])

    @classmethod
    def of(cls, setting: Setting, particles: int) -> Saddle:
        """The one of a teacher."""
        point = setting.saddle(MISSING, particles)
        flow = GradientFlow(setting.landscape, scheme="adaptive")
        pairs = unstable_eigenpairs(HessianOperator(flow.landscape, point, chunk=flow.chunk))
        return cls(flow, point, pairs, jax.random.fold_in(setting.key, 25))


def parts(options: YKS25Options, progress: bool = False) -> Iterator[Result]:
    """Time to leave by kind of perturbation at equal norm, and the perturbed flow itself."""
    settings = several_teachers(options.seed, options.teachers, options.samples, SPECTRUM)
    saddles = [Saddle.of(setting, options.particles) for setting in settings]
    yield perturbations(saddles, options.seeds, progress=progress)
    yield perturbed_flow(saddles, progress=progress)


def perturbations(saddles: Sequence[Saddle], seeds: int, *, progress: bool = False) -> Result:
    """All kinds of perturbation at the saddles of several teachers; figures of the first one."""
    found = [
        escape_result(
            saddle.flow,
            saddle.point,
            saddle.pairs,
            key=saddle.key,
            norm=NORM,
            offset=OFFSET,
            seeds=seeds,
            level=saddle_level(SPECTRUM, MISSING),
            progress=progress,
        )
        for saddle in saddles
    ]
    result = Result(TITLES[0])
    result.claim(*median_claims([one.claims for one in found], "teachers"))
    if len(saddles) > 1:
        result.text("Of the first teacher:")
    found[0].claims.clear()
    return result.extend(found[0])


def perturbed_flow(saddles: Sequence[Saddle], *, progress: bool = False) -> Result:
    """The flow that perturbs itself where it stalls, started beside every saddle."""
    runs = [_perturbed(saddle, progress) for saddle in saddles]
    firsts = [run.events[0].time if run.events else math.nan for run in runs]
    ends = [float(run.trajectory["loss"][-1]) for run in runs]
    threshold = benign_threshold(SPECTRUM)
    loss, spread = over_seeds(ends, "teachers")
    result = Result(TITLES[1])
    result.trajectory(runs[0].trajectory)
    result.claim(
        Claim.equal(
            "the perturbed flow notices the saddle at once: latest time of a first perturbation",
            "YKS25; theory 3",
            0.0,
            float(np.max(firsts)),
            absolute=1e-9,
        ),
        Claim.below(
            f"the perturbed flow ends in the benign region: final loss ({spread})",
            "YKS25; KS24",
            bound=threshold,
            measured=loss,
        ),
    )
    inside = sum(end < threshold for end in ends)
    escapes = sum(event.what == "escaped" for event in runs[0].events)
    history = [f"- t = {event.time:.4g}: {event.statement}" for event in runs[0].events]
    result.text(
        f"{inside} of {len(runs)} runs, one a teacher, end in the benign region. The first: "
        f"{escapes} escape(s). {runs[0].message}\n\n" + "\n".join(history)
    )
    levels = {"missing {3}": saddle_level(SPECTRUM, MISSING), "minimum": 0.0}
    result.figure(
        "perturbed",
        "Loss along the perturbed flow, started beside the saddle, one line a teacher.",
        functools.partial(
            draw_losses,
            trajectories=[
                run.trajectory.assign_coords(time=run.trajectory["time"] * saddle.rate)
                for run, saddle in zip(runs, saddles, strict=True)
            ],
            levels=levels,
        ),
    )
    return result


def _perturbed(saddle: Saddle, progress: bool) -> PerturbedRun:
    rate = saddle.rate
    key_start, key_run = jax.random.split(jax.random.fold_in(saddle.key, 1))
    noise = isotropic(key_start, saddle.flow.landscape, saddle.point, OFFSET)
    return simulate_perturbed(
        saddle.flow,
        displaced(saddle.point, noise),
        key=key_run,
        horizon=600 / rate,
        dt=0.01 / rate,
        window=30 / rate,
        norm=NORM,
        tolerance=1e-3,
        threshold=0.01,
        progress=progress,
    )


def draw_losses(ax: Axes, trajectories: Sequence[xarray.Dataset], levels: dict[str, float]) -> None:
    """Losses of all teachers; times in units of 1/|λ_min|."""
    plots.plot_loss(ax, trajectories[0], levels)
    for index, run in enumerate(trajectories[1:]):
        label = "" if index else "other teachers"
        ax.plot(run["time"], run["loss"], color=plots.MEASURED, lw=0.8, alpha=0.5, label=label)
    ax.set(xlabel=r"flow time × $|\lambda_{\min}|$")
    plots.legend(ax)


YKS25 = Reproduction(
    "yks25", "Hessian-guided perturbation against the others", YKS25Options, parts, TITLES
)
