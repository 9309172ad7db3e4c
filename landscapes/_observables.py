"""Named numbers that a landscape wants recorded along a run."""

from __future__ import annotations

from collections.abc import Mapping

import equinox as eqx
from jaxtyping import Array, Float

from particles import InvalidInput


class Observable(eqx.Module):
    """A value to record, and how to label it; it may pass through compiled code.

    Args:
        value: a number or an array.
        dims: names of the array's axes; made up from its name by default.
        units: for axis labels; empty for pure numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> Observable(jnp.ones(3), ("feature",)).dims
        ('feature',)
    """

    value: Float[Array, "..."]
    dims: tuple[str, ...] | None = eqx.field(static=True, default=None)
    units: str = eqx.field(static=True, default="")

    @staticmethod
    def joined(*parts: Mapping[str, Observable]) -> dict[str, Observable]:
        """All observables of several sources.

        Raises:
            InvalidInput: two of them share a name.
        """
        together: dict[str, Observable] = {}
        for part in parts:
            for name, observable in part.items():
                if name in together:
                    raise InvalidInput(f"observable: the name {name!r} is taken; choose another.")
                together[name] = observable
        return together
