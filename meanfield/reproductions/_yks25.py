"""YKS25: Hessian-guided noise leaves saddles faster than isotropic noise of the same norm."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import jax
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
from ..studies import simulate_perturbed
from ._base import Reproduction
from ._setting import realisable

SPECTRUM = (1.0, 0.5, 0.2)
MISSING = (2,)
NORM, OFFSET = 1e-3, 1e-7  # of every perturbation, and from the saddle before it; L²(μ)
TITLES = ("Perturbations of equal norm", "The perturbed flow")


@dataclass(frozen=True)
class YKS25Options:
    """Options of the reproduction of YKS25."""

    seed: Seed = 0
    """Of every random draw."""
    seeds: Count = 32
    """Runs for each kind of perturbation."""
    particles: Count = 72
    """Number N of particles."""
    samples: Count = 512
    """Number M of samples."""


def parts(options: YKS25Options, progress: bool = False) -> Iterator[Result]:
    """Time to leave by kind of perturbation at equal norm, and the perturbed flow itself."""
    setting = realisable(
        options.seed, dim=5, samples=options.samples, teacher_neurons=12, spectrum=SPECTRUM
    )
    saddle = setting.saddle(MISSING, options.particles)
    flow = GradientFlow(setting.landscape, scheme="adaptive")
    pairs = unstable_eigenpairs(HessianOperator(flow.landscape, saddle, chunk=flow.chunk))
    key = jax.random.fold_in(jax.random.key(options.seed), 25)
    yield escape_result(
        flow,
        saddle,
        pairs,
        key=key,
        norm=NORM,
        offset=OFFSET,
        seeds=options.seeds,
        level=saddle_level(SPECTRUM, MISSING),
        progress=progress,
    )
    yield perturbed_flow(flow, saddle, pairs, key=jax.random.fold_in(key, 1), progress=progress)


def perturbed_flow(
    flow: GradientFlow,
    saddle: Ensemble,
    pairs: Eigenpairs,
    *,
    key: Key[Array, ""],
    progress: bool = False,
) -> Result:
    """The flow that perturbs itself where it stalls, started beside the saddle."""
    rate = -float(pairs.values[0])
    key_start, key_run = jax.random.split(key)
    run = simulate_perturbed(
        flow,
        displaced(saddle, isotropic(key_start, flow.landscape, saddle, OFFSET)),
        key=key_run,
        horizon=600 / rate,
        dt=0.01 / rate,
        window=30 / rate,
        norm=NORM,
        tolerance=1e-3,
        threshold=0.01,
        progress=progress,
    )
    result = Result(TITLES[1])
    result.trajectory(run.trajectory)
    result.claim(
        Claim.equal(
            "the perturbed flow notices the saddle at once: time of its first perturbation",
            "YKS25; theory 3",
            0.0,
            run.events[0].time if run.events else float("nan"),
            absolute=1e-9,
        ),
        Claim.below(
            "the perturbed flow ends in the benign region: final loss",
            "YKS25; KS24",
            bound=benign_threshold(SPECTRUM),
            measured=float(run.trajectory["loss"][-1]),
        ),
    )
    escapes = sum(event.what == "escaped" for event in run.events)
    history = [f"- t = {event.time:.4g}: {event.statement}" for event in run.events]
    result.text(f"{escapes} escape(s). {run.message}\n\n" + "\n".join(history))
    levels = {"missing {3}": saddle_level(SPECTRUM, MISSING), "minimum": 0.0}
    result.figure(
        "perturbed",
        "Loss along the perturbed flow, started beside the saddle.",
        functools.partial(plots.plot_loss, trajectory=run.trajectory, levels=levels),
    )
    return result


YKS25 = Reproduction(
    "yks25", "Hessian-guided perturbation against the others", YKS25Options, parts, TITLES
)
