"""Sums over pairs of particles in tiles: the pass that pair interactions are made of.

N × N numbers are never stored: a tile of chunk × chunk pairs is, and the sums of the rows. Over a
mesh, every device keeps its rows, and the columns go round in a ring.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, PyTree

from ._mesh import AXIS
from ._streaming import equal_weights, map_chunks, sum_chunks


def stream_pairs(
    fn: Callable[[PyTree, PyTree, Array], PyTree],
    rows: PyTree,
    columns: PyTree,
    weights: Float[Array, " columns"] | None,
    chunk: int | None = None,
    *,
    row_mesh: Mesh | None = None,
    column_mesh: Mesh | None = None,
) -> PyTree:
    """Σ_j over tiles: `fn(chunk of rows, chunk of columns, their weights)`, a result a row.

    Args:
        fn: leaves `(chunk, ...)` of rows and of columns, and the columns' weights, to leaves
            `(chunk, ...)` of results for the rows; must be linear in the weights.
        rows: leaves of shape `(rows, ...)`.
        columns: leaves of shape `(columns, ...)`.
        weights: of the columns, or `None` for equal weights that sum to one.
        chunk: rows, and columns, at once (on each device); `None` for all.
        row_mesh: the devices that the rows are split over, if they are.
        column_mesh: the same of the columns. Where both are, columns travel in a ring.

    Raises:
        InvalidInput: `chunk` is not positive.

    Example:
        >>> squares = lambda x, y, w: (x[:, None] - y) ** 2 @ w
        >>> points = jnp.array([0.0, 1.0, 3.0])
        >>> (3 * stream_pairs(squares, points, points, None, chunk=2)).round(4).tolist()
        [10.0, 5.0, 13.0]
    """
    equal = equal_weights(columns)[0]

    def local(rows: PyTree, columns: PyTree, weights: Array | None) -> PyTree:
        over = lambda part: sum_chunks(  # noqa: E731
            lambda others, share: fn(part, others, share), columns, weights, equal, chunk
        )
        return map_chunks(over, rows, chunk)

    def gathered(rows: PyTree, columns: PyTree, weights: Array | None) -> PyTree:
        return lax.psum(local(rows, columns, weights), AXIS)

    def ring(rows: PyTree, columns: PyTree, weights: Array | None) -> PyTree:
        assert column_mesh is not None
        size = column_mesh.size
        steps = [(i, (i + 1) % size) for i in range(size)]

        def turn(_: Array, carry: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
            total, sources = carry
            sources = jax.tree.map(lambda leaf: lax.ppermute(leaf, AXIS, steps), sources)
            return jax.tree.map(jnp.add, total, local(rows, *sources)), sources

        sources = (columns, weights)
        return lax.fori_loop(1, size, turn, (local(rows, *sources), sources))[0]

    mesh = column_mesh if row_mesh is None else row_mesh
    if mesh is None:
        return local(rows, columns, weights)
    split, whole = PartitionSpec(AXIS), PartitionSpec()
    kinds = (row_mesh is not None, column_mesh is not None)
    run = {(True, True): ring, (True, False): local, (False, True): gathered}[kinds]
    by_row, by_column = (split if one else whole for one in kinds)
    # Varying types are not checked: a loop's carry starts equal on all devices and then differs.
    return jax.shard_map(
        run, mesh=mesh, in_specs=(by_row, by_column, by_column), out_specs=by_row, check_vma=False
    )(rows, columns, weights)
