"""Prompts of in-context linear regression: where they come from, and how they are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

from particles import InvalidInput
from particles.internal import require_finite, to_device


class PromptDistribution(eqx.Module):
    """Prompts (x_1, y_1, …, x_N, y_N, x_q) with tokens x ~ N(0, Λ) and labels y = wᵀx.

    The task w ~ N(0, T) is drawn anew for every prompt; a `fraction` of the prompts has one
    `fixed_task` instead, which a model can learn in its weights. Those prompts are
    `uninformative` when the labels of their context are noise from N(0, 1): then only weights
    can answer. (theory.md, section 4; ZSLS25)

    Args:
        covariance: Λ, shape `(dim, dim)`, or its eigenvalues (a diagonal Λ).
        context_length: number N ≥ 1 of labelled tokens; infinite for population moments only.
        task_covariance: T, shape `(dim, dim)`, or the diagonal of a diagonal T; it need not
            commute with Λ, and may be singular. `None` is the identity.
        fixed_task: shape `(dim,)`.
        fraction: of prompts with the fixed task, between 0 and 1.
        uninformative: whether those have noise for labels in their context.

    Raises:
        InvalidInput: Λ is not symmetric positive definite, T is not symmetric positive
            semidefinite, of another dimension, or zero without a fixed task, N is below one or no
            integer, a task of another dimension, or a fraction outside [0, 1] or without a fixed
            task.

    Example:
        >>> import jax
        >>> x, y = PromptDistribution([0.1, 0.9], 5).draw(jax.random.key(0), 3)
        >>> x.shape, y.shape  # the last token is the query
        ((3, 6, 2), (3, 6))
        >>> PromptDistribution([0.1, 0.9], 5, task_covariance=[2.0, 0.0]).task_moment.tolist()
        [[2.0, 0.0], [0.0, 0.0]]
    """

    covariance: Float[Array, "dim dim"]
    root: Float[Array, "dim dim"]
    task_covariance: Float[Array, "dim dim"] | None
    task_root: Float[Array, "dim dim"] | None
    fixed_task: Float[Array, " dim"]
    fraction: Float[Array, ""]
    context_length: float = eqx.field(static=True)
    uninformative: bool = eqx.field(static=True)

    def __init__(
        self,
        covariance: ArrayLike | Sequence,
        context_length: float,
        *,
        task_covariance: ArrayLike | Sequence | None = None,
        fixed_task: ArrayLike | Sequence[float] | None = None,
        fraction: float = 0.0,
        uninformative: bool = False,
    ):
        self.covariance = checked_covariance(covariance)
        dim, dtype = self.covariance.shape[0], self.covariance.dtype
        self.root = to_device(np.linalg.cholesky(np.asarray(self.covariance)))
        self.context_length = checked_length(context_length)
        if not 0 <= fraction <= 1:
            raise InvalidInput(f"fraction is {fraction}; it must lie between 0 and 1.")
        if fixed_task is None and fraction > 0:
            raise InvalidInput(f"fraction is {fraction}, but fixed_task is missing; give the task.")
        task = to_device(np.zeros(dim) if fixed_task is None else fixed_task, dtype)
        if task.shape != (dim,):
            raise InvalidInput(f"fixed_task has shape {task.shape}; it must be ({dim},).")
        require_finite("fixed_task", task)
        self.fixed_task, self.fraction = task, to_device(fraction, dtype)
        self.uninformative = uninformative
        self.task_covariance = checked_tasks(task_covariance, self.covariance)
        self.task_root = None
        if self.task_covariance is not None:
            values, vectors = np.linalg.eigh(np.asarray(self.task_covariance, float))
            root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
            self.task_root = to_device(root, dtype)
            if not root.any() and fraction == 0:
                raise InvalidInput(
                    "task_covariance is zero, and with it every label; give tasks that are not."
                )

    @property
    def dim(self) -> int:
        """Dimension D of a token."""
        return self.covariance.shape[0]

    @property
    @eqx.filter_jit
    def task_moment(self) -> Float[Array, "dim dim"]:
        """E[wwᵀ] over all tasks, the fixed one with its share."""
        fixed = self.fraction * jnp.outer(self.fixed_task, self.fixed_task)
        fresh = self.task_covariance
        fresh = jnp.eye(self.dim, dtype=self.covariance.dtype) if fresh is None else fresh
        return fixed + (1 - self.fraction) * fresh

    def draw(
        self, key: Key[Array, ""], count: int
    ) -> tuple[Float[Array, "count tokens dim"], Float[Array, "count tokens"]]:
        """Independent prompts: tokens x and labels y, the query and its label last.

        Args:
            key: random key.
            count: number of prompts.

        Raises:
            InvalidInput: `count` is below one, or the context is infinite.
        """
        if count < 1 or math.isinf(self.context_length):
            raise InvalidInput(
                f"count is {count} and context_length {self.context_length}; prompts can be drawn "
                "for at least one and a finite length."
            )
        return self._draw(key, count, int(self.context_length) + 1)

    @eqx.filter_jit
    def _draw(self, key: Key[Array, ""], count: int, tokens: int) -> tuple[Array, Array]:
        dtype = self.covariance.dtype
        keys = jax.random.split(key, 4)
        white = jax.random.normal(keys[0], (count, tokens, self.dim), dtype)
        x = jnp.matmul(white, self.root.T, precision="highest")
        fresh = jax.random.normal(keys[1], (count, self.dim), dtype)
        if self.task_root is not None:
            fresh = jnp.matmul(fresh, self.task_root, precision="highest")
        fixed = jax.random.bernoulli(keys[2], self.fraction, (count, 1))
        tasks = jnp.where(fixed, self.fixed_task, fresh)
        y = jnp.einsum("pnd,pd->pn", x, tasks, precision="highest")
        if self.uninformative:
            noise = jax.random.normal(keys[3], y.shape, dtype).at[:, -1].set(y[:, -1])
            y = jnp.where(fixed, noise, y)
        return x, y


def checked_covariance(covariance: ArrayLike | Sequence) -> Float[Array, "dim dim"]:
    """Λ as a floating-point matrix; a vector stands for a diagonal.

    Raises:
        InvalidInput: not square, not finite, not symmetric or not positive definite.
    """
    return _checked("covariance", covariance, definite=True)


def checked_tasks(
    tasks: ArrayLike | Sequence | None, covariance: Float[Array, "dim dim"]
) -> Float[Array, "dim dim"] | None:
    """T in the shape and dtype of Λ; `None` where it is the identity.

    Raises:
        InvalidInput: another shape, not finite, not symmetric or not positive semidefinite.
    """
    if tasks is None:
        return None
    matrix = _checked("task_covariance", tasks, definite=False, dim=covariance.shape[0])
    if np.array_equal(matrix, np.eye(matrix.shape[0])):
        return None
    return matrix.astype(covariance.dtype)


def _checked(
    name: str, given: ArrayLike | Sequence, *, definite: bool, dim: int | None = None
) -> Float[Array, "dim dim"]:
    """A covariance matrix, or one sentence about why it is none."""
    matrix = np.asarray(given)  # small: by NumPy, since JAX would compile each operation
    known = jax.dtypes.canonicalize_dtype(matrix.dtype)
    matrix = matrix.astype(jnp.promote_types(known, jnp.float32))
    matrix = np.diag(matrix) if matrix.ndim == 1 else matrix
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] and matrix.size > 0
    if not square or dim not in (None, matrix.shape[0]):
        wanted = "(dim, dim)" if dim is None else f"({dim}, {dim})"
        raise InvalidInput(f"{name} has shape {matrix.shape}; it must be {wanted}.")
    require_finite(name, matrix)
    dense = np.asarray(matrix, float)
    size = np.abs(dense).max()
    uneven = float(np.abs(dense - dense.T).max())
    smallest = float(np.linalg.eigvalsh(dense)[0])
    negative = smallest <= 0 if definite else smallest < -1e-6 * size
    if uneven > 1e-6 * size or negative:
        kind = "positive definite" if definite else "positive semidefinite"
        raise InvalidInput(
            f"{name} must be symmetric {kind}; it is asymmetric by {uneven:.2g} and "
            f"its smallest eigenvalue is {smallest:.2g}."
        )
    return to_device(0.5 * (matrix + matrix.T))


def checked_length(context_length: float) -> float:
    """N, a whole number of at least one, or infinity.

    Raises:
        InvalidInput: anything else.
    """
    if not (context_length >= 1 and (math.isinf(context_length) or context_length % 1 == 0)):
        raise InvalidInput(
            f"context_length is {context_length}; it must be a whole number of at least 1."
        )
    return float(context_length)
