"""What a run was made with, as short words: to tell at a resume what has changed since."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, UInt32

from landscapes import AbstractLandscape

from ..flows import AbstractFlow, FlowState

#: part of a set-up ↦ place within it ↦ what is there, in a word
Fingerprint = dict[str, dict[str, str]]

#: How the work is split changes no result beyond the order of summation.
LEFT_OUT = {"chunk", "mesh"}
ARRAYS = (jax.Array, np.ndarray, np.generic)
#: Bytes up to which the host forms a checksum: it needs no program for every shape.
ON_HOST = 2**20


def fingerprint(flow: AbstractFlow, first: FlowState) -> Fingerprint:
    """Landscape with its data, flow, start, step size and key, part by part."""
    parts = {
        "landscape": flow.landscape,
        "flow": _without_landscape(flow),
        "start": {
            "particles": first.ensemble.particles,
            "weights": first.ensemble.weights,
            "momentum": first.momentum,
            "fast": first.fast,
            "time": first.time,
        },
        "dt": first.dt,
        "key": first.key,
    }
    return _described(parts)


def landscape_fingerprint(landscape: AbstractLandscape) -> Fingerprint:
    """The part of the landscape alone."""
    return _described({"landscape": landscape})


def _described(parts: Mapping[str, Any]) -> Fingerprint:
    found = {
        part: dict(_places(value, "" if part in ("dt", "key") else part))
        for part, value in parts.items()
    }
    arrays = [v for places in found.values() for v in places.values() if isinstance(v, ARRAYS)]
    digests = iter(digests_of(arrays))
    return {
        part: {
            place: _array_word(value, next(digests)) if isinstance(value, ARRAYS) else value
            for place, value in places.items()
        }
        for part, places in found.items()
    }


def differences(then: Mapping[str, Mapping[str, str]], now: Fingerprint) -> list[str]:
    """The parts that differ, each with the first place where it does, in words."""
    found = []
    for part, places in now.items():
        old = then.get(part, {})
        if old == places:
            continue
        place = next(p for p in [*places, *old] if places.get(p) != old.get(p))
        was, is_now = (_told(words.get(place, "missing")) for words in (old, places))
        change = "holds other values" if was == is_now else f"was {was}, is now {is_now}"
        found.append(f"{part} ({place} {change})" if place else f"{part} ({change})")
    return found


def digests_of(arrays: list[Any]) -> list[str]:
    """64-bit checksums of arrays: the same wherever and over how many devices they lie."""
    if not arrays:
        return []
    raw = [jax.random.key_data(a) if _is_key(a) else a for a in arrays]
    large = [a for a in raw if not _small(a)]
    found = iter(np.array(jax.block_until_ready(_checksums(large)), copy=True) if large else ())
    sums = [_checksum(_canonical(a), np) if _small(a) else next(found) for a in raw]
    return [f"{int(high):08x}{int(low):08x}" for high, low in sums]


def text_digest(value: Any) -> str:
    """Checksum of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def array_digest(arrays: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Checksum of named arrays on the host."""
    total = hashlib.sha256()
    for track in sorted(arrays):
        for name in sorted(arrays[track]):
            column = np.ascontiguousarray(arrays[track][name])
            total.update(f"{track}/{name}/{column.dtype}{column.shape}".encode())
            total.update(column.tobytes())
    return total.hexdigest()


def _small(array: Any) -> bool:
    """Whether the host may fetch an array for its checksum."""
    whole = not isinstance(array, jax.Array) or array.is_fully_addressable
    return whole and array.nbytes <= ON_HOST


def _canonical(array: Any) -> np.ndarray:
    """On the host, in the type that JAX would give it."""
    return np.asarray(array, jax.dtypes.canonicalize_dtype(array.dtype))


@jax.jit
def _checksums(arrays: list[Array]) -> UInt32[Array, "arrays 2"]:
    return jnp.stack([jnp.stack(_checksum(jnp.asarray(a), jnp)) for a in arrays])


def _checksum(array: Any, xp: ModuleType) -> tuple[Any, Any]:
    """Both halves, by JAX or by NumPy: modulo 2³² they count alike."""
    words = _words(array.reshape(-1), xp)
    return _mixed(words, 1, xp), _mixed(words, 2, xp)


def _words(array: Any, xp: ModuleType) -> Any:
    """The bits of a flat array in 32-bit words."""
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        array = xp.concatenate([array.real, array.imag])
    if array.dtype == bool or array.dtype.itemsize < 4:
        width = {1: np.uint8, 2: np.uint16}[array.dtype.itemsize]
        return (array.astype(width) if array.dtype == bool else array.view(width)).astype(np.uint32)
    return array.view(np.uint32)


def _mixed(words: Any, salt: int, xp: ModuleType) -> Any:
    """Σ of hashes of (word, place): a change of one word always shows; order does not matter."""
    place = xp.arange(words.size, dtype=np.uint32) * np.uint32(2) + np.uint32(salt)
    mixed = words ^ (place * np.uint32(0x9E3779B1))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 0x27D4EB2F)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    return xp.sum(mixed, dtype=np.uint32)


def _without_landscape(flow: AbstractFlow) -> dict[str, Any]:
    own = {f.name: getattr(flow, f.name) for f in dataclasses.fields(flow)}
    return {"kind": type(flow)} | {n: v for n, v in own.items() if n != "landscape"}


def _places(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Every place in a value, with an array or a word."""
    at = lambda name: f"{place}.{name}" if place else str(name)  # noqa: E731
    if isinstance(value, ARRAYS):
        yield place, value
    elif isinstance(value, Mesh):
        return
    elif isinstance(value, tuple) and (names := getattr(value, "_fields", None)):
        yield from _within(zip(names, value, strict=True), at)
    elif isinstance(value, (tuple, list)):
        yield from _within(enumerate(value), at)
    elif isinstance(value, dict):
        yield from _within(value.items(), at)
    elif isinstance(value, functools.partial):
        yield from _within({"of": value.func, "with": value.args, **value.keywords}.items(), at)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield place, type(value).__qualname__
        own = ((f.name, getattr(value, f.name, None)) for f in dataclasses.fields(value))
        yield from _within(own, at)
    elif value is None or isinstance(value, (bool, int, float, complex, str)):
        yield place, repr(value)
    else:  # functions and classes by name, other objects by that of their type
        yield place, getattr(value, "__qualname__", type(value).__qualname__)


def _within(items: Any, at: Any) -> Iterator[tuple[str, Any]]:
    for name, inner in items:
        if name not in LEFT_OUT:
            yield from _places(inner, at(name))


def _array_word(array: Any, digest: str) -> str:
    word = f"{array.dtype}{list(array.shape)}"
    if array.size == 1 and not _is_key(array):
        word += f" of {np.array(array).item():.8g}"
    return f"{word}#{digest}"


def _told(word: str) -> str:
    """A word without the checksum, and without the type where a number says it all."""
    return word.partition("#")[0].rpartition(" of ")[2]


def _is_key(array: Any) -> bool:
    return isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
