"""Spans of functions in L² of the samples: eigen-features, and how much of them is learned."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def orthonormal_features(
    f: Float[Array, "samples outputs"],
) -> tuple[Float[Array, " outputs"], Float[Array, "samples outputs"]]:
    """Eigenvalues of E[ffᵀ] in decreasing order, and eigen-features e_j with E[e_i e_j] = δ_ij.

    Features with a zero eigenvalue come back as zero columns.
    """
    values, vectors = jnp.linalg.eigh(f.T @ f / f.shape[0])
    values, vectors = values[::-1], vectors[:, ::-1]
    positive = values > 100 * jnp.finfo(values.dtype).eps * values[0]
    values = jnp.where(positive, values, 0)
    scale = jnp.where(positive, 1 / jnp.sqrt(jnp.where(positive, values, 1)), 0)
    return values, f @ (vectors * scale)


def fractions_inside(
    features: Float[Array, "samples outputs"],
    h: Float[Array, "samples columns"],
    ridge: Float[Array, ""] | float = 0.0,
) -> Float[Array, " outputs"]:
    """‖P e_j‖² of each feature, P the (ridge) projection onto the span of h's columns."""
    samples, columns = h.shape
    gram = h.T @ h / samples + ridge * jnp.eye(columns, dtype=h.dtype)
    overlap = features.T @ h / samples
    return jnp.sum(overlap * jax.scipy.linalg.solve(gram, overlap.T, assume_a="pos").T, axis=1)


def namespace(array: Array | np.ndarray) -> Any:
    """Where the functions of an array are: NumPy compiles nothing."""
    return np if isinstance(array, np.ndarray) else jnp


def angles_between(
    left: Float[Array | np.ndarray, "... rows left"],
    right: Float[Array | np.ndarray, "... rows right"],
) -> Float[Array | np.ndarray, "... angles"]:
    """Angles in radians between the spans of orthonormal columns, in increasing order.

    Small angles are lost in the cosine, large ones in the sine: each is taken from the other one.
    Columns of zeros on the right are orthogonal to everything.
    """
    xp = namespace(left)
    overlap = left.mT @ right
    cosines = xp.clip(xp.linalg.svd(overlap, compute_uv=False), 0, 1)
    absent = xp.where(xp.sum(right**2, axis=-2) > 0.5, 0, 1).astype(right.dtype)
    absent = absent[..., None, :] * xp.eye(right.shape[-1], dtype=right.dtype)
    outside = right - left @ overlap
    absent = xp.broadcast_to(absent, (*outside.shape[:-2], *absent.shape[-2:]))
    sines = xp.linalg.svd(xp.concatenate([outside, absent], axis=-2), compute_uv=False)
    sines = sines[..., ::-1][..., : cosines.shape[-1]]
    return xp.where(cosines > 0.7, xp.arcsin(xp.clip(sines, 0, 1)), xp.arccos(cosines))


def span_correlations(
    features: Float[Array, "samples outputs"], h: Float[Array, "samples columns"]
) -> Float[Array, " angles"]:
    """Cosines of the principal angles between span(h) and that of orthonormal features, in L²."""
    left = jnp.linalg.svd(h, full_matrices=False)[0]
    return jnp.cos(angles_between(left, features / features.shape[0] ** 0.5))
