"""Compiled methods whose matrix products have a stated precision."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import equinox as eqx
import jax

P = ParamSpec("P")
R = TypeVar("R")


def compiled_precisely(method: Callable[P, R]) -> Callable[P, R]:
    """Compile, and state the precision of matrix products (GPUs would otherwise use TF32).

    Arguments left out are filled in, so that calls that mean the same share a program.
    """
    signature = inspect.signature(method)

    @functools.wraps(method)
    def precise(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.default_matmul_precision("highest"):
            return method(*args, **kwargs)

    compiled = eqx.filter_jit(precise)

    @functools.wraps(method)
    def filled(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return compiled(*bound.args, **bound.kwargs)

    return filled
