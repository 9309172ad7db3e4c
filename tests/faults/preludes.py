"""What is done to a process before its work begins."""

from __future__ import annotations

import itertools
import random
import resource
import time


def limited_files(size: int) -> None:
    """No file may grow beyond a size: a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def limited_memory(size: int) -> None:
    """No more address space than this: absurd sizes must not take the machine down."""
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def jumping_clock(seed: int) -> None:
    """The clock of the day jumps by up to a month at every look, back and forth."""
    rng, true = random.Random(seed), time.time
    nanoseconds = time.time_ns
    calls = itertools.count()

    def jump() -> float:
        return rng.uniform(-2.6e6, 2.6e6) if next(calls) % 3 else 0.0

    time.time = lambda: true() + jump()
    time.time_ns = lambda: nanoseconds() + int(1e9 * jump())
