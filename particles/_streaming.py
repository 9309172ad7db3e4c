"""Sums and maps over particles in chunks: the two passes every landscape is made of.

Memory is bounded by the chunk. Over a mesh, every device streams through its own particles, and
the sums are all that travels between them. The last chunk is moved back so that it is full, and
the particles it shares with its predecessor get weight zero: one compiled body, no remainder, no
padding.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, PyTree

from ._errors import InvalidInput
from ._mesh import AXIS

#: Bytes worked on at once when no chunk is given: they should stay in a CPU's last cache.
CPU_BUDGET = 16 * 2**20
#: The same on accelerators, where larger chunks keep the matrix units busy.
ACCELERATOR_BUDGET = 1024 * 2**20
#: Fewer particles at once would make matrix products into matrix-vector products.
SMALLEST_CHUNK = 16


def chunk_for(size: int, bytes_per_particle: int, budget: int | None = None) -> int:
    """Largest power of two of particles that fits a memory budget, from 16 up to `size`.

    Args:
        size: number of particles.
        bytes_per_particle: bytes one particle needs while it is worked on.
        budget: bytes; by default a cache-sized amount on CPUs and 1 GiB elsewhere.

    Example:
        >>> chunk_for(1_000_000, bytes_per_particle=80_000, budget=32 * 2**20)
        256
    """
    if budget is None:
        budget = CPU_BUDGET if jax.default_backend() == "cpu" else ACCELERATOR_BUDGET
    fitting = max(SMALLEST_CHUNK, budget // max(1, bytes_per_particle))
    return min(size, 1 << (fitting.bit_length() - 1))


def equal_weights(particles: PyTree) -> Float[Array, " particles"]:
    """The weights 1/N in the floating-point type of the particles."""
    leaves = jax.tree.leaves(particles)
    size = leaves[0].shape[0]
    return jnp.full(size, 1.0 / size, jnp.result_type(*leaves, 1.0))


def stream_sum(
    fn: Callable[[PyTree, Array], PyTree],
    particles: PyTree,
    weights: Array | None,
    chunk: int | None = None,
    mesh: Mesh | None = None,
) -> PyTree:
    """Σ over chunks of `fn(chunk of particles, their weights)`.

    Args:
        fn: weighted sum over the particles it is given; must be linear in the weights.
        particles: leaves of shape `(particles, ...)`.
        weights: shape `(particles,)`, or `None` for equal weights 1/N.
        chunk: particles at once (on each device); `None` for all.
        mesh: the devices that the particles are split over, if they are.

    Raises:
        InvalidInput: `chunk` is not positive.

    Example:
        >>> total = lambda particles, weights: weights @ particles
        >>> stream_sum(total, jnp.arange(10.0), None, chunk=4).item()
        4.5
    """
    equal = equal_weights(particles)[0]
    if mesh is None:
        return sum_chunks(fn, particles, weights, equal, chunk)

    def local(particles: PyTree, weights: Array | None) -> PyTree:
        return lax.psum(sum_chunks(fn, particles, weights, equal, chunk), AXIS)

    return _on(mesh, local, PartitionSpec())(particles, weights)


def sum_chunks(
    fn: Callable[[PyTree, Array], PyTree],
    particles: PyTree,
    weights: Array | None,
    equal: Array,
    chunk: int | None,
) -> PyTree:
    """`stream_sum` on one device; `equal` is the weight of every particle where there are none."""
    size, chunk, count = _plan(particles, chunk)
    share = jnp.full(chunk, equal)
    if count == 1:
        return fn(particles, share if weights is None else weights)

    def term(i: Array) -> PyTree:
        start = jnp.minimum(i * chunk, size - chunk)
        fresh = start + jnp.arange(chunk) >= i * chunk
        part = share if weights is None else _slice(weights, start, chunk)
        return fn(_slice(particles, start, chunk), jnp.where(fresh, part, 0))

    def body(i: Array, total: PyTree) -> PyTree:
        return jax.tree.map(jnp.add, total, term(i))

    zero = jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(term, jnp.zeros((), int))
    )
    return lax.fori_loop(0, count, body, zero)


def stream_map(
    fn: Callable[[PyTree], PyTree],
    particles: PyTree,
    chunk: int | None = None,
    mesh: Mesh | None = None,
) -> PyTree:
    """`fn` applied to chunks of particles, results joined along the particle axis.

    Args:
        fn: maps leaves `(chunk, ...)` to leaves `(chunk, ...)`, particle by particle.
        particles: leaves of shape `(particles, ...)`; any per-particle arrays may ride along.
        chunk: particles at once (on each device); `None` for all.
        mesh: the devices that the particles are split over, if they are.

    Raises:
        InvalidInput: `chunk` is not positive.

    Example:
        >>> stream_map(lambda particles: 2 * particles, jnp.arange(5.0), chunk=2).tolist()
        [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if mesh is None:
        return map_chunks(fn, particles, chunk)
    return _on(mesh, lambda own: map_chunks(fn, own, chunk), PartitionSpec(AXIS))(particles)


def map_chunks(fn: Callable[[PyTree], PyTree], particles: PyTree, chunk: int | None) -> PyTree:
    """`stream_map` on one device."""
    size, chunk, count = _plan(particles, chunk)
    if count == 1:
        return fn(particles)
    shapes = jax.eval_shape(fn, jax.eval_shape(lambda p: _slice(p, 0, chunk), particles))
    out = jax.tree.map(lambda s: jnp.zeros((size, *s.shape[1:]), s.dtype), shapes)

    def body(i: Array, out: PyTree) -> PyTree:
        start = jnp.minimum(i * chunk, size - chunk)
        piece = fn(_slice(particles, start, chunk))
        return jax.tree.map(
            lambda whole, part: lax.dynamic_update_slice_in_dim(whole, part, start, 0), out, piece
        )

    return lax.fori_loop(0, count, body, out)


def _on(mesh: Mesh, fn: Callable[..., PyTree], out: PartitionSpec) -> Callable[..., PyTree]:
    """`fn` run by every device on its own particles."""
    # Varying types are not checked: a loop's carry starts equal on all devices and then differs.
    return jax.shard_map(
        fn, mesh=mesh, in_specs=PartitionSpec(AXIS), out_specs=out, check_vma=False
    )


def _plan(particles: PyTree, chunk: int | None) -> tuple[int, int, int]:
    """Number of particles, particles per chunk, number of chunks."""
    size: int = jax.tree.leaves(particles)[0].shape[0]
    if chunk is None:
        return size, size, 1
    if chunk < 1:
        raise InvalidInput(f"chunk is {chunk}; it must be a positive number of particles.")
    chunk = min(chunk, size)
    return size, chunk, -(-size // chunk)


def _slice(tree: PyTree, start: Array | int, length: int) -> PyTree:
    return jax.tree.map(lambda leaf: lax.dynamic_slice_in_dim(leaf, start, length), tree)
