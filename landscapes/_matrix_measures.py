"""Macroscopic measures of a weight matrix along training: its rank, and where it points (MT25)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from particles import InvalidInput

from ._base import compiled_precisely
from ._spans import angles_between, namespace


class RankMeasures(NamedTuple):
    """How many directions a matrix uses; zero for a zero matrix, at most its rank.

    Args:
        effective: exp of the entropy of the normalised singular values.
        stable: ‖A‖_F²/‖A‖².
        participation: (Σ s²)²/Σ s⁴, the participation ratio of the squared singular values.
    """

    effective: Float[Array | np.ndarray, "*batch"]
    stable: Float[Array | np.ndarray, "*batch"]
    participation: Float[Array | np.ndarray, "*batch"]


def rank_measures(matrices: Float[Array | np.ndarray, "*batch rows columns"]) -> RankMeasures:
    """Effective rank, stable rank and participation ratio of every matrix of a trajectory.

    Arrays of NumPy are measured by NumPy: nothing is compiled. (theory.md, section 5; MT25, RV07)

    Args:
        matrices: one, or a stack such as a recorded trajectory.

    Example:
        >>> import jax.numpy as jnp
        >>> [round(float(value), 5) for value in rank_measures(jnp.diag(jnp.ones(3)))]
        [3.0, 3.0, 3.0]
    """
    return _ranks(matrices) if isinstance(matrices, np.ndarray) else _compiled_ranks(matrices)


def principal_angles(
    one: Float[Array | np.ndarray, "... rows columns"],
    other: Float[Array | np.ndarray, "... rows columns"],
    rank: int,
) -> Float[Array | np.ndarray, "... angles"]:
    """Angles in radians between the spans of the top left singular vectors, in increasing order.

    Between successive times they tell whether a subspace is stable, against the last time how
    much of the final one is there. Arrays of NumPy are measured by NumPy: nothing is compiled.
    (theory.md, section 5; MT25)

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
    known = isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
    return (_angles if known else _compiled_angles)(one, other, rank)


def _ranks(matrices: Array | np.ndarray) -> RankMeasures:
    xp = namespace(matrices)
    singular = xp.linalg.svd(matrices, compute_uv=False)
    largest = singular[..., :1]
    scaled = xp.where(largest > 0, singular / xp.where(largest > 0, largest, 1), 0)
    total = xp.sum(scaled, axis=-1, keepdims=True)
    share = scaled / xp.where(total > 0, total, 1)
    entropy = -xp.sum(share * xp.log(xp.where(share > 0, share, 1)), axis=-1)
    squares, fourths = xp.sum(scaled**2, axis=-1), xp.sum(scaled**4, axis=-1)
    participation = squares**2 / xp.where(fourths > 0, fourths, 1)
    return RankMeasures(xp.where(total[..., 0] > 0, xp.exp(entropy), 0), squares, participation)


def _angles(one: Array | np.ndarray, other: Array | np.ndarray, rank: int) -> Array | np.ndarray:
    svd = namespace(one).linalg.svd
    left, right = (svd(m, full_matrices=False)[0][..., :rank] for m in (one, other))
    return angles_between(left, right)


_compiled_ranks = compiled_precisely(_ranks)
_compiled_angles = compiled_precisely(_angles)
