"""The diagnosis of an ensemble: where it is, what surrounds it, and whether that is real."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landscapes import Landscape, MLPAttentionLandscape, NeuronLandscape, Redraw, bootstrap
from landscapes.mlp_attention import feature_space
from particles import Ensemble, InvalidInput
from saddle_analysis import CriticalityReport, criticality_report

from ..runs import Progress, shown_on
from ._report import Report
from ._saddle_claims import saddle_claims
from ._sensitivity import is_it_real
from ._subject import DiagnosisOptions, Subject
from ._surroundings import what_surrounds_me

if TYPE_CHECKING:
    import xarray

MAX_PRODUCTS = 5000  # Hessian products for every stage of the classification


def diagnose(
    landscape: Landscape,
    ensemble: Ensemble,
    out: Path,
    *,
    history: tuple[Sequence[float], Sequence[Ensemble]] | None = None,
    other: Ensemble | None = None,
    redraws: Mapping[str, Redraw] | None = None,
    options: DiagnosisOptions | None = None,
    progress: bool = False,
) -> Report:
    """Write a report on any ensemble on any landscape: `meanfield diagnose` from Python.

    Args:
        landscape: yours or ours.
        ensemble: from a flow, or trained elsewhere (`particles.load_ensemble`).
        out: folder for `report.md`, figures, claims and the data behind them (`*.nc`).
        history: flow times and ensembles that led there, from `snapshots`.
        other: a second ensemble, to look at the way between.
        redraws: ways to draw the samples anew; by default a bootstrap of a network's samples.
        options: how closely to look.
        progress: say what is being done, on standard error.

    Raises:
        InvalidInput: an ensemble of another landscape, an option out of range, or a folder that
            cannot be written.
    """
    options = DiagnosisOptions() if options is None else options
    report = Report(out, "The landscape around an ensemble", options)
    times, ensembles = ([], []) if history is None else history
    ways = redraws
    if ways is None:
        ways = {"bootstrap": bootstrap(landscape)} if isinstance(landscape, NeuronLandscape) else {}
    subject = Subject(landscape, ensemble, (np.asarray(times, float), list(ensembles)), other, ways)
    write_diagnosis(report, subject, options, progress=progress)
    report.finish()
    return report


def write_diagnosis(
    report: Report, subject: Subject, options: DiagnosisOptions, *, progress: bool
) -> None:
    """All three parts of the diagnosis, into a report that is still open.

    Raises:
        InvalidInput: an ensemble of another landscape, or an option out of range.
    """
    if options.count < 1 or options.points < 5 or options.replicates < 2:
        raise InvalidInput(
            f"count is {options.count}, points is {options.points} and replicates is "
            f"{options.replicates}; they must be at least 1, 5 and 2."
        )
    subject.landscape.require_fit(subject.ensemble)
    if subject.other is not None:
        subject.landscape.require_fit(subject.other)
    stage = functools.partial(Progress, shown=progress)
    found = where_am_i(report, subject, options, stage)
    what_surrounds_me(report, subject, found, options, stage)
    is_it_real(report, subject, found, options, stage)


def where_am_i(
    report: Report, subject: Subject, options: DiagnosisOptions, stage: Callable[..., Progress]
) -> CriticalityReport:
    """Criticality, level, spectrum, and what of the targets is in feature space."""
    from .. import plots

    landscape, ensemble = subject.landscape, subject.ensemble
    with stage("where am I", 0, MAX_PRODUCTS) as bar, warnings.catch_warnings():
        # Not being critical is a finding here, and the report says it.
        warnings.filterwarnings("ignore", "the ensemble is not at a critical point")
        found = criticality_report(
            landscape,
            ensemble,
            gradient_tolerance=options.tolerance,
            count=options.count,
            seed=options.seed,
            max_products=MAX_PRODUCTS,
            progress=shown_on(bar),
            time_limit=options.time_limit,
        )
    report.text("## Where am I?")
    report.text(found.sentence)
    known = saddle_claims(landscape, ensemble, found)
    report.claim(*known.claims)
    report.summary |= {
        "kind": found.kind,
        "sentence": found.sentence,
        "value": found.value,
        "gradient_norm": found.gradient_norm,
        "index": found.index,
        "eigenvalues": found.smallest.values.tolist(),
        "residuals": found.smallest.residuals.tolist(),
    }
    report.figure(
        "spectrum",
        "Smallest eigenvalues of the Wasserstein Hessian, each with a residual that proves it.",
        lambda ax: plots.plot_spectrum(
            ax, found.smallest.values, threshold=found.curvature_tolerance, index=known.index
        ),
    )
    if isinstance(landscape, NeuronLandscape):
        _features(report, subject, landscape)
    return found


def _features(report: Report, subject: Subject, landscape: NeuronLandscape) -> None:
    """Feature space of the ensemble, and along the way that led there."""
    from .. import plots

    here = feature_space(landscape, [subject.ensemble]).isel(ensemble=0)
    report.text(_feature_sentences(here))
    report.summary |= {"correlations": here["correlation"].values.tolist()}
    if isinstance(landscape, MLPAttentionLandscape):
        report.summary |= {
            "missing": str(here["missing"].item()),
            "distance_to_critical": float(here["distance"]),
            "benign_excess": float(here["benign_excess"]),
        }
    times, ensembles = subject.way
    if len(ensembles) > 1:
        along = feature_space(landscape, ensembles).assign_coords(
            ensemble=("ensemble", times, {"units": "flow time"})
        )
        report.dataset("features", along)
        report.figure(
            "features",
            "What of the targets is in the span of the network's outputs along the run; 1 is all.",
            lambda ax: plots.plot_feature_space(ax, along, times),
        )


def _feature_sentences(here: xarray.Dataset) -> str:
    cosines = ", ".join(f"{value:.3f}" for value in here["correlation"].values)
    said = (
        f"Canonical correlations between span(h_μ) and the targets: {cosines}. Effective rank of "
        f"Σμμ: {float(here['effective_rank']):.3g}."
    )
    if "missing" not in here:
        return said
    fractions = ", ".join(f"{value:.3f}" for value in here["learned_fraction"].values)
    excess = float(here["benign_excess"])
    where = f"{excess:.3g} above" if excess > 0 else f"{-excess:.3g} inside"
    if abs(excess) < 1e-9 * float(here["loss"]):
        where = "at the edge of"
    return (
        f"{said} Learned fractions of the eigen-features: {fractions}. The nearest critical set "
        f"misses {_features_named(here['missing'].item())}, at L = {float(here['level']):.4g}; "
        f"span(h_μ) lies {float(here['distance']):.3g} from it (L² distance of an orthonormal "
        f"basis). The loss is {where} the benign region L < ½λ_k."
    )


def _features_named(missing: str) -> str:
    if missing == "none":
        return "no feature (the global minimum)"
    return f"feature{'s' if ',' in missing else ''} {missing}"
