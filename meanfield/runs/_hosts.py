"""Several hosts, one run: what they must decide alike, and who speaks."""

from __future__ import annotations

import jax
import numpy as np

from particles import InvalidInput


def join(where: str) -> None:
    """Join the other hosts of a run; before any other use of JAX.

    Args:
        where: `auto` under SLURM, Open MPI or on TPU pods, else `ADDRESS:PORT/COUNT/INDEX`: an
            address of the first host, the number of processes, and which this one is.

    Raises:
        InvalidInput: anything else.
    """
    if where == "auto":
        jax.distributed.initialize()
        return
    parts = where.split("/")
    if len(parts) != 3 or ":" not in parts[0] or not (parts[1] + parts[2]).isdigit():
        raise InvalidInput(
            f"distributed is {where!r}; it must be 'auto' or ADDRESS:PORT/COUNT/INDEX, such as "
            "node1:9999/2/0."
        )
    address, count, index = parts
    if not int(index) < int(count):
        raise InvalidInput(
            f"distributed is {where!r}; processes are numbered from 0 to {int(count) - 1}."
        )
    jax.distributed.initialize(address, int(count), int(index))


def speaks() -> bool:
    """Whether this host shows progress and writes files; one of them does."""
    return jax.process_index() == 0


def least(number: float) -> float:
    """The least of a number over all hosts, which each has measured for itself."""
    if jax.process_count() == 1:
        return number
    from jax.experimental.multihost_utils import process_allgather

    return float(np.min(process_allgather(np.asarray(number, np.float32))))


def anywhere(condition: bool) -> bool:
    """Whether a condition holds on any host."""
    return least(0.0 if condition else 1.0) == 0.0
