"""Activations by name, or any callable of the user's."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from particles import InvalidInput

Activation = Callable[[Array], Array]

#: Names accepted wherever an activation is asked for.
ACTIVATIONS: dict[str, Activation] = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "erf": jax.lax.erf,
    "quadratic": jnp.square,
    "cosine": jnp.cos,
}


def activation_from(activation: str | Activation) -> Activation:
    """The activation called `activation`, or the elementwise callable itself.

    Raises:
        InvalidInput: the name is unknown.

    Example:
        >>> float(activation_from("relu")(-1.0))
        0.0
    """
    if callable(activation):
        return activation
    if activation not in ACTIVATIONS:
        raise InvalidInput(
            f"activation is {activation!r}; choose one of {sorted(ACTIVATIONS)} or give a callable."
        )
    return ACTIVATIONS[activation]
