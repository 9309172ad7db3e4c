"""Seconds of computations that take turns, so that a load on the machine falls on all alike."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax


def fastest(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The shortest time of each, over some rounds; one round before them compiles."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            begin = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(time.perf_counter() - begin)
    return {name: min(found[1:]) for name, found in times.items()}
