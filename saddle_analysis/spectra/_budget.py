"""What a long spectral computation may spend, and how far it has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
from jaxtyping import Array, Key

from particles import InvalidInput


@dataclass(frozen=True)
class Progress:
    """How far a computation has come; handed to its `progress` callable.

    Args:
        done: Hessian products (or draws) spent.
        total: how many are allowed.
        residual: largest residual among the wanted eigenpairs; `inf` before there are any.
        target: residual aimed at.
        seconds: time spent.
    """

    done: int
    total: int
    residual: float
    target: float
    seconds: float


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True)
class Budget:
    """What one spectral computation may spend: products, seconds and memory.

    Args:
        max_products: Hessian products allowed; what there is by then is returned.
        time_limit: seconds after which the best so far is returned; `None` for no limit.
        progress: called with a `Progress` every few products, on the host.
        capacity: basis vectors held at once; by default what fits 256 MB, at most 240.
        dense_below: up to this many unknowns the matrix is formed and diagonalised.

    Raises:
        InvalidInput: a limit is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from saddle_analysis import extreme_eigenpairs
        >>> from saddle_analysis.spectra import MatrixOperator
        >>> operator = MatrixOperator(jnp.linspace(-1, 1, 1000))
        >>> extreme_eigenpairs(operator, budget=Budget(max_products=10)).stopped
        'the limit of 10 Hessian products'
    """

    max_products: int = 20_000
    time_limit: float | None = None
    progress: ProgressCallback | None = None
    capacity: int | None = None
    dense_below: int = 200

    def __post_init__(self) -> None:
        """Refuse limits that leave nothing to spend."""
        if not self.max_products >= 1:
            raise InvalidInput(f"max_products is {self.max_products}; it must be at least 1.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise InvalidInput(
                f"time_limit is {self.time_limit} seconds; it must be positive or None."
            )
        if self.capacity is not None and not self.capacity >= 1:
            raise InvalidInput(f"capacity is {self.capacity}; it must be at least 1 or None.")


class Spending:
    """Products and seconds spent of a budget."""

    def __init__(self, budget: Budget):
        self.budget, self.products = budget, 0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since the computation began."""
        return time.monotonic() - self._started

    @property
    def spent(self) -> bool:
        """Whether to stop now."""
        return bool(self.reason)

    @property
    def reason(self) -> str:
        """Which limit was reached; empty while none is."""
        if self.products >= self.budget.max_products:
            return f"the limit of {self.budget.max_products} Hessian products"
        if self.budget.time_limit is not None and self.seconds >= self.budget.time_limit:
            return f"the time limit of {self.budget.time_limit:g} s"
        return ""

    def report(self, residual: float = float("inf"), target: float = 0.0) -> None:
        """Tell the callback where things stand."""
        if self.budget.progress is not None:
            total = self.budget.max_products
            self.budget.progress(Progress(self.products, total, residual, target, self.seconds))


def fixed_unless(key: Key[Array, ""] | None) -> Key[Array, ""]:
    """The given key, or the one fixed key of results that should not depend on it."""
    return jax.random.key(0) if key is None else key
