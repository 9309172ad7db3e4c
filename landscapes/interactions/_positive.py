"""The refusal that strengths and lengths of interactions share."""

from __future__ import annotations

import math

from jax.core import Tracer

from particles import InvalidInput

from .._abstract import AbstractLandscape


def require_positive(landscape: AbstractLandscape, *names: str) -> None:
    """Refuse numbers of a landscape that are not positive and finite; traced ones pass.

    Raises:
        InvalidInput: names the first of them.
    """
    for name in names:
        value = getattr(landscape, name)
        if not (isinstance(value, Tracer) or 0 < float(value) < math.inf):
            raise InvalidInput(f"{name} is {value}; it must be positive and finite.")
