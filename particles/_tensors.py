"""Tensors of networks trained elsewhere: named arrays of a file, picked by name and checked."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Shaped

from ._errors import InvalidInput
from ._tree import leaf_names

PICKLES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib"}
SHOWN = 20  # names of tensors in a message


class HalfPrecisionWarning(UserWarning):
    """Tensors of half precision were widened; their rounding errors stay."""


def read_tensors(path: str | os.PathLike) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Named arrays of a `.safetensors` or `.npz` file, in the types they are stored in.

    Files that may hold code (pickles such as `.pt`) are never opened.

    Args:
        path: of the file; `.safetensors` is told by its suffix, everything else is read as `.npz`.

    Raises:
        InvalidInput: a pickle, or no file of plain named arrays.
        OSError: the file cannot be read.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "model.npz"
        >>> np.savez(file, **{"fc1.weight": np.ones((4, 2))})
        >>> read_tensors(file)["fc1.weight"].shape
        (4, 2)
    """
    path = Path(path)
    if path.suffix in PICKLES:
        raise InvalidInput(
            f"path {path} may hold code (a pickle) and is not opened; save its tensors with "
            "safetensors.torch.save_file, or as NumPy arrays with numpy.savez."
        )
    if path.suffix == ".safetensors":
        return _safetensors(path)
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"path {path} is not an .npz file of named arrays.") from error


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    with path.open("rb"):  # a missing file and a folder in the system's own words
        pass
    try:
        return load_file(path)
    except (SafetensorError, AttributeError, TypeError, ValueError) as error:
        raise InvalidInput(f"path {path} is not a .safetensors file ({error}).") from error


def picked(tensors: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The tensors that are named, all of one floating type and finite.

    Args:
        tensors: by name; nested dictionaries have dotted names, such as `Dense_0.kernel`.
        names: of the wanted tensors, by what each is for.

    Raises:
        InvalidInput: a name that is missing (lists those there are), numbers that are no floats,
            several types, or numbers that are not finite.

    Example:
        >>> picked({"Dense_0": {"kernel": np.ones((2, 4))}}, {"hidden": "Dense_0.kernel"})[
        ...     "hidden"
        ... ].shape
        (2, 4)
    """
    flat = dict(zip(leaf_names(dict(tensors)), jax.tree.leaves(dict(tensors)), strict=True))
    found = {}
    for part, name in names.items():
        if name not in flat:
            there = sorted(flat)
            more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
            raise InvalidInput(
                f"{part} is {name!r}, but there is no such tensor; there are {there[:SHOWN]}{more}."
            )
        found[part] = np.asarray(flat[name])
    types = {names[part]: str(array.dtype) for part, array in found.items()}
    if len(set(types.values())) > 1:
        raise InvalidInput(f"tensors have different types, {types}; convert them to one.")
    return {part: _finite(names[part], array) for part, array in found.items()}


def _finite(name: str, array: np.ndarray) -> np.ndarray:
    kind = str(array.dtype)
    if kind in ("float16", "bfloat16"):
        warnings.warn(
            f"tensor {name!r} is {kind}: it is converted to float32, and its rounding stays.",
            HalfPrecisionWarning,
            stacklevel=4,
        )
        array = array.astype(np.float32)
    if array.dtype not in (np.float32, np.float64):
        raise InvalidInput(
            f"tensor {name!r} has dtype {kind}; give float32, float64, float16 or bfloat16."
        )
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        place = bad[0].tolist()
        raise InvalidInput(
            f"tensor {name!r} is {array[tuple(place)]} at {place}; all entries must be finite."
        )
    return array


def require_shape(name: str, array: np.ndarray, shape: tuple[int | str, ...]) -> None:
    """Refuse a tensor of another shape.

    Args:
        name: of the tensor.
        array: the tensor.
        shape: sizes, and words for those that are free.

    Raises:
        InvalidInput: names the tensor, its shape and the one wanted.
    """
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or want == size for want, size in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise InvalidInput(f"tensor {name!r} has shape {array.shape}; it must be ({wanted}).")
