"""Checksums are those of the numbers: by the host or by a device, wherever they lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from meanfield.runs import _fingerprint as fingerprints
from particles import particle_mesh

SHAPES = [(), (1,), (3, 4), (0,), (7,)]


def numbers() -> list:
    rng = np.random.default_rng(0)
    plain = [
        (100 * rng.normal(size=shape)).astype(kind)
        for kind in ("float16", "float32", "float64", "complex64", "complex128")
        for shape in SHAPES
    ]
    whole = [rng.integers(0, 2, (5, 3)).astype(kind) for kind in ("int8", "uint8", "int64", bool)]
    others = [np.float64(2.0), rng.normal(size=(4, 6)).T, jnp.ones(3, jnp.bfloat16)]
    return [*plain, *whole, *others, jax.random.key(3)]


def test_host_and_device_agree(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    by_host = fingerprints.digests_of(numbers())
    monkeypatch.setattr(fingerprints, "ON_HOST", -1)
    assert fingerprints.digests_of(numbers()) == by_host
    empty = by_host.count("0" * 16)
    assert len(set(by_host)) == len(by_host) - max(0, empty - 1)


def test_devices_and_places(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(16, 3))
    spread = jax.device_put(rows, jax.sharding.NamedSharding(particle_mesh(8), jax.P("particles")))
    changed = rows.copy()
    changed[5, 1] = np.nextafter(changed[5, 1], 9)
    for limit in (2**20, -1):
        monkeypatch.setattr(fingerprints, "ON_HOST", limit)
        one, other, wrong, moved = fingerprints.digests_of([rows, spread, changed, rows[::-1]])
        assert one == other
        assert len({one, wrong, moved}) == 3
