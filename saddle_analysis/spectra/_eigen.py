"""Extreme eigenpairs of a curvature operator, each with its true residual and an error bound.

Why not ARPACK (`scipy.sparse.linalg.eigsh`): its tolerance is relative to |λ|, and the spectrum of
a Wasserstein Hessian is full of zeros, where that tolerance is never met (400 zeros and 200
eigenvalues between 0.1 and 1, the smallest wanted: 29 products here, where ARPACK has not converged
after 10,021); it says nothing of eigenvalues it has missed,
where the sweeps here bound the probability of one; its residuals are estimates, where here each is
one true product; and its vectors live on the host, where here the basis stays on the devices that
hold the particles. Where ARPACK converges, a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from particles import InvalidInput
from particles.internal import to_device, to_host

from ._budget import Budget, Spending, fixed_unless
from ._low_rank import InteractionSpectrum, interaction_spectrum, moment_route_pays
from ._precision import PRODUCT, RESIDUAL, require_resolved, resolved_residual
from ._sweeps import SweepRule, certain_sweep, default_capacity
from ._symmetric import SymmetricOperator, dense_matrix, dtype_of, images_of

Which = Literal["smallest", "largest", "both"]
DEFAULT = Budget()


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues in increasing order, each with the residual that proves it.

    Args:
        values: eigenvalues, shape `(count,)`; 1/time, since curvature is a rate.
        fields: one vector field per eigenvalue, of unit L²(μ) norm, mutually orthogonal.
        residuals: ‖Hu − λu‖ in L²(μ), by one product of its own per pair; an eigenvalue of H lies
            within this distance of λ.
        products: Hessian products spent, those for the residuals included.
        converged: whether every residual met the asked tolerance (to round-off) and no missed
            copy of a repeated eigenvalue was left to look for.
        bounds: error bound of every value: min(r, r²/gap) plus the error of a product (4 eps ‖H‖),
            the gap taken to the nearest other eigenvalue found.
        norm: estimate of ‖H‖ (a lower bound, tight after a few products).
        stopped: which limit ended the computation early; empty if none did.
    """

    values: np.ndarray
    fields: list[PyTree]
    residuals: np.ndarray
    products: int
    converged: bool
    bounds: np.ndarray
    norm: float
    stopped: str = ""

    def __str__(self) -> str:
        """One line per eigenpair."""
        lines = [
            f"λ = {value:+.9g} ± {bound:.1e}  (residual {residual:.1e})"
            for value, bound, residual in zip(self.values, self.bounds, self.residuals, strict=True)
        ]
        state = "converged" if self.converged else f"not converged ({self.stopped or 'precision'})"
        return "\n".join([*lines, f"{self.products} Hessian products, {state}"])


