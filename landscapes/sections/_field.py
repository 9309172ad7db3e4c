"""The first-variation field: where in parameter space mass would lower the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Float, PyTree

from particles import Ensemble, InvalidInput
from particles.internal import coordinates

from .._abstract import AbstractLandscape
from .._variations import FirstVariation
from ._directions import orthonormal_columns, particles_from
from ._sections import line_grid

if TYPE_CHECKING:
    import xarray

Extent = float | tuple[float, float]
AXES = ("first", "second")
BLOCK, MOST_BLOCKS = 1024, 16  # points looked at together, at least; calls for many points


def first_variation_field(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    directions: Mapping[str, PyTree],
    fast: PyTree | None = None,
    *,
    centre: PyTree | None = None,
    extent: Extent | None = None,
    points: int = 41,
    chunk: int | None = None,
) -> xarray.Dataset:
    """δL/δμ[μ](θ), centred, on a grid through parameter space and at every particle.

    Mass lowers the loss where it is negative, and particles move down its slope.
    (theory.md, section 1)

    Args:
        landscape: any landscape.
        ensemble: μ.
        directions: one or two directions of one particle by name, from `coordinate_directions` or
            `principal_directions`; they are made orthonormal, the first kept as it points.
        fast: frozen fast variables; `None` for the two-timescale limit.
        centre: the particle through which the grid is laid; the mean particle by default.
        extent: how far to go both ways from the centre, or (low, high), in units of a particle;
            by default as far as the cloud reaches, and a fifth beyond.
        points: along each axis.
        chunk: particles held at once.

    Returns:
        Over the grid (`first`, and `second` where there are two): `first_variation` and
        `velocity` −∇δL/δμ within it (a mobility changes its length alone). For every particle:
        `particle_first_variation`, its `position` and `particle_velocity` within the grid,
        `off_grid`, how far from the grid it lies (the field drawn under it is that of its
        projection), and its `weight`.

    Raises:
        InvalidInput: not one or two independent directions that fit a particle, an empty grid, or
            an ensemble of another landscape.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape, coordinate_directions
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.ones((1, 1)), w=jnp.ones((1, 1))))
        >>> axes = coordinate_directions(mu, ["a[0]"])
        >>> field = first_variation_field(landscape, mu, axes, extent=1.0, points=3)
        >>> field.first_variation.values.tolist()  # (1 − 2)·(a − 1) relative to the particle
        [1.0, 0.0, -1.0]
    """
    import xarray

    landscape.require_fit(ensemble)
    rows = np.asarray(coordinates(ensemble), float)
    basis = _orthonormal(directions, rows.shape[1])
    weights = np.asarray(ensemble.probabilities, float)
    origin = weights @ rows if centre is None else _numbers(centre, rows.shape[1], "centre")
    position = (rows - origin) @ basis.T
    grids = [
        line_grid(_reach(position[:, axis]) if extent is None else extent, points)
        for axis in range(len(basis))
    ]
    mesh = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1)
    spots = origin + mesh.reshape(-1, len(basis)) @ basis
    variation = landscape.first_variation(ensemble, fast, chunk=chunk)
    at_particles, on_grid = seen_at(variation, ensemble, [rows, spots], chunk)
    mean = weights @ at_particles[0]
    names, axes = list(directions), AXES[: len(basis)]
    shape = mesh.shape[:-1]
    loss, speed = {"units": "loss"}, {"units": "particle / time"}
    along = [basis @ gradient.T for _, gradient in (on_grid, at_particles)]
    outside = np.linalg.norm(rows - origin - position @ basis, axis=1)
    return xarray.Dataset(
        {
            "first_variation": (axes, (on_grid[0] - mean).reshape(shape), loss),
            "velocity": (("axis", *axes), -along[0].reshape(-1, *shape), speed),
            "particle_first_variation": ("particle", at_particles[0] - mean, loss),
            "particle_velocity": (("axis", "particle"), -along[1], speed),
            "position": (("axis", "particle"), position.T, {"units": "particle"}),
            "off_grid": ("particle", outside, {"units": "particle"}),
            "weight": ("particle", weights),
        },
        {
            axis: (axis, grid, {"units": "particle", "long_name": name})
            for axis, grid, name in zip(axes, grids, names, strict=True)
        },
    )


def seen_at(
    variation: FirstVariation,
    like: Ensemble,
    clouds: Sequence[Float[np.ndarray, "_ parameters"]],
    chunk: int | None,
) -> list[tuple[Float[np.ndarray, " _"], Float[np.ndarray, "_ parameters"]]]:
    """The first variation, up to a constant, and its gradient at clouds of points.

    Points go through in blocks of one size, the last one filled up: clouds share a program.

    Args:
        variation: of the ensemble.
        like: an ensemble of such particles.
        clouds: particles as rows of numbers, in the order of `particles.coordinates`.
        chunk: particles held at once.
    """
    rows = np.concatenate(list(clouds))
    block = max(BLOCK, 1 << (len(rows) // MOST_BLOCKS).bit_length())
    heights, slopes = [], []
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        full = np.concatenate(
            [part, np.broadcast_to(part[:1], (block - len(part), *part.shape[1:]))]
        )
        points = Ensemble(particles_from(like, full))
        height, slope = variation.potential_and_gradient(points, chunk=chunk)
        heights.append(np.asarray(height, float)[: len(part)])
        slopes.append(np.asarray(coordinates(points.with_particles(slope)), float)[: len(part)])
    ends = np.cumsum([len(cloud) for cloud in clouds])[:-1]
    both = (np.split(np.concatenate(parts), ends) for parts in (heights, slopes))
    return list(zip(*both, strict=True))


def _orthonormal(directions: Mapping[str, PyTree], size: int) -> np.ndarray:
    if len(directions) not in (1, 2):
        raise InvalidInput(f"directions holds {list(directions)}; a grid has one or two of them.")
    rows = {name: _numbers(direction, size, name) for name, direction in directions.items()}
    for name, row in rows.items():
        if not row.any():
            raise InvalidInput(f"{name} is zero; it has no direction to look along.")
    columns = np.stack([row / np.linalg.norm(row) for row in rows.values()], axis=1)
    return orthonormal_columns(columns, list(rows), 1e-6).T


def _numbers(particle: PyTree, size: int, name: str) -> np.ndarray:
    leaves = [np.asarray(leaf, float).ravel() for leaf in jax.tree.leaves(particle)]
    row = np.concatenate([*leaves, np.zeros(0)])
    if row.size != size or not np.isfinite(row).all():
        raise InvalidInput(
            f"{name} holds {row.size} numbers, or one that is not finite; a particle has {size}."
        )
    return row


def _reach(position: np.ndarray) -> tuple[float, float]:
    low, high = float(position.min()), float(position.max())
    margin = 0.2 * (high - low) or 1.0
    return low - margin, high + margin
