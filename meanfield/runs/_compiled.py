"""The compiled programs of a run, each finished before the next one starts.

Two programs whose devices exchange numbers must not be in flight at once, and what the host keeps
of an array must be a copy: the array's memory is given to the next program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from particles import Ensemble
from particles.internal import to_host

from ..flows import AbstractFlow, FlowState
from ._batches import map_batch


def begin(
    flow: AbstractFlow,
    ensemble: Ensemble,
    dt: float,
    fast: PyTree | None,
    key: Array | None,
    batch: bool,
) -> FlowState:
    """The first state, in one program; checks of values are the caller's."""
    size = jnp.asarray(dt, jnp.result_type(*jax.tree.leaves(ensemble.particles)))
    state = jax.block_until_ready(_begin(flow, ensemble, size, fast, key, batch))
    return jax.block_until_ready(_everywhere(state))


def advance(
    flow: AbstractFlow, state: FlowState, until: float, most: int, batch: bool
) -> FlowState:
    """At most `most` steps towards time `until`; the memory of `state` is given away."""
    limits = jnp.asarray(until, state.time.dtype), jnp.asarray(most, jnp.int32)
    return jax.block_until_ready(_advance(flow, state, *limits, batch))


def read(
    flow: AbstractFlow, state: FlowState, compute: Callable[..., Any], batch: bool
) -> dict[str, Any]:
    """Numbers computed from a state, as copies on the host."""
    return host_copy(jax.block_until_ready(_read(flow, state, compute, batch)))


def host_copy(tree: PyTree) -> Any:
    """Arrays as numpy arrays with memory of their own."""
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), to_host(tree))


def placed_like(arrays: PyTree, like: FlowState) -> FlowState:
    """Host arrays on the devices where the leaves of a state are."""

    def put(array: Any, leaf: Array) -> Array:  # placed as freely as the leaf, to be read alike
        return jax.device_put(array, leaf.sharding if leaf.committed else None)

    return jax.block_until_ready(jax.tree.map(put, arrays, like))


def copied(state: FlowState, ensemble_too: bool) -> FlowState:
    """A copy, whose memory may be given away; the ensemble itself where that may be given too."""
    if ensemble_too:
        return jax.block_until_ready(jax.tree.map(jnp.copy, state))
    copy = jax.tree.map(jnp.copy, eqx.tree_at(lambda s: s.ensemble, state, None))
    whole = eqx.tree_at(lambda s: s.ensemble, copy, state.ensemble, is_leaf=lambda x: x is None)
    return jax.block_until_ready(whole)


@eqx.filter_jit
def _begin(
    flow: AbstractFlow,
    ensemble: Ensemble,
    dt: Array,
    fast: PyTree | None,
    key: Array | None,
    batch: bool,
) -> FlowState:
    if not batch:
        return flow.start(ensemble, dt, fast, key)
    return jax.vmap(lambda e, k: flow.start(e, dt, fast, k))(ensemble, key)


@eqx.filter_jit(donate="all-except-first")
def _advance(
    flow: AbstractFlow, state: FlowState, until: Array, most: Array, batch: bool
) -> FlowState:
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
