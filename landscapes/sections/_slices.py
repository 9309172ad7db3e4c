"""Slices: L along lines and planes of vector fields, each with its second-order prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Float, PyTree

from particles import Ensemble, InvalidInput
from particles.internal import to_device

from .._abstract import AbstractLandscape
from ._directions import orthonormal_fields, unit_field
from ._sections import DisplacementSection, line_grid, section_expansions, section_values

if TYPE_CHECKING:
    import xarray

Extent = float | tuple[float, float]
Row = Float[np.ndarray, " lines"]


def loss_lines(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    fields: Mapping[str, PyTree],
    fast: PyTree | None = None,
    *,
    extent: Extent | None = None,
    points: int = 41,
    chunk: int | None = None,
) -> xarray.Dataset:
    """L along vector fields, with the parabola that slope and Wasserstein Hessian predict.

    Args:
        landscape: any landscape.
        ensemble: where the lines cross, at distance 0.
        fields: name to vector field at the particles, such as eigenvectors, the velocity, or a
            random one; each is rescaled to unit L²(μ) norm.
        fast: frozen fast variables; `None` for the two-timescale limit.
        extent: how far to go both ways, or (low, high): L²(μ) distance, in units of the
            particles; by default about as far as slopes and curvatures need to change the loss by
            as much as it is.
        points: on each line.
        chunk: particles held at once.

    Returns:
        `loss` and `prediction` over (`direction`, `distance`), `slope` and `curvature` at zero.

    Raises:
        InvalidInput: no field or one that does not fit the particles, is zero or not finite; an
            empty grid; an ensemble of another landscape.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.zeros((1, 1)), w=jnp.ones((1, 1))))
        >>> field = Neuron(a=jnp.ones((1, 1)), w=jnp.zeros((1, 1)))
        >>> lines = loss_lines(landscape, mu, {"a": field}, extent=2.0, points=3)
        >>> lines.loss.values.tolist(), lines.curvature.values.tolist()  # L = ½(2 − s)²
        ([[8.0, 2.0, 0.0]], [1.0])
    """
    import xarray

    landscape.require_fit(ensemble)
    if not fields:
        raise InvalidInput("fields is empty; name at least one direction.")
    units = {name: unit_field(ensemble, field, name) for name, field in fields.items()}
    sections = [DisplacementSection(ensemble, (field,)) for field in units.values()]
    value, slope, curvature = _along(landscape, sections, fast, chunk)
    if extent is None:
        extent = _natural_extent(ensemble, value[0], slope, curvature)
    distance = line_grid(extent, points)
    grid = to_device(distance[:, None], jax.tree.leaves(ensemble.particles)[0].dtype)
    losses = [
        np.asarray(section_values(landscape, one, grid, fast, chunk=chunk)) for one in sections
    ]
    columns = (column[:, None] for column in (value, slope, curvature))
    constant, linear, bent = columns
    prediction = constant + linear * distance + 0.5 * bent * distance**2
    both = ("direction", "distance")
    return xarray.Dataset(
        {
            "loss": (both, np.stack(losses), {"units": "loss"}),
            "prediction": (both, prediction, {"units": "loss"}),
            "slope": ("direction", slope, {"units": "loss / particle"}),
            "curvature": ("direction", curvature, {"units": "1 / time"}),
        },
        {
            "direction": list(units),
            "distance": ("distance", distance, {"units": "particle"}),
        },
    )


def loss_plane(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    fields: Mapping[str, PyTree],
    fast: PyTree | None = None,
    *,
    extent: Extent | tuple[Extent, Extent] | None = None,
    points: int = 25,
    chunk: int | None = None,
) -> xarray.Dataset:
    """L on the plane of two vector fields, with its second-order prediction.

    The fields are made orthonormal in L²(μ), the first one kept as it points, so that distances
    in the plane are distances in L²(μ).

    Args:
        landscape: any landscape.
        ensemble: the origin of the plane.
        fields: two vector fields by name; `principal_plane` finds those of a trajectory.
        fast: frozen fast variables; `None` for the two-timescale limit.
        extent: as in `loss_lines`, or one for each axis.
        points: along each axis.
        chunk: particles held at once.

    Returns:
        `loss` and `prediction` over (`first`, `second`); `slope` over `axis` and `curvature` over
        (`axis`, `other`) at the origin; the fields' names as `long_name` of the coordinates.

    Raises:
        InvalidInput: not two independent fields that fit the particles, an empty grid, or an
            ensemble of another landscape.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.ones((1, 1)), w=jnp.ones((1, 1))))
        >>> a = Neuron(a=jnp.ones((1, 1)), w=jnp.zeros((1, 1)))
        >>> w = Neuron(a=jnp.zeros((1, 1)), w=jnp.ones((1, 1)))
        >>> loss_plane(landscape, mu, {"a": a, "w": w}, extent=1.0, points=3).loss.values.tolist()
        [[2.0, 2.0, 2.0], [2.0, 0.5, 0.0], [2.0, 0.0, 2.0]]
    """
    import xarray

    landscape.require_fit(ensemble)
    if len(fields) != 2:
        raise InvalidInput(f"fields holds {list(fields)}; a plane has two directions.")
    named = orthonormal_fields(ensemble, fields)
    section = DisplacementSection(ensemble, tuple(named.values()))
    value, slope, bent = _at_origin(landscape, section, fast, chunk)
    if extent is None:
        extent = _natural_extent(ensemble, value, slope, np.linalg.eigvalsh(bent))
    first, second = (line_grid(one, points) for one in _extents(extent))
    mesh = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1)
    grid = to_device(mesh.reshape(-1, 2), jax.tree.leaves(ensemble.particles)[0].dtype)
    loss = np.asarray(section_values(landscape, section, grid, fast, chunk=chunk))
    prediction = value + mesh @ slope + 0.5 * np.einsum("sti,ij,stj->st", mesh, bent, mesh)
    names = list(named)
    return xarray.Dataset(
        {
            "loss": (("first", "second"), loss.reshape(mesh.shape[:2]), {"units": "loss"}),
            "prediction": (("first", "second"), prediction, {"units": "loss"}),
            "slope": ("axis", slope, {"units": "loss / particle"}),
            "curvature": (("axis", "other"), bent, {"units": "1 / time"}),
        },
        {
            "first": ("first", first, {"units": "particle", "long_name": names[0]}),
            "second": ("second", second, {"units": "particle", "long_name": names[1]}),
        },
    )


def _along(
    landscape: AbstractLandscape,
    lines: Sequence[DisplacementSection],
    fast: PyTree | None,
    chunk: int | None,
) -> tuple[Row, Row, Row]:
    """Value, slope and curvature at the origin of every line."""
    zero = to_device(np.zeros((1, 1)), jax.tree.leaves(lines[0].ensemble.particles)[0].dtype)
    at = [section_expansions(landscape, line, zero, fast, chunk=chunk) for line in lines]
    value, slope, curvature = np.array([[np.asarray(leaf).item() for leaf in one] for one in at]).T
    return value, slope, curvature


def _at_origin(
    landscape: AbstractLandscape,
    plane: DisplacementSection,
    fast: PyTree | None,
    chunk: int | None,
) -> tuple[float, Row, Float[np.ndarray, "2 2"]]:
    """Value, slope and curvature at the origin of a plane, by polarisation.

    Its two axes and their diagonal are lines, for which there is a program already.
    """
    ensemble = plane.ensemble
    total = sum(np.asarray(ensemble.to_vector(field)) for field in plane.fields)
    fields = *plane.fields, ensemble.to_field(to_device(total))
    lines = [DisplacementSection(ensemble, (field,)) for field in fields]
    value, slope, (first, second, diagonal) = _along(landscape, lines, fast, chunk)
    mixed = 0.5 * (diagonal - first - second)
    return float(value[0]), slope[:2], np.array([[first, mixed], [mixed, second]])


def _natural_extent(
    ensemble: Ensemble, value: float, slope: np.ndarray, curvature: np.ndarray
) -> float:
    """The shortest length over which slope or curvature change the loss by as much as it is.

    Half as long again, and neither tiny nor large beside the particles themselves.
    """
    largest = 0.2 * float(ensemble.norm(ensemble.particles)) or 1.0
    steepest, most_bent = float(np.abs(slope).max()), float(np.abs(curvature).max())
    lengths = [
        abs(value) / steepest if steepest > 0 else np.inf,
        (2 * abs(value) / most_bent) ** 0.5 if most_bent > 0 else np.inf,
    ]
    return float(np.clip(1.5 * min(lengths), 0.02 * largest, largest))


def _extents(extent: Extent | tuple[Extent, Extent]) -> tuple[Extent, Extent]:
    """One extent for each axis; a pair of numbers is (low, high) of both."""
    if isinstance(extent, tuple) and isinstance(extent[0], tuple):
        return extent  # pyright: ignore[reportReturnType]
    return extent, extent  # pyright: ignore[reportReturnType]
