"""Numbers of the host as arrays of JAX."""

from __future__ import annotations

import jax
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array


def to_device(values: object, dtype: DTypeLike | None = None) -> Array:
    """Numbers of the host as an array, outside compiled code.

    `jnp.asarray` would compile a program for every shape.

    Example:
        >>> to_device([1.0, 2.0]).shape
        (2,)
    """
    return jax.device_put(np.array(values, dtype))  # a copy: the array may share its memory
