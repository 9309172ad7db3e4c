"""Ways to run the compiled programs of the loop, to find which class of fault a difference is of.

plain: as they are. undonated: no program gives memory to the compiler. copied: programs get copies
and their results are copied. synchronous: a program has ended when its call returns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

PROGRAMS = ("_advance", "_advance_and_read")  # of `meanfield.runs._compiled`: all that step


def use(variant: str) -> Counter[str]:
    """Make the loop of this process use a variant; counts calls, and buffers that were given away.

    Before the first computation: how programs are dispatched is fixed there.
    """
    if variant == "synchronous":
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    from meanfield.runs import _compiled

    seen = Counter[str]()
    for name in PROGRAMS:
        program = getattr(_compiled, name)
        if variant == "undonated":
            program = eqx.filter_jit(program.__wrapped__)
        if variant == "copied":
            program = _between_copies(program)
        setattr(_compiled, name, _observed(name, program, seen))
    return seen


def dispatched_at_once() -> bool:
    """Whether a long program has ended when its call returns."""
    long = jax.jit(lambda a: jax.lax.fori_loop(0, 60, lambda _, b: jnp.tanh(b @ a), a))
    start = jax.block_until_ready(jnp.asarray(np.eye(300)))
    jax.block_until_ready(long(start))  # compiled
    return long(start).is_ready()


def _between_copies(program: Callable[..., Any]) -> Callable[..., Any]:
    def call(*values: Any) -> Any:
        return _copies(program(*_copies(values)))

    return call


def _copies(tree: Any) -> Any:
    copies = jax.tree.map(lambda x: jnp.copy(x) if isinstance(x, jax.Array) else x, tree)
    return jax.block_until_ready(copies)


def _observed(name: str, program: Callable[..., Any], seen: Counter[str]) -> Callable[..., Any]:
    def call(flow: Any, state: Any, *rest: Any) -> Any:
        result = program(flow, state, *rest)
        seen[name] += 1
        seen["given away"] += sum(leaf.is_deleted() for leaf in jax.tree.leaves(state))
        return result

    return call


def show_dispatch(variant: str) -> int:
    """Print it for a variant, as a process of its own."""
    use(variant)
    print(dispatched_at_once())
    return 0