def extreme_eigenpairs(
    operator: SymmetricOperator,
    count: int = 1,
    *,
    which: Which = "smallest",
    tolerance: float | None = None,
    residual: float | None = None,
    verify: bool = True,
    start: Sequence[PyTree] = (),
    budget: Budget = DEFAULT,
    key: Key[Array, ""] | None = None,
) -> Eigenpairs:
    """The `count` smallest or largest eigenpairs (or both) by guarded, restarted Lanczos.

    The accuracy is relative to ‖H‖, not to the eigenvalue: a spectrum full of zeros costs no
    more than any other. A Krylov space holds one vector of every eigenspace, so for `count` > 1 a
    second sweep, orthogonal to what was found, looks for further copies of repeated eigenvalues
    (`verify`), until one that lies 1e-4 ‖H‖ beyond the innermost is missed with probability below
    one per cent; members of a narrower cluster may stand in for each other. Small operators are
    diagonalised densely, interaction operators of few moments through those moments
    (`interaction_spectrum`).

    Args:
        operator: from `HessianOperator`, or any `SymmetricOperator`.
        count: number of eigenpairs, at either end for `"both"`.
        which: end of the spectrum.
        tolerance: residual asked for, relative to ‖H‖; by default 1e-8, or what the precision
            resolves.
        residual: residual asked for in absolute terms (1/time); overrides `tolerance`.
        verify: look for missed copies of repeated eigenvalues.
        start: fields to begin from, such as `fields` of a nearby operator; one per cent of a random
            field is added, so that what they are orthogonal to is found too. They save products;
            where the matrix is formed, there are none to save.
        budget: products, seconds and memory it may spend.
        key: of the start vectors; `None` for a fixed one.

    Raises:
        InvalidInput: `count` is not between 1 and the number of unknowns, or a tolerance is not
            positive or below what the precision resolves (20 eps ‖H‖).
        RuntimeError: a Hessian product is not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> from saddle_analysis.spectra import MatrixOperator
        >>> operator = MatrixOperator(jnp.array([-1.0] + [0.0] * 398 + [2.0]))
        >>> pairs = extreme_eigenpairs(operator, which="both")
        >>> pairs.values.round(4).tolist(), pairs.converged
        ([-1.0, 2.0], True)
    """
    size = operator.size
    wanted = 2 * count if which == "both" else count
    if which not in ("smallest", "largest", "both"):
        raise InvalidInput(f"which is {which!r}; choose 'smallest', 'largest' or 'both'.")
    if not 1 <= count <= wanted <= size:
        raise InvalidInput(
            f"count is {count} with which={which!r}; the operator has {size} unknowns, so ask for "
            f"1 to {size // 2 if which == 'both' else size}."
        )
    target = _checked_tolerance(operator, tolerance, residual)
    rule = SweepRule(count, which, target, relative=residual is None)
    spending, key = Spending(budget), fixed_unless(key)
    if moment_route_pays(operator):
        spectrum = interaction_spectrum(operator)  # pyright: ignore[reportArgumentType]
        return _from_moments(spectrum, rule, key, spending)
    if size <= max(budget.dense_below, wanted):
        pairs = dense_eigenpairs(operator, rule.select, rule.target_for)
        rule.require_resolved(dtype_of(operator), pairs.norm)
        return pairs
    capacity = budget.capacity or default_capacity(operator, wanted)
    if not capacity >= wanted + 4:
        raise InvalidInput(f"capacity is {capacity}; it must be at least {wanted + 4} here.")
    of_sweep = jax.random.fold_in(key, 0)
    begin = _begun(operator, start, of_sweep) if start else None
    first = certain_sweep(operator, of_sweep, capacity, None, rule, spending, begin)
    vectors, values, norm = first.vectors, first.values, first.norm
    certain = first.finished and not (verify and count > 1)
    sweeps = 0
    while first.finished and not certain and not spending.spent and vectors.shape[0] < size:
        sweeps += 1
        again = certain_sweep(
            operator,
            jax.random.fold_in(key, sweeps),
            capacity,
            vectors,
            rule.missing(values, norm),
            spending,
        )
        norm = max(norm, again.norm)
        certain = again.finished and again.values.size == 0
        if not again.values.size:
            break
        vectors = np.concatenate([vectors, again.vectors])
        values = np.concatenate([values, again.values])
        keep = rule.select(np.sort(values))
        keep = np.argsort(values)[keep]
        # What is dropped lies inside the wanted range's end, where the next sweep may find it
        # again: it does no harm there.
        vectors, values = vectors[np.sort(keep)], values[np.sort(keep)]
    certain = certain or vectors.shape[0] == size
    spectrum = np.concatenate([values, first.others])
    target = rule.target_for(norm)
    return with_residuals(operator, vectors, spectrum, target, certain, norm, spending)


def smallest_eigenpair(
    operator: SymmetricOperator,
    *,
    tolerance: float | None = None,
    residual: float | None = None,
    start: Sequence[PyTree] = (),
    budget: Budget = DEFAULT,
    key: Key[Array, ""] | None = None,
) -> Eigenpairs:
    """The smallest eigenvalue alone; see `extreme_eigenpairs`."""
    return extreme_eigenpairs(
        operator, 1, tolerance=tolerance, residual=residual, start=start, budget=budget, key=key
    )


#: Share of a random unit vector in a given start: small against it, large against any tolerance.
STIR = 0.01


def _begun(operator: SymmetricOperator, start: Sequence[PyTree], key: Key[Array, ""]) -> Array:
    """The sum of the unit fields, stirred.

    Raises:
        InvalidInput: a field that is zero, not finite, or not of the operator's unknowns.
    """
    to_vector = getattr(operator, "to_vector", jnp.asarray)
    noise = jax.random.normal(jax.random.fold_in(key, 1), (operator.size,), dtype_of(operator))
    total = STIR * noise / jnp.linalg.norm(noise)
    for field in start:
        vector = to_vector(field)
        norm = float(jnp.linalg.norm(vector))
        if vector.shape != total.shape or not 0 < norm < np.inf:
            raise InvalidInput(
                f"start has a field of {vector.size} unknowns and norm {norm:.3g}; it must have "
                f"{operator.size} and a positive norm."
            )
        total = total + vector / norm
    return total


