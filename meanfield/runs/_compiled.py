"""The compiled programs of a run, each finished before the next one starts.

Two programs whose devices exchange numbers must not be in flight at once, and what the host keeps
of an array must be a copy: the array's memory is given to the next program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from particles import Ensemble
from particles.internal import to_device, to_host

from ..flows import AbstractFlow, FlowState, SharedNoise
from ._batches import map_batch


def begin(
    flow: AbstractFlow,
    ensemble: Ensemble,
    dt: float,
    fast: PyTree | None,
    key: Array | SharedNoise | None,
    batch: bool,
) -> FlowState:
    """The first state, in one program; checks of values are the caller's."""
    size = to_device(dt, jnp.result_type(*jax.tree.leaves(ensemble.particles)))
    state = jax.block_until_ready(_begin(flow, ensemble, size, fast, key, batch))
    given = jax.tree.leaves(ensemble)
    whole = jax.tree.map(
        lambda leaf: given[leaf.place] if isinstance(leaf, _Given) else leaf, state
    )
    return jax.block_until_ready(_everywhere(whole))


def advance(
    flow: AbstractFlow, state: FlowState, until: float, most: int, batch: bool
) -> FlowState:
    """At most `most` steps towards time `until`; the memory of `state` is given away."""
    limits = to_device(until, state.time.dtype), to_device(most, np.int32)
    return jax.block_until_ready(_advance((flow, *limits), state, batch))


def read(
    flow: AbstractFlow, state: FlowState, compute: Callable[..., Any], batch: bool
) -> dict[str, Any]:
    """Numbers computed from a state, as copies on the host."""
    return host_copy(jax.block_until_ready(_read(flow, state, compute, batch)))


class Block(NamedTuple):
    """Where a compiled stretch of records ended, and what it wrote.

    Args:
        state: at the end.
        passed: how many due times are dealt with.
        written: how many rows are.
        rows: `time`, `passed` with the row's own due time, `finite` and `values`, each with a
            leading axis of the capacity; meaningless from `written` on.
    """

    state: FlowState
    passed: Array
    written: Array
    rows: dict[str, Any]


def advance_and_read(
    flow: AbstractFlow,
    state: FlowState,
    due: np.ndarray,
    count: int,
    last: float,
    most: int,
    compute: Callable[..., Any],
    batch: bool,
) -> Block:
    """At most `most` steps through the first `count` due times, with a row at each.

    The state given in stays valid: what happens after a row can be undone by going there again.

    Args:
        flow: what moves the particles.
        state: now.
        due: times, filled up to a fixed length.
        count: how many of them are times.
        last: time of the latest row; a due time that shares its step gets no second one.
        most: steps; a row at the last of them is left to the next call, after its checkpoint.
        compute: of flow and state.
        batch: whether leaves have a seed axis.
    """
    times = to_device(due, state.time.dtype), to_device(last, state.time.dtype)
    limits = to_device(count, np.int32), to_device(most, state.step.dtype)
    return jax.block_until_ready(_advance_and_read(flow, state, *times, *limits, compute, batch))


def row_bytes(
    flow: AbstractFlow, state: FlowState, compute: Callable[..., Any], batch: bool
) -> int:
    """Memory of one record; nothing is computed."""
    row = eqx.filter_eval_shape(_read, flow, state, compute, batch)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(row))


def host_copy(tree: PyTree) -> Any:
    """Arrays as numpy arrays with memory of their own."""
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), to_host(tree))


def placed_like(arrays: PyTree, like: PyTree) -> Any:
    """Host arrays on the devices where the leaves of a state are."""

    def put(array: Any, leaf: Array) -> Array:  # placed as freely as the leaf, to be read alike
        if leaf.committed:
            return jax.device_put(array, leaf.sharding)
        return to_device(array)

    return jax.block_until_ready(jax.tree.map(put, arrays, like))


def copied(state: FlowState, ensemble_too: bool) -> FlowState:
    """A copy, whose memory may be given away; the ensemble itself where that may be given too."""
    if ensemble_too:
        return jax.block_until_ready(_copies(state))
    copy = _copies(eqx.tree_at(lambda s: s.ensemble, state, None))
    whole = eqx.tree_at(lambda s: s.ensemble, copy, state.ensemble, is_leaf=lambda x: x is None)
    return jax.block_until_ready(whole)


@eqx.filter_jit
def _copies(tree: PyTree) -> PyTree:
    return jax.tree.map(_copy, tree)


def _copy(leaf: Array | bool) -> Array:
    """A copy without a weak type, which no program gives back: the next call would compile anew."""
    copy = jnp.copy(leaf)
    return copy if jnp.issubdtype(copy.dtype, jax.dtypes.prng_key) else copy.astype(copy.dtype)


