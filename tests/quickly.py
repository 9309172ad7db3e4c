"""What the passes of `make test` change: threads, how programs are compiled and figures drawn."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

#: Turns off what takes XLA most of its time and pays in long runs only.
FLAGS = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    " --xla_cpu_parallel_codegen_split_count=1"
)


def solve_quickly() -> None:
    """Dense algebra of NumPy and SciPy on one thread, here and in the processes that tests start.

    Workers share the processor: the threads of a small eigenproblem would spend a hundred times
    its work on waiting for each other.
    """
    threadpool_limits(1)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"


def compile_quickly() -> None:
    """Compiles without optimizing, here and in the processes that tests start."""
    before = os.environ.get("XLA_FLAGS", "")
    if FLAGS not in before:  # as it is in a worker
        os.environ["XLA_FLAGS"] = f"{before} {FLAGS}"


def lower_quickly() -> Callable[[], None]:
    """Lowers programs in one context of MLIR: to make one takes 5 ms. Returns what renews it."""
    from jax._src.interpreters import mlir  # no public way

    mlir.make_ir_context = functools.cache(mlir.make_ir_context)
    return mlir.make_ir_context.cache_clear


@contextlib.contextmanager
def run_quickly() -> Iterator[None]:
    """Compiles a little better, for what draws so much that it runs longer than it compiles."""
    from jax._src import compiler  # no public way leads to a program compiled within a library

    given = compiler.get_compile_options

    def better(*args: Any, **options: Any) -> Any:
        own = dict(options.pop("env_options_overrides", None) or {})
        own["xla_backend_optimization_level"] = "1"
        return given(*args, **options, env_options_overrides=own)

    with patch.object(compiler, "get_compile_options", better):
        yield


def draw_quickly() -> None:
    """Draws every figure coarsely, with few ticks, and once: margins would take a second time.

    Most of the time is spent on ticks and their labels: two of an axis are drawn, no minor ones.
    """
    save, ticks = Figure.savefig, Axis.get_majorticklocs

    def coarse(self: Figure, fname: Any, **options: Any) -> None:
        options["dpi"] = 40
        with (
            patch.object(Figure, "get_layout_engine", return_value=None),
            patch.object(Axis, "get_majorticklocs", lambda axis: ticks(axis)[:2]),
        ):
            save(self, fname, **options)

    Figure.savefig = coarse
    Axis.get_minorticklocs = lambda self: np.zeros(0)