def _from_moments(
    spectrum: InteractionSpectrum, rule: SweepRule, key: Key[Array, ""], spending: Spending
) -> Eigenpairs:
    """The wanted pairs of an interaction operator of low rank, exact to round-off."""
    operator = spectrum.operator
    zeros = np.zeros(min(spectrum.zeros, 2 * rule.count))
    values = np.concatenate([spectrum.values, zeros])
    order = np.argsort(values, kind="stable")
    wanted = order[rule.select(values[order])]

    def eigenvectors(indices: Iterable[int]) -> np.ndarray:
        rows = [to_host(operator.to_vector(spectrum.field(i))) for i in indices]
        return np.array(rows, operator.dtype).reshape(-1, operator.size)

    # On the host: eagerly, JAX would compile each of these operations for every number of vectors.
    found = eigenvectors(int(i) for i in wanted if i < spectrum.values.size)
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    missing = len(wanted) - len(found)
    if missing:  # any vectors orthogonal to every eigenfield: a projection of random ones
        everything = eigenvectors(range(spectrum.values.size))
        noise = np.asarray(jax.random.normal(key, (missing, operator.size), operator.dtype))
        for _ in range(2):
            noise = noise - (noise @ everything.T) @ everything
        found = np.concatenate([found, np.linalg.qr(noise.T)[0].T])
    norm = float(np.max(np.abs(values), initial=0.0))
    gaps = np.concatenate([values[wanted], np.delete(values, wanted)])
    return with_residuals(operator, found, gaps, np.inf, True, norm, spending)


def _checked_tolerance(
    operator: SymmetricOperator, tolerance: float | None, residual: float | None
) -> float:
    dtype = dtype_of(operator)
    precision = float(np.finfo(dtype).eps)
    if residual is not None:
        if not residual > 0:
            raise InvalidInput(f"residual is {residual}; it must be positive.")
        return residual
    if tolerance is None:
        return max(1e-8, 50 * precision)
    if not tolerance > 0:
        raise InvalidInput(f"tolerance is {tolerance}; it must be positive.")
    require_resolved("tolerance", tolerance, resolved_residual(dtype, 1.0), dtype, 1.0)
    return tolerance


def dense_eigenpairs(
    operator: SymmetricOperator,
    select: Callable[[np.ndarray], np.ndarray],
    target_for: Callable[[float], float],
) -> Eigenpairs:
    """The eigenpairs that `select` picks among all eigenvalues, by forming the matrix."""
    values, vectors = np.linalg.eigh(dense_matrix(operator))
    keep = np.arange(values.size)[select(values)]
    norm = float(np.max(np.abs(values)))
    spending = Spending(Budget(2 * operator.size + 1))
    spending.products = operator.size
    rows = vectors[:, keep].T.astype(dtype_of(operator))
    images = images_of(operator, rows)
    spectrum = np.concatenate([values[keep], np.delete(values, keep)])
    return with_residuals(operator, rows, spectrum, target_for(norm), True, norm, spending, images)


def with_residuals(
    operator: SymmetricOperator,
    vectors: Float[Array, "count size"] | Float[np.ndarray, "count size"],
    spectrum: np.ndarray,
    target: float,
    certain: bool,
    norm: float,
    spending: Spending,
    images: Float[np.ndarray, "count size"] | None = None,
) -> Eigenpairs:
    """Rayleigh quotient, true residual and bound of every vector; `spectrum` gives the gaps.

    `images` are the products with the vectors, where they are known.
    """
    values, residuals = [], []
    rows = [to_device(row) for row in to_host(vectors)]  # sliced by JAX, each would be compiled
    for i, vector in enumerate(rows):
        image = operator.matvec(vector) if images is None else to_device(images[i])
        value, residual = _rayleigh(vector, image)
        values.append(float(value))
        residuals.append(float(residual))
        spending.products += 1
    count = len(values)
    resolved = resolved_residual(dtype_of(operator), norm)
    round_off = resolved * PRODUCT / RESIDUAL
    bounds = np.empty(count)
    for i, (value, residual) in enumerate(zip(values, residuals, strict=True)):
        gap = np.min(np.abs(np.delete(spectrum, i) - value), initial=np.inf) - residual
        sharp = residual**2 / gap if gap > residual else residual
        bounds[i] = min(residual, sharp) + round_off
    order = np.argsort(values)
    met = bool(np.all(np.asarray(residuals) <= max(target, resolved) + resolved / 2))
    return Eigenpairs(
        np.asarray(values)[order],
        [operator.to_field(rows[i]) for i in order],
        np.asarray(residuals)[order],
        spending.products,
        certain and met,
        bounds[order],
        norm,
        "" if certain and met else spending.reason,
    )


@jax.jit
def _rayleigh(vector: Array, image: Array) -> tuple[Array, Array]:
    value = jnp.vdot(vector, image) / jnp.vdot(vector, vector)
    return value, jnp.linalg.norm(image - value * vector) / jnp.linalg.norm(vector)
