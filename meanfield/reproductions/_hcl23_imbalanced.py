"""HCL23, one dominant feature: which query converges when, and through which phases."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from landscapes.softmax_attention import (
    feature_probabilities,
    query_floor,
    query_hessian,
    softmax_attention_landscape,
    softmax_head_start,
    starting_velocity,
)
from particles import Ensemble
from saddle_analysis import HessianOperator

from .. import plots
from ..reports import exponent_claims
from ..flows import GradientFlow
from ..reports import Report
from ..results import Claim
from ..runs import at, log_spaced, simulate
from ..studies import convergence_study, imbalance_study
from ._hcl23 import (
    SOURCE,
    TOKENS,
    attention_maps,
    descend,
    learning_rate,
    look,
    near_zero,
    sampled,
    stages,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..cli import Reproduce

DOMINANT = 0.5
SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
PHASES = ["turning away", "turning point", "growth", "convergence"]
CONVERGED = 0.1  # of its initial loss, where the dominant query's plateau is taken
HEADS = 8
FEW = 6  # features where many heads are studied


def reproduce_hcl23_imbalanced(options: Reproduce, report: Report) -> None:
    """One feature makes up half of the tokens."""
    options.say("hcl23-imbalanced 1/4: training on sampled prompts")
    training(options, report)
    options.say("hcl23-imbalanced 2/4: convergence against the imbalance")
    imbalance(options, report)
    options.say("hcl23-imbalanced 3/4: criticality of the start and of the plateau")
    criticality(options, report)
    options.say("hcl23-imbalanced 4/4: several heads")
    several_heads(options, report)
    many_heads(options, report)


def training(options: Reproduce, report: Report) -> None:
    """Gradient descent from Q = 0: the dominant query first, the others through four phases."""
    size = options.features
    probabilities = feature_probabilities(size, DOMINANT)
    landscape = sampled(options, probabilities)
    run = descend(options, landscape, horizon=60.0 * size**2)
    trajectory = run.trajectory
    report.trajectory(trajectory)
    dominant, *others = stages(trajectory)
    t, losses = trajectory["time"].values, trajectory["query_loss"].values
    velocity = starting_velocity(probabilities, TOKENS)
    early = -trajectory["B"].values[1, 1:, 0].mean() / trajectory["A"].values[1, 1:].mean()
    plateau = int(np.argmax(losses[:, 0] < CONVERGED * losses[0, 0]))
    report.claim(
        Claim.below(
            "the dominant query converges before every other: its time against their earliest",
            SOURCE,
            bound=min(query.converges for query in others),
            measured=dominant.converges,
        ),
        Claim.equal(
            "phases of the dominant query: growth and convergence", SOURCE, 2, len(dominant.stages)
        ),
        Claim.equal(
            "under-represented queries that go through all four phases, in order",
            SOURCE,
            size - 1,
            sum([s.name for s in query.stages] == PHASES for query in others),
        ),
        Claim.equal(
            "phase I: B_k1 falls faster than A_k grows, by the factor",
            "HCL23; theory 6 (multinomial moments)",
            -velocity[1, 0] / velocity[1, 1],
            early,
            relative=0.1,
        ),
        Claim.below(
            f"plateau: share of any other query's loss that is gone once the dominant one's is at "
            f"{CONVERGED:.0%}",
            SOURCE,
            bound=0.15,
            measured=float(1 - (losses[plateau, 1:] / losses[0, 1:]).min()),
        ),
        near_zero(trajectory, bound=0.02),
    )
    query = others[0]
    floor = float(query_floor(probabilities, TOKENS)[1])
    lacking = float((1 - probabilities[1]) ** TOKENS)
    report.text(
        f"Dominant {dominant}. Under-represented {query}. {learning_rate(run)} A share "
        f"{lacking:.2g} of prompts lacks the feature that an under-represented query asks for; "
        f"they leave a loss between {lacking / 2:.2g} and {lacking:.2g}, {floor:.2g} if attention "
        "is shared as at the start."
    )
    report.figure(
        "training",
        f"One dominant feature: p₁ = {DOMINANT}, K = {size}, {TOKENS} tokens, "
        f"{landscape.counts.shape[0]} prompts.",
        functools.partial(
            plots.plot_query_losses,
            trajectory=trajectory,
            stages=query,
            theory={"floor of an under-represented query": floor},
        ),
        functools.partial(plots.plot_logits, trajectory=trajectory, stages=query),
    )
    attention_maps(report, trajectory, [0.0, t[plateau], *query.boundaries[1:], t[-1]])


def imbalance(options: Reproduce, report: Report) -> None:
    """Convergence times against p₁ in the large-prompt limit."""
    size = options.features
    study = imbalance_study(size, SHARES, progress=options.talks)
    predicted = 0
    for share in SHARES:
        velocity = starting_velocity(feature_probabilities(size, share))
        predicted += bool(-velocity[1, 0] > velocity[1, 1])
    report.claim(
        Claim.below(
            "dominant over under-represented convergence time, largest over p₁",
            SOURCE,
            bound=1.0,
            measured=float(np.max(study.dominant_times / study.other_times)),
        ),
        Claim.equal(
            "imbalances with four phases: those where p₁(p₁ + p_k − Σp²) > p_k(1 − 2p_k + Σp²)",
            "theory 6",
            predicted,
            int(np.sum(study.phases == 4)),
        ),
        Claim.below(
            "under-represented time rises as p_k^b with b below −1 (no attention to turn away)",
            "theory 6",
            bound=-1.0,
            measured=study.law.exponent,
        ),
        Claim.below(
            "and b above −2 (no attention turned away): −b",
            "theory 6",
            bound=2.0,
            measured=-study.law.exponent,
        ),
    )
    report.text(
        f"Under-represented convergence time against p_k: {study.law}. With all attention turned "
        "away from the dominant token a query's own share is 1/(K − 1) and A_k grows at "
        "p_k/(K − 1); with none turned away it is p_k and A_k grows at p_k²."
    )
    report.figure(
        "imbalance",
        "The dominant query is fast throughout; the others slow down as they become rare.",
        lambda ax: plots.plot_imbalance_study(ax, study),
    )


def criticality(options: Reproduce, report: Report) -> None:
    """Slow is not critical: gradient and curvature at the start and between the convergences."""
    size = options.features
    probabilities = feature_probabilities(size, DOMINANT)
    landscape = softmax_attention_landscape(probabilities)
    start = softmax_head_start(jax.random.key(0), landscape)
    flow = GradientFlow(landscape, scheme="adaptive")
    horizon = 60.0 * size**2
    first = simulate(flow, start, horizon=horizon, dt=0.1, record=log_spaced(1.0, 80)).trajectory
    t, losses = first["time"].values, first["query_loss"].values
    plateau = float(t[np.argmax(losses[:, 0] < CONVERGED * losses[0, 0])])
    times = {"start": 0.0, "plateau": plateau, "end of phase I": stages(first)[1].boundaries[0]}
    again = simulate(flow, start, horizon=horizon, dt=0.1, snapshots=at(*times.values())).trajectory
    panels, norms = [], []
    for name, time in times.items():
        head = Ensemble(jnp.asarray(again["particles"].sel(snapshot_time=time, method="nearest")))
        found = look(landscape, head)
        values = np.linalg.eigvalsh(HessianOperator(landscape, head).dense())
        attention = np.asarray(landscape.moments(head).attention[:, 0])
        blocks = [p * query_hessian(attention[k], k) for k, p in enumerate(probabilities)]
        predicted = np.sort(np.concatenate([np.linalg.eigvalsh(block) for block in blocks]))
        index = int(np.sum(predicted < -found.curvature_tolerance))
        report.claim(
            Claim.equal(
                f"negative curvatures, {name}",
                "theory 6 (closed form)",
                index,
                int(np.sum(values < -found.curvature_tolerance)),
            ),
            Claim.equal(
                f"curvatures, {name}: largest deviation from the closed form, relative to ‖H‖",
                "theory 6",
                0.0,
                float(np.abs(values - predicted).max() / np.abs(values).max()),
                absolute=1e-9,
            ),
        )
        report.text(f"{name.capitalize()}, t = {time:.4g}: {found.sentence}")
        norms.append(found.gradient_norm)
        panels.append(
            functools.partial(
                _spectrum, values=values, index=index, name=name, cut=found.curvature_tolerance
            )
        )
    report.claim(
        Claim.below(
            "the plateau is slower than the start: gradient norms",
            SOURCE,
            bound=norms[0],
            measured=norms[1],
        )
    )
    report.text(
        "None of them is critical. While the dominant token holds most of a query's attention, "
        "sharpening on its own feature and every exchange between the other tokens curve down; "
        "after phase I only the first does, once for each under-represented query."
    )
    report.figure("spectrum", "Curvatures of one head, large-prompt limit.", *panels, width=5.0)


def _spectrum(ax: Axes, values: np.ndarray, index: int, name: str, cut: float) -> None:
    plots.plot_spectrum(ax, values, threshold=cut, index=index)
    ax.set_title(f"Wasserstein Hessian, {name}")


def several_heads(options: Reproduce, report: Report) -> None:
    """I.i.d. heads whose attention is averaged converge in the same order."""
    size = options.features
    landscape = softmax_attention_landscape(feature_probabilities(size, DOMINANT))
    start = softmax_head_start(jax.random.key(options.seed + 3), landscape, HEADS, scale=0.5)
    run = descend(options, landscape, horizon=60.0 * size**2, start=start)
    dominant, *others = stages(run.trajectory)
    report.claim(
        Claim.below(
            f"with {HEADS} i.i.d. heads too the dominant query converges first",
            SOURCE,
            bound=min(query.converges for query in others),
            measured=dominant.converges,
        ),
        Claim.equal(
            f"with {HEADS} heads, queries that converge",
            SOURCE,
            size,
            sum(math.isfinite(query.converges) for query in (dominant, *others)),
        ),
    )
    report.figure(
        "heads",
        f"{HEADS} heads from a random start, their attention averaged; large-prompt limit.",
        functools.partial(plots.plot_query_losses, trajectory=run.trajectory, stages=others[0]),
    )


def many_heads(options: Reproduce, report: Report) -> None:
    """N → ∞: how fast the average over i.i.d. heads approaches its mean-field limit."""
    landscape = softmax_attention_landscape(feature_probabilities(FEW, DOMINANT))
    study = convergence_study(
        GradientFlow(landscape),
        lambda key, size: softmax_head_start(key, landscape, size, scale=1.0),
        key=jax.random.key(options.seed + 4),
        horizon=40.0,
        dt=4.0,
        sizes=(8, 16, 32, 64, 128),
        seeds=8,
        times=1,
        transport=0,
        progress=options.talks,
    )
    report.claim(*exponent_claims(study))
    lines = [f"- {name}: {fit.statement}" for name, fit in study.exponents.items()]
    report.text("N → ∞, heads as particles:\n\n" + "\n".join(lines))
