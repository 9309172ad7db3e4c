"""How the curvature at an ensemble depends on the samples and on the landscape's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array, Key, PyTree

from landscapes import (
    AbstractLandscape,
    Landscape,
    MLPAttentionLandscape,
    NeuronLandscape,
    Redraw,
)
from landscapes.networks import samples_of
from particles import Ensemble
from saddle_analysis import CriticalityReport
from saddle_analysis.sensitivity import (
    HeldOut,
    held_out_curvature,
    parameter_sensitivity,
    sample_sensitivity,
    timescale_sensitivity,
    verdict,
)

from ..problems import require_ranges
from ..results import Claim, Panel, Result
from ..runs import Progress
from ._options import DiagnosisOptions

if TYPE_CHECKING:
    import xarray

RIDGES = np.geomspace(1e-4, 1.0, 9)
LENGTHS = 2.0 ** np.arange(1, 13, 2)
RATIOS = np.geomspace(1e-3, 1e3, 13)
SAMPLES = 1024  # of a landscape that does not say how many it has
TERMS = """\
- *Curvature on the span*: the smallest value of the Hessian's quadratic form on the span of the \
eigenvectors found here. Other samples have a smallest eigenvalue at or below it.
- *M*: how many samples are drawn: at most the largest power of two within their own number.
- *Bootstrap*: samples drawn from the given ones, with repetition. *Fresh samples*: new \
ones of the same law. *Quasi-Monte Carlo*: new ones, spread evenly.
- *Held out*: an eigenvector sought on one half of the samples has a curvature on the other half \
that is free of having been sought there.
"""
PARAMETER_TERMS = """\
- *Ridge ρ*: added to Σμμ before it is inverted. *Prompt length n*: examples in a prompt; finite \
prompts are noisy.
- *Timescale ratio ε*: how slowly the fast variables W follow; 0 is the reduced flow, ∞ a frozen W.
"""


def sensitivity_result(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    found: CriticalityReport,
    options: DiagnosisOptions | None = None,
    *,
    redraws: Mapping[str, Redraw],
    key: Key[Array, ""],
    progress: bool = False,
) -> Result:
    """The curvature found at an ensemble, on other draws of the samples.

    Args:
        landscape: any landscape.
        ensemble: on it.
        found: its classification, from `criticality_result`.
        options: how closely to look.
        redraws: ways to draw the samples anew, by name; none gives an empty result.
        key: draws samples and halves.
        progress: show a bar.

    Returns:
        The verdict is `summary["verdict"]`: `"landscape"`, `"sample"` or `"undecided"`; `"zero"`
        where the smallest eigenvalue counts as zero.

    Raises:
        InvalidInput: an ensemble of another landscape, or an option out of range.
    """
    from .. import plots

    options = DiagnosisOptions() if options is None else options
    require_ranges(options)
    result = Result("Dependence on the samples")
    if not redraws:
        return result
    fields, lowest = followed(found), float(found.smallest.values[0])
    key_draws, key_halves = jax.random.split(key)
    sizes = sample_sizes(landscape, options.sizes)
    draws = len(redraws) * len(sizes) * options.replicates
    with Progress("samples", 0, draws, progress) as bar:
        seen = sample_sensitivity(
            key_draws,
            ensemble,
            fields,
            redraws,
            sizes,
            replicates=options.replicates,
            threshold=found.curvature_tolerance,
            progress=lambda at: bar.update(at.done, f"draw {at.done} of {at.total}"),
        )
    result.dataset("samples", seen)
    result.text(TERMS)
    for row, name in enumerate(seen["draw"].values.tolist()):
        result.text(_draws_in_words(name, seen.isel(draw=row), len(fields)))
    halves = None
    if isinstance(landscape.unwrapped, NeuronLandscape) and lowest < 0:
        halves = held_out_curvature(key_halves, landscape, ensemble)
        _held_out(result, halves, found)
    if abs(lowest) > found.curvature_tolerance:
        largest = {name: seen["curvature"].sel(draw=name)[-1].values for name in redraws}
        judged = verdict(lowest, largest, halves)
        result.text(f"**{judged.sentence}**")
        result.summary["verdict"] = judged.kind
    else:
        result.text(f"**The curvature {lowest:.2g} counts as zero: there is no sign to judge.**")
        result.summary["verdict"] = "zero"
    result.figure(
        "samples",
        "Curvature along the same vector fields on other draws of the samples, and how much the "
        "loss varies between draws (bars: one standard error). Samples that are not independent, "
        "such as those of quasi-Monte Carlo, may beat the law that is drawn through each.",
        lambda ax: plots.plot_sample_curvature(ax, seen, lowest),
        lambda ax: plots.plot_sampling_error(ax, seen),
    )
    return result


def followed(found: CriticalityReport) -> list[PyTree]:
    """The eigenvectors to follow: the negative ones, or the smallest alone."""
    negative = found.smallest.values < -found.curvature_tolerance
    return found.smallest.fields[: max(1, int(negative.sum()))]


def sample_sizes(landscape: AbstractLandscape, count: int) -> list[int]:
    """Up to the landscape's own number of samples, in powers of two; `count` of them at most."""
    network, own, least = landscape.unwrapped, SAMPLES, 1
    if isinstance(network, NeuronLandscape):
        own, least = network.f.shape
    top = 1 << (own.bit_length() - 1)
    halves = [top >> place for place in reversed(range(count))]
    return [size for size in halves if size > least] or [top]


