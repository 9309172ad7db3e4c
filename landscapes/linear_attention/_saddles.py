"""Exact critical points of the separate landscape: heads on any subset of eigen-directions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from particles import Ensemble, InvalidInput
from particles.internal import to_device

from ._directions import shared_directions
from ._landscape import SeparateHead, SeparateLinearAttentionLandscape
from ._theory import optimal_gains


def learned_heads(
    landscape: SeparateLinearAttentionLandscape,
    learned: Sequence[int],
    size: int,
    *,
    aligned: Sequence[int] = (),
    scale: float = 0.0,
) -> Ensemble:
    """Balanced heads that have learned a set of eigen-directions, one head for each.

    With `scale` zero this is an exact critical point of the population loss: A is the optimum on
    the learned directions, and the other heads are zero. It is a degenerate saddle if the learned
    directions are those of largest λ_d t_d (for T = I the largest ones) and a head is left, else
    `head_saddle_index` counts its unstable directions. A positive `scale` puts the next heads at
    v = |k| = |q| = `scale` on the directions `aligned`: a start whose every transition is
    `transition_time`. (theory.md, section 4; ZSLS25)

    Args:
        landscape: of useful blocks; T = E[wwᵀ] of its prompts must commute with Λ.
        learned: eigen-directions, numbered from 0 for the largest eigenvalue of Λ; within an
            eigenspace of Λ, for the largest of T.
        size: number of heads N.
        aligned: directions of the small heads.
        scale: their size.

    Raises:
        InvalidInput: full token blocks, Λ and T that do not commute, a direction that does not
            exist or is named twice, or fewer heads than directions.

    Example:
        >>> from landscapes.linear_attention import PopulationMoments, PromptDistribution
        >>> prompts = PopulationMoments(PromptDistribution([0.4, 0.3, 0.2, 0.1], 32))
        >>> landscape = SeparateLinearAttentionLandscape(prompts, rank=1, heads=6)
        >>> round(float(landscape.value(learned_heads(landscape, [0, 1], 6))), 5)
        0.18761
    """
    prompts, chosen = landscape.prompts, [*learned, *aligned]
    if prompts.blocks != "useful":
        raise InvalidInput("landscape has full token blocks; give one of useful blocks.")
    if any(not 0 <= d < prompts.dim for d in chosen) or len(set(chosen)) < len(chosen):
        raise InvalidInput(
            f"learned is {list(learned)} and aligned is {list(aligned)}; directions run from 0 to "
            f"{prompts.dim - 1}, each named once."
        )
    if size < len(chosen):
        raise InvalidInput(f"size is {size}; it must be at least the {len(chosen)} directions.")
    moment = None if prompts.source is None else prompts.source.task_moment
    values, tasks, vectors = shared_directions(prompts.covariance, moment)
    optimum = optimal_gains(values, prompts.context_length, tasks)
    # A head adds heads/N · v³ to A, which the convention reads as `gain` times as much.
    share = prompts.gain * landscape.heads / size
    sizes = (optimum[np.array(learned, int)] / share) ** (1 / 3)
    # Small: by NumPy, since JAX would compile each operation.
    sizes = np.concatenate([sizes, np.full(len(aligned), scale)])
    v, rows = np.zeros(size), np.zeros((size, landscape.rank, prompts.dim))
    v[: len(chosen)] = sizes
    rows[: len(chosen), 0] = sizes[:, None] * vectors[:, np.array(chosen, int)].T
    dtype = prompts.covariance.dtype
    return Ensemble(SeparateHead(*(to_device(part, dtype) for part in (v, rows, rows))))
