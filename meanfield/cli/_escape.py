"""`meanfield escape`: every kind of perturbation from one controlled saddle, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np

from landscapes.mlp_attention import saddle_level
from particles import Ensemble, InvalidInput
from saddle_analysis import Eigenpairs, along, displaced, fit_growth, isotropic
from saddle_analysis.curves import escape_scaling

from .. import plots
from ..flows import GradientFlow
from ..problems import realisable
from ..reports import Report
from ..results import Claim
from ..runs import component, every, simulate
from ..studies import KICKS, Escapes, escape_study, unstable_pairs
from ._common import Common, constructed


@dataclass(frozen=True)
class Escape(Common):
    """Saddle escape from a controlled start, all perturbation kinds side by side."""

    seed: int = 0
    """Of every random draw."""
    seeds: int = 16
    """Runs for each kind of perturbation."""
    particles: int = 96
    """Number N of particles."""
    dim: int = 5
    """Input dimension d."""
    samples: int = 512
    """Number M of samples."""
    teacher_neurons: int = 12
    """Neurons the targets are made of."""
    spectrum: tuple[float, ...] = (1.0, 0.5, 0.2)
    """Eigenvalues of the targets' second moment."""
    missing: tuple[int, ...] = (2,)
    """Features that the saddle misses, numbered from 0."""
    norm: float = 1e-3
    """L²(μ) norm of every perturbation."""
    offset: float = 1e-7
    """L²(μ) distance from the saddle before the perturbation, so that a run without can leave."""

    def __call__(self) -> int:
        """Run the study; see `meanfield escape --help`."""
        if not self.missing:
            raise InvalidInput("missing is empty, which is the global minimum; name a feature.")
        if not (self.norm > 0 and self.offset > 0):
            raise InvalidInput(
                f"norm is {self.norm} and offset is {self.offset}; both must be positive."
            )
        report = Report(self.folder("escape"), "Escape from a saddle", self)
        setting = realisable(
            self.seed,
            dim=self.dim,
            samples=self.samples,
            teacher_neurons=self.teacher_neurons,
            spectrum=self.spectrum,
        )
        saddle = setting.saddle(self.missing, self.particles)
        flow = GradientFlow(setting.landscape, scheme="adaptive")
        self.say("1/3 curvature at the saddle")
        pairs = unstable_pairs(flow, saddle)
        self.say("2/3 growth along the unstable eigenvector")
        growth(flow, saddle, pairs, report, name="")
        self.say(f"3/3 {len(KICKS)} kinds of perturbation, {self.seeds} seeds each")
        compare(
            flow,
            saddle,
            pairs,
            report,
            key=jax.random.fold_in(jax.random.key(self.seed), 3),
            norm=self.norm,
            offset=self.offset,
            seeds=self.seeds,
            level=saddle_level(self.spectrum, self.missing),
            progress=self.talks,
        )
        report.finish()
        self.show(report, "escape")
        return 0


def growth(
    flow: GradientFlow, saddle: Ensemble, pairs: Eigenpairs, report: Report, *, name: str
) -> float:
    """Claim that the unstable component grows at |λ_min|; returns the fitted rate."""
    rate, distance = -float(pairs.values[0]), 1e-6
    with constructed():
        run = simulate(
            flow,
            displaced(saddle, along(saddle, pairs.fields[0], distance)),
            horizon=18 / rate,
            dt=0.01 / rate,
            record=every(0.1 / rate),
            statistics=[component("unstable_component", saddle, pairs.fields[0])],
        )
    time = run.trajectory["time"].values
    amplitude = np.abs(run.trajectory["unstable_component"].values)
    fit = fit_growth(time, amplitude)
    report.claim(
        Claim.equal(
            f"growth rate along the unstable eigenvector is |λ_min|{name}",
            "KS24; theory 2",
            rate,
            fit.rate,
            relative=0.03,
        )
    )
    if not name:
        report.trajectory(run.trajectory)
        report.figure(
            "growth",
            f"Growth along the unstable eigenvector, {fit.factor:.3g}-fold in the window.",
            lambda ax: plots.plot_growth(
                ax, time, amplitude, rate=rate, window=fit.window, fitted=fit.rate
            ),
        )
    return fit.rate


def compare(
    flow: GradientFlow,
    saddle: Ensemble,
    pairs: Eigenpairs,
    report: Report,
    *,
    key: jax.Array,
    norm: float,
    offset: float,
    seeds: int,
    level: float,
    progress: bool,
) -> list[Escapes]:
    """Claims and figures about YKS25's kinds of perturbation at equal norm."""
    rate = -float(pairs.values[0])
    key_offset, key_kicks = jax.random.split(key)
    studies = escape_study(
        flow,
        saddle,
        pairs,
        key=key_kicks,
        kinds=KICKS,
        norm=norm,
        seeds=seeds,
        horizon=(np.log(1 / offset) + 12) / rate,
        dt=0.01 / rate,
        start=displaced(saddle, isotropic(key_offset, saddle, offset)),
        progress=progress,
    )
    median = {study.kind: float(np.nanmedian(study.times)) for study in studies}
    for slower, faster in (
        ("none", "isotropic"),
        ("isotropic", "hessian-guided"),
        ("hessian-guided", "eigenvector"),
    ):
        report.claim(
            Claim.below(
                f"median escape time: {faster} leaves before {slower}",
                "YKS25; theory 3",
                bound=median[slower],
                measured=median[faster],
            )
        )
    measured = np.concatenate([study.times for study in studies])
    predicted = np.concatenate([study.predicted for study in studies])
    report.claim(
        Claim.equal(
            "every run left",
            "KS24; theory 2",
            measured.size,
            int(np.isfinite(measured).sum()),
        ),
        Claim.equal(
            "escape times follow the linear theory: median measured / predicted",
            "theory 2",
            1.0,
            float(np.nanmedian(measured / predicted)),
            absolute=0.1,
        ),
    )
    sizes = np.concatenate([study.overlaps for study in studies])
    if pairs.values.size == 1:
        scaling = escape_scaling(sizes, measured)
        report.claim(
            Claim.equal(
                "escape time against log of the unstable component: slope is 1/|λ_min|",
                "theory 2",
                1 / rate,
                scaling.slope,
                relative=0.05,
            )
        )
        report.text(str(scaling))
    rows = [
        "| perturbation | median time | range | unstable part of the kick |",
        "|---|---|---|---|",
    ]
    for study in studies:
        rows.append(
            f"| {study.kind} | {median[study.kind]:.4g} | {np.nanmin(study.times):.4g} to "
            f"{np.nanmax(study.times):.4g} | {np.median(study.overlaps):.3g} |"
        )
    report.text("\n".join(rows))
    report.figure(
        "escapes",
        "Loss against time for every kind of perturbation at equal norm, and every seed's time to "
        "leave.",
        lambda ax: plots.plot_escapes(ax, studies, level),
        lambda ax: plots.plot_escape_times(ax, studies),
    )
    report.figure(
        "scaling",
        "Escape time against the unstable component of the kick.",
        lambda ax: plots.plot_escape_scaling(ax, studies, rate),
    )
    return studies
