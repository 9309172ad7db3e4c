"""Orthonormal rows on the device, as the basis of a Krylov space."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from particles.internal import to_device, to_host

#: Rows of a block: a multiple of this, and at least as many as take so many numbers.
BLOCK, NUMBERS = 32, 2**16
#: Passes of Gram–Schmidt at most, and the share of the norm that the last one leaves.
PASSES, LEFT = 4, 0.7


class Basis:
    """Orthonormal rows in blocks of one shape, so that any number of them takes the same programs.

    Args:
        size: numbers in a row.
        dtype: of these numbers.
        rows: the first rows, shape `(count, size)`.
    """

    def __init__(self, size: int, dtype: np.dtype, rows: Array | np.ndarray | None = None):
        self.size, self.dtype, self.count = size, dtype, 0
        self._height = math.ceil(min(max(BLOCK, NUMBERS // size), size) / BLOCK) * BLOCK
        self._blocks = [self._empty()]
        # Sliced by JAX, each row would be compiled.
        for row in [] if rows is None else to_host(rows):
            self.append(to_device(row))

    def append(self, vector: Float[Array, " size"]) -> None:
        """Add a unit vector, orthogonal to the others."""
        place, row = divmod(self.count, self._height)
        if place == len(self._blocks):
            self._blocks.append(self._empty())
        self._blocks[place] = _put(self._blocks[place], vector, row)
        self.count += 1

    def split(
        self, vector: Float[Array, " size"]
    ) -> tuple[Float[Array, " size"], np.ndarray, float, float]:
        """The part orthogonal to the rows at unit length, coefficients, norm after and before.

        Gram–Schmidt is repeated until a pass takes little away: then the part is orthogonal to
        round-off.
        """
        total, before, norm = np.zeros(0), math.nan, math.nan
        for index in range(PASSES):
            parts, norms = [], []
            for block in self._blocks:
                vector, part, around = _without(block, vector)
                parts.append(part)
                norms.append(around)
            found = np.concatenate([np.asarray(part, np.float64) for part in parts])
            total = found if index == 0 else total + found
            last, norm = float(norms[0][0]), float(norms[-1][1])
            before = last if index == 0 else before
            if norm >= LEFT * last or norm == 0:
                break
        unit = _scaled(vector, norm) if norm > 0 else vector
        return unit, total[: self.count], norm, before

    def combined(self, weights: Float[np.ndarray, "count rows"]) -> Float[np.ndarray, "count size"]:
        """Sums of the rows with the given weights, on the host."""
        found = np.empty((weights.shape[0], self.size), self.dtype)
        sums = self._sums(weights)
        for index in range(len(found)):  # one by one: any number takes one program
            place, row = divmod(index, self._height)
            found[index] = to_host(_row(sums[place], row))
        return found

    def become(self, weights: Float[np.ndarray, "count rows"]) -> None:
        """Take sums of the rows, with orthonormal weights, in place of the rows."""
        self._blocks, self.count = self._sums(weights), weights.shape[0]

    def _sums(self, weights: np.ndarray) -> list[Array]:
        height = self._height
        found = []
        for first in range(0, weights.shape[0], height):
            total = self._empty()
            for place, block in enumerate(self._blocks):
                some = np.zeros((height, height), self.dtype)
                part = weights[first : first + height, place * height : (place + 1) * height]
                some[: part.shape[0], : part.shape[1]] = part
                total = _added(total, to_device(some), block)
            found.append(total)
        return found

    def _empty(self) -> Array:
        return to_device(np.zeros((self._height, self.size), self.dtype))


@jax.jit(donate_argnums=0)
def _put(block: Array, vector: Array, row: Array | int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(block, vector[None], row, axis=0)


@jax.jit
def _without(block: Array, vector: Array) -> tuple[Array, Array, tuple[Array, Array]]:
    """The vector less its part in the block, coefficients of that part, norm before and after."""
    part = jnp.matmul(block, vector, precision="highest")
    left = vector - jnp.matmul(part, block, precision="highest")
    return left, part, (jnp.linalg.norm(vector), jnp.linalg.norm(left))


@jax.jit
def _scaled(vector: Array, norm: Array | float) -> Array:
    return vector / norm


@jax.jit(donate_argnums=0)
def _added(total: Array, weights: Array, block: Array) -> Array:
    return total + jnp.matmul(weights, block, precision="highest")


@jax.jit
def _row(block: Array, row: Array | int) -> Array:
    return jax.lax.dynamic_index_in_dim(block, row, keepdims=False)
