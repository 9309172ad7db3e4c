"""HCL23, balanced features: two phases, their lengths against K, the tail, the floor."""

from __future__ import annotations

import functools
import math
import warnings
from typing import TYPE_CHECKING

import jax
import numpy as np

from landscapes import SoftmaxAttentionLandscape
from landscapes.softmax_attention import (
    BalancedSoftmax,
    feature_probabilities,
    softmax_attention_landscape,
    softmax_head_start,
    starting_velocity,
)
from particles import Ensemble
from saddle_analysis import CriticalityReport, criticality_report
from saddle_analysis.curves import QueryStages, find_stages

from .. import plots
from ..flows import GradientFlow
from ..reports import Report
from ..results import Claim
from ..runs import Run, log_spaced, simulate
from ..studies import growth_study, tail_study

if TYPE_CHECKING:
    import xarray

    from ..cli import Reproduce

SOURCE = "HCL23; theory 6"
TOKENS, LEARNING_RATE = 200, 2.0
SIZES = np.array([0.4, 0.6, 0.8, 1.2, 1.6])  # relative to the number of features asked for
SHORT = {"features": 4, "lengths": (4, 8, 16)}
BATCH = 64


def reproduce_hcl23_balanced(options: Reproduce, report: Report) -> None:
    """Every feature equally likely."""
    options.say("hcl23-balanced 1/4: training on sampled prompts")
    training(options, report)
    options.say("hcl23-balanced 2/4: growth time against K")
    growth(options, report)
    options.say("hcl23-balanced 3/4: the tail, and the floor of short prompts")
    tail(options, report)
    floors(options, report)
    options.say("hcl23-balanced 4/4: criticality of the start")
    start_criticality(options, report)


def training(options: Reproduce, report: Report) -> None:
    """Gradient descent from Q = 0 on sampled prompts, and on fresh ones at every step."""
    size = options.features
    theory = BalancedSoftmax(size, TOKENS)
    landscape = sampled(options, feature_probabilities(size))
    run = descend(options, landscape, horizon=40.0 * size**2)
    trajectory = run.trajectory
    report.trajectory(trajectory)
    found = stages(trajectory)
    starts = np.array([query.converges for query in found])
    fresh = stages(descend(options, landscape, 4 * theory.growth_time(), batch=BATCH).trajectory)
    logits = run.ensemble.particles[0]
    own = np.diagonal(logits)
    others = np.abs(logits - np.diag(own)).max()
    report.claim(
        near_zero(trajectory, bound=0.01),
        Claim.equal(
            "queries that go through two phases, growth and convergence",
            SOURCE,
            size,
            sum([s.name for s in query.stages] == ["growth", "convergence"] for query in found),
        ),
        Claim.equal(
            "end of phase I, mean over queries, against the exact balanced dynamics",
            "theory 6",
            theory.growth_time(),
            float(starts.mean()),
            relative=0.03,
        ),
        Claim.below(
            "all queries converge together: latest over earliest",
            SOURCE,
            bound=1.2,
            measured=starts.max() / starts.min(),
        ),
        Claim.equal(
            f"end of phase I with {BATCH} fresh prompts a step (SGD)",
            "theory 6",
            theory.growth_time(),
            float(np.mean([query.converges for query in fresh])),
            relative=0.1,
        ),
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
            bound=2 / (size - 1),
            measured=others / own.min(),
        ),
    )
    report.text(f"Phases of the first query: {found[0]}. {learning_rate(run)}")
    t = trajectory["time"].values
    report.figure(
        "training",
        f"Balanced features: K = {size}, {TOKENS} tokens, {landscape.counts.shape[0]} prompts.",
        functools.partial(
            plots.plot_query_losses,
            trajectory=trajectory,
            stages=found[0],
            theory={"exact theory": theory.losses(t)},
        ),
        functools.partial(plots.plot_logits, trajectory=trajectory, stages=found[0]),
    )
    attention_maps(report, trajectory, [0.0, *found[0].boundaries, t[-1]])


