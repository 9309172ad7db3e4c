"""Directions to look along: in the space of measures (vector fields) and of one particle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from particles import Ensemble, InvalidInput
from particles.internal import coordinates, difference, leaf_names, require_finite, to_device


class Plane(NamedTuple):
    """The principal plane of a sequence of ensembles in L²(μ).

    Args:
        origin: the last ensemble, through which the plane is laid.
        fields: vector fields at its particles, orthonormal in L²(μ); at most as many as asked for.
        path: coordinates of every ensemble in the plane, shape `(times, axes)`.
        share: of the variance over time that each axis carries.
    """

    origin: Ensemble
    fields: dict[str, PyTree]
    path: np.ndarray
    share: np.ndarray


def principal_plane(ensembles: Sequence[Ensemble], count: int = 2) -> Plane:
    """The vector fields along which a trajectory of ensembles moves most: its plane to slice in.

    Principal components over time of the displacements θ_i(t), in the inner product of L²(μ).

    Args:
        ensembles: the same particles at two or more times; the last one's weights count.
        count: axes wanted; fewer where the trajectory spans fewer.

    Raises:
        InvalidInput: fewer than two ensembles, of different particles, or all alike.

    Example:
        >>> import jax.numpy as jnp
        >>> times = [Ensemble(jnp.array([[t, t**2], [-t, 0.0]])) for t in (0.0, 0.5, 1.0)]
        >>> plane = principal_plane(times)
        >>> plane.path.shape, list(plane.fields)
        ((3, 2), ['principal 1', 'principal 2'])
    """
    if len(ensembles) < 2:
        raise InvalidInput(f"ensembles holds {len(ensembles)}; a trajectory has at least two.")
    origin = ensembles[-1]
    for ensemble in ensembles:
        require_like(origin, "ensembles", ensemble.particles)
    gaps = [difference(e.particles, origin.particles) for e in ensembles]
    vectors = [origin.to_vector(gap) for gap in gaps]
    precision = float(jnp.finfo(vectors[0].dtype).eps)
    flat = np.stack([np.asarray(vector, float) for vector in vectors])
    centred = flat - flat.mean(axis=0)
    _, size, right = np.linalg.svd(centred, full_matrices=False)
    rank = int(np.sum(size > 1e4 * precision * max(size[0], np.finfo(float).tiny)))
    if not size[0] > 0:
        raise InvalidInput("ensembles do not differ from each other; there is no plane to span.")
    axes = right[: min(count, rank)]
    fields = {
        f"principal {j + 1}": origin.to_field(to_device(axis, vectors[0].dtype))
        for j, axis in enumerate(axes)
    }
    return Plane(origin, fields, flat @ axes.T, (size**2 / np.sum(size**2))[: len(axes)])


def unit_field(ensemble: Ensemble, field: PyTree, name: str = "field") -> PyTree:
    """The field rescaled to unit L²(μ) norm.

    Raises:
        InvalidInput: it does not fit the particles, is not finite, or is zero.
    """
    require_like(ensemble, name, field)
    require_finite(name, field)
    norm = ensemble.norm(field)
    if not float(norm) > 0:
        raise InvalidInput(f"{name} is zero everywhere; it has no direction to look along.")
    return jax.tree.map(lambda leaf: leaf / norm.astype(leaf.dtype), field)


def orthonormal_fields(ensemble: Ensemble, fields: Mapping[str, PyTree]) -> dict[str, PyTree]:
    """Fields made orthonormal in L²(μ), one after the other; names are kept.

    Raises:
        InvalidInput: one is zero, or a combination of those before it.
    """
    units = {name: unit_field(ensemble, field, name) for name, field in fields.items()}
    vectors = {name: ensemble.to_vector(field) for name, field in units.items()}
    columns = np.stack([np.asarray(vector, float) for vector in vectors.values()], axis=1)
    precision = float(jnp.finfo(next(iter(vectors.values())).dtype).eps)
    basis = orthonormal_columns(columns, list(fields), 1e3 * precision)
    return {name: ensemble.to_field(to_device(basis[:, j])) for j, name in enumerate(fields)}


def orthonormal_columns(
    columns: Float[np.ndarray, "rows columns"], names: Sequence[str], tolerance: float
) -> Float[np.ndarray, "rows columns"]:
    """Columns of unit length made orthonormal, the first one kept as it points.

    Raises:
        InvalidInput: one is within `tolerance` of a combination of those before it.
    """
    if len(names) > len(columns):
        raise InvalidInput(f"{len(names)} directions are more than the {len(columns)} unknowns.")
    basis, upper = np.linalg.qr(columns)
    lengths = np.diag(upper)
    for j, name in enumerate(names):
        if not abs(lengths[j]) > tolerance:
            raise InvalidInput(
                f"{name} is a combination of {list(names[:j])}; name an independent direction."
            )
    return basis * np.sign(lengths)


def require_like(ensemble: Ensemble, name: str, field: PyTree) -> None:
    """Refuse a vector field that does not fit an ensemble's particles.

    Raises:
        InvalidInput: names both shapes.
    """
    found = [tuple(leaf.shape) for leaf in jax.tree.leaves(field)]
    wanted = [tuple(leaf.shape) for leaf in jax.tree.leaves(ensemble.particles)]
    same = jax.tree.structure(field) == jax.tree.structure(ensemble.particles)
    if not same or found != wanted:
        raise InvalidInput(
            f"{name} has leaves of shapes {found}; the ensemble's particles "
            f"({', '.join(leaf_names(ensemble.particles))}) need {wanted}."
        )


# --- directions of one particle -------------------------------------------------------------


def coordinate_directions(ensemble: Ensemble, names: Sequence[str]) -> dict[str, PyTree]:
    """Unit directions of single parameters, by name: `w[2]`, `u[0, 1]`, or `v` for a number.

    Raises:
        InvalidInput: a parameter that a particle does not have; the message lists them.

    Example:
        >>> import jax.numpy as jnp
        >>> mu = Ensemble({"a": jnp.zeros((4, 1)), "w": jnp.zeros((4, 2))})
        >>> coordinate_directions(mu, ["w[1]"])["w[1]"]["w"].tolist()
        [0.0, 1.0]
    """
    known = parameter_names(ensemble)
    directions = {}
    for name in names:
        if name not in known:
            raise InvalidInput(
                f"coordinate {name!r} does not exist; a particle has {', '.join(known[:40])}."
            )
        unit = np.zeros(len(known))
        unit[known.index(name)] = 1.0
        directions[name] = particle_from(ensemble, unit)
    return directions


def parameter_names(ensemble: Ensemble) -> list[str]:
    """A name for every number of a particle, in the order of `particles.coordinates`."""
    leaves = zip(leaf_names(ensemble.particles), jax.tree.leaves(ensemble.particles), strict=True)
    return [
        f"{name}[{', '.join(map(str, index))}]" if index else name
        for name, leaf in leaves
        for index in np.ndindex(leaf.shape[1:])
    ]


def principal_directions(
    ensemble: Ensemble, field: PyTree | None = None, count: int = 2, *, name: str | None = None
) -> dict[str, PyTree]:
    """Unit directions of one particle along which the cloud, or a vector field, extends most.

    Without a field these are the principal components of the particles. With one, such as the
    velocity or an eigenvector of the Wasserstein Hessian, the directions in which it moves them:
    the leading eigenvectors of ∫ u uᵀ dμ.

    Args:
        ensemble: N particles.
        field: a vector field at the particles.
        count: directions wanted; fewer where there are fewer.
        name: to call them by; `cloud` or `field` by default.

    Raises:
        InvalidInput: a field that does not fit, or nothing to be found: equal particles, or a
            field that is zero.

    Example:
        >>> import jax.numpy as jnp
        >>> mu = Ensemble(jnp.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 1.0]]))
        >>> [jnp.abs(d).tolist() for d in principal_directions(mu, count=1).values()]
        [[1.0, 0.0]]
    """
    if field is None:
        moved = _centred(ensemble)
    else:
        require_like(ensemble, "field", field)
        moved = field
    weights = np.sqrt(np.asarray(ensemble.probabilities, float))
    rows = weights[:, None] * np.asarray(coordinates(ensemble.with_particles(moved)), float)
    _, size, axes = np.linalg.svd(rows, full_matrices=False)
    if not size[0] > 0:
        what = "field is zero" if field is not None else "ensemble has particles that are all equal"
        raise InvalidInput(f"{what}; there is no principal direction.")
    name = ("cloud" if field is None else "field") if name is None else name
    rank = min(count, int(np.sum(size > 1e-6 * size[0])))
    signs = np.sign(axes[np.arange(rank), np.abs(axes[:rank]).argmax(axis=1)])
    return {
        f"{name} direction {j + 1}": particle_from(ensemble, signs[j] * axes[j])
        for j in range(rank)
    }


@jax.jit
def _centred(ensemble: Ensemble) -> PyTree:
    centre = ensemble.mean(lambda particle: particle)
    return jax.tree.map(jnp.subtract, ensemble.particles, centre)


def particle_from(
    ensemble: Ensemble, numbers: Float[np.ndarray, " parameters"] | Float[Array, " parameters"]
) -> PyTree:
    """One particle from its numbers, in the order of `particles.coordinates`."""
    rows = _parts(ensemble, np.asarray(numbers)[None])
    return jax.tree.map(lambda part: to_device(part[0]), rows)


def particles_from(ensemble: Ensemble, rows: np.ndarray) -> PyTree:
    """Many particles from rows of numbers, in the order of `particles.coordinates`."""
    return jax.tree.map(to_device, _parts(ensemble, rows))


def _parts(ensemble: Ensemble, rows: np.ndarray) -> PyTree:
    """The rows cut into leaves, by NumPy: JAX would compile every slice."""
    leaves, structure = jax.tree.flatten(ensemble.particles)
    ends = np.cumsum([math.prod(leaf.shape[1:]) for leaf in leaves])[:-1]
    parts = [
        part.reshape(-1, *leaf.shape[1:]).astype(leaf.dtype)
        for part, leaf in zip(np.split(np.asarray(rows), ends, axis=1), leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, parts)
