"""Several hosts, one run: what they must decide alike, and who speaks."""

from __future__ import annotations

import jax
import numpy as np


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
