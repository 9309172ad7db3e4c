"""The linear attention problem: in-context linear regression, heads as particles (ZSLS25, MT25)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from landscapes import (
    MergedLinearAttentionLandscape,
    SeparateLinearAttentionLandscape,
    bootstrap,
)
from landscapes.linear_attention import (
    LinearAttentionLandscape,
    MergedHead,
    PopulationMoments,
    PromptDistribution,
    head_saddle_index,
    head_start,
    in_context_optimum,
    learned_heads,
    plateau_level,
    plateau_levels,
)
from landscapes.mlp_attention import missing_name
from particles import Ensemble, InvalidInput

from ..results import CriticalPoint
from ._options import Count, Natural, Positive
from ._problem import Features, Problem

SOURCE = "ZSLS25; theory 4"
START_SCALE = 0.5  # of the default start; the small ones of ZSLS25 are `gaussian` starts


@dataclass(frozen=True)
class LinearAttention:
    """In-context linear regression by heads of linear attention, averaged (ZSLS25, MT25).

    Example:
        >>> import jax
        >>> problem = LinearAttention(parameters="separate").build(jax.random.key(0))
        >>> problem.landscape.particle.k.shape, len(problem.levels)
        ((1, 4), 5)
    """

    parameters: Literal["merged", "separate"] = "merged"
    """Key and query merged into one matrix, or separate ones of low rank."""
    rank: Count = 1
    """Rank of separate keys and queries."""
    eigenvalues: tuple[Positive, ...] = (1.0, 0.75, 0.5, 0.25)
    """Of the tokens' covariance Λ."""
    task_eigenvalues: tuple[Positive, ...] = ()
    """Of the tasks' covariance T, which shares Λ's eigenvectors: one for each of `eigenvalues`;
    empty for the identity."""
    context_length: Count = 16
    """Labelled tokens in a prompt."""
    prompts: Natural = 0
    """Prompts that are drawn once and kept; 0 for the exact expectation over all."""

    def build(self, key: Key[Array, ""]) -> Problem:
        """The problem; a key draws its prompts, where it has any.

        Raises:
            InvalidInput: an option out of range, another number of task eigenvalues than of
                eigenvalues, or a rank for merged parameters.
        """
        if not self.eigenvalues:
            raise InvalidInput("problem.eigenvalues is empty; give at least one.")
        if self.task_eigenvalues and len(self.task_eigenvalues) != len(self.eigenvalues):
            raise InvalidInput(
                f"problem.task_eigenvalues has {len(self.task_eigenvalues)} entries and "
                f"problem.eigenvalues {len(self.eigenvalues)}; give one for each, or none."
            )
        values = np.asarray(self.eigenvalues)
        tasks = np.asarray(self.task_eigenvalues or np.ones_like(values))
        order = np.lexsort((tasks, values))[::-1]
        values, tasks = values[order], tasks[order]
        source = PromptDistribution(values, self.context_length, task_covariance=tasks)
        moments = PopulationMoments(source)
        if self.prompts:
            moments = moments.fresh(key, self.prompts)
        if self.parameters == "merged":
            if self.rank != 1:
                raise InvalidInput(
                    f"problem.rank is {self.rank}, but problem.parameters is 'merged', which "
                    "has no rank; leave it out."
                )
            landscape = MergedLinearAttentionLandscape(moments)
        else:
            landscape = SeparateLinearAttentionLandscape(moments, self.rank)
        theory = _Theory(landscape, values, tasks, self.context_length)
        exact = not self.prompts and (self.parameters == "merged" or self.rank == 1)
        return Problem(
            landscape,
            lambda key, size, points="random": head_start(
                key, landscape, size, scale=START_SCALE, points=points
            ),
            saddle=theory.saddle if exact else None,
            missing=tuple(range(values.size)),
            redraws={"fresh prompts": bootstrap(landscape)},
            levels=theory.levels if exact else {},
            predicted=theory.predicted if exact else None,
            features=Features(values),
        )


@dataclass(frozen=True)
class _Theory:
    """What is known of the population landscape."""

    landscape: LinearAttentionLandscape
    values: np.ndarray
    tasks: np.ndarray
    context_length: float

    @property
    def merged(self) -> bool:
        return isinstance(self.landscape, MergedLinearAttentionLandscape)

    @property
    def levels(self) -> dict[str, float]:
        levels = plateau_levels(self.values, self.context_length, self.tasks).tolist()
        if self.merged:
            return {"origin": levels[0], "minimum": levels[-1]}
        names = [f"{m} learned" for m in range(len(levels) - 1)] + ["minimum"]
        return dict(zip(names, levels, strict=True))

    def saddle(self, key: Key[Array, ""], size: int, missing: Sequence[int]) -> Ensemble:
        """Heads that have learned all directions but the missing ones; the key plays no part."""
        count = self.values.size
        wrong = [d for d in missing if not 0 <= d < count]
        if wrong:
            raise InvalidInput(f"missing is {list(missing)}; directions run from 0 to {count - 1}.")
        learned = [d for d in range(count) if d not in missing]
        if isinstance(self.landscape, SeparateLinearAttentionLandscape):
            return learned_heads(self.landscape, learned, size)
        if learned:
            raise InvalidInput(
                f"missing is {list(missing)}; with merged parameters the only saddle is the "
                f"origin, which misses all directions: {list(range(count))}."
            )
        dtype = self.landscape.prompts.covariance.dtype
        return Ensemble(MergedHead(jnp.zeros(size, dtype), jnp.zeros((size, count, count), dtype)))

    def predicted(self, ensemble: Ensemble) -> CriticalPoint | None:
        """Level and index where every direction is learned wholly or not at all."""
        moments = self.landscape.prompts.read_out(self.landscape.moments(ensemble))
        optimum = np.diag(self.optimum)
        parts = np.asarray(moments, float) / optimum.max()
        fractions = np.diag(parts) / (optimum / optimum.max())
        off = np.abs(parts - np.diag(np.diag(parts))).max()
        if off > 1e-5 or np.minimum(np.abs(fractions), np.abs(fractions - 1)).max() > 1e-5:
            return None
        learned = [int(d) for d in np.flatnonzero(fractions > 0.5)]
        level = plateau_level(self.values, self.context_length, learned, self.tasks)
        name = f"learned {missing_name(learned)}" if learned else "origin"
        if not self.merged:
            # With a head on each learned direction and the others at zero.
            index = head_saddle_index(self.values, self.context_length, learned, self.tasks)
            return CriticalPoint(name, level, index, SOURCE)
        if learned:
            return (
                CriticalPoint(name, level, 0, SOURCE) if len(learned) == self.values.size else None
            )
        # Every head has one unstable direction: v and U along the gradient.
        return CriticalPoint(name, level, ensemble.size, SOURCE)

    @property
    def optimum(self) -> np.ndarray:
        covariance, tasks = jnp.diag(jnp.asarray(self.values)), jnp.diag(jnp.asarray(self.tasks))
        return np.asarray(in_context_optimum(covariance, self.context_length, tasks))
