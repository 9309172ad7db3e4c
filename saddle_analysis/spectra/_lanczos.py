"""Guarded Lanczos: full reorthogonalisation, breakdown handled, thick restarts (WS00), locking.

The basis lives on the device, in the operator's precision; only coefficients reach the host, in
double precision. Because every new vector is orthogonalised against the whole basis, the relation
H V = V T + β v eᵀ holds to round-off whatever the spectrum: a vanishing β (an invariant subspace,
as for heavily repeated eigenvalues or the zero operator) is answered by a fresh random direction,
never by a division.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from particles.internal import to_device

from ._symmetric import SymmetricOperator, dtype_of

#: Basis rows are allocated in multiples of this, twice as many each time, and at first as many as
#: take this many numbers: few shapes to compile.
BLOCK, FIRST = 32, 2**16


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
        locked: Float[Array, "locked size"] | None = None,
        start: Float[Array, " size"] | None = None,
    ):
        self.operator, self.key, self.dtype = operator, key, dtype_of(operator)
        self.locked = 0 if locked is None else locked.shape[0]
        self.capacity = min(capacity, operator.size - self.locked)
        first = _blocks(min(max(BLOCK, FIRST // operator.size), operator.size))
        self._rows = to_device(np.zeros((first, operator.size), self.dtype))
        self._used = 0
        if locked is not None and self.locked:
            self._append(locked)
        self.matrix = np.zeros((self.capacity + 1, self.capacity + 1))
        self.steps = 0  # rows of the basis that have been multiplied by H
        self.coupling = 0.0  # β of the last step
        self.plain = True  # one Krylov space: neither restarted nor continued after a breakdown
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
        self._append(vector)
        image = self.operator.matvec(vector)
        image, coefficients, norm, before = self._orthogonalised(image)
        if not np.isfinite(before):
            raise RuntimeError(
                "a Hessian product is not finite; look for a landscape that is not smooth at this "
                "ensemble, or use float64."
            )
        column = coefficients[self.locked : self._used]
        j = self.steps
        self.matrix[: j + 1, j] = self.matrix[j, : j + 1] = column
        self.norm = max(self.norm, before)  # ‖Hv‖ of a unit vector: a lower bound of ‖H‖
        self.steps += 1
        floor = 10 * float(jnp.finfo(self.dtype).eps) * self.norm
        if self.exhausted:
            self.coupling, self._next = 0.0, None
        elif norm <= floor:
            self.coupling, self._next, self.plain = 0.0, self._fresh(), False
        else:
            self.coupling, self._next = norm, self._clean(image)

    def ritz(self) -> Ritz:
        """Eigenpairs of the projected matrix; each residual is ‖Hu − θu‖ in exact arithmetic."""
        values, coordinates = np.linalg.eigh(self.matrix[: self.steps, : self.steps])
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

    def vectors(self, coordinates: np.ndarray) -> Float[Array, "count size"]:
        """Unit vectors of the given coordinates, one per column, orthogonal to the locked ones."""
        weights = np.zeros((coordinates.shape[1], self._rows.shape[0]))
        weights[:, self.locked : self.locked + coordinates.shape[0]] = coordinates.T
        return _product(to_device(weights, self.dtype), self._rows)

    def restart(self, ritz: Ritz, keep: np.ndarray) -> None:
        """Shrink the basis to the Ritz vectors `keep` (indices), and go on from there."""
        kept = self.vectors(ritz.coordinates[:, keep])
        count = len(keep)
        self._used = self.locked
        self._rows = _cleared(self._rows, self.locked)
        self._append(kept)
        self.matrix[:] = 0
        self.matrix[:count, :count] = np.diag(ritz.values[keep])
        self.steps, self.plain = count, False

    def _append(self, vectors: Float[Array, "*count size"]) -> None:
        # All in one go: a loop over the rows of an array compiles a program for each count.
        used, rows = self._used + vectors.size // self.operator.size, self._rows.shape[0]
        if used > rows:
            most = max(used, self.locked + self.capacity)
            self._rows = _grown(self._rows, _blocks(min(max(used, 2 * rows), most)))
        self._rows = _put(self._rows, vectors, self._used)
        self._used = used

    def _fresh(self) -> Array:
        """A random unit vector orthogonal to the basis."""
        self.key, vector = _random(self.key, self.operator.size, self.dtype)
        return self._clean(vector)

    def _clean(self, vector: Array) -> Array:
        """The unit vector along the part of `vector` that is orthogonal to the basis."""
        for _ in range(4):
            _, _, vector, norms = _orthogonalise(self._rows, vector)
            norm, before = np.asarray(norms, np.float64)
            if norm == 0:
                return self._fresh()
            if norm > 0.7 * before:
                break
        return vector

    def _orthogonalised(self, vector: Array) -> tuple[Array, np.ndarray, float, float]:
        """Part orthogonal to the basis, coefficients on it, norm after and before."""
        vector, coefficients, _, norms = _orthogonalise(self._rows, vector)
        after, before = (float(x) for x in np.asarray(norms, np.float64))
        return vector, np.asarray(coefficients, np.float64), after, before


def _blocks(rows: int) -> int:
    """The number of rows in whole blocks."""
    return math.ceil(rows / BLOCK) * BLOCK


@functools.partial(jax.jit, static_argnums=1)
def _grown(rows: Array, count: int) -> Array:
    return jnp.pad(rows, ((0, count - rows.shape[0]), (0, 0)))


@functools.partial(jax.jit, donate_argnums=0)
def _cleared(rows: Array, first: Array | int) -> Array:
    """Zeros from the row `first` on."""
    return jnp.where(jnp.arange(rows.shape[0])[:, None] < first, rows, 0)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _random(key: Array, size: int, dtype: np.dtype) -> tuple[Array, Array]:
    """The next key, and a normal vector."""
    key, own = jax.random.split(key)
    return key, jax.random.normal(own, (size,), dtype)


@functools.partial(jax.jit, donate_argnums=0)
def _put(rows: Array, vectors: Array, first: Array | int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(
        rows, vectors.reshape(-1, rows.shape[1]), first, axis=0
    )


@jax.jit
def _product(weights: Array, rows: Array) -> Array:
    return jnp.matmul(weights, rows, precision="highest")


@jax.jit
def _orthogonalise(rows: Array, vector: Array) -> tuple[Array, Array, Array, Array]:
    """Classical Gram–Schmidt, twice: as good as modified, at the speed of matrix products.

    The part orthogonal to the rows, coefficients on them, that part at unit length, and its norm
    after and before.
    """

    def once(_: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        vector, total = found
        part = jnp.matmul(rows, vector, precision="highest")
        return vector - jnp.matmul(part, rows, precision="highest"), total + part

    before = jnp.linalg.norm(vector)
    vector, total = jax.lax.fori_loop(0, 2, once, (vector, jnp.zeros(rows.shape[0], rows.dtype)))
    after = jnp.linalg.norm(vector)
    return vector, total, vector / jnp.where(after > 0, after, 1), jnp.stack([after, before])
