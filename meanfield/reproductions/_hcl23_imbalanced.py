"""HCL23, one dominant feature: which query converges when, and through which phases."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import jax
import numpy as np
from jaxtyping import Array, Key

from landscapes.softmax_attention import (
    SoftmaxAttentionLandscape,
    feature_probabilities,
    query_floor,
    softmax_head_start,
    starting_velocity,
)

from .. import plots
from ..flows import GradientFlow
from ..problems import Count, Range, Seed
from ..reports import exponent_claims
from ..results import Claim, Result
from ..studies import (
    SoftmaxImbalance,
    convergence_study,
    softmax_imbalance_study,
)
from ._base import Reproduction
from ._hcl23 import (
    ATTENTION,
    CONVERGED,
    DOMINANT,
    SOURCE,
    TOKENS,
    attention_panels,
    descend,
    learning_rate,
    near_zero,
    phase_names,
    plateau,
    sampled,
    stages,
)
from ._hcl23_curvature import run_curvature
from ._seeds import median_claims, seed_keys

if TYPE_CHECKING:
    import xarray

SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
PHASES = ["turning away", "turning point", "growth", "convergence"]
HEADS = 8
FEW = 6  # features where many heads are studied
TITLES = (
    "Training on sampled prompts",
    "Convergence against the imbalance",
    "Curvature at the start and on the plateau",
    "Several heads",
    "Many heads",
)


@dataclass(frozen=True)
class HCL23ImbalancedOptions:
    """Options of the reproduction of HCL23 with one dominant feature."""

    seed: Seed = 0
    """Of every random draw."""
    features: Annotated[int, Range(4, 10**4)] = 20
    """Number K of features."""
    samples: Count = 512
    """Number of sampled prompts."""
    seeds: Count = 8
    """Sets of prompts, and sets of random heads, over which medians are taken."""


def parts(options: HCL23ImbalancedOptions, progress: bool = False) -> Iterator[Result]:
    """One feature makes up half of the tokens."""
    features, keys = options.features, seed_keys(jax.random.key(options.seed), options.seeds)
    yield training(keys, features, options.samples, progress=progress)
    yield imbalance(features, progress=progress)  # nothing random in the large-prompt limit
    yield run_curvature(features, progress=progress)  # nor here
    yield several_heads(keys, features, progress=progress)
    yield many_heads(options.seed, progress=progress)


def training(
    keys: Key[Array, " seeds"], features: int, samples: int, *, progress: bool = False
) -> Result:
    """Gradient descent from Q = 0: the dominant query first, the others through four phases.

    Claims are medians over sets of prompts, figures those of the first.
    """
    probabilities = feature_probabilities(features, DOMINANT)
    horizon = 60.0 * features**2
    runs = [
        descend(sampled(key, probabilities, samples), horizon, progress=progress) for key in keys
    ]
    trajectory = runs[0].trajectory
    dominant, query, *_ = stages(trajectory)
    t = trajectory["time"].values
    floor = float(query_floor(probabilities, TOKENS)[1])
    lacking = float((1 - probabilities[1]) ** TOKENS)
    result = Result(TITLES[0])
    result.trajectory(trajectory)
    found = [_training_claims(run.trajectory, probabilities) for run in runs]
    result.claim(*median_claims(found, "sets of prompts"))
    result.text(
        f"First set of prompts: dominant {dominant}. Under-represented {query}. "
        f"{learning_rate(runs[0])} A share {lacking:.2g} of prompts lacks the feature that an "
        f"under-represented query asks for; they leave a loss between {lacking / 2:.2g} and "
        f"{lacking:.2g}, {floor:.2g} if attention is shared as at the start."
    )
    result.figure(
        "training",
        f"One dominant feature: p₁ = {DOMINANT}, K = {features}, {TOKENS} tokens, {samples} "
        "prompts.",
        functools.partial(
            plots.plot_query_losses,
            trajectory=trajectory,
            stages=query,
            theory={"floor of an under-represented query": floor},
        ),
        functools.partial(plots.plot_logits, trajectory=trajectory, stages=query),
    )
    times = [0.0, t[plateau(trajectory)], *query.boundaries[1:], t[-1]]
    result.figure("attention", ATTENTION, *attention_panels(trajectory, times), width=4.4)
    return result


def _training_claims(trajectory: xarray.Dataset, probabilities: np.ndarray) -> list[Claim]:
    """Order, phases, the first steps, and the plateau."""
    dominant, *others = stages(trajectory)
    losses = trajectory["query_loss"].values
    velocity = starting_velocity(probabilities, TOKENS)
    early = -trajectory["B"].values[1, 1:, 0].mean() / trajectory["A"].values[1, 1:].mean()
    return [
        Claim.below(
            "the dominant query converges before every other: its time over their earliest",
            SOURCE,
            bound=1.0,
            measured=dominant.converges / min(query.converges for query in others),
        ),
        Claim.true(
            "the dominant query goes through growth and convergence only",
            SOURCE,
            phase_names(dominant) == PHASES[2:],
            detail=", ".join(phase_names(dominant)),
        ),
        Claim.equal(
            "under-represented queries that go through all four phases, in order",
            SOURCE,
            len(others),
            sum(phase_names(query) == PHASES for query in others),
        ),
        Claim.equal(
            "phase I: B_k1 falls faster than A_k grows, by the factor",
            SOURCE,
            -velocity[1, 0] / velocity[1, 1],
            early,
            relative=0.1,
        ),
        Claim.below(
            f"plateau: share of any other query's loss that is gone once the dominant one's is at "
            f"{CONVERGED:.0%}",
            SOURCE,
            bound=0.15,
            measured=float(1 - (losses[plateau(trajectory), 1:] / losses[0, 1:]).min()),
        ),
        near_zero(trajectory, bound=0.02),
    ]


def imbalance(features: int, *, progress: bool = False) -> Result:
    """Convergence times against p₁ in the large-prompt limit."""
    study = softmax_imbalance_study(features, SHARES, progress=progress)
    result = Result(TITLES[1])
    result.claim(*_imbalance_claims(study))
    result.text(
        f"Under-represented convergence time against p_k: {study.law}. With all attention turned "
        "away from the dominant token a query's own share is 1/(K − 1) and A_k grows at "
        "p_k/(K − 1); with none turned away it is p_k and A_k grows at p_k²."
    )
    result.figure(
        "imbalance",
        "The dominant query is fast throughout; the others slow down as they become rare.",
        functools.partial(plots.plot_softmax_imbalance, study=study),
    )
    return result


def _imbalance_claims(study: SoftmaxImbalance) -> list[Claim]:
    velocities = [
        starting_velocity(feature_probabilities(study.features, float(share)))
        for share in study.dominant
    ]
    return [
        Claim.below(
            "dominant over under-represented convergence time, largest over p₁",
            SOURCE,
            bound=1.0,
            measured=float(np.max(study.dominant_times / study.other_times)),
        ),
        Claim.equal(
            "imbalances with four phases: those where p₁(p₁ + p_k − Σp²) > p_k(1 − 2p_k + Σp²)",
            "theory 6",
            sum(bool(-velocity[1, 0] > velocity[1, 1]) for velocity in velocities),
            int(np.sum(study.phases == len(PHASES))),
        ),
        Claim.within(
            "exponent of the under-represented time in p_k, between no attention turned away (−2) "
            "and all of it (−1)",
            "theory 6",
            low=-2.0,
            high=-1.0,
            measured=study.law.exponent,
        ),
    ]


def several_heads(keys: Key[Array, " seeds"], features: int, *, progress: bool = False) -> Result:
    """I.i.d. heads whose attention is averaged converge in the same order."""
    landscape = SoftmaxAttentionLandscape.of_length(feature_probabilities(features, DOMINANT))
    starts = jax.vmap(
        lambda key: softmax_head_start(jax.random.fold_in(key, 3), landscape, HEADS, scale=0.5)
    )(keys)
    run = descend(landscape, 60.0 * features**2, starts=starts, progress=progress)
    runs = [run.trajectory.isel(seed=seed) for seed in range(len(keys))]
    result = Result(TITLES[3])
    result.dataset("heads", runs[0])
    result.claim(*median_claims([_head_claims(one, features) for one in runs], "starts"))
    result.figure(
        "heads",
        f"{HEADS} heads from a random start, their attention averaged; large-prompt limit.",
        functools.partial(plots.plot_query_losses, trajectory=runs[0], stages=stages(runs[0])[1]),
    )
    return result


def _head_claims(trajectory: xarray.Dataset, features: int) -> list[Claim]:
    dominant, *others = stages(trajectory)
    return [
        Claim.below(
            f"with {HEADS} i.i.d. heads too the dominant query converges first: its time over the "
            "others' earliest",
            SOURCE,
            bound=1.0,
            measured=dominant.converges / min(query.converges for query in others),
        ),
        Claim.equal(
            f"with {HEADS} heads, queries that converge",
            SOURCE,
            features,
            sum(math.isfinite(query.converges) for query in (dominant, *others)),
        ),
    ]


def many_heads(
    seed: int, sizes: Sequence[int] = (8, 16, 32, 64, 128), *, progress: bool = False
) -> Result:
    """N → ∞: how fast the average over i.i.d. heads approaches its mean-field limit."""
    landscape = SoftmaxAttentionLandscape.of_length(feature_probabilities(FEW, DOMINANT))
    study = convergence_study(
        GradientFlow(landscape),
        lambda key, size: softmax_head_start(key, landscape, size, scale=1.0),
        key=jax.random.key(seed + 4),
        horizon=40.0,
        dt=4.0,
        sizes=sizes,
        seeds=8,
        times=1,
        transport=0,
        progress=progress,
    )
    result = Result(TITLES[4])
    result.claim(*exponent_claims(study))
    lines = [f"- {name}: {fit.statement}" for name, fit in study.exponents.items()]
    result.text("N → ∞, heads as particles:\n\n" + "\n".join(lines))
    return result


HCL23_IMBALANCED = Reproduction(
    "hcl23-imbalanced",
    "softmax attention, one dominant feature",
    HCL23ImbalancedOptions,
    parts,
    TITLES,
)
