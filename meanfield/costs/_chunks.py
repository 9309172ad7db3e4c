"""The chunk that is fastest on this machine: timed once a kind of landscape, then remembered."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from landscapes import AbstractLandscape
from particles import Ensemble
from particles.internal import to_device

from ..flows import AbstractFlow
from ._cache import recall, remember
from ._cost import evaluations_of

#: Set it to "default" and no run times its chunk.
VARIABLE = "MEANFIELD_CHUNKS"
SHARE = 0.02  # of a run that the trial may take
MOST = 1.0  # seconds of timing at most
LEAST = 0.2  # seconds below which no trial is worth its compilation
GAIN = 0.95  # of the default's time that another chunk must not exceed
#: Sizes tried, in this order, in units of the default.
FACTORS = (1, 4, 1 / 4, 2, 1 / 2, 8)
#: Bytes per second of kernels on a fast machine, so that runs are rather thought too short.
NOMINAL = {"cpu": 1e11, "gpu": 4e12, "tpu": 4e12}
#: Bytes that kernels move, in units of a particle's share of a chunk (theory.md, section 8).
MOVED = 3.0


def calibrated_chunk(flow: AbstractFlow, ensemble: Ensemble, steps: float) -> int | None:
    """The fastest chunk for a run, or `None` where the default is as good or a trial too long.

    A few sizes are timed on a slice of the ensemble, once for every shape of landscape, type of
    numbers and device; a file in the user's cache folder remembers the answer. A trial takes at
    most 2 % of the run, as estimated from its size (and finishes the compilation that it has
    begun), of that a second for timing; a shorter run never asks, so that whether it does depends
    on nothing but the run. Over several hosts, and with the environment variable
    MEANFIELD_CHUNKS=default, there is no trial.

    Args:
        flow: whose chunk is not given.
        ensemble: the particles of the run.
        steps: of the run.
    """
    landscape = flow.landscape
    if os.environ.get(VARIABLE, "").lower() == "default" or jax.process_count() > 1:
        return None
    allowed = SHARE * nominal_seconds(flow, ensemble, steps)
    if flow.chunk is not None or getattr(flow, "batch_size", None) or not allowed >= LEAST:
        return None
    sizes = candidates(landscape, ensemble)
    if len(sizes) < 2:
        return None
    key = _key(landscape, ensemble, max(sizes))
    known = recall("chunks", key)
    if not _usable(known):
        known = fastest(_passes(landscape, _slice(ensemble, 2 * max(sizes))), sizes, allowed)
        remember("chunks", key, known)
    return None if known == sizes[0] else min(known, ensemble.size)


def nominal_seconds(flow: AbstractFlow, ensemble: Ensemble, steps: float) -> float:
    """How long a run takes at least on a fast machine: the traffic of its kernels."""
    one = jax.eval_shape(lambda p: jax.tree.map(lambda x: x[0], p), ensemble.particles)
    moved = MOVED * ensemble.size * flow.landscape.particle_bytes(one)
    rate = NOMINAL.get(jax.default_backend(), NOMINAL["gpu"])
    return steps * evaluations_of(flow) * moved / rate


def candidates(landscape: AbstractLandscape, ensemble: Ensemble) -> list[int]:
    """Sizes to try, the default first; none above the number of particles on a device."""
    mesh = ensemble.mesh
    share = ensemble.size if mesh is None else ensemble.size // mesh.size
    default = min(landscape.chunk(ensemble), share)
    sizes = [max(1, min(share, round(default * factor))) for factor in FACTORS]
    return list(dict.fromkeys(sizes))


def fastest(
    run: Callable[[int], Any],
    sizes: Sequence[int],
    allowed: float,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """The size with which a computation takes the least time.

    At least half of the time is for compiling; what is compiled by then takes turns for the rest,
    a second at most, so that a load on the machine falls on all alike. The first size stays unless
    another one is 5 % faster.

    Args:
        run: computes with chunks of this size, to the end.
        sizes: to try, the default first.
        allowed: seconds.
        clock: seconds since some time.
    """
    begin, timing = clock(), min(MOST, allowed / 2)
    times: dict[int, float] = {}
    for size in sizes:
        if times and clock() - begin > allowed - timing:
            break
        run(size)  # compiles
        times[size] = math.inf
    rounds, begin = 0, clock()
    while len(times) > 1 and (rounds == 0 or clock() - begin < timing):
        for size in times:
            start = clock()
            run(size)
            times[size] = min(times[size], clock() - start)
        rounds += 1
    best = min(times, key=lambda size: times[size])
    return best if times[best] < GAIN * times[sizes[0]] else sizes[0]


def _passes(landscape: AbstractLandscape, ensemble: Ensemble) -> Callable[[int], Any]:
    """What a step asks of some particles."""

    def run(size: int) -> Any:
        return jax.block_until_ready(landscape.velocity(ensemble, chunk=size))

    return run


def _slice(ensemble: Ensemble, size: int) -> Ensemble:
    """Some of the particles, on one device."""
    own = jax.tree.map(lambda leaf: to_device(np.asarray(leaf)[:size]), ensemble.particles)
    return Ensemble(own)


def _key(landscape: AbstractLandscape, ensemble: Ensemble, largest: int) -> str:
    """Machine, device, and all of the landscape and its particles that a program is made for."""
    device = jax.devices()[0].device_kind
    shapes = [f"{leaf.dtype}{list(leaf.shape[1:])}" for leaf in jax.tree.leaves(ensemble.particles)]
    where = f"{platform.node()}, {device}, {os.cpu_count()} cores"
    return f"{where}: {_word(landscape)}; particles {' '.join(shapes)}; up to {largest}"


def _word(value: Any) -> str:
    """What a landscape is, without the numbers in it."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = [f"{f.name}={_word(getattr(value, f.name, None))}" for f in dataclasses.fields(value)]
        return f"{type(value).__qualname__}({', '.join(own)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {_word(v)}' for k, v in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_word, value))})"
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    return getattr(value, "__qualname__", None) or type(value).__qualname__


def _usable(known: PyTree) -> bool:
    return isinstance(known, int) and not isinstance(known, bool) and known >= 1
