"""Powers of a distance, as potentials of forces."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def power(one: Array, other: Array, exponent: float) -> Float[Array, ""]:
    """|x − y|^p/p, or log |x − y| for p = 0; zero at x = y, with all derivatives."""
    square = jnp.sum((one - other) ** 2)
    apart = square > 0
    safe = jnp.where(apart, square, 1)  # where both branches are finite, so are derivatives
    if exponent == 0:
        return 0.5 * jnp.log(safe)
    return jnp.where(apart, safe ** (exponent / 2) / exponent, 0)
