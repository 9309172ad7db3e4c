"""Spans of functions in L² of the samples: eigen-features, and how much of them is learned."""

from __future__ import annotations

import jax
import jax.numpy as jnp
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


def span_correlations(
    features: Float[Array, "samples outputs"], h: Float[Array, "samples columns"]
) -> Float[Array, " angles"]:
    """Cosines of the principal angles between span(h) and that of orthonormal features, in L²."""
    left = jnp.linalg.svd(h, full_matrices=False)[0]
    cosines = jnp.linalg.svd(left.T @ features, compute_uv=False) / features.shape[0] ** 0.5
    return jnp.clip(cosines, 0, 1)
