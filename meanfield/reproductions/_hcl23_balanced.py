"""HCL23, balanced features: two phases, their lengths against K, the tail, the floor."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from landscapes.softmax_attention import (
    BalancedSoftmax,
    SoftmaxAttentionLandscape,
    feature_probabilities,
)
from saddle_analysis.curves import QueryStages

from .. import plots
from ..flows import GradientFlow
from ..problems import Count, Range, Seed
from ..results import Claim, Result
from ..runs import Run, log_spaced, simulate
from ..studies import (
    SoftmaxGrowth,
    SoftmaxTail,
    softmax_growth_study,
    softmax_tail_study,
    zero_head,
)
from ._base import Reproduction
from ._hcl23 import (
    ATTENTION,
    SOURCE,
    TOKENS,
    attention_panels,
    descend,
    learning_rate,
    near_zero,
    phase_names,
    sampled,
    stages,
)
from ._hcl23_curvature import start_curvature
from ._seeds import median_claims, seed_keys

SIZES = np.array([0.4, 0.6, 0.8, 1.2, 1.6])  # relative to the number of features asked for
SHORT_FEATURES, SHORT_LENGTHS = 4, (4, 8, 16)
BATCH = 64
MOST_PROMPTS = 256  # where times are measured for several K
SETS = "sets of prompts"
TITLES = (
    "Training on sampled prompts",
    "Growth time against the number of features",
    "Tail of the loss",
    "Floor of short prompts",
    "Curvature at the start",
)


@dataclass(frozen=True)
class HCL23BalancedOptions:
    """Options of the reproduction of HCL23 with balanced features."""

    seed: Seed = 0
    """Of every random draw."""
    features: Annotated[int, Range(5, 10**4)] = 20
    """Number K of features."""
    samples: Count = 512
    """Number of sampled prompts."""
    seeds: Count = 8
    """Sets of prompts over which medians are taken."""

    @property
    def sizes(self) -> list[int]:
        """Numbers of features around the one asked for."""
        return [int(size) for size in np.rint(SIZES * self.features)]


def parts(options: HCL23BalancedOptions, progress: bool = False) -> Iterator[Result]:
    """Every feature equally likely."""
    keys = seed_keys(jax.random.key(options.seed), options.seeds)
    yield training(keys, options.features, options.samples, progress=progress)
    yield growth(keys, options.sizes, options.samples, progress=progress)
    # Nothing is random in the large-prompt limit, nor where prompts are enumerated.
    yield tail(options.sizes, progress=progress)
    yield floors(progress=progress)
    yield start_curvature(options.features)


class Trained(NamedTuple):
    """Training on one set of prompts, and on fresh ones at every step."""

    run: Run
    fresh: Run


def training(
    keys: Key[Array, " seeds"], features: int, samples: int, *, progress: bool = False
) -> Result:
    """Gradient descent from Q = 0 on sampled prompts, and on fresh ones at every step.

    Claims are medians over sets of prompts, figures those of the first.
    """
    theory = BalancedSoftmax(features, TOKENS)

    def train(key: Key[Array, ""]) -> Trained:
        landscape = sampled(key, feature_probabilities(features), samples)
        run = descend(landscape, 40.0 * features**2, progress=progress)
        own = jax.random.fold_in(key, 2)
        until = 4 * theory.growth_time()
        return Trained(run, descend(landscape, until, batch=BATCH, key=own, progress=progress))

    found = [train(key) for key in keys]
    trajectory = found[0].run.trajectory
    query = stages(trajectory)[0]
    result = Result(TITLES[0])
    result.trajectory(trajectory)
    result.claim(*median_claims([_training_claims(theory, one) for one in found], SETS))
    result.text(f"Phases of the first query: {query}. {learning_rate(found[0].run)}")
    t = trajectory["time"].values
    result.figure(
        "training",
        f"Balanced features: K = {features}, {TOKENS} tokens, {samples} prompts.",
        functools.partial(
            plots.plot_query_losses,
            trajectory=trajectory,
            stages=query,
            theory={"exact theory": theory.losses(t)},
        ),
        functools.partial(plots.plot_logits, trajectory=trajectory, stages=query),
    )
    times = [0.0, *query.boundaries, t[-1]]
    result.figure("attention", ATTENTION, *attention_panels(trajectory, times), width=4.4)
    return result


def _training_claims(theory: BalancedSoftmax, found: Trained) -> list[Claim]:
    own, fresh = stages(found.run.trajectory), stages(found.fresh.trajectory)
    return [
        near_zero(found.run.trajectory, bound=0.01),
        *_phase_claims(theory, own, fresh),
        *_logit_claims(found.run),
    ]


def _phase_claims(
    theory: BalancedSoftmax, found: list[QueryStages], fresh: list[QueryStages]
) -> list[Claim]:
    """Which phases there are, and when the first one ends."""
    ends = np.array([query.converges for query in found])
    return [
        Claim.equal(
            "queries that go through two phases, growth and convergence",
            SOURCE,
            len(found),
            sum(phase_names(query) == ["growth", "convergence"] for query in found),
        ),
        Claim.equal(
            "end of phase I, mean over queries, against the exact balanced dynamics",
            "theory 6",
            theory.growth_time(),
            float(ends.mean()),
            relative=0.03,
        ),
        Claim.below(
            "all queries converge together: latest over earliest",
            SOURCE,
            bound=1.2,
            measured=ends.max() / ends.min(),
        ),
        Claim.equal(
            f"end of phase I with {BATCH} fresh prompts a step (SGD)",
            "theory 6",
            theory.growth_time(),
            float(np.mean([query.converges for query in fresh])),
            relative=0.1,
        ),
    ]


def _logit_claims(run: Run) -> list[Claim]:
    """What holds of the logits in the end."""
    logits = np.asarray(run.ensemble.particles[0])
    own = np.diagonal(logits)
    return [
        Claim.equal(
            "A_k + Σ_m B_km is conserved: largest deviation",
            "theory 6",
            0.0,
            np.abs(logits.sum(axis=1)).max(),
            absolute=1e-9,
        ),
        Claim.below(
            "B_km stay small: largest |B_km| over smallest A_k, at twice its mean 1/(K − 1)",
            SOURCE,
            bound=2 / (own.size - 1),
            measured=np.abs(logits - np.diag(own)).max() / own.min(),
        ),
    ]


def growth(
    keys: Key[Array, " seeds"], sizes: list[int], samples: int, *, progress: bool = False
) -> Result:
    """Growth time against K, in the large-prompt limit and on sampled prompts."""
    limit = softmax_growth_study(sizes, progress=progress)
    prompts = [
        softmax_growth_study(
            sizes,
            length=TOKENS,
            prompts=min(samples, MOST_PROMPTS),
            key=jax.random.fold_in(key, 1),
            progress=progress,
        )
        for key in keys
    ]
    first = prompts[0]
    result = Result(TITLES[1])
    result.claim(
        _exponent_claim("n → ∞", limit),
        *median_claims([[_exponent_claim(f"n = {TOKENS}", one)] for one in prompts], SETS),
        *_growth_claims(limit),
    )
    result.text(
        f"Growth time ∝ K^b for K = {sizes[0]} to {sizes[-1]}: {limit.law} for n → ∞, "
        f"{first.law} for n = {TOKENS} and the first set of prompts; K² log K would have exponent "
        f"{2 + 1 / math.log(math.sqrt(sizes[0] * sizes[-1])):.2f} here. The exact time is "
        "(K − 1)²/K ∫ dx / (x²(1 − x)³) ≈ K² + 3K log K: as A_k grows, so does its own rate, and "
        "the logarithm of the bound K² log K does not appear."
    )
    studies = {"n → ∞": limit, f"n = {TOKENS}": first}
    result.figure(
        "growth",
        "Phase I takes K² + 3K log K, within HCL23's bound.",
        functools.partial(plots.plot_softmax_growth, studies=studies),
    )
    return result


def _exponent_claim(name: str, study: SoftmaxGrowth) -> Claim:
    return Claim.equal(
        f"exponent of the growth time in K, {name}, against the exact time's",
        "theory 6",
        study.predicted_law.exponent,
        study.law.exponent,
        absolute=0.03,
    )


def _growth_claims(limit: SoftmaxGrowth) -> list[Claim]:
    shares = limit.means / (limit.sizes**2 * np.log(limit.sizes))
    return [
        Claim.below(
            f"growth time over K² log K at K = {limit.sizes[-1]}",
            SOURCE,
            bound=1.0,
            measured=float(shares[-1]),
        ),
        Claim.below(
            f"growth is slower than K² log K: that share over the one at K = {limit.sizes[0]}",
            "theory 6",
            bound=1.0,
            measured=float(shares[-1] / shares[0]),
        ),
    ]


def tail(sizes: list[int], *, progress: bool = False) -> Result:
    """Phase II in the large-prompt limit: L_k = (K − 1)/(4t)."""
    study = softmax_tail_study(sizes, progress=progress)
    result = Result(TITLES[2])
    result.claim(*_tail_claims(study))
    laws = ", ".join(f"K = {k}: {law}" for k, law in zip(study.sizes, study.time_laws, strict=True))
    result.text(f"Tail of L_k in t: {laws}. t·L_k in K − 1: {study.size_law}.")
    result.figure(
        "tail",
        "Phase II: every loss falls like (K − 1)/(4t).",
        functools.partial(plots.plot_softmax_tail, study=study),
    )
    return result


def _tail_claims(study: SoftmaxTail) -> list[Claim]:
    worst = max((law.exponent for law in study.time_laws), key=lambda exponent: abs(exponent + 1))
    return [
        Claim.equal(
            "exponent of L_k in t over the last two decades, the worst K",
            SOURCE,
            -1.0,
            worst,
            absolute=0.02,
        ),
        Claim.equal(
            "exponent of t·L_k in K − 1", SOURCE, 1.0, study.size_law.exponent, absolute=0.01
        ),
        Claim.equal("t·L_k / (K − 1)", "theory 6", 0.25, study.size_law.prefactor, relative=0.03),
        Claim.equal(
            "losses follow the exact dynamics: largest relative deviation",
            "theory 6",
            0.0,
            np.abs(study.losses / study.predicted - 1).max(),
            absolute=1e-3,
        ),
    ]


def floors(*, progress: bool = False) -> Result:
    """Short prompts, by enumeration: what is left are prompts without the queried feature."""
    result = Result(TITLES[3])
    drawn = {}
    for length in SHORT_LENGTHS:
        theory = BalancedSoftmax(SHORT_FEATURES, length)
        landscape = SoftmaxAttentionLandscape.of_length(
            feature_probabilities(SHORT_FEATURES), length
        )
        trajectory = simulate(
            GradientFlow(landscape, scheme="adaptive"),
            zero_head(landscape),
            horizon=1e6,
            dt=0.1,
            record=log_spaced(1.0),
            progress=progress,
            label=f"n = {length}",
        ).trajectory
        t, losses = trajectory["time"].values, trajectory["query_loss"].values[:, 0]
        drawn[length] = (t, losses, theory.losses(t), theory.floor)
        result.dataset(f"floor-{length}", trajectory)
        result.claim(
            Claim.equal(
                f"floor of prompts without the queried feature, K = {SHORT_FEATURES}, n = {length}",
                SOURCE,
                theory.floor,
                losses[-1] - (SHORT_FEATURES - 1) / (4 * t[-1]),
                relative=1e-3,
            )
        )
    result.figure(
        "floors",
        "Short prompts: the loss ends at the probability that the queried feature is missing.",
        functools.partial(plots.plot_floors, runs=drawn),
    )
    return result


HCL23_BALANCED = Reproduction(
    "hcl23-balanced",
    "softmax attention, balanced features",
    HCL23BalancedOptions,
    parts,
    TITLES,
)
