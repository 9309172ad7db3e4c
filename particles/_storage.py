"""Ensembles on disk: an `.npz` of named arrays that any other program can read and write."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ._ensemble import Ensemble
from ._errors import InvalidInput
from ._mesh import to_host
from ._tensors import read_tensors
from ._tree import leaf_names

WEIGHTS = "weights"


def save_ensemble(path: str | os.PathLike, ensemble: Ensemble) -> Path:
    """Write one array per leaf under its dotted name (`a`, `w`, …), and `weights` if unequal.

    The file appears whole or not at all.

    Args:
        path: where to; `.npz` by convention.
        ensemble: N particles.

    Returns:
        The path written, exactly as given: no suffix is added.

    Raises:
        InvalidInput: two leaves share a dotted name, or one is called `weights`.
        OSError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "mu.npz"
        >>> save_ensemble(file, Ensemble(jnp.zeros((3, 2)))) == file
        True
    """
    path = Path(path)
    names, leaves = leaf_names(ensemble.particles), jax.tree.leaves(ensemble.particles)
    if WEIGHTS in names or len(set(names)) < len(names):
        raise InvalidInput(
            f"ensemble has particles with leaves {names}; to be stored, the names must differ from "
            f"each other and from {WEIGHTS!r}."
        )
    arrays = dict(zip(names, leaves, strict=True))
    if ensemble.weights is not None:
        arrays[WEIGHTS] = ensemble.weights
    partial = path.with_name(path.name + ".partial")
    # numpy.savez takes the names as keywords, which some names (`file`) would break.
    with zipfile.ZipFile(partial, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, to_host(array), allow_pickle=False)
    partial.replace(path)
    return path


def load_ensemble(path: str | os.PathLike, like: PyTree | None = None) -> Ensemble:
    """Read an ensemble saved by `save_ensemble`, or by anything that writes named arrays.

    Args:
        path: an `.npz` or `.safetensors` file.
        like: one particle (arrays or `jax.ShapeDtypeStruct`s) whose structure and types to
            restore; without it the particles come back as a dictionary of the stored names.

    Raises:
        InvalidInput: the file is neither, its arrays do not fit `like`, or they are no ensemble
            (different numbers of particles, none at all, or invalid weights).
        OSError: the file cannot be read.

    Example:
        >>> import jax.numpy as jnp, tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "mu.npz"
        >>> _ = save_ensemble(file, Ensemble({"a": jnp.arange(3.0)}))
        >>> load_ensemble(file).particles["a"].tolist()
        [0.0, 1.0, 2.0]
    """
    arrays = read_tensors(path)
    weights = arrays.pop(WEIGHTS, None)
    if like is None:
        return _ensemble(arrays, weights)
    names, (leaves, structure) = leaf_names(like), jax.tree.flatten(like)
    found = {name: array.shape[1:] for name, array in arrays.items()}
    wanted = {name: tuple(leaf.shape) for name, leaf in zip(names, leaves, strict=True)}
    if found != wanted:
        raise InvalidInput(
            f"path {path} holds particles of shapes {found}; the landscape needs {wanted}."
        )
    particles = [
        jnp.asarray(arrays[name], leaf.dtype) for name, leaf in zip(names, leaves, strict=True)
    ]
    return _ensemble(jax.tree.unflatten(structure, particles), weights)


def _ensemble(particles: PyTree, weights: np.ndarray | None) -> Ensemble:
    if weights is None:
        return Ensemble(particles)
    ensemble = Ensemble(particles, jnp.asarray(weights))
    stored = jnp.asarray(weights, ensemble.probabilities.dtype)
    # Normalised weights keep their bits: dividing by a sum that is one up to round-off would not.
    if abs(float(jnp.sum(stored)) - 1) > 100 * float(jnp.finfo(stored.dtype).eps):
        return ensemble
    return eqx.tree_at(lambda e: e.weights, ensemble, stored)