def growth(options: Reproduce, report: Report) -> None:
    """Growth time against K, in the large-prompt limit and on sampled prompts."""
    sizes = several_sizes(options)
    limit = growth_study(sizes, progress=options.talks)
    prompts = growth_study(
        sizes,
        length=TOKENS,
        prompts=min(options.samples, 256),
        key=jax.random.key(options.seed + 1),
        progress=options.talks,
    )
    ratios = limit.means / (limit.sizes**2 * np.log(limit.sizes))
    report.claim(
        *[
            Claim.equal(
                f"exponent of the growth time in K, {name}, against the exact time's",
                "theory 6",
                study.predicted_law.exponent,
                study.law.exponent,
                absolute=0.03,
            )
            for name, study in (("n → ∞", limit), (f"n = {TOKENS}", prompts))
        ],
        Claim.below(
            f"growth time over K² log K at K = {sizes[-1]}",
            SOURCE,
            bound=1.0,
            measured=float(ratios[-1]),
        ),
        Claim.below(
            f"the bound K² log K is not reached: that ratio against the one at K = {sizes[0]}",
            "theory 6",
            bound=float(ratios[0]),
            measured=float(ratios[-1]),
        ),
    )
    report.text(
        f"Growth time ∝ K^b for K = {sizes[0]} to {sizes[-1]}: {limit.law} for n → ∞, "
        f"{prompts.law} for n = {TOKENS}; K² log K would have exponent "
        f"{2 + 1 / math.log(math.sqrt(sizes[0] * sizes[-1])):.2f} here. The exact time is "
        "(K − 1)²/K ∫ dx / (x²(1 − x)³) ≈ K² + 3K log K: as A_k grows, so does its own rate, and "
        "the logarithm of the bound K² log K does not appear."
    )
    report.figure(
        "growth",
        "Phase I takes K² + 3K log K, within HCL23's bound.",
        lambda ax: plots.plot_growth_study(ax, {"n → ∞": limit, f"n = {TOKENS}": prompts}),
    )


def tail(options: Reproduce, report: Report) -> None:
    """Phase II in the large-prompt limit: L_k = (K − 1)/(4t)."""
    sizes = several_sizes(options)
    study = tail_study(sizes, progress=options.talks)
    worst = max((law.exponent for law in study.time_laws), key=lambda e: abs(e + 1))
    report.claim(
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
    )
    laws = ", ".join(f"K = {k}: {law}" for k, law in zip(sizes, study.time_laws, strict=True))
    report.text(f"Tail of L_k in t: {laws}. t·L_k in K − 1: {study.size_law}.")
    report.figure(
        "tail",
        "Phase II: every loss falls like (K − 1)/(4t).",
        lambda ax: plots.plot_tail_study(ax, study),
    )


def floors(options: Reproduce, report: Report) -> None:
    """Short prompts, by enumeration: what is left are prompts without the queried feature."""
    size = SHORT["features"]
    drawn = {}
    for length in SHORT["lengths"]:
        theory = BalancedSoftmax(size, length)
        landscape = softmax_attention_landscape(feature_probabilities(size), length)
        run = simulate(
            GradientFlow(landscape, scheme="adaptive"),
            softmax_head_start(jax.random.key(0), landscape),
            horizon=1e6,
            dt=0.1,
            record=log_spaced(1.0),
            progress=options.talks,
            label=f"n = {length}",
        )
        t = run.trajectory["time"].values
        losses = run.trajectory["query_loss"].values[:, 0]
        drawn[length] = (t, losses, theory.losses(t), theory.floor)
        report.claim(
            Claim.equal(
                f"floor of prompts without the queried feature, K = {size}, n = {length}",
                "HCL23; theory 6 (multinomial)",
                theory.floor,
                losses[-1] - (size - 1) / (4 * t[-1]),
                relative=1e-3,
            )
        )
    report.figure(
        "floors",
        "Short prompts: the loss ends at the probability that the queried feature is missing.",
        lambda ax: plots.plot_floors(ax, drawn),
    )


