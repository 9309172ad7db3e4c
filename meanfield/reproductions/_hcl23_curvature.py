"""HCL23: curvature where the flow is slow but not critical."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from landscapes import SoftmaxAttentionLandscape
from landscapes.softmax_attention import (
    BalancedSoftmax,
    feature_probabilities,
    query_hessian,
    starting_velocity,
)
from particles import Ensemble
from saddle_analysis import (
    CriticalityReport,
    HessianOperator,
    NotCriticalWarning,
    criticality_report,
)

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import at, log_spaced, simulate
from ..studies import zero_head
from ._hcl23 import DOMINANT, SOURCE, plateau, stages

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes


def curvature(
    landscape: SoftmaxAttentionLandscape, ensemble: Ensemble, count: int = 1
) -> CriticalityReport:
    """Gradient and smallest curvatures where the flow is slow but not critical."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotCriticalWarning)
        return criticality_report(landscape, ensemble, count=count, expected=count)


def start_curvature(features: int) -> Result:
    """The start is no critical point; the landscape curves down once for each query."""
    probabilities = feature_probabilities(features)
    landscape = SoftmaxAttentionLandscape.of_length(probabilities)
    found = curvature(landscape, zero_head(landscape), features + 4)
    smallest, tolerance = found.smallest.values, found.curvature_tolerance
    result = Result("Curvature at the start")
    result.claim(
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
            float(BalancedSoftmax(features).curvature()),
            smallest[0],
            relative=1e-6,
        ),
        Claim.equal(
            "negative curvatures at the start: one for each query",
            "theory 6",
            features,
            int(np.sum(smallest < -tolerance)),
        ),
    )
    result.text(f"The start: {found.sentence}")
    result.figure(
        "spectrum",
        "Smallest curvatures at Q = 0 in the large-prompt limit.",
        functools.partial(
            plots.plot_spectrum, eigenvalues=smallest, threshold=tolerance, index=features
        ),
    )
    return result


@dataclass(frozen=True)
class Moment:
    """One head at a time of interest, its curvatures, and those of the closed form.

    Args:
        name: what the time is.
        time: flow time.
        sentence: the classification in words.
        gradient_norm: in L²(μ).
        tolerance: below whose negative a curvature counts as negative.
        values: all curvatures, by the dense Hessian.
        predicted: by the closed form.
    """

    name: str
    time: float
    sentence: str
    gradient_norm: float
    tolerance: float
    values: np.ndarray
    predicted: np.ndarray

    @property
    def index(self) -> int:
        """Predicted number of negative curvatures."""
        return int(np.sum(self.predicted < -self.tolerance))


def run_curvature(features: int, *, progress: bool = False) -> Result:
    """Slow is not critical: gradient and curvature at the start and between the convergences."""
    probabilities = feature_probabilities(features, DOMINANT)
    landscape = SoftmaxAttentionLandscape.of_length(probabilities)
    flow, start = GradientFlow(landscape, scheme="adaptive"), zero_head(landscape)
    horizon = 60.0 * features**2
    settings = {"dt": 0.1, "progress": progress, "label": "one head"}
    records = log_spaced(1.0, 80)
    first = simulate(flow, start, horizon=horizon, record=records, **settings).trajectory
    times = {
        "start": 0.0,
        "plateau": float(first["time"].values[plateau(first)]),
        "end of phase I": stages(first)[1].boundaries[0],
    }
    until, whole = max(times.values()), at(*times.values())
    again = simulate(
        flow, start, horizon=until, record=at(), snapshots=whole, **settings
    ).trajectory
    moments = [_moment(landscape, again, name, time) for name, time in times.items()]
    result = Result("Curvature at the start and on the plateau")
    result.dataset("one_head", first)
    result.claim(*[claim for moment in moments for claim in _curvature_claims(moment)])
    result.claim(
        Claim.below(
            "the plateau is slower than the start: ratio of gradient norms",
            SOURCE,
            bound=1.0,
            measured=moments[1].gradient_norm / moments[0].gradient_norm,
        )
    )
    for moment in moments:
        result.text(f"{moment.name.capitalize()}, t = {moment.time:.4g}: {moment.sentence}")
    result.text(
        "None of them is critical. While the dominant token holds most of a query's attention, "
        "sharpening on its own feature and every exchange between the other tokens curve down; "
        "after phase I only the first does, once for each under-represented query."
    )
    panels = [functools.partial(_draw_spectrum, moment=moment) for moment in moments]
    result.figure("spectrum", "Curvatures of one head, large-prompt limit.", *panels, width=5.0)
    return result


def _moment(
    landscape: SoftmaxAttentionLandscape, trajectory: xarray.Dataset, name: str, time: float
) -> Moment:
    head = Ensemble(
        jnp.asarray(trajectory["particles"].sel(snapshot_time=time, method="nearest").values)
    )
    found = curvature(landscape, head)
    attention = np.asarray(landscape.moments(head).attention[:, 0])
    blocks = [
        p * query_hessian(attention[k], k)
        for k, p in enumerate(np.asarray(landscape.probabilities))
    ]
    return Moment(
        name=name,
        time=time,
        sentence=found.sentence,
        gradient_norm=found.gradient_norm,
        tolerance=found.curvature_tolerance,
        values=np.linalg.eigvalsh(HessianOperator(landscape, head).dense()),
        predicted=np.sort(np.concatenate([np.linalg.eigvalsh(block) for block in blocks])),
    )


def _curvature_claims(moment: Moment) -> list[Claim]:
    deviation = np.abs(moment.values - moment.predicted).max() / np.abs(moment.values).max()
    return [
        Claim.equal(
            f"negative curvatures, {moment.name}",
            "theory 6",
            moment.index,
            int(np.sum(moment.values < -moment.tolerance)),
        ),
        Claim.equal(
            f"curvatures, {moment.name}: largest deviation from the closed form, relative to ‖H‖",
            "theory 6",
            0.0,
            float(deviation),
            absolute=1e-9,
        ),
    ]


def _draw_spectrum(ax: Axes, moment: Moment) -> None:
    plots.plot_spectrum(ax, moment.values, threshold=moment.tolerance, index=moment.index)
    ax.set_title(f"Wasserstein Hessian, {moment.name}")