@dataclass(frozen=True)
class _Given:
    """Stands for a leaf of the ensemble that was given, which a program would copy."""

    place: int


@eqx.filter_jit
def _begin(
    flow: AbstractFlow,
    ensemble: Ensemble,
    dt: Array,
    fast: PyTree | None,
    key: Array | SharedNoise | None,
    batch: bool,
) -> FlowState:
    if batch:
        return jax.vmap(lambda e, k: flow.start(e, dt, fast, k))(ensemble, key)
    state = flow.start(ensemble, dt, fast, key)
    places = {id(leaf): _Given(place) for place, leaf in enumerate(jax.tree.leaves(ensemble))}
    return jax.tree.map(lambda leaf: places.get(id(leaf), leaf), state)


# The memory of the state alone is given away: a number that the runtime copies to the devices of a
# mesh must not be overwritten by the first of them before the last has read it.
@eqx.filter_jit(donate="all-except-first")
def _advance(kept: tuple[AbstractFlow, Array, Array], state: FlowState, batch: bool) -> FlowState:
    flow, until, most = kept

    def go(state: FlowState) -> FlowState:
        return flow.advance(state, until, most)

    return _each(flow, go, state) if batch else go(state)


@eqx.filter_jit
def _read(
    flow: AbstractFlow, state: FlowState, compute: Callable[..., Any], batch: bool
) -> dict[str, Any]:
    def look(state: FlowState) -> dict[str, Any]:
        return compute(flow, state)

    return _each(flow, look, state) if batch else look(state)


@eqx.filter_jit
def _advance_and_read(
    flow: AbstractFlow,
    state: FlowState,
    due: Array,
    last: Array,
    count: Array,
    most: Array,
    compute: Callable[..., Any],
    batch: bool,
) -> Block:
    end = jnp.max(state.step) + most

    def each(fn: Callable[[FlowState], Any], state: FlowState) -> Any:
        return _each(flow, fn, state) if batch else fn(state)

    def look(state: FlowState) -> dict[str, Array]:
        # Rounded as where a record is read alone: the compiler must not mix it with the step.
        apart = jax.lax.optimization_barrier(state)
        values = each(lambda one: jax.tree.map(jnp.asarray, compute(flow, one)), apart)
        return jax.lax.optimization_barrier(values)

    def more(carry: tuple[Block, Array, Array]) -> Array:
        block, _, goes_on = carry
        return goes_on & (block.passed < count)

    def once(carry: tuple[Block, Array, Array]) -> tuple[Block, Array, Array]:
        block, last, _ = carry
        until, left = due[block.passed], end - jnp.max(block.state.step)
        state = each(lambda one: flow.advance(one, until, left.astype(jnp.int32)), block.state)
        there = (
            jnp.all(flow.reached(state.time, state.dt, until) | ~state.finite)
            & jnp.any(state.finite)
            & (jnp.max(state.step) < end)
        )
        time = jnp.max(state.time)
        fresh = there & (time != last)
        passed = block.passed + there.astype(jnp.int32)

        # Written in a loop of one turn or none: what values take from the flow alone, such as the
        # eigenvectors of its data, leaves loops and is computed once a call; a condition keeps it.
        def write(_: Array, rows: dict[str, Any]) -> dict[str, Any]:
            new = {"time": time, "passed": passed, "finite": state.finite, "values": look(state)}
            return jax.tree.map(lambda buffer, v: buffer.at[block.written].set(v), rows, new)

        rows = jax.lax.fori_loop(0, fresh.astype(int), write, block.rows)
        written = block.written + fresh.astype(jnp.int32)
        return Block(state, passed, written, rows), jnp.where(fresh, time, last), there

    none = jnp.zeros((), jnp.int32)
    row = {"time": last, "passed": none, "finite": state.finite}
    row["values"] = jax.eval_shape(look, state)
    empty = jax.tree.map(lambda v: jnp.zeros((due.size, *v.shape), v.dtype), row)
    start = Block(state, none, none, empty), last, jnp.asarray(True)
    return jax.lax.while_loop(more, once, start)[0]


def _each(flow: AbstractFlow, fn: Callable[[FlowState], Any], states: FlowState) -> Any:
    return map_batch(flow.landscape, fn, states, lambda state: state.ensemble)


def _everywhere(state: FlowState) -> FlowState:
    """What is not split over the ensemble's mesh, on every device of it."""
    mesh = state.ensemble.mesh
    if mesh is None:
        return state

    def put(leaf: Any) -> Any:
        if isinstance(leaf, Array) and len(leaf.sharding.device_set) < mesh.size:
            return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec()))
        return leaf

    return jax.tree.map(put, state)
