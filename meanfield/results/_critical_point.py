"""What theory knows of a critical point."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CriticalPoint:
    """A critical point of a landscape as theory describes it.

    Args:
        name: in words, such as `"missing feature 2"`.
        level: the loss L there.
        index: its Morse index: how many eigenvalues of the Wasserstein Hessian are negative.
        source: where that comes from, as in `Claim`.

    Example:
        >>> CriticalPoint("the origin", level=0.5, index=1, source="KS24").index
        1
    """

    name: str
    level: float
    index: int
    source: str = ""
