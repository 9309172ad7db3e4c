"""Programs that run once or a few times: they compile in half the time."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
from jax.extend.core import get_opaque_trace_state

P = ParamSpec("P")
R = TypeVar("R")

#: For XLA on CPU. Draws run as fast as before, sums over particles up to 1.8 times as long.
SHORTLY = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}
OUTSIDE = get_opaque_trace_state()


def compiled_once(
    function: Callable[P, R], jit: Callable[..., Any] = jax.jit, **options: Any
) -> Callable[P, R]:
    """Compile draws and read-outs, which take longer to compile than to run.

    Matrix products have the precision of their numbers (GPUs would otherwise use TF32).

    Args:
        function: what to compile.
        jit: the compiler, `jax.jit` or `equinox.filter_jit`.
        options: given to it.

    Example:
        >>> import jax.numpy as jnp
        >>> compiled_once(lambda x: 2 * x)(jnp.ones(2)).tolist()
        [2.0, 2.0]
    """
    fully = jit(function, **options)
    shortly = jit(function, **options, compiler_options=SHORTLY)

    @functools.wraps(function)
    def once(*args: P.args, **kwargs: P.kwargs) -> R:
        alone = get_opaque_trace_state() == OUTSIDE  # options hold for a whole program
        with jax.default_matmul_precision("highest"):
            return (shortly if alone and _is_short() else fully)(*args, **kwargs)

    return once


@functools.cache
def _is_short() -> bool:
    """On CPU, unless XLA_FLAGS say how well to compile."""
    chosen = "xla_backend_optimization_level" in os.environ.get("XLA_FLAGS", "")
    return jax.default_backend() == "cpu" and not chosen
