"""Guarded Lanczos: full reorthogonalisation, breakdown handled, thick restarts (WS00), locking.

The basis lives on the device, in the operator's precision; only coefficients reach the host, in
double precision. Because every new vector is orthogonalised against the whole basis, the relation
H V = V T + β v eᵀ holds to round-off whatever the spectrum: a vanishing β (an invariant subspace,
as for heavily repeated eigenvalues or the zero operator) is answered by a fresh random direction,
never by a division.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float, Key

from particles.internal import compiled_once

from ._basis import Basis
from ._symmetric import SymmetricOperator, dtype_of


class Ritz(NamedTuple):
    """Ritz values in increasing order, their coordinates in the basis, their residuals."""

    values: np.ndarray
    coordinates: np.ndarray
    residuals: np.ndarray


class Lanczos:
    """One Lanczos sweep from a random start, orthogonal to `locked` eigenvectors.

    Args:
        operator: a symmetric operator.
        key: of the start vector and of the vectors that replace it after a breakdown.
        capacity: basis vectors held at most; see `restart`.
        locked: vectors to stay orthogonal to, shape `(locked, size)`.
        start: start vector instead of a random one.
    """

    def __init__(
        self,
        operator: SymmetricOperator,
        key: Key[Array, ""],
        capacity: int,
        locked: Float[Array | np.ndarray, "locked size"] | None = None,
        start: Float[Array, " size"] | None = None,
    ):
        self.operator, self.key, self.dtype = operator, key, dtype_of(operator)
        self.locked = 0 if locked is None else locked.shape[0]
        self.capacity = min(capacity, operator.size - self.locked)
        self.basis = Basis(operator.size, self.dtype, locked)
        self.matrix = np.zeros((self.capacity + 1, self.capacity + 1))
        self.steps = 0  # rows of the basis that have been multiplied by H
        self.coupling = 0.0  # β of the last step
        self.plain = True  # one Krylov space: neither restarted nor continued after a breakdown
        self.restarted = False
        self.norm = 0.0
        self._next: Array | None = self._fresh() if start is None else self._clean(start)

    @property
    def exhausted(self) -> bool:
        """Whether the basis spans the whole complement of the locked vectors."""
        return self.steps >= self.operator.size - self.locked

    @property
    def full(self) -> bool:
        """Whether the basis has reached its capacity: restart before the next step."""
        return self.steps >= self.capacity

    def step(self) -> None:
        """One product, one new basis vector.

        Raises:
            RuntimeError: the product is not finite.
        """
        assert self._next is not None
        vector = self._next
        self.basis.append(vector)
        image = self.operator.matvec(vector)
        unit, coefficients, norm, before = self.basis.split(image)
        if not np.isfinite(before):
            raise RuntimeError(
                "a Hessian product is not finite; look for a landscape that is not smooth at this "
                "ensemble, or use float64."
            )
        j = self.steps
        self.matrix[: j + 1, j] = self.matrix[j, : j + 1] = coefficients[self.locked :]
        self.norm = max(self.norm, before)  # ‖Hv‖ of a unit vector: a lower bound of ‖H‖
        self.steps += 1
        floor = 10 * float(np.finfo(self.dtype).eps) * self.norm
        if self.exhausted:
            self.coupling, self._next = 0.0, None
        elif norm <= floor:
            self.coupling, self._next, self.plain = 0.0, self._fresh(), False
        else:
            self.coupling, self._next = norm, unit

    def ritz(self) -> Ritz:
        """Eigenpairs of the projected matrix; each residual is ‖Hu − θu‖ in exact arithmetic."""
        matrix = self.matrix[: self.steps, : self.steps]
        if self.restarted:
            values, coordinates = np.linalg.eigh(matrix)
        else:  # what is off the three diagonals is round-off
            diagonals = np.diag(matrix), np.diag(matrix, 1)
            values, coordinates = scipy.linalg.eigh_tridiagonal(*diagonals)
        self.norm = max(self.norm, float(np.max(np.abs(values))))
        return Ritz(values, coordinates, np.abs(self.coupling * coordinates[-1]))

    def refined(self, ritz: Ritz, wanted: np.ndarray, target: float) -> Ritz:
        """The same pairs, the wanted ones with the vector of least residual in the basis.

        A Ritz vector has the best Rayleigh quotient, not the best residual; in a dense cluster
        (zero at a minimum) the vector minimising ‖(H − θ)x‖ needs far fewer products. Only for
        well separated wanted pairs: refined vectors are not orthogonal to each other.
        """
        values, coordinates, residuals = (part.copy() for part in ritz)
        steps = self.steps
        for index in wanted[ritz.residuals[wanted] > target]:
            shifted = np.zeros((steps + 1, steps))
            shifted[:steps] = self.matrix[:steps, :steps] - ritz.values[index] * np.eye(steps)
            shifted[steps, -1] = self.coupling
            best = np.linalg.svd(shifted)[2][-1]
            value = float(best @ self.matrix[:steps, :steps] @ best)
            off = self.matrix[:steps, :steps] @ best - value * best
            values[index], coordinates[:, index] = value, best
            residuals[index] = np.hypot(np.linalg.norm(off), self.coupling * best[-1])
        return Ritz(values, coordinates, residuals)

    def vectors(self, coordinates: np.ndarray) -> Float[np.ndarray, "count size"]:
        """Unit vectors of the given coordinates, one per column, orthogonal to the locked ones."""
        weights = np.zeros((coordinates.shape[1], self.basis.count))
        weights[:, self.locked : self.locked + coordinates.shape[0]] = coordinates.T
        return self.basis.combined(weights)

    def restart(self, ritz: Ritz, keep: np.ndarray) -> None:
        """Shrink the basis to the Ritz vectors `keep` (indices), and go on from there."""
        count = len(keep)
        weights = np.zeros((self.locked + count, self.basis.count))
        weights[: self.locked, : self.locked] = np.eye(self.locked)
        weights[self.locked :, self.locked : self.locked + self.steps] = ritz.coordinates[:, keep].T
        self.basis.become(weights)
        self.matrix[:] = 0
        self.matrix[:count, :count] = np.diag(ritz.values[keep])
        self.steps, self.plain, self.restarted = count, False, True

    def _fresh(self) -> Array:
        """A random unit vector orthogonal to the basis."""
        self.key, vector = _random(self.key, self.operator.size, self.dtype)
        return self._clean(vector)

    def _clean(self, vector: Array) -> Array:
        """The unit vector along the part of `vector` that is orthogonal to the basis."""
        unit, _, norm, _ = self.basis.split(vector)
        return self._fresh() if norm == 0 else unit


@functools.partial(compiled_once, static_argnums=(1, 2))
def _random(key: Array, size: int, dtype: np.dtype) -> tuple[Array, Array]:
    """The next key, and a normal vector."""
    key, own = jax.random.split(key)
    return key, jax.random.normal(own, (size,), dtype)
