"""Is it real? What of the curvature at an ensemble is the landscape's, and what the sample's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from landscapes import MLPAttentionLandscape, NeuronLandscape
from saddle_analysis import CriticalityReport
from saddle_analysis.sensitivity import (
    held_out_curvature,
    parameter_sensitivity,
    sample_sensitivity,
    timescale_sensitivity,
)

from ..results import Claim, Panel
from ..runs import Progress
from ._report import Report
from ._subject import DiagnosisOptions, Subject

if TYPE_CHECKING:
    import xarray

RIDGES = np.geomspace(1e-4, 1.0, 9)
LENGTHS = 2.0 ** np.arange(1, 13, 2)
RATIOS = np.geomspace(1e-3, 1e3, 13)


def is_it_real(
    report: Report,
    subject: Subject,
    found: CriticalityReport,
    options: DiagnosisOptions,
    stage: Callable[..., Progress],
) -> None:
    """Other samples, other ridges, prompt lengths and timescale ratios."""
    fields = followed(found)
    landscape = subject.landscape
    if not subject.redraws and not isinstance(landscape, MLPAttentionLandscape):
        return
    report.text("## Is it real?")
    if subject.redraws:
        _other_samples(report, subject, found, fields, options, stage)
    if isinstance(landscape, MLPAttentionLandscape):
        _other_parameters(report, subject, landscape, found, fields)


def followed(found: CriticalityReport) -> list[PyTree]:
    """The eigenvectors to follow: the negative ones, or the smallest alone."""
    negative = found.smallest.values < -found.curvature_tolerance
    return found.smallest.fields[: max(1, int(negative.sum()))]


def _other_samples(
    report: Report,
    subject: Subject,
    found: CriticalityReport,
    fields: list[PyTree],
    options: DiagnosisOptions,
    stage: Callable[..., Progress],
) -> None:
    from .. import plots

    landscape, lowest = subject.landscape, float(found.smallest.values[0])
    key_draws, key_halves = jax.random.split(jax.random.key(options.seed))
    sizes = sample_sizes(landscape)
    with stage("is it real", 0, len(subject.redraws) * len(sizes) * options.replicates) as bar:
        seen = sample_sensitivity(
            key_draws,
            subject.ensemble,
            fields,
            subject.redraws,
            sizes,
            replicates=options.replicates,
            threshold=found.curvature_tolerance,
            told=lambda done, total: bar.update(done, f"draw {done} of {total}"),
        )
    report.dataset("samples", seen)
    for row, name in enumerate(seen["draw"].values.tolist()):
        report.text(sample_verdict(name, seen.isel(draw=row), len(fields)))
    if isinstance(landscape, NeuronLandscape) and found.smallest.values[0] < 0:
        _held_out(report, subject, landscape, found, key_halves)
    report.figure(
        "samples",
        "Curvature along the same vector fields on other draws of the samples, and how much the "
        "loss varies between draws.",
        lambda ax: plots.plot_sample_curvature(ax, seen, lowest),
        lambda ax: plots.plot_sampling_error(ax, seen),
    )


def sample_sizes(landscape: object) -> list[int]:
    """Up to the landscape's own number of samples, in powers of two."""
    own = landscape.x.shape[0] if isinstance(landscape, NeuronLandscape) else 1024
    top = 1 << (own.bit_length() - 1)
    least = landscape.f.shape[1] if isinstance(landscape, NeuronLandscape) else 1
    return [size for size in (top // 4, top // 2, top) if size > least] or [top]


def sample_verdict(name: str, seen: xarray.Dataset, followed: int) -> str:
    """Whether a negative curvature belongs to the landscape or to the sample, in words."""
    size = int(seen["samples"][-1])
    last = seen["curvature"][-1].values
    mean, spread = float(last.mean()), float(last.std(ddof=1))
    negative, index = int(np.sum(last < 0)), seen["index"][-1].values
    stay = f"{index.min()}" if index.min() == index.max() else f"{index.min()} to {index.max()}"
    said = (
        f"{name[0].upper()}{name[1:]}, M = {size}: the smallest curvature on the span of the "
        f"{followed} eigenvector{'s' if followed > 1 else ''} followed is {mean:.4g} ± "
        f"{spread:.2g} (mean ± s.d. of {last.size} draws), negative in {negative} of them; in each "
        f"draw {stay} of {followed} stay negative."
    )
    if mean < -2 * spread:
        return f"{said} It is the landscape's."
    if mean > 2 * spread:
        return f"{said} No descent along it."
    return f"{said} It cannot be told from zero: take more samples."


def _held_out(
    report: Report,
    subject: Subject,
    landscape: NeuronLandscape,
    found: CriticalityReport,
    key: jax.Array,
) -> None:
    """The eigenvector of one half of the samples on the other half."""
    halves = held_out_curvature(key, landscape, subject.ensemble)
    report.text(
        f"Split samples: eigenvalues {halves.found[0]:.4g} and {halves.found[1]:.4g} found on one "
        f"half have curvature {halves.held_out[0]:.4g} and {halves.held_out[1]:.4g} on the half "
        f"they have not seen; the two eigenvectors overlap by {halves.overlap:.3f}."
    )
    report.summary |= {
        "half_eigenvalues": halves.found.tolist(),
        "held_out_curvatures": halves.held_out.tolist(),
    }
    if found.kind == "strict saddle":
        report.claim(
            Claim.below(
                "the unstable eigenvector of half of the samples descends on the other half too "
                "(larger curvature of the two)",
                "theory 2",
                bound=0.0,
                measured=float(halves.held_out.max()),
            )
        )


def _other_parameters(
    report: Report,
    subject: Subject,
    landscape: MLPAttentionLandscape,
    found: CriticalityReport,
    fields: list[PyTree],
) -> None:
    """Ridge, prompt length and timescale ratio, each with the value in question marked."""
    from .. import plots

    ensemble, lowest = subject.ensemble, float(found.smallest.values[0])
    threshold = found.curvature_tolerance
    ridges = {r: _with(landscape, "ridge", r) for r in RIDGES.tolist()}
    lengths = {n: _with(landscape, "inverse_context", 1 / n) for n in LENGTHS.tolist()}
    by_ridge = parameter_sensitivity(ensemble, fields, ridges, name="ridge", threshold=threshold)
    by_length = parameter_sensitivity(
        ensemble, fields, lengths, name="context_length", threshold=threshold
    )
    by_ratio = timescale_sensitivity(
        landscape, ensemble, fields, RATIOS.tolist(), threshold=threshold
    )
    if lowest < 0 < float(by_length["curvature"].min()):
        report.text(
            "At every finite prompt length the curvature along these eigenvectors is positive: the "
            "equilibrium W vanishes along missing features there, and L falls only beyond a "
            "displacement of order n^(−1/2). The limit n → ∞ is singular at a saddle."
        )
    limits = {"frozen W (ε → ∞)": float(by_ratio["frozen"])}
    panels: list[Panel] = []
    for seen, label, marks in (
        (by_ridge, "ridge ρ (units of Σμμ)", None),
        (by_length, "prompt length n (examples)", None),
        (by_ratio, "timescale ratio ε", limits),
    ):
        name = str(seen["curvature"].dims[0])
        report.dataset(f"by_{name}", seen)
        panels.append(
            lambda ax, seen=seen, label=label, marks=marks: plots.plot_parameter_curvature(
                ax, seen, label, lowest, marks
            )
        )
    report.figure(
        "parameters",
        "Curvature along the same vector fields under other ridges and prompt lengths, and of the "
        "joint flow at finite timescale ratios.",
        *panels,
        width=5.0,
    )


def _with(landscape: MLPAttentionLandscape, name: str, value: float) -> MLPAttentionLandscape:
    """The landscape with another number in place of one of its own; nothing recompiles."""
    old = getattr(landscape, name)
    return eqx.tree_at(lambda one: getattr(one, name), landscape, jnp.asarray(value, old.dtype))
