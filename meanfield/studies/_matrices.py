"""The matrices that every landscape offers: its particles, part by part, and its moments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float

from landscapes import AbstractLandscape
from particles import Ensemble
from particles.internal import coordinates, leaf_names

MatrixOf = Callable[[Any, Ensemble], Float[Array, "rows columns"]]


def named_matrices(landscape: AbstractLandscape) -> dict[str, MatrixOf]:
    """Matrices of any landscape, by name, as `measures_along` takes them.

    Each part of the particles is a matrix with a row a particle and its coordinates as columns; of
    several parts, `particles` is all of them side by side. Moments with two axes are matrices as
    they stand.

    Args:
        landscape: any landscape.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import RegressionLandscape
        >>> list(named_matrices(RegressionLandscape(jnp.ones((4, 3)), jnp.ones((4, 2)))))
        ['a', 'w', 'particles', 'moments']
    """
    particle = landscape.particle
    names = leaf_names(particle)
    found = {name: _part(index) for index, name in enumerate(names)}
    if len(names) > 1:
        found["particles"] = _side_by_side
    moments = jax.eval_shape(landscape.features, particle)
    for index, (name, leaf) in enumerate(
        zip(leaf_names(moments), jax.tree.leaves(moments), strict=True)
    ):
        if len(leaf.shape) == 2:
            found["moments" if name == "particles" else f"moments.{name}"] = _moment(index)
    return found


def _part(index: int) -> MatrixOf:
    def matrix(landscape: AbstractLandscape, ensemble: Ensemble) -> Array:
        return jax.tree.leaves(ensemble.particles)[index].reshape(ensemble.size, -1)

    return matrix


def _side_by_side(landscape: AbstractLandscape, ensemble: Ensemble) -> Array:
    return coordinates(ensemble)


def _moment(index: int) -> MatrixOf:
    def matrix(landscape: AbstractLandscape, ensemble: Ensemble) -> Array:
        return jax.tree.leaves(landscape.moments(ensemble))[index]

    return matrix