def start_criticality(options: Reproduce, report: Report) -> None:
    """The start is no critical point; the landscape curves down once for each query."""
    size = options.features
    probabilities = feature_probabilities(size)
    landscape = softmax_attention_landscape(probabilities)
    found = look(landscape, softmax_head_start(jax.random.key(0), landscape), size + 4)
    report.claim(
        Claim.equal(
            "gradient norm at the start",
            "theory 6",
            float(np.linalg.norm(starting_velocity(probabilities))),
            found.gradient_norm,
            relative=1e-6,
        ),
        Claim.equal(
            "smallest curvature at the start",
            "theory 6",
            float(BalancedSoftmax(size).curvature()),
            found.smallest.values[0],
            relative=1e-6,
        ),
        Claim.equal(
            "negative curvatures at the start: one for each query",
            "theory 6",
            size,
            int(np.sum(found.smallest.values < -found.curvature_tolerance)),
        ),
    )
    report.text(f"The start: {found.sentence}")
    report.figure(
        "spectrum",
        "Smallest curvatures at Q = 0 in the large-prompt limit.",
        lambda ax: plots.plot_spectrum(
            ax, found.smallest.values, threshold=found.curvature_tolerance, index=size
        ),
    )


# --- shared with the imbalanced case -------------------------------------------------------------


def sampled(options: Reproduce, probabilities: np.ndarray) -> SoftmaxAttentionLandscape:
    """Prompts of 200 tokens that stay the same along the run."""
    key = jax.random.key(options.seed)
    return softmax_attention_landscape(probabilities, TOKENS, prompts=options.samples, key=key)


def several_sizes(options: Reproduce) -> list[int]:
    """Numbers of features around the one asked for."""
    return [int(size) for size in np.rint(SIZES * options.features)]


def descend(
    options: Reproduce,
    landscape: SoftmaxAttentionLandscape,
    horizon: float,
    *,
    start: Ensemble | None = None,
    batch: int | None = None,
) -> Run:
    """Gradient descent, of one head from Q = 0 by default."""
    begin = softmax_head_start(jax.random.key(0), landscape) if start is None else start
    return simulate(
        GradientFlow(landscape, scheme="euler", batch_size=batch),
        begin,
        horizon=horizon,
        dt=LEARNING_RATE,
        key=None if batch is None else jax.random.key(options.seed + 2),
        record=log_spaced(5 * LEARNING_RATE, per_decade=160),
        progress=options.talks,
        label="gradient descent" if batch is None else "SGD",
    )


def stages(trajectory: xarray.Dataset) -> list[QueryStages]:
    """The phases of every query."""
    return find_stages(*(trajectory[name].values for name in ("time", "A", "B", "query_loss")))


def near_zero(trajectory: xarray.Dataset, bound: float) -> Claim:
    """Every query is answered in the end."""
    losses = trajectory["query_loss"].values
    return Claim.below(
        "near-zero error for every query: largest final loss over its start",
        SOURCE,
        bound=bound,
        measured=float(np.max(losses[-1] / losses[0])),
    )


def learning_rate(run: Run) -> str:
    """Size and number of steps in words."""
    return f"Gradient descent took {int(run.state.step)} steps of {float(run.state.dt):.3g}."


def attention_maps(report: Report, trajectory: xarray.Dataset, times: list[float]) -> None:
    """The attention table at a few times, side by side."""
    report.figure(
        "attention",
        "Attention of every query to every token, mean over prompts.",
        *[
            functools.partial(plots.plot_attention_map, trajectory=trajectory, time=time)
            for time in times
        ],
        width=4.4,
    )


def look(
    landscape: SoftmaxAttentionLandscape, ensemble: Ensemble, count: int = 1
) -> CriticalityReport:
    """Gradient and smallest curvatures where the flow is slow but not critical."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the ensemble is not at a critical point")
        return criticality_report(landscape, ensemble, count=count, expected=count)
