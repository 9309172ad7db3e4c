"""Macroscopic measures of a weight matrix along training: its rank, and where it points (MT25)."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from particles import InvalidInput

from ._base import compiled_precisely
from ._spans import angles_between


class RankMeasures(NamedTuple):
    """How many directions a matrix uses; zero for a zero matrix, at most its rank.

    Args:
        effective: exp of the entropy of the normalised singular values.
        stable: ‖A‖_F²/‖A‖².
        participation: (Σ s²)²/Σ s⁴, the participation ratio of the squared singular values.
    """

    effective: Float[Array, "*batch"]
    stable: Float[Array, "*batch"]
    participation: Float[Array, "*batch"]


@compiled_precisely
def rank_measures(matrices: Float[Array, "*batch rows columns"]) -> RankMeasures:
    """Effective rank, stable rank and participation ratio of every matrix of a trajectory.

    (theory.md, section 5; MT25, RV07)

    Args:
        matrices: one, or a stack such as a recorded trajectory.

    Example:
        >>> import jax.numpy as jnp
        >>> [round(float(value), 5) for value in rank_measures(jnp.diag(jnp.ones(3)))]
        [3.0, 3.0, 3.0]
    """
    singular = jnp.linalg.svd(matrices, compute_uv=False)
    largest = singular[..., :1]
    scaled = jnp.where(largest > 0, singular / jnp.where(largest > 0, largest, 1), 0)
    total = jnp.sum(scaled, axis=-1, keepdims=True)
    share = scaled / jnp.where(total > 0, total, 1)
    entropy = -jnp.sum(share * jnp.log(jnp.where(share > 0, share, 1)), axis=-1)
    squares, fourths = jnp.sum(scaled**2, axis=-1), jnp.sum(scaled**4, axis=-1)
    participation = squares**2 / jnp.where(fourths > 0, fourths, 1)
    return RankMeasures(jnp.where(total[..., 0] > 0, jnp.exp(entropy), 0), squares, participation)


@compiled_precisely
def principal_angles(
    one: Float[Array, "... rows columns"], other: Float[Array, "... rows columns"], rank: int
) -> Float[Array, "... angles"]:
    """Angles in radians between the spans of the top left singular vectors, in increasing order.

    Between successive times they tell whether a subspace is stable, against the last time how
    much of the final one is there. (theory.md, section 5; MT25)

    Args:
        one: one matrix, or a stack.
        other: the same, or shapes that broadcast.
        rank: number r of singular vectors, at most rows and columns.

    Raises:
        InvalidInput: a rank outside that range, or matrices of different shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> one, other = jnp.diag(jnp.array([2.0, 1, 0])), jnp.diag(jnp.array([2.0, 0, 1]))
        >>> [round(float(angle), 3) for angle in principal_angles(one, other, 2)]
        [0.0, 1.571]
    """
    if one.shape[-2:] != other.shape[-2:] or not 1 <= rank <= min(one.shape[-2:]):
        raise InvalidInput(
            f"rank is {rank}, for matrices of shapes {one.shape[-2:]} and {other.shape[-2:]}; the "
            "shapes must agree and be at least the rank."
        )
    left, right = (jnp.linalg.svd(m, full_matrices=False)[0][..., :rank] for m in (one, other))
    return angles_between(left, right)
