"""The Morse index: how many eigenvalues lie below −threshold, and how sure that is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from particles import InvalidInput
from particles.internal import to_host

from ._budget import Budget, Spending, fixed_unless
from ._eigen import DEFAULT, Eigenpairs, dense_eigenpairs, extreme_eigenpairs, with_residuals
from ._precision import THRESHOLD, require_resolved, resolved_threshold
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
    known: Eigenpairs | None = None,
    budget: Budget = DEFAULT,
    key: Key[Array, ""] | None = None,
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
        known: eigenpairs of this operator found already: those below −threshold with residuals
            of at most threshold/10 are counted, and only further ones are looked for.
        budget: products, seconds and memory it may spend.
        key: of the start vectors; `None` for a fixed one.

    Raises:
        InvalidInput: the threshold is not positive or below what the precision tells from zero
            (200 eps ‖H‖: 2.4e-5 ‖H‖ in float32, 4.4e-14 ‖H‖ in float64), or the confidence
            not between 0 and 1.
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
    if size <= budget.dense_below:
        pairs = dense_eigenpairs(operator, lambda values: values < -threshold, lambda _: target)
        _require_threshold(threshold, pairs.norm, dtype)
        return MorseIndex(pairs.values.size, threshold, 0.0, pairs)
    spending = Spending(budget)
    count = max(1, expected)
    rule = SweepRule(
        count, "smallest", target, False, -threshold, np.inf, confidence, "threshold", 10.0
    )
    capacity = budget.capacity or default_capacity(operator, count + 1)
    values, vectors = _below(known, operator, threshold)
    others, norm, failure = np.zeros(0), 0.0, 1.0
    while True:
        key, start = jax.random.split(fixed_unless(key))
        sweep = certain_sweep(operator, start, capacity, vectors, rule, spending)
        norm = max(norm, sweep.norm)
        vectors = np.concatenate([vectors, sweep.vectors])
        values, others = np.concatenate([values, sweep.values]), sweep.others
        if sweep.values.size == 0:
            failure = sweep.failure if sweep.finished else 1.0
            break
        if vectors.shape[0] == size:
            failure = 0.0
            break
        if not sweep.finished or spending.spent:
            break
    _require_threshold(threshold, norm, dtype)
    found = with_residuals(
        operator, vectors, np.concatenate([values, others]), target, failure < 1, norm, spending
    )
    below = np.flatnonzero(found.values < -threshold)  # a stopped sweep may have left others
    fields = [found.fields[i] for i in below]
    pairs = dataclasses.replace(
        found,
        values=found.values[below],
        fields=fields,
        residuals=found.residuals[below],
        bounds=found.bounds[below],
    )
    return MorseIndex(below.size, threshold, failure, pairs)


def negative_eigenpairs(
    operator: SymmetricOperator,
    *,
    threshold: float,
    expected: int = 1,
    budget: Budget = DEFAULT,
    key: Key[Array, ""] | None = None,
) -> Eigenpairs:
    """All eigenpairs below −threshold, to a residual of threshold/10; see `morse_index`.

    Raises:
        InvalidInput: as `morse_index`.

    Example:
        >>> import jax.numpy as jnp
        >>> from saddle_analysis.spectra import MatrixOperator
        >>> operator = MatrixOperator(jnp.array([-1.0, -1.0, 0.0, 2.0]))
        >>> negative_eigenpairs(operator, threshold=1e-3).values.tolist()
        [-1.0, -1.0]
    """
    return morse_index(
        operator, threshold=threshold, expected=expected, budget=budget, key=key
    ).pairs


class NothingUnstable(InvalidInput):
    """There is no negative eigenvalue: a minimum, or a degenerate saddle."""


def unstable_eigenpairs(
    operator: SymmetricOperator,
    *,
    relative: float | None = None,
    expected: int = 1,
    budget: Budget = DEFAULT,
    key: Key[Array, ""] | None = None,
) -> Eigenpairs:
    """All eigenpairs below −relative·‖H‖, resolved as far as `extreme_eigenpairs` resolves them.

    `negative_eigenpairs` counts to a threshold in 1/time and stops refining there; this one takes
    the threshold relative to ‖H‖, and refines what it counted.

    Args:
        operator: from `HessianOperator`, or any `SymmetricOperator`.
        relative: what counts as negative, in units of ‖H‖; by default 1e-6, or what the precision
            tells from zero.
        expected: guess of their number; makes room for that many.
        budget: products, seconds and memory each of the three computations may spend.
        key: of the start vectors; `None` for a fixed one.

    Raises:
        NothingUnstable: no eigenvalue is so negative.
        InvalidInput: `relative` is below what the precision tells from zero.

    Example:
        >>> import jax.numpy as jnp
        >>> from saddle_analysis.spectra import MatrixOperator
        >>> unstable_eigenpairs(MatrixOperator(jnp.array([-2.0, -1e-9, 5.0]))).values.tolist()
        [-2.0]
    """
    if relative is None:
        # Twice what is told from zero: the norm is an estimate, and grows as products are spent.
        relative = max(1e-6, 2 * THRESHOLD * float(np.finfo(dtype_of(operator)).eps))
    norm = extreme_eigenpairs(
        operator, which="largest", tolerance=1e-3, budget=budget, key=key
    ).norm
    tiny = float(np.finfo(dtype_of(operator)).tiny)
    found = negative_eigenpairs(
        operator, threshold=max(relative * norm, tiny), expected=expected, budget=budget, key=key
    )
    if found.values.size == 0:
        raise NothingUnstable(
            f"operator has no eigenvalue below {-relative:.0e} ‖H‖, ‖H‖ = {norm:.3g}; there is no "
            "unstable space here."
        )
    return extreme_eigenpairs(operator, found.values.size, budget=budget, key=key)


def _below(
    known: Eigenpairs | None, operator: SymmetricOperator, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Values and vectors of the known pairs that count."""
    dtype, to_vector = dtype_of(operator), getattr(operator, "to_vector", jnp.asarray)
    values, rows = [], [np.zeros((0, operator.size), dtype)]
    if known is not None:
        for value, field, residual in zip(known.values, known.fields, known.residuals, strict=True):
            if value < -threshold and residual <= threshold / 10:
                values.append(value)
                rows.append(to_host(to_vector(field))[None])
    return np.array(values), np.concatenate(rows)


def _require_threshold(threshold: float, norm: float, dtype: np.dtype) -> None:
    require_resolved("threshold", threshold, resolved_threshold(dtype, norm), dtype, norm)
