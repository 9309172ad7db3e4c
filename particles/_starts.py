"""Starting measures: i.i.d. draws of particles, and restriction to an invariant set.

`like` describes one particle: a pytree of arrays or `jax.ShapeDtypeStruct`s (every landscape of
the library offers its own as `landscape.particle`). Parameters such as `scale` are a number for
all leaves, or a pytree with the structure of `like`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from ._ensemble import Ensemble
from ._errors import InvalidInput


def gaussian(
    key: Key[Array, ""], size: int, like: PyTree, *, scale: PyTree = 1.0, mean: PyTree = 0.0
) -> Ensemble:
    """N i.i.d. particles, every coordinate normal with the given mean and standard deviation.

    Args:
        key: random key.
        size: number of particles N.
        like: shapes and dtypes of one particle.
        scale: standard deviation.
        mean: of each coordinate.

    Raises:
        InvalidInput: `size` is below one, or `scale` or `mean` does not match `like`.

    Example:
        >>> import jax
        >>> mu = gaussian(jax.random.key(0), 8, {"a": jax.numpy.zeros(2)}, mean={"a": 1.0})
        >>> mu.particles["a"].shape
        (8, 2)
    """

    def draw(key: Array, shape: tuple, dtype: jnp.dtype, mean: Array, scale: Array) -> Array:
        return mean + scale * jax.random.normal(key, shape, dtype)

    return _draw(draw, key, size, like, mean=mean, scale=scale)


def uniform(
    key: Key[Array, ""], size: int, like: PyTree, *, low: PyTree = -1.0, high: PyTree = 1.0
) -> Ensemble:
    """N i.i.d. particles, every coordinate uniform on [low, high).

    Args:
        key: random key.
        size: number of particles N.
        like: shapes and dtypes of one particle.
        low: lower end of the interval.
        high: upper end of the interval.

    Raises:
        InvalidInput: `size` is below one, or `low` or `high` does not match `like`.

    Example:
        >>> import jax
        >>> mu = uniform(jax.random.key(0), 8, jax.numpy.zeros(2), low=0.0, high=3.0)
        >>> bool((mu.particles >= 0).all() and (mu.particles < 3).all())
        True
    """

    def draw(key: Array, shape: tuple, dtype: jnp.dtype, low: Array, high: Array) -> Array:
        return low + (high - low) * jax.random.uniform(key, shape, dtype)

    return _draw(draw, key, size, like, low=low, high=high)


def sphere(key: Key[Array, ""], size: int, like: PyTree, *, radius: PyTree = 1.0) -> Ensemble:
    """N i.i.d. particles, every leaf uniform on the sphere of the given radius.

    Args:
        key: random key.
        size: number of particles N.
        like: shapes and dtypes of one particle.
        radius: Euclidean norm of each leaf; a scalar leaf is ± the radius.

    Raises:
        InvalidInput: `size` is below one, or `radius` does not match `like`.

    Example:
        >>> import jax
        >>> mu = sphere(jax.random.key(0), 8, jax.numpy.zeros(3), radius=2.0)
        >>> jnp.linalg.norm(mu.particles, axis=1).round(5).tolist()[:2]
        [2.0, 2.0]
    """

    def draw(key: Array, shape: tuple, dtype: jnp.dtype, radius: Array) -> Array:
        points = jax.random.normal(key, (shape[0], math.prod(shape[1:])), dtype)
        points = points / jnp.linalg.norm(points, axis=1, keepdims=True)
        return radius * points.reshape(shape)

    return _draw(draw, key, size, like, radius=radius)


def restrict(ensemble: Ensemble, mask: PyTree) -> Ensemble:
    """Zero the coordinates where `mask` is false: the projection onto a coordinate subspace.

    With samples that respect the sign flip of those coordinates the subspace is invariant under
    the flow; round-off leaves it exponentially fast, so use this as the flow's projection too.
    (theory.md, section 2: controlled saddle initialisation)

    Args:
        ensemble: N particles.
        mask: pytree like one particle, of booleans, or a number for a whole leaf.

    Raises:
        InvalidInput: `mask` does not have the structure of one particle.

    Example:
        >>> import jax.numpy as jnp
        >>> mu = Ensemble({"a": jnp.ones((2, 1)), "w": jnp.ones((2, 3))})
        >>> restrict(mu, {"a": 1, "w": jnp.array([1, 1, 0])}).particles["w"].tolist()
        [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]
    """
    particles, mask = _aligned(ensemble.particles, mask, "mask")
    kept = jax.tree.map(lambda leaf, keep: leaf * jnp.asarray(keep, leaf.dtype), particles, mask)
    return ensemble.with_particles(kept)


def _draw(
    draw: Callable[..., Array], key: Array, size: int, like: PyTree, **parameters: PyTree
) -> Ensemble:
    if size < 1:
        raise InvalidInput(f"size is {size}; an ensemble needs at least N = 1 particle.")
    leaves, structure = jax.tree.flatten(like)
    columns = {
        name: jax.tree.leaves(_aligned(like, value, name)[1]) for name, value in parameters.items()
    }
    drawn = []
    for index, leaf in enumerate(leaves):
        dtype = jnp.result_type(leaf.dtype)
        values = {name: jnp.asarray(column[index], dtype) for name, column in columns.items()}
        drawn.append(draw(jax.random.fold_in(key, index), (size, *leaf.shape), dtype, **values))
    return Ensemble(jax.tree.unflatten(structure, drawn))


def _aligned(like: PyTree, values: PyTree, name: str) -> tuple[PyTree, PyTree]:
    """`like` and `values`, a bare number in place of a pytree being repeated for every leaf."""
    structure = jax.tree.structure(like)
    if jax.tree.structure(values) == structure:
        return like, values
    if isinstance(values, int | float) or getattr(values, "ndim", None) == 0:
        return like, jax.tree.unflatten(structure, [values] * structure.num_leaves)
    raise InvalidInput(
        f"{name} has structure {jax.tree.structure(values)}; it must be one number, or match "
        f"the particle's structure {structure}."
    )
