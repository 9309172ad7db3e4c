"""The eigen-directions that the tokens' covariance Λ and the tasks' covariance T share."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from particles import InvalidInput


def is_identity(task_covariance: Float[Array, "dim dim"]) -> bool:
    """Whether T is known to be I: its own formulas are then used, so not a bit depends on it."""
    known = not isinstance(task_covariance, Tracer)
    return known and np.array_equal(task_covariance, np.eye(len(task_covariance)))


def shared_directions(
    covariance: Float[Array, "dim dim"], task_covariance: Float[Array, "dim dim"] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """λ_d, t_d and the common eigenvectors (columns) of Λ and T; the largest λ first, then t.

    Raises:
        InvalidInput: Λ and T do not commute.
    """
    matrix = np.asarray(covariance, float)
    if task_covariance is None or is_identity(task_covariance):
        values, vectors = np.linalg.eigh(matrix)
        return values[::-1], np.ones_like(values), vectors[:, ::-1]
    tasks = np.asarray(task_covariance, float)
    unlike = float(np.abs(matrix @ tasks - tasks @ matrix).max())
    tolerance = _tolerance(covariance)
    if unlike > tolerance * np.abs(matrix).max() * np.abs(tasks).max():
        raise InvalidInput(
            f"task_covariance (with any fixed task) does not commute with covariance, by "
            f"{unlike:.2g}, so they share no eigen-directions; give one that does, or use "
            "PopulationMoments and in_context_optimum, which hold for any."
        )
    vectors = np.asarray(eigen_directions(covariance, task_covariance), float)
    values, shared = (np.einsum("ad,ab,bd->d", vectors, m, vectors) for m in (matrix, tasks))
    return values, np.where(shared > tolerance * shared.max(), shared, 0.0), vectors


@eqx.filter_jit
def eigen_directions(
    covariance: Float[Array, "dim dim"], task_covariance: Float[Array, "dim dim"]
) -> Float[Array, "dim dim"]:
    """Eigenvectors of Λ (columns), the largest first; within an eigenspace those of T there."""
    values, vectors = jnp.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    new = -jnp.diff(values) > _tolerance(covariance) * values[0]
    block = jnp.concatenate([jnp.zeros(1, int), jnp.cumsum(new)])
    within = jnp.where(block[:, None] == block, vectors.T @ task_covariance @ vectors, 0)
    # One decomposition for all eigenspaces: their order comes first, then −t.
    order = 2 * jnp.linalg.norm(task_covariance) * jnp.diag(block.astype(within.dtype))
    return vectors @ jnp.linalg.eigh(order - within)[1]


def _tolerance(covariance: Float[Array, "dim dim"]) -> float:
    """Relative size of what may be rounding."""
    return 100 * covariance.shape[0] * float(jnp.finfo(covariance.dtype).eps)
