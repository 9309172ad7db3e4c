"""Progress and time limits of long spectral computations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from particles import InvalidInput


class Progress(NamedTuple):
    """How far a spectral computation has come; handed to its `progress` callable.

    Args:
        products: Hessian products spent.
        limit: Hessian products allowed.
        residual: largest residual among the wanted eigenpairs; `inf` before there are any.
        target: residual aimed at.
        seconds: time spent.
    """

    products: int
    limit: int
    residual: float
    target: float
    seconds: float


ProgressCallback = Callable[[Progress], None]


class Budget:
    """Products and seconds left; `spent` is true once either is used up.

    Args:
        max_products: Hessian products allowed.
        time_limit: seconds allowed, `None` for no limit.
        progress: called after products, on the host.

    Raises:
        InvalidInput: a limit is not positive.
    """

    def __init__(
        self,
        max_products: int,
        time_limit: float | None = None,
        progress: ProgressCallback | None = None,
    ):
        if not max_products >= 1:
            raise InvalidInput(f"max_products is {max_products}; it must be at least 1.")
        if time_limit is not None and not time_limit > 0:
            raise InvalidInput(f"time_limit is {time_limit} seconds; it must be positive or None.")
        self.max_products, self.time_limit, self.progress = max_products, time_limit, progress
        self.products = 0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since the budget was made."""
        return time.monotonic() - self._started

    @property
    def spent(self) -> bool:
        """Whether to stop now."""
        return bool(self.reason)

    @property
    def reason(self) -> str:
        """Which limit was reached; empty while none is."""
        if self.products >= self.max_products:
            return f"the limit of {self.max_products} Hessian products"
        if self.time_limit is not None and self.seconds >= self.time_limit:
            return f"the time limit of {self.time_limit:g} s"
        return ""

    def report(self, residual: float = float("inf"), target: float = 0.0) -> None:
        """Tell the callback where things stand."""
        if self.progress is not None:
            self.progress(
                Progress(self.products, self.max_products, residual, target, self.seconds)
            )
