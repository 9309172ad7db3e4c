"""Damping of accelerated flows: constant (heavy ball), or falling with time (Nesterov)."""

from __future__ import annotations

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from particles import InvalidInput

from ._base import scalar
from ._jumps import require_rate


class AbstractDamping(eqx.Module):
    """γ(t) of dV/dt = −γ(t) V − ∇δL/δμ."""

    @abc.abstractmethod
    def rate(self, time: Float[Array, ""]) -> Float[Array, ""]:
        """γ at a time, finite also at time zero."""

    def acceleration(self, time: Float[Array, ""], momentum: PyTree, force: PyTree) -> PyTree:
        """dV/dt under a force."""
        rate = self.rate(time)
        return jax.tree.map(lambda v, f: f - rate.astype(v.dtype) * v, momentum, force)

    @abc.abstractmethod
    def describe(self) -> str | float:
        """One plain value for the attributes of files."""


class ConstantDamping(AbstractDamping):
    """The heavy ball (POL64): γ(t) = γ.

    Args:
        gamma: γ ≥ 0, per unit of time.

    Raises:
        InvalidInput: a negative or infinite γ.
    """

    gamma: Float[Array, ""]

    def __init__(self, gamma: float):
        require_rate("damping", gamma)
        self.gamma = scalar(gamma)

    def rate(self, time: Float[Array, ""]) -> Float[Array, ""]:
        """γ."""
        return self.gamma

    def describe(self) -> str | float:
        """γ."""
        return float(self.gamma)


class NesterovDamping(AbstractDamping):
    """Nesterov's γ(t) = r/t (SBC16): on convex losses L(t) − min L = O(1/t²) for r ≥ 3.

    The momentum vanishes at time zero, where −γV tends to −r/(1 + r) times the force.

    Args:
        r: strength; 3 is the least with the rate 1/t².

    Raises:
        InvalidInput: an r that is not positive.
    """

    r: Float[Array, ""]

    def __init__(self, r: float = 3.0):
        if not 0 < r < float("inf"):
            raise InvalidInput(f"r is {r}; it must be positive and finite.")
        self.r = scalar(r)

    def rate(self, time: Float[Array, ""]) -> Float[Array, ""]:
        """r/t; at time zero, where nothing moves yet, 0."""
        return jnp.where(time > 0, self.r.astype(time.dtype) / jnp.where(time > 0, time, 1), 0)

    def acceleration(self, time: Float[Array, ""], momentum: PyTree, force: PyTree) -> PyTree:
        """dV/dt; at time zero its limit, the force over 1 + r."""
        share = jnp.where(time > 0, 1, 1 / (1 + self.r))
        rate = self.rate(time)
        return jax.tree.map(
            lambda v, f: share.astype(v.dtype) * f - rate.astype(v.dtype) * v, momentum, force
        )

    def describe(self) -> str | float:
        """Its r."""
        return f"nesterov, r = {float(self.r):g}"


def damping_from(value: str | float | AbstractDamping) -> AbstractDamping:
    """Damping as given: a number is constant, `nesterov` is 3/t."""
    if isinstance(value, AbstractDamping):
        return value
    if value == "nesterov":
        return NesterovDamping()
    if isinstance(value, str):
        raise InvalidInput(
            f"damping is {value!r}; it must be a number, 'nesterov', or a damping such as "
            "NesterovDamping(4.0)."
        )
    return ConstantDamping(value)
