"""Starting measures: draws of particles, and restriction to an invariant set.

`like` describes one particle: a pytree of arrays or `jax.ShapeDtypeStruct`s (every landscape of
the library offers its own as `landscape.particle`). Parameters such as `scale` are a number for
all leaves, or a pytree with the structure of `like`. `points` says how particles are drawn:
"random" for independent ones, which every law in N is about; "sobol" (balanced for N a power of
two), "stratified" or "antithetic" for measures that represent the same law with fewer particles.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from ._ensemble import Ensemble
from ._errors import InvalidInput
from ._once import compiled_once
from ._points import Points, normal_points, require_points, uniform_points


def gaussian(
    key: Key[Array, ""],
    size: int,
    like: PyTree,
    *,
    scale: PyTree = 1.0,
    mean: PyTree = 0.0,
    points: Points = "random",
) -> Ensemble:
    """N particles, every coordinate normal with the given mean and standard deviation.

    Args:
        key: random key.
        size: number of particles N.
        like: shapes and dtypes of one particle.
        scale: standard deviation.
        mean: of each coordinate.
        points: how particles are drawn.

    Raises:
        InvalidInput: `size` is below one or does not suit `points`, or `scale` or `mean`
            does not match `like`.

    Example:
        >>> import jax
        >>> mu = gaussian(jax.random.key(0), 8, {"a": jax.numpy.zeros(2)}, mean={"a": 1.0})
        >>> mu.particles["a"].shape
        (8, 2)
    """
    return _draw(normal_points, _shifted, key, size, like, points, mean=mean, scale=scale)


def uniform(
    key: Key[Array, ""],
    size: int,
    like: PyTree,
    *,
    low: PyTree = -1.0,
    high: PyTree = 1.0,
    points: Points = "random",
) -> Ensemble:
    """N particles, every coordinate uniform on [low, high).

    Args:
        key: random key.
        size: number of particles N.
        like: shapes and dtypes of one particle.
        low: lower end of the interval.
        high: upper end of the interval.
        points: how particles are drawn.

    Raises:
        InvalidInput: `size` is below one or does not suit `points`, or `low` or `high`
            does not match `like`.

    Example:
        >>> import jax
        >>> mu = uniform(jax.random.key(0), 8, jax.numpy.zeros(2), low=0.0, high=3.0)
        >>> bool((mu.particles >= 0).all() and (mu.particles < 3).all())
        True
    """
    return _draw(uniform_points, _between, key, size, like, points, low=low, high=high)


def sphere(
    key: Key[Array, ""],
    size: int,
    like: PyTree,
    *,
    radius: PyTree = 1.0,
    points: Points = "random",
) -> Ensemble:
    """N particles, every leaf uniform on the sphere of the given radius.

    Args:
        key: random key.
        size: number of particles N.
        like: shapes and dtypes of one particle.
        radius: Euclidean norm of each leaf; a scalar leaf is ± the radius.
        points: how particles are drawn.

    Raises:
        InvalidInput: `size` is below one or does not suit `points`, or `radius`
            does not match `like`.

    Example:
        >>> import jax
        >>> mu = sphere(jax.random.key(0), 8, jax.numpy.zeros(3), radius=2.0)
        >>> jnp.linalg.norm(mu.particles, axis=1).round(5).tolist()[:2]
        [2.0, 2.0]
    """
    return _draw(normal_points, _on_sphere, key, size, like, points, radius=radius)


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


def _shifted(standard: Array, mean: Array, scale: Array) -> Array:
    return mean + scale * standard


def _between(standard: Array, low: Array, high: Array) -> Array:
    return low + (high - low) * standard


def _on_sphere(standard: Array, radius: Array) -> Array:
    flat = standard.reshape(standard.shape[0], -1)
    return radius * (flat / jnp.linalg.norm(flat, axis=1, keepdims=True)).reshape(standard.shape)


def _draw(
    standard: Callable[..., Array],
    place: Callable[..., Array],
    key: Array,
    size: int,
    like: PyTree,
    points: Points,
    **parameters: PyTree,
) -> Ensemble:
    if size < 1:
        raise InvalidInput(f"size is {size}; an ensemble needs at least N = 1 particle.")
    leaves, structure = jax.tree.flatten(like)
    columns = {
        name: jax.tree.leaves(_aligned(like, value, name)[1]) for name, value in parameters.items()
    }
    shapes = tuple(tuple(leaf.shape) for leaf in leaves)
    dtypes = tuple(jnp.result_type(leaf.dtype) for leaf in leaves)
    require_points(points, size, sum(math.prod(shape) for shape in shapes))
    placed = _placed(standard, place, key, size, shapes, dtypes, points, columns)
    return Ensemble(jax.tree.unflatten(structure, placed))


@functools.partial(compiled_once, static_argnums=(0, 1, 3, 4, 5, 6))
def _placed(
    standard: Callable[..., Array],
    place: Callable[..., Array],
    key: Array,
    size: int,
    shapes: tuple[tuple[int, ...], ...],
    dtypes: tuple[np.dtype, ...],
    points: Points,
    columns: dict[str, list],
) -> list[Array]:
    """Every leaf of the particles, in one program."""
    placed = []
    for index, drawn in enumerate(_standard(standard, key, size, shapes, dtypes, points)):
        values = {name: jnp.asarray(column[index], drawn.dtype) for name, column in columns.items()}
        placed.append(place(drawn, **values))
    return placed


def _standard(
    standard: Callable[..., Array],
    key: Array,
    size: int,
    shapes: tuple[tuple[int, ...], ...],
    dtypes: tuple[np.dtype, ...],
    points: Points,
) -> list[Array]:
    """Standard points for every leaf: each its own key, or one joint point for all leaves."""
    widths = [math.prod(shape) for shape in shapes]
    if points == "random":
        drawn = [
            standard(jax.random.fold_in(key, index), size, width, dtype, points)
            for index, (width, dtype) in enumerate(zip(widths, dtypes, strict=True))
        ]
    else:
        joint = standard(key, size, sum(widths), jnp.result_type(*dtypes), points)
        drawn = jnp.split(joint, np.cumsum(widths)[:-1].tolist(), axis=1)
    return [
        part.astype(dtype).reshape(size, *shape)
        for part, dtype, shape in zip(drawn, dtypes, shapes, strict=True)
    ]


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
