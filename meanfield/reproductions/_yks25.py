"""YKS25: Hessian-guided noise leaves saddles faster than isotropic noise of the same norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax

from landscapes.mlp_attention import benign_threshold, saddle_level
from saddle_analysis import displaced, isotropic

from .. import plots
from ..cli import compare, constructed
from ..flows import GradientFlow
from ..problems import realisable
from ..reports import Report
from ..results import Claim
from ..studies import simulate_perturbed, unstable_pairs

if TYPE_CHECKING:
    from ..cli import Reproduce

SPECTRUM = (1.0, 0.5, 0.2)


def reproduce_yks25(options: Reproduce, report: Report) -> None:
    """Time to leave by kind of perturbation at equal norm, and the perturbed flow itself."""
    setting = realisable(
        options.seed, dim=5, samples=options.samples, teacher_neurons=12, spectrum=SPECTRUM
    )
    saddle = setting.saddle((2,), options.particles)
    flow = GradientFlow(setting.landscape, scheme="adaptive")
    pairs = unstable_pairs(flow, saddle)
    rate = -float(pairs.values[0])
    key = jax.random.fold_in(jax.random.key(options.seed), 25)
    compare(
        flow,
        saddle,
        pairs,
        report,
        key=key,
        norm=1e-3,
        offset=1e-7,
        seeds=options.seeds,
        level=saddle_level(SPECTRUM, (2,)),
        progress=options.talks,
    )
    options.say("yks25: the perturbed flow")
    start = displaced(saddle, isotropic(jax.random.fold_in(key, 1), saddle, 1e-7))
    with constructed():
        run = simulate_perturbed(
            flow,
            start,
            key=jax.random.fold_in(key, 2),
            horizon=600 / rate,
            dt=0.01 / rate,
            window=30 / rate,
            norm=1e-3,
            tolerance=1e-3,
            threshold=0.01,
            progress=options.talks,
        )
    report.trajectory(run.trajectory)
    loss = float(run.trajectory["loss"][-1])
    escapes = sum(event.what == "escaped" for event in run.events)
    report.claim(
        Claim.equal(
            "the perturbed flow notices the saddle at once: time of its first perturbation",
            "YKS25; theory 3",
            0.0,
            run.events[0].time if run.events else float("nan"),
            absolute=1e-9,
        ),
        Claim.below(
            "the perturbed flow ends in the benign region",
            "YKS25, KS24",
            bound=benign_threshold(SPECTRUM),
            measured=loss,
        ),
    )
    history = [f"- t = {e.time:.4g}: {e.statement}" for e in run.events]
    report.text(
        f"## The perturbed flow\n\n{escapes} escape(s). {run.message}\n\n" + "\n".join(history)
    )
    levels = {"missing {3}": saddle_level(SPECTRUM, (2,)), "minimum": 0.0}
    report.figure(
        "perturbed",
        "Loss along the perturbed flow, started beside the saddle.",
        lambda ax: plots.plot_loss(ax, run.trajectory, levels),
    )
