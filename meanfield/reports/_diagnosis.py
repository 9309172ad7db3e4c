"""The diagnosis of an ensemble: what kind of point it is at, what surrounds it, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array, Key

from landscapes import AbstractLandscape, Landscape, Redraw, bootstrap
from landscapes.networks import samples_of
from particles import Ensemble
from saddle_analysis import CriticalityReport

from ..problems import require_ranges
from ..results import Result
from ._criticality import Predicted, criticality_result
from ._options import DiagnosisOptions, History
from ._report import Report
from ._sensitivity import parameters_result, sensitivity_result
from ._surroundings import surroundings_result

TITLE = "The landscape around an ensemble"


def diagnose(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    *,
    history: History | None = None,
    other: Ensemble | None = None,
    redraws: Mapping[str, Redraw] | None = None,
    theory: Predicted | None = None,
    options: DiagnosisOptions | None = None,
    key: Key[Array, ""] | None = None,
    out: str | Path | Report | None = None,
    progress: bool = False,
) -> Result:
    """Classify an ensemble, look around it, and tell the landscape's curvature from the sample's.

    Args:
        landscape: any landscape.
        ensemble: from a flow, or trained elsewhere (`particles.load_ensemble`).
        history: flow times and ensembles that led there, from `snapshots`.
        other: a second ensemble, to look at the way between.
        redraws: ways to draw the samples anew, by name; by default a bootstrap of a network's
            samples, and none for other landscapes.
        theory: what theory says of a critical ensemble, such as `Problem.predicted`.
        options: how closely to look.
        key: of draws of the samples and of random directions; by default a fixed one.
        out: folder for `report.md`, figures, claims and the data behind them (`*.nc`), or a report
            that is open; every part is written once it is done.
        progress: show bars.

    Returns:
        Text, figures, data and claims. Its summary holds `kind`, `index`, `eigenvalues`, and
        where samples can be drawn anew `verdict`.

    Raises:
        InvalidInput: an ensemble of another landscape, an option out of range, or a folder that
            cannot be written.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.eye(2), jnp.ones((2, 1)), "tanh")
        >>> mu = Ensemble(Neuron(a=jnp.zeros((3, 1)), w=jnp.zeros((3, 2))))
        >>> result = diagnose(landscape, mu, options=DiagnosisOptions(points=5, replicates=2))
        >>> result.summary["kind"], [figure.name for figure in result.figures][:2]
        ('strict saddle', ['spectrum', 'slices'])
    """
    options = DiagnosisOptions() if options is None else options
    require_ranges(options)
    for one in (ensemble,) if other is None else (ensemble, other):
        landscape.require_fit(one)
    if redraws is None:
        redraws = {}
        if isinstance(landscape, Landscape) and samples_of(landscape) is not None:
            redraws = {"bootstrap": bootstrap(landscape)}
    key = jax.random.key(0) if key is None else key
    report, ours = None, not isinstance(out, Report)
    if out is not None:
        report = out if isinstance(out, Report) else Report(Path(out), TITLE, "diagnose", options)
    result = Result(TITLE)
    parts = _parts(landscape, ensemble, options, key, history, other, redraws, theory, progress)
    for part in parts:
        result.text(f"## {part.title}")
        result.extend(part)
        if report is not None:
            report.add(part)
    if report is not None and ours:
        report.finish()
    return result


def _parts(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    options: DiagnosisOptions,
    key: Array,
    history: History | None,
    other: Ensemble | None,
    redraws: Mapping[str, Redraw],
    theory: Predicted | None,
    progress: bool,
) -> Iterator[Result]:
    """The parts of the diagnosis, each as soon as it is done; empty ones are left out."""
    key_around, key_samples = jax.random.split(key)
    found, first = criticality_result(
        landscape,
        ensemble,
        options,
        predicted=theory,
        history=history,
        progress=progress,
    )
    yield first
    around = surroundings_result(
        landscape,
        ensemble,
        found,
        options,
        history=history,
        other=other,
        key=key_around,
        progress=progress,
    )
    yield around
    samples = sensitivity_result(
        landscape, ensemble, found, options, redraws=redraws, key=key_samples, progress=progress
    )
    parameters = parameters_result(landscape, ensemble, found)
    yield from (part for part in (samples, parameters) if part.body)
    last = Result("What to do next")
    steps = next_steps(found, around.summary, samples.summary.get("verdict"))
    last.text("\n".join(f"- {step}" for step in steps))
    yield last


def next_steps(
    found: CriticalityReport, around: Mapping[str, object], verdict: str | None
) -> list[str]:
    """What to do about an ensemble, in sentences.

    Args:
        found: its classification.
        around: the summary of `surroundings_result`.
        verdict: whose the negative curvature is, from `sensitivity_result`; `None` if unknown.
    """
    match found.kind:
        case "not critical":
            steps = _when_not_critical(found)
        case "strict saddle":
            rate = -float(found.smallest.values[0])
            steps = [
                "The flow will leave it: along eigenvector 1 a displacement grows by a factor e in "
                f"1/|λ| = {1 / rate:.3g} of flow time. `escape_study` (`meanfield escape`) "
                "measures how long it takes; `simulate_perturbed` pushes it off at once.",
            ]
        case "degenerate saddle":
            steps = [
                f"L falls at order {found.descent_order} along a direction of zero curvature: a "
                "displacement s grows as a power of time, not exponentially. Move the ensemble "
                "along it (`saddle_analysis.displaced`) and run from there."
            ]
        case _:
            steps = ["Nothing near it leads down, to the tolerances used: the flow stays here."]
            if around.get("gap_is_bound"):
                steps.append(
                    f"Elsewhere the loss can be lower by at most {around['gap']:.3g} (the gap)."
                )
            else:
                steps.append(
                    "Whether a lower minimum exists is open: run from several starts and compare "
                    "their levels, or add mass where the first variation is most negative."
                )
    match verdict:
        case None:
            steps.append(
                "Say how samples can be drawn anew (`redraws`), to tell the landscape's curvature "
                "from the sample's."
            )
        case "undecided" | "sample":
            steps.append(
                "Take more samples before trusting the sign of the curvature: its sampling error "
                "falls as M^(−1/2), so four times as many halve it."
            )
        case _:
            pass
    return steps


def _when_not_critical(found: CriticalityReport) -> list[str]:
    norm, lowest = found.gradient_norm, float(found.smallest.values[0])
    steps = [
        f"Run on: the gradient norm is {norm:.2g}, and below {found.gradient_tolerance:.0e} the "
        f"ensemble counts as critical. The loss falls by {norm**2:.2g} per unit of time now. "
        "`meanfield simulate --resume FOLDER --horizon T` goes on with the folder of a simulation; "
        "`meanfield simulate CONFIG.toml --start file --start.file ENSEMBLE.npz` starts from any "
        "ensemble; in Python, `simulate(flow, run.state, …)`.",
        "Until then the eigenvalues are those of a moving point: they say which way it bends, and "
        "not that a saddle is near.",
    ]
    if lowest < -found.curvature_tolerance:
        steps.append(
            f"The smallest one, {lowest:.3g}, is negative. If the recorded loss has a plateau "
            "(`saddle_analysis.find_plateaus`), diagnose a snapshot from it, where the gradient is "
            f"smallest; a displacement along eigenvector 1 doubles in {np.log(2) / -lowest:.3g} of "
            "flow time."
        )
    else:
        steps.append("None is negative, so nothing here suggests a saddle: expect a minimum ahead.")
    steps.append(
        f"If {norm:.2g} is small enough for the purpose, set `tolerance` above it to have the "
        "point classified."
    )
    return steps
