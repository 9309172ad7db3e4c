"""Samples of a network's task from a file: read, and refused by the name of the file."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from particles import InvalidInput


def load_data(path: str | os.PathLike) -> tuple[Array, Array]:
    """Arrays `x` (samples × inputs) and `f` (samples × features) of an `.npz` file.

    Raises:
        InvalidInput: not an `.npz`, one of the two arrays is missing or not numeric, or a target
            is all zero or appears twice.
        FileNotFoundError: there is no such file.
    """
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            names = sorted(file.files)
            arrays = {name: np.asarray(file[name]) for name in names if name in ("x", "f")}
    except (ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"data {path} is not an .npz file of plain named arrays.") from error
    if len(arrays) < 2:
        raise InvalidInput(
            f"data {path} has the arrays {names}; it must have x (samples × inputs) and f "
            "(samples × features)."
        )
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise InvalidInput(f"data {path}: {name} has dtype {array.dtype}; give real numbers.")
    _require_samples(path, arrays["x"], arrays["f"])
    _require_targets(path, arrays["f"])
    dtype = jnp.result_type(float)
    return jnp.asarray(arrays["x"], dtype), jnp.asarray(arrays["f"], dtype)


def _require_samples(path: str | os.PathLike, x: np.ndarray, f: np.ndarray) -> None:
    """Shapes that fit, and numbers: said by the name of the file."""
    if x.ndim != 2 or f.ndim != 2 or not x.size * f.size or len(x) != len(f):
        raise InvalidInput(
            f"data {path}: x has shape {x.shape} and f has shape {f.shape}; they must be samples × "
            "inputs and samples × features, with the same, non-zero number of samples."
        )
    for name, array in {"x": x, "f": f}.items():
        bad = np.argwhere(~np.isfinite(array))
        if bad.size:
            place = bad[0].tolist()
            raise InvalidInput(
                f"data {path}: {name}{place} is {array[tuple(place)]}; all entries must be finite."
            )


def _require_targets(path: str | os.PathLike, f: np.ndarray) -> None:
    """Columns that carry nothing make a landscape that is flat in them."""
    if f.ndim != 2 or f.shape[0] < 2 or not np.all(np.isfinite(f)):
        return
    zero = np.flatnonzero(~np.any(f, axis=0))
    if zero.size == f.shape[1]:
        raise InvalidInput(f"data {path}: f is zero everywhere; there is nothing to learn.")
    if zero.size:
        raise InvalidInput(
            f"data {path}: column {zero[0]} of f (counting from 0) is zero everywhere; leave it "
            "out."
        )
    if np.unique(f, axis=1).shape[1] < f.shape[1]:
        raise InvalidInput(f"data {path}: two columns of f are equal; leave one out.")
