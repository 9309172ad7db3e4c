"""Rayleigh–Ritz: a curvature operator on the span of a few vector fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg
from jaxtyping import PyTree

from particles import Ensemble

from ._operators import HessianOperator


def projected(operator: HessianOperator, fields: Sequence[PyTree]) -> np.ndarray:
    """⟨u_i, H u_j⟩, shape `(fields, fields)`."""
    images = [operator.apply(field) for field in fields]
    inner = operator.ensemble.inner
    rows = np.array([[float(inner(u, image)) for image in images] for u in fields])
    return (rows + rows.T) / 2


def gram_matrix(ensemble: Ensemble, fields: Sequence[PyTree]) -> np.ndarray:
    """⟨u_i, u_j⟩."""
    return np.array([[float(ensemble.inner(u, v)) for v in fields] for u in fields])


def ritz_values(ensemble: Ensemble, fields: Sequence[PyTree], matrix: np.ndarray) -> np.ndarray:
    """Eigenvalues of the projected operator on the span of the fields, in increasing order."""
    return scipy.linalg.eigvalsh(matrix, gram_matrix(ensemble, fields))
