"""What kind of point an ensemble is at: gradient, curvature, index, and what theory says of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from jaxtyping import Array, Key

from landscapes import AbstractLandscape, NeuronLandscape
from landscapes.mlp_attention import feature_space
from particles import Ensemble
from saddle_analysis import (
    CriticalityReport,
    HessianOperator,
    NotCriticalWarning,
    criticality_report,
    spectral_density,
)
from saddle_analysis.spectra import Budget

from ..problems import require_ranges
from ..results import Claim, CriticalPoint, Result
from ..runs import Progress, shown_on
from ._options import CriticalityOptions, History, moved

if TYPE_CHECKING:
    import xarray

#: What theory says of an ensemble; `None` where it is silent.
Predicted = Callable[[Ensemble], CriticalPoint | None]

TERMS = """\
- *Critical*: the velocity −∇δL/δμ vanishes at every particle, so the flow stands still. The \
gradient norm is its root mean square over the particles (particle / time).
- *Wasserstein Hessian*: the second derivative of L along vector fields that move the particles. \
Along an eigenvector of eigenvalue λ a small displacement changes as e^(−λt): it grows where λ < 0.
- *Morse index*: the number of negative eigenvalues, that is of independent ways down.
- *Residual*: how far an eigenpair is from an exact one; the true eigenvalue lies within it.
- *Strict saddle*: a critical point with a negative eigenvalue. *Degenerate*: one without, that is \
left along directions of zero curvature.
"""
FEATURE_TERMS = """\
- *Feature space*: span(h_μ), the functions that the network's outputs span over the samples.
- *Canonical correlation*: the cosine of the angle between it and the targets; 1 is contained.
- *Effective rank*: how many of the outputs are independent, by the entropy of their spectrum.
"""
STEPS = 80  # of the spectral density: Lanczos steps from each probe


def criticality_result(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    options: CriticalityOptions | None = None,
    *,
    predicted: Predicted | None = None,
    history: History | None = None,
    key: Key[Array, ""] | None = None,
    progress: bool = False,
) -> tuple[CriticalityReport, Result]:
    """Classify an ensemble, and say so: text, claims of theory, spectrum, feature space.

    Args:
        landscape: any landscape.
        ensemble: on it.
        options: how closely to look.
        predicted: what theory says of a critical ensemble, such as `Problem.predicted`.
        history: flow times and ensembles that led there, to follow the feature space along.
        key: of the random vectors; the result should not depend on it.
        progress: show a bar.

    Returns:
        The classification, and the result to report.

    Raises:
        InvalidInput: an ensemble of another landscape, or an option out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "tanh")
        >>> mu = Ensemble(Neuron(a=jnp.zeros((1, 1)), w=jnp.zeros((1, 1))))
        >>> found, result = criticality_result(landscape, mu)
        >>> found.kind, result.summary["index"]
        ('strict saddle', 1)
    """
    from .. import plots

    options = CriticalityOptions() if options is None else options
    require_ranges(options)
    landscape.require_fit(ensemble)
    bar = Progress("criticality", 0, options.max_products, progress)
    with bar, warnings.catch_warnings():
        # Not being critical is a finding here, and the report says it.
        warnings.simplefilter("ignore", NotCriticalWarning)
        found = criticality_report(
            landscape,
            ensemble,
            gradient_tolerance=options.tolerance or None,
            count=options.count,
            budget=Budget(options.max_products, options.time_limit, shown_on(bar)),
            key=key,
        )
    known = None
    if predicted is not None and found.kind != "not critical":
        known = predicted(ensemble)
    result = Result("Criticality")
    result.text(found.sentence)
    result.text(TERMS)
    result.text(f"```\n{found}\n```")
    if known is not None:
        result.text(f"In theory this is the critical point {known.name!r} ({known.source}).")
        result.claim(*critical_point_claims(known, found))
    result.summary |= {
        "kind": found.kind,
        "sentence": found.sentence,
        "value": found.value,
        "gradient_norm": found.gradient_norm,
        "index": found.index,
        "eigenvalues": found.smallest.values.tolist(),
        "residuals": found.smallest.residuals.tolist(),
    }
    index = None if known is None else known.index
    result.figure(
        "spectrum",
        "Smallest eigenvalues of the Wasserstein Hessian, each with a residual that proves it. "
        "Within the grey band they count as zero.",
        lambda ax: plots.plot_spectrum(
            ax, found.smallest.values, threshold=found.curvature_tolerance, index=index
        ),
    )
    network = landscape.unwrapped
    if isinstance(network, NeuronLandscape):
        _features(result, network, ensemble, history)
    return found, result


def critical_point_claims(known: CriticalPoint, found: CriticalityReport) -> list[Claim]:
    """Level and Morse index of a critical point against what theory says of it.

    Args:
        known: the prediction.
        found: what was measured there.
    """
    precise = found.gradient_tolerance < 1e-4  # double precision
    return [
        Claim.equal(
            f"loss is the critical level of {known.name}",
            known.source,
            known.level,
            found.value,
            relative=1e-6 if precise else 1e-3,
            absolute=1e-9 if precise else 1e-5,
        ),
        Claim.equal(f"Morse index of {known.name}", known.source, known.index, found.index),
    ]


def density_result(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    found: CriticalityReport,
    *,
    probes: int = 8,
    key: Key[Array, ""] | None = None,
    time_limit: float | None = None,
    progress: bool = False,
) -> Result:
    """The whole spectrum: share of eigenvalues below every λ, with bounds.

    Args:
        landscape: any landscape.
        ensemble: on it.
        found: its classification, whose eigenvalues are marked.
        probes: random probes.
        key: draws them; the bounds hold for any.
        time_limit: seconds.
        progress: show a bar.

    Raises:
        InvalidInput: fewer than one probe.
    """
    from .. import plots

    with Progress("density", 0, STEPS * probes, progress) as bar:
        density = spectral_density(
            HessianOperator(landscape, ensemble),
            probes=probes,
            steps=STEPS,
            key=key,
            budget=Budget(STEPS * max(probes, 1), time_limit, shown_on(bar)),
        )
    result = Result("Spectral density")
    result.figure(
        "density",
        "Share of eigenvalues below λ, by stochastic Lanczos quadrature; the band bounds it.",
        lambda ax: plots.plot_density(ax, density, found.smallest.values),
    )
    return result


def _features(
    result: Result, landscape: NeuronLandscape, ensemble: Ensemble, history: History | None
) -> None:
    """Feature space of the ensemble, and along the run that led there."""
    from .. import plots

    here = feature_space(landscape, [ensemble]).isel(ensemble=0)
    result.text(_feature_sentences(here))
    result.text(FEATURE_TERMS)
    result.summary["correlations"] = here["correlation"].values.tolist()
    if "missing" in here:
        result.summary |= {
            "missing": str(here["missing"].item()),
            "distance_to_critical": float(here["distance"]),
            "benign_excess": float(here["benign_excess"]),
        }
    history = moved(history)
    if history is not None:
        times, ensembles = history
        along = feature_space(landscape, ensembles).assign_coords(
            ensemble=("ensemble", [float(time) for time in times], {"units": "flow time"})
        )
        result.dataset("features", along)
        result.figure(
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
        f"basis). The loss is {where} the benign region L < ½λ_k, where the global minimum is the "
        "only critical point."
    )


def _features_named(missing: str) -> str:
    if missing == "{}":
        return "no feature (the global minimum)"
    return f"feature{'s' if ',' in missing else ''} {missing}"
