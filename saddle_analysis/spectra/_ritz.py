"""Rayleigh–Ritz: a curvature operator on the span of a few vector fields."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float, PyTree

from particles import Ensemble

from ._operators import HessianOperator


@eqx.filter_jit
def projected(operator: HessianOperator, fields: PyTree) -> Float[Array, "fields fields"]:
    """⟨u_i, H u_j⟩ of stacked fields, one product for each."""
    images = jax.lax.map(operator.apply, fields)
    rows = _inner_products(operator.metric, fields, images)
    return (rows + rows.T) / 2


@eqx.filter_jit
def gram_matrix(ensemble: Ensemble, fields: PyTree) -> Float[Array, "fields fields"]:
    """⟨u_i, u_j⟩ of stacked fields."""
    return _inner_products(ensemble, fields, fields)


def ritz_values(
    ensemble: Ensemble, fields: PyTree, matrix: Float[Array, "fields fields"]
) -> Float[np.ndarray, " fields"]:
    """Eigenvalues of the projected operator on the span of the fields, in increasing order."""
    gram = np.asarray(gram_matrix(ensemble, fields), float)
    return scipy.linalg.eigvalsh(np.asarray(matrix, float), gram)


def _inner_products(ensemble: Ensemble, left: PyTree, right: PyTree) -> Array:
    rows, columns = (jax.vmap(ensemble.to_vector)(fields) for fields in (left, right))
    return jnp.matmul(rows, columns.T, precision="highest")
