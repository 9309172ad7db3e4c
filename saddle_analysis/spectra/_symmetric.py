"""What every spectral routine needs of an operator, and operators made from a matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from particles import InvalidInput
from particles.internal import to_device, to_host


@runtime_checkable
class SymmetricOperator(Protocol):
    """A symmetric matrix known by its products: all that the eigensolvers ask for.

    `HessianOperator` is one. An optional attribute `dtype` names the floating type of its vectors
    (JAX's default float otherwise), and an optional method `to_vector` undoes `to_field`, for
    starts given as fields. `matvec` must be a JAX function.
    """

    @property
    def size(self) -> int:
        """Number of unknowns."""
        ...

    @property
    def matvec(self) -> Callable[[Array], Array]:
        """The product with a vector of shape `(size,)`."""
        ...

    def to_field(self, vector: Array) -> PyTree:
        """What a vector of coordinates stands for."""
        ...


class MatrixOperator(eqx.Module):
    """A symmetric matrix, or the diagonal of one, as an operator: for tests and small problems.

    Args:
        matrix: shape `(size, size)`, symmetric, or `(size,)` for a diagonal matrix.

    Raises:
        InvalidInput: neither a vector nor a symmetric matrix.

    Example:
        >>> import jax.numpy as jnp
        >>> MatrixOperator(jnp.array([2.0, 3.0])).matvec(jnp.ones(2)).tolist()
        [2.0, 3.0]
    """

    matrix: Array

    def __init__(self, matrix: Array):
        matrix = jnp.asarray(matrix)
        if matrix.ndim not in (1, 2) or len(set(matrix.shape)) != 1 or matrix.size == 0:
            raise InvalidInput(
                f"matrix has shape {matrix.shape}; give a square matrix, or its diagonal."
            )
        values = to_host(matrix)
        if values.ndim == 2 and np.abs(values - values.T).max() > 1e-4 * np.abs(values).max():
            raise InvalidInput("matrix is not symmetric; give (matrix + matrix.T) / 2.")
        self.matrix = matrix

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.matrix.shape[0]

    @property
    def dtype(self) -> np.dtype:
        """Floating type of the vectors."""
        return self.matrix.dtype

    def matvec(self, vector: Float[Array, " size"]) -> Float[Array, " size"]:
        """The product with a vector."""
        if self.matrix.ndim == 1:
            return self.matrix * vector
        return jnp.matmul(self.matrix, vector, precision="highest")

    def to_field(self, vector: Float[Array, " size"]) -> Float[Array, " size"]:
        """The vector itself."""
        return vector

    def to_vector(self, field: Float[Array, " size"]) -> Float[Array, " size"]:
        """The field itself."""
        return field


def dtype_of(operator: SymmetricOperator) -> np.dtype:
    """Floating type of the operator's vectors."""
    return np.dtype(getattr(operator, "dtype", None) or jnp.result_type(float))


#: Vectors in one call of `images_of`, and numbers in them.
AT_ONCE, LARGEST = 16, 2**20


@eqx.filter_jit  # so that operators of one kind, as along a run, are compiled once
def products(
    matvec: Callable[[Array], Array], vectors: Float[Array, "count size"]
) -> Float[Array, "count size"]:
    """The product with every vector, one after the other."""
    return jax.lax.map(matvec, vectors)


def images_of(
    operator: SymmetricOperator, vectors: Float[np.ndarray, "count size"]
) -> Float[np.ndarray, "count size"]:
    """The product with every vector, a few at a time: one program for any number of them."""
    dtype, size = dtype_of(operator), operator.size
    at_once = min(AT_ONCE, size, max(1, LARGEST // size))
    found = np.empty((len(vectors), size), dtype)
    for first in range(0, len(vectors), at_once):
        some = np.zeros((at_once, size), dtype)
        part = vectors[first : first + at_once]
        some[: len(part)] = part
        images = products(operator.matvec, to_device(some))
        found[first : first + at_once] = np.asarray(images)[: len(part)]
    return found


def dense_matrix(operator: SymmetricOperator) -> np.ndarray:
    """The operator as a symmetric matrix, one product per column; exactly symmetrised."""
    columns: Any = images_of(operator, np.eye(operator.size)).astype(np.float64)
    if not np.isfinite(columns).all():
        raise RuntimeError(
            "the operator gives non-finite numbers; look for a landscape that is not smooth at "
            "this ensemble."
        )
    return (columns + columns.T) / 2
