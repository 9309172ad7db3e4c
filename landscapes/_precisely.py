"""Compiled methods whose matrix products have a stated precision."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import equinox as eqx
import jax

P = ParamSpec("P")
R = TypeVar("R")


def compiled_precisely(method: Callable[P, R]) -> Callable[P, R]:
    """Compile, and state the precision of matrix products (GPUs would otherwise use TF32)."""

    @functools.wraps(method)
    def precise(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.default_matmul_precision("highest"):
            return method(*args, **kwargs)

    return eqx.filter_jit(precise)
