"""Small pytree helpers shared by every package."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from ._errors import InvalidInput

#: Numbers up to which NumPy looks at an array: JAX would compile for every shape. Larger ones, and
#: those of several hosts, stay on their devices.
SMALL = 2**20


def rows_of(tree: PyTree) -> Float[Array, "particles parameters"]:
    """One row of numbers for each particle, leaf after leaf."""
    leaves = jax.tree.leaves(tree)
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)


@jax.jit
def difference(one: PyTree, other: PyTree) -> PyTree:
    """One − other, leaf by leaf, in one program."""
    return jax.tree.map(jnp.subtract, one, other)


@jax.jit
def stacked(trees: Sequence[PyTree]) -> PyTree:
    """Trees of one structure along a new leading axis, in one program.

    Example:
        >>> stacked([{"w": 1.0}, {"w": 2.0}])["w"].tolist()
        [1.0, 2.0]
    """
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def leaf_names(tree: PyTree) -> list[str]:
    """Dotted path of every leaf, in flattening order; a bare array is called `particles`.

    Example:
        >>> leaf_names({"a": 0, "w": (1, 2)})
        ['a', 'w.0', 'w.1']
    """
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [jax.tree_util.keystr(p, simple=True, separator=".") or "particles" for p, _ in paths]


def require_finite(name: str, tree: PyTree) -> None:
    """Refuse non-finite numbers in concrete arrays (traced values pass unseen).

    Args:
        name: what to call the argument in the message.
        tree: the arrays to look at.

    Raises:
        InvalidInput: names the leaf and the first bad index.
    """
    for leaf_name, leaf in zip(leaf_names(tree), jax.tree.leaves(tree), strict=True):
        if isinstance(leaf, Tracer):
            continue
        leaf = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
        small = leaf.size <= SMALL and getattr(leaf, "is_fully_addressable", True)
        looked_at = np.isfinite(np.asarray(leaf)) if small else jnp.isfinite(leaf)
        if looked_at.all():
            continue
        index = tuple(int(i) for i in np.unravel_index(int(looked_at.argmin()), leaf.shape))
        where = name if leaf_name == "particles" else f"{name}.{leaf_name}"
        raise InvalidInput(
            f"{where}{list(index)} is {float(leaf[index])}; all entries must be finite: "
            "remove or replace the non-finite ones."
        )


def require_real(name: str, tree: PyTree) -> None:
    """Refuse arrays of complex numbers, of half precision, or of no numbers at all.

    Raises:
        InvalidInput: names the leaf and its type.
    """
    for leaf_name, leaf in zip(leaf_names(tree), jax.tree.leaves(tree), strict=True):
        where = name if leaf_name == "particles" else f"{name}.{leaf_name}"
        dtype = getattr(leaf, "dtype", None)
        if dtype is None:
            dtype = np.asarray(leaf).dtype
        if jnp.issubdtype(dtype, jnp.complexfloating):
            raise InvalidInput(f"{where} has dtype {dtype}; give real numbers.")
        if jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32:
            raise InvalidInput(
                f"{where} has dtype {dtype}, too coarse for a flow; give float32 or float64."
            )
        if not (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)):
            raise InvalidInput(f"{where} has dtype {dtype}; give numbers.")
