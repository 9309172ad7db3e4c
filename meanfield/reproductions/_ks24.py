"""KS24: the critical levels, their saddles, escape, the benign region, and two timescales."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import numpy as np

from landscapes import neuron_start
from landscapes.mlp_attention import (
    benign_threshold,
    missing_name,
    saddle_index,
    saddle_level,
    saddle_levels,
)
from saddle_analysis import (
    HessianOperator,
    criticality_report,
    unstable_eigenpairs,
)
from saddle_analysis.curves import fit_lojasiewicz

from .. import plots
from ..flows import GradientFlow
from ..problems import Count, Seed
from ..reports import growth_result
from ..results import Claim, Result
from ..runs import log_spaced, simulate
from ._base import Reproduction
from ._ks24_first_order import EVEN_SPECTRUM, first_order
from ._ks24_timescales import TIMESCALES, timescales
from ._setting import Setting, several_teachers

if TYPE_CHECKING:
    import xarray

SOURCE = "KS24; theory 2"
SPECTRUM = (1.0, 0.5, 0.2)
MISSING_SETS = [s for size in range(4) for s in itertools.combinations(range(3), size)]
HORIZON = 100.0  # of random starts
ARRIVED = 0.05  # of ½λ_k: where a run counts as at the global minimum
TITLES = (
    "The eight critical levels",
    "Escape from each saddle",
    "Random starts",
    TIMESCALES,
)


@dataclass(frozen=True)
class KS24Options:
    """Options of the reproduction of KS24."""

    seed: Seed = 0
    """Of every random draw."""
    teachers: Count = 8
    """Teachers, over which random starts are spread and medians are taken."""
    seeds: Count = 4
    """Random starts of each teacher."""
    particles: Count = 72
    """Number N of particles."""
    samples: Count = 512
    """Number M of samples."""


def parts(options: KS24Options, progress: bool = False) -> Iterator[Result]:
    """All of KS24's headline results on realisable landscapes with k = 3."""
    settings, evens = (
        several_teachers(options.seed, options.teachers, options.samples, spectrum)
        for spectrum in (SPECTRUM, EVEN_SPECTRUM)
    )
    # Levels, kinds and indices are identities, and a rate is that of its own Hessian: these hold
    # for every teacher alike, and one shows it.
    yield critical_points(settings[0], options.particles)
    yield escapes(settings[0], options.particles, progress=progress)
    yield random_starts(settings, options.particles, options.seeds, progress=progress)
    ordered = first_order(evens, options.particles, progress=progress)
    yield timescales(settings, options.particles, progress=progress).extend(ordered)


def critical_points(
    setting: Setting, particles: int, missing_sets: Sequence[tuple[int, ...]] = MISSING_SETS
) -> Result:
    """Level, kind and Morse index at every missing set."""
    result = Result(TITLES[0])
    predicted, measured = {}, {}
    for missing in missing_sets:
        name, index = missing_name(missing), saddle_index(SPECTRUM, missing)
        found = criticality_report(
            setting.landscape,
            setting.saddle(missing, particles),
            expected=max(index, 1),
            count=max(index, 1),
        )
        predicted[name], measured[name] = saddle_level(SPECTRUM, missing), found.value
        kind = "strict saddle" if missing else "local minimum"
        result.claim(
            Claim.equal(
                f"level of the critical point missing {name}",
                SOURCE,
                predicted[name],
                found.value,
                relative=1e-6,
                absolute=1e-12,
            ),
            Claim.true(
                f"the critical point missing {name} is a {kind}",
                SOURCE,
                found.kind == kind,
                detail=found.kind,
            ),
            Claim.equal(f"Morse index missing {name}", "theory 2", index, found.index),
        )
        result.text(f"- missing {name}: {found.sentence}")
    result.figure(
        "levels",
        "The critical values, named by their missing features.",
        functools.partial(
            plots.plot_predictions,
            predicted=predicted,
            measured=measured,
            quantity="critical loss L(μ)",
        ),
    )
    return result


