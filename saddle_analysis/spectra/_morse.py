"""The Morse index: how many eigenvalues lie below −threshold, and how sure that is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from particles import InvalidInput

from ._budget import Budget, ProgressCallback
from ._eigen import Eigenpairs, dense_eigenpairs, with_residuals
from ._sweeps import SweepRule, certain_sweep, default_capacity
from ._symmetric import SymmetricOperator, dtype_of


@dataclass(frozen=True)
class MorseIndex:
    """Number of eigenvalues below −threshold, with what is known for certain and what probably.

    Args:
        index: the number found. Their vectors are orthonormal and their residuals below
            threshold/10, so the true index is at least this (Cauchy interlacing).
        threshold: eigenvalues above −threshold do not count; 1/time.
        failure: bound of the probability (over the random start vectors) that a further
            eigenvalue below −threshold was missed; zero where the matrix was diagonalised, one
            where a limit stopped the search.
        pairs: the eigenpairs that were counted.
    """

    index: int
    threshold: float
    failure: float
    pairs: Eigenpairs

    @property
    def sentence(self) -> str:
        """The index and how sure it is, in words."""
        found = f"Morse index {self.index} (eigenvalues below {-self.threshold:.1e})"
        if self.failure == 0:
            return f"{found}, exact to round-off."
        if self.failure >= 1:
            reason = self.pairs.stopped or "precision"
            return f"{found} at least; the search for more was stopped by {reason}."
        return f"{found}; a further one was missed with probability below {self.failure:.1g}."

    def __str__(self) -> str:
        """The sentence."""
        return self.sentence


def morse_index(
    operator: SymmetricOperator,
    *,
    threshold: float,
    expected: int = 1,
    confidence: float = 0.99,
    max_products: int = 20_000,
    seed: int = 0,
    capacity: int | None = None,
    dense_below: int = 200,
    progress: ProgressCallback | None = None,
    time_limit: float | None = None,
) -> MorseIndex:
    """Count the eigenvalues below −threshold, by deflated Lanczos sweeps until none is left.

    Every sweep starts from a fresh random vector orthogonal to the eigenvectors found, so copies
    of repeated eigenvalues are counted too. The last sweep finds none and goes on until an
    overlooked one would be improbable: a random start of n unknowns has a component along it, so
    that the residual r of the smallest Ritz pair θ could not have become small; the bound is
    √(2n/π) r/(θ + threshold).

    Args:
        operator: from `HessianOperator`, or any `SymmetricOperator`.
        threshold: what counts as negative; 1/time.
        expected: guess of the index; makes room for that many.
        confidence: at which to stop searching.
        max_products: bound on Hessian products.
        seed: of the start vectors.
        capacity: basis vectors held at once.
        dense_below: up to this many unknowns the matrix is formed.
        progress: called with a `Progress` every few products.
        time_limit: seconds after which what was found is returned.

    Raises:
        InvalidInput: the threshold is not positive, or the confidence not between 0 and 1.
        RuntimeError: a Hessian product is not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> from saddle_analysis.spectra import MatrixOperator
        >>> operator = MatrixOperator(jnp.array([-1.0, -1.0] + [0.0] * 398))
        >>> morse_index(operator, threshold=1e-3).index
        2
    """
    if not threshold > 0:
        raise InvalidInput(f"threshold is {threshold}; it must be positive.")
    if not 0 < confidence < 1:
        raise InvalidInput(f"confidence is {confidence}; it must lie between 0 and 1.")
    size, dtype = operator.size, dtype_of(operator)
    target = threshold / 10
    if size <= dense_below:
        pairs = dense_eigenpairs(operator, lambda values: values < -threshold, target)
        _warn_if_unresolved(threshold, pairs.norm, dtype)
        return MorseIndex(pairs.values.size, threshold, 0.0, pairs)
    budget = Budget(max_products, time_limit, progress)
    count = max(1, expected)
    rule = SweepRule(count, "smallest", target, False, -threshold, np.inf, confidence)
    capacity = default_capacity(operator, count + 1) if capacity is None else capacity
    key = jax.random.key(seed)
    vectors = jnp.zeros((0, size), dtype)
    values, others, norm, failure = np.zeros(0), np.zeros(0), 0.0, 1.0
    while True:
        key, start = jax.random.split(key)
        sweep = certain_sweep(operator, start, capacity, vectors, rule, budget)
        norm = max(norm, sweep.norm)
        vectors = jnp.concatenate([vectors, sweep.vectors])
        values, others = np.concatenate([values, sweep.values]), sweep.others
        if sweep.values.size == 0:
            failure = sweep.failure if sweep.finished else 1.0
            break
        if vectors.shape[0] == size:
            failure = 0.0
            break
        if not sweep.finished or budget.spent:
            break
    _warn_if_unresolved(threshold, norm, dtype)
    found = with_residuals(
        operator, vectors, np.concatenate([values, others]), target, failure < 1, norm, budget
    )
    below = np.flatnonzero(found.values < -threshold)  # a stopped sweep may have left others
    fields = [found.fields[i] for i in below]
    pairs = found._replace(
        values=found.values[below],
        fields=fields,
        residuals=found.residuals[below],
        bounds=found.bounds[below],
    )
    return MorseIndex(below.size, threshold, failure, pairs)


def negative_eigenpairs(
    operator: SymmetricOperator, *, threshold: float, expected: int = 1, **options: object
) -> Eigenpairs:
    """All eigenpairs below −threshold, to a residual of threshold/10; see `morse_index`.

    Raises:
        InvalidInput: the threshold is not positive.
    """
    found = morse_index(operator, threshold=threshold, expected=expected, **options)  # pyright: ignore
    return found.pairs


def _warn_if_unresolved(threshold: float, norm: float, dtype: np.dtype) -> None:
    resolved = 50 * float(np.finfo(dtype).eps) * norm
    if threshold < resolved:
        warnings.warn(
            f"threshold {threshold:.1e} is below what {dtype} resolves at ‖H‖ = {norm:.2g} "
            f"({resolved:.1e}); the index may count round-off: raise it, or use float64.",
            stacklevel=3,
        )
