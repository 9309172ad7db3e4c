"""What the two reproductions of HCL23 share: runs, their phases, and what is said of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Array, Key

from landscapes import SoftmaxAttentionLandscape
from particles import Ensemble
from saddle_analysis.curves import QueryStages, find_stages

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Panel
from ..runs import Run, log_spaced, simulate
from ..studies import zero_head

if TYPE_CHECKING:
    import xarray

SOURCE = "HCL23; theory 6"
ATTENTION = "Attention of every query to every token, mean over prompts."
TOKENS, LEARNING_RATE = 200, 2.0
PER_DECADE = 160  # records
DOMINANT = 0.5  # probability of the dominant feature
CONVERGED = 0.1  # of its initial loss, where the dominant query's plateau is taken


def sampled(
    key: Key[Array, ""], probabilities: np.ndarray, samples: int
) -> SoftmaxAttentionLandscape:
    """Prompts of 200 tokens that stay the same along the run."""
    return SoftmaxAttentionLandscape.of_length(probabilities, TOKENS, prompts=samples, key=key)


def descend(
    landscape: SoftmaxAttentionLandscape,
    horizon: float,
    *,
    starts: Ensemble | None = None,
    batch: int | None = None,
    key: Key[Array, ""] | None = None,
    progress: bool = False,
) -> Run:
    """Gradient descent, of one head from Q = 0 by default.

    Args:
        landscape: on prompts.
        horizon: last flow time.
        starts: heads, many sets of them along a leading axis.
        batch: fresh prompts at every step (SGD), in place of those of the landscape.
        key: draws them.
        progress: show a bar.
    """
    return simulate(
        GradientFlow(landscape, scheme="euler", batch_size=batch),
        zero_head(landscape) if starts is None else starts,
        horizon=horizon,
        dt=LEARNING_RATE,
        key=key,
        record=log_spaced(5 * LEARNING_RATE, per_decade=PER_DECADE),
        batch=starts is not None,
        progress=progress,
        label="gradient descent" if batch is None else "SGD",
    )


def stages(trajectory: xarray.Dataset) -> list[QueryStages]:
    """The phases of every query."""
    return find_stages(*(trajectory[name].values for name in ("time", "A", "B", "query_loss")))


def phase_names(query: QueryStages) -> list[str]:
    """Names of the phases that a query goes through, in order."""
    return [stage.name for stage in query.stages]


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


def attention_panels(trajectory: xarray.Dataset, times: list[float]) -> list[Panel]:
    """The attention table at a few times."""
    return [
        functools.partial(plots.plot_attention_map, trajectory=trajectory, time=time)
        for time in times
    ]


def plateau(trajectory: xarray.Dataset) -> int:
    """The record where the dominant query has converged and the others have not."""
    own = trajectory["query_loss"].values[:, 0]
    return int(np.argmax(own < CONVERGED * own[0]))