def escapes(
    setting: Setting,
    particles: int,
    missing_sets: Sequence[tuple[int, ...]] = MISSING_SETS[1:],
    *,
    progress: bool = False,
) -> Result:
    """From every saddle the most unstable component grows at |λ_min|."""
    result = Result(TITLES[1])
    predicted, measured = {}, {}
    flow = GradientFlow(setting.landscape, scheme="adaptive")
    for missing in missing_sets:
        name, saddle = missing_name(missing), setting.saddle(missing, particles)
        pairs = unstable_eigenpairs(
            HessianOperator(flow.landscape, saddle, chunk=flow.chunk),
            expected=saddle_index(SPECTRUM, missing),
        )
        grown = growth_result(flow, saddle, pairs, name=f"missing {name}", progress=progress)
        (claim,) = grown.claims
        result.claim(claim)
        predicted[name], measured[name] = claim.predicted, claim.measured
    result.figure(
        "rates",
        "Escape rates of the saddles, fitted to the flow and predicted by the Hessian.",
        functools.partial(
            plots.plot_predictions,
            predicted=predicted,
            measured=measured,
            quantity="escape rate (1 / time)",
        ),
    )
    return result


def random_starts(
    settings: Sequence[Setting], particles: int, seeds: int, *, progress: bool = False
) -> Result:
    """Random starts with non-zero output mean: none ends at a saddle, all reach the minimum."""
    import xarray

    runs = [_started(setting, particles, seeds, progress) for setting in settings]
    trajectory = xarray.concat(runs, "seed", join="exact")
    result = Result(TITLES[2])
    result.trajectory(trajectory)
    result.claim(*_arrivals(trajectory))
    result.text(improvement(trajectory))
    levels = {f"missing {missing_name(m)}": v for m, v in saddle_levels(SPECTRUM).items() if m}
    result.figure(
        "random_starts",
        "Random starts with non-zero mean output: some pass close to saddles, none stays.",
        functools.partial(plots.plot_loss, trajectory=trajectory, levels=levels, log=True),
    )
    return result


def _started(setting: Setting, particles: int, seeds: int, progress: bool) -> xarray.Dataset:
    """Several random starts on the landscape of one teacher."""
    landscape = setting.landscape
    keys = jax.random.split(jax.random.fold_in(setting.key, 1), seeds)
    return simulate(
        GradientFlow(landscape, scheme="adaptive"),
        jax.vmap(lambda key: neuron_start(key, landscape, particles))(keys),
        horizon=HORIZON,
        dt=0.01,
        record=log_spaced(0.1, per_decade=25),
        batch=True,
        progress=progress,
        label="random starts",
    ).trajectory


def _arrivals(trajectory: xarray.Dataset) -> list[Claim]:
    """Where the random starts end."""
    loss = trajectory["loss"].values
    seeds = loss.shape[1]
    threshold = benign_threshold(SPECTRUM)
    levels = np.array([level for missing, level in saddle_levels(SPECTRUM).items() if missing])
    distance = np.min(np.abs(loss[-1][:, None] - levels), axis=1)
    still = trajectory["gradient_norm"].values[-1] < 1e-3
    entered = np.any(loss < threshold, axis=0)
    return [
        Claim.equal(
            f"random starts that end at a saddle, of {seeds}",
            SOURCE,
            0,
            int(np.sum(still & (distance < 0.01 * threshold))),
        ),
        Claim.equal(
            f"random starts that enter the benign region, of {seeds}",
            SOURCE,
            seeds,
            int(entered.sum()),
        ),
        Claim.below(
            f"every run below ½λ_k ends at the minimum: largest final loss (within {ARRIVED:.0%} "
            "of ½λ_k)",
            SOURCE,
            bound=ARRIVED * threshold,
            measured=float(np.max(loss[-1][entered], initial=-math.inf)),
        ),
    ]


def improvement(trajectory: xarray.Dataset) -> str:
    """The rate of improvement near the minimum, −dL/dt ∝ L^(2θ), over the last decade of time."""
    late = trajectory.sel(time=slice(trajectory["time"].values[-1] / 10, None))
    pairs = zip(late["loss"].values.T, late["dissipation_rate"].values.T, strict=True)
    exponents = np.array([fit_lojasiewicz(loss, rate, 0.0).exponent for loss, rate in pairs])
    middle, low, high = np.median(exponents), exponents.min(), exponents.max()
    course = f"t^−{1 / (2 * middle - 1):.2f}" if middle > 0.5 else "an exponential"
    return (
        f"Improvement rate near the minimum: −dL/dt ∝ L^(2θ) with local Łojasiewicz exponent θ = "
        f"{middle:.3f} (median of {exponents.size} runs, {low:.3f} to {high:.3f}), so L falls as "
        f"{course}."
    )


KS24 = Reproduction(
    "ks24",
    "the attention landscape: levels, saddles, escape, timescales",
    KS24Options,
    parts,
    TITLES,
)