def _draws_in_words(name: str, seen: xarray.Dataset, fields: int) -> str:
    """Curvatures of the largest draws of one way, without a verdict."""
    size = int(seen["samples"][-1])
    last = seen["curvature"][-1].values
    index = seen["index"][-1].values
    stay = f"{index.min()}" if index.min() == index.max() else f"{index.min()} to {index.max()}"
    return (
        f"{name[0].upper()}{name[1:]}, M = {size}: the smallest curvature on the span of the "
        f"{fields} eigenvector{'s' if fields > 1 else ''} followed is {last.mean():.4g} ± "
        f"{last.std(ddof=1):.2g} (mean ± s.d. of {last.size} draws), negative in "
        f"{np.sum(last < 0)} of them; in each draw {stay} of {fields} stay negative."
    )


def _held_out(result: Result, halves: HeldOut, found: CriticalityReport) -> None:
    """The eigenvector of one half of the samples on the other half."""
    result.text(
        f"Split samples: eigenvalues {halves.found[0]:.4g} and {halves.found[1]:.4g} found on one "
        f"half have curvature {halves.held_out[0]:.4g} and {halves.held_out[1]:.4g} on the half "
        f"they have not seen; the two eigenvectors overlap by {halves.overlap:.3f}."
    )
    result.summary |= {
        "half_eigenvalues": halves.found.tolist(),
        "held_out_curvatures": halves.held_out.tolist(),
    }
    if found.kind == "strict saddle":
        result.claim(
            Claim.below(
                "the unstable eigenvector of half of the samples descends on the other half too "
                "(larger curvature of the two)",
                "theory 2",
                bound=0.0,
                measured=float(halves.held_out.max()),
            )
        )


def parameters_result(
    landscape: AbstractLandscape, ensemble: Ensemble, found: CriticalityReport
) -> Result:
    """The curvature found at an ensemble, at other ridges, prompt lengths and timescale ratios.

    Args:
        landscape: any landscape; without fast variables the result is empty.
        ensemble: on it.
        found: its classification, from `criticality_result`.
    """
    from .. import plots

    result = Result("Dependence on parameters")
    if not isinstance(landscape, Landscape) or landscape.fast_equilibrium(ensemble) is None:
        return result
    fields, lowest = followed(found), float(found.smallest.values[0])
    threshold = found.curvature_tolerance
    sweeps: list[tuple[xarray.Dataset, str, dict[str, float]]] = []
    if isinstance(landscape.unwrapped, MLPAttentionLandscape):
        ridges = {r: landscape.replace(ridge=r) for r in RIDGES.tolist()}
        by_ridge = parameter_sensitivity(
            ensemble, fields, ridges, name="ridge", threshold=threshold
        )
        sweeps.append((by_ridge, "ridge ρ (units of Σμμ)", {}))
    # Without samples there are no prompts of finite length.
    if isinstance(landscape.unwrapped, MLPAttentionLandscape) and samples_of(landscape) is not None:
        lengths = {n: landscape.replace(inverse_context=1 / n) for n in LENGTHS.tolist()}
        by_length = parameter_sensitivity(
            ensemble, fields, lengths, name="context_length", threshold=threshold
        )
        sweeps.append((by_length, "prompt length n (examples)", {}))
        if lowest < 0 < float(by_length["curvature"].min()):
            result.text(
                "At every finite prompt length the curvature along these eigenvectors is "
                "positive: the equilibrium W vanishes along missing features there, and L falls "
                "only beyond a displacement of order n^(−1/2). The limit n → ∞ is singular at a "
                "saddle."
            )
    by_ratio = timescale_sensitivity(
        landscape, ensemble, fields, RATIOS.tolist(), threshold=threshold
    )
    frozen = {"frozen W (ε → ∞)": float(by_ratio["frozen"])}
    sweeps.append((by_ratio, "timescale ratio ε", frozen))
    panels: list[Panel] = []
    for seen, label, marks in sweeps:
        result.dataset(f"by_{seen['curvature'].dims[0]}", seen)
        panels.append(
            lambda ax, seen=seen, label=label, marks=marks: plots.plot_parameter_curvature(
                ax, seen, label, lowest, marks
            )
        )
    result.text(PARAMETER_TERMS)
    result.figure(
        "parameters",
        "Curvature along the same vector fields under other parameters, and of the joint flow at "
        "finite timescale ratios.",
        *panels,
        width=5.0,
    )
    return result
