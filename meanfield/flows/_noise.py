"""Where random numbers come from: one key for a run, or noise that ensembles share."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree, UInt32

from particles import InvalidInput


class SharedNoise(eqx.Module):
    """Keys by which ensembles share their noise: the same Brownian path for the same particle.

    Every particle has a key of its own, so that a block of particles sees the noise that they see
    in the whole ensemble; batches come from a common key. A flow whose steps are `substeps` times
    as long adds up that many increments: paths of a coarse and a fine step are the same.

    Args:
        common: raw key of what all particles share, such as batches.
        own: raw keys, one a particle.
        substeps: increments in a step.

    Example:
        >>> import jax
        >>> noise = SharedNoise.of(jax.random.key(0), 4)
        >>> noise.blocks(2).own.shape
        (2, 2, 2)
    """

    common: UInt32[Array, "..."]
    own: UInt32[Array, "..."]
    substeps: Int[Array, "..."]

    @classmethod
    def of(cls, key: Key[Array, ""], size: int) -> SharedNoise:
        """The noise of `size` particles."""
        common, own = jax.random.split(key)
        raw = jax.random.key_data
        return cls(raw(common), raw(jax.random.split(own, size)), jnp.ones((), jnp.int32))

    def blocks(self, size: int, substeps: int = 1) -> SharedNoise:
        """The noise of consecutive blocks of `size` particles, with a leading axis.

        Args:
            size: particles in a block.
            substeps: increments in a step, where steps are that much longer.
        """
        own = self.own.reshape(-1, size, self.own.shape[-1])
        common = jnp.broadcast_to(self.common, (len(own), *self.common.shape))
        return SharedNoise(common, own, jnp.full(len(own), substeps, jnp.int32))


def raw_key(key: Any) -> UInt32[Array, "..."] | SharedNoise | None:
    """A key as the state keeps it."""
    return key if key is None or isinstance(key, SharedNoise) else jax.random.key_data(key)


def whole_key(kept: Any) -> Key[Array, ""] | SharedNoise | None:
    """A key from what the state keeps."""
    if kept is None or isinstance(kept, SharedNoise):
        return kept
    return jax.random.wrap_key_data(kept)


def common_key(key: Key[Array, ""] | SharedNoise | None, step: Any) -> Key[Array, ""] | None:
    """The key of one step, for what all particles share."""
    if key is None:
        return None
    shared = jax.random.wrap_key_data(key.common) if isinstance(key, SharedNoise) else key
    return jax.random.fold_in(shared, step)


def own_keys(noise: SharedNoise, step: Array, stream: int) -> Key[Array, " particles"]:
    """One key a particle, for one increment of one stream."""
    keys = jax.random.wrap_key_data(noise.own)

    def one(key: Key[Array, ""]) -> Key[Array, ""]:
        return jax.random.fold_in(jax.random.fold_in(key, step), stream)

    return jax.vmap(one)(keys)


def normals(key: Key[Array, "..."], like: PyTree) -> PyTree:
    """Standard normal numbers for every coordinate: of one key, or of one for each particle.

    With a key for each particle they are drawn in float32 whatever the type, so that noise is the
    same in every precision; its granularity is far below the error of any mean over it.
    """
    leaves, structure = jax.tree.flatten(like)
    if key.ndim == 0:
        keys = jax.random.split(key, len(leaves))
        drawn = [
            jax.random.normal(k, leaf.shape, leaf.dtype)
            for k, leaf in zip(keys, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, drawn)
    widths = [int(leaf[0].size) for leaf in leaves]
    flat = jax.vmap(lambda k: jax.random.normal(k, (sum(widths),), jnp.float32))(key)
    drawn, begin = [], 0
    for leaf, width in zip(leaves, widths, strict=True):
        drawn.append(flat[:, begin : begin + width].reshape(leaf.shape).astype(leaf.dtype))
        begin += width
    return jax.tree.unflatten(structure, drawn)


def require_shared(jumps: tuple[Any, ...], key: Any, size: int) -> None:
    """Refuse shared noise of other particles, and jumps that cannot draw from a particle's key."""
    if not isinstance(key, SharedNoise):
        return
    if key.own.shape[0] != size:
        raise InvalidInput(
            f"noise is of {key.own.shape[0]} particles, but the ensemble has {size}; each needs a "
            "key."
        )
    for jump in jumps:
        if jump.random and not jump.shares_noise:
            raise InvalidInput(
                f"jumps holds {type(jump).__name__}, whose noise is not each particle's own: "
                "ensembles cannot share it; leave it out, or declare shares_noise."
            )
