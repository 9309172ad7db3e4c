"""Many ensembles at once, within the memory of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree

from landscapes import AbstractLandscape
from particles import Ensemble
from particles.internal import chunk_for


def members(batch: PyTree) -> Iterator[Any]:
    """The entries of a batch one by one: the leading axis of every leaf.

    One program a shape; none for arrays of the host.
    """

    def entry(leaf: Array | np.ndarray, number: int) -> Any:
        if isinstance(leaf, np.ndarray):
            return leaf[number]
        return jax.lax.dynamic_index_in_dim(leaf, number, keepdims=False)

    for number in range(jax.tree.leaves(batch)[0].shape[0]):
        yield jax.tree.map(lambda leaf, at=number: entry(leaf, at), batch)


def map_batch(
    landscape: AbstractLandscape,
    fn: Callable[[Any], Any],
    batch: PyTree,
    ensemble: Callable[[Any], Ensemble] = lambda one: one,
) -> Any:
    """`fn` of every entry of a batch, vmapped over as many as fit the memory of one chunk.

    Args:
        landscape: tells what a particle costs.
        fn: of one entry.
        batch: leaves with a leading axis.
        ensemble: the ensemble within one entry.
    """
    count = jax.tree.leaves(batch)[0].shape[0]
    one = jax.eval_shape(lambda b: ensemble(jax.tree.map(lambda leaf: leaf[0], b)), batch)
    particle = jax.eval_shape(lambda p: jax.tree.map(lambda leaf: leaf[0], p), one.particles)
    most = chunk_for(count * one.size, landscape.particle_bytes(particle)) // one.size
    # A divisor leaves no remainder, which would be compiled apart.
    at_once = max(n for n in range(1, max(1, most) + 1) if count % n == 0)
    if at_once == count or one.mesh is not None:
        return jax.vmap(fn)(batch)
    return jax.lax.map(fn, batch, batch_size=at_once)
