"""What theory knows of the induction circuit: its saddle, the level and the escape rate there."""

from __future__ import annotations

import math

from jaxtyping import Array

from particles import InvalidInput


def checked_pairs(pairs: float | Array) -> float:
    """N as a float, or one sentence about why not."""
    value = float(pairs)
    if not 2 <= value < math.inf:
        raise InvalidInput(f"pairs is {value:g}; it must be a finite number of at least 2.")
    return value


def plateau_readout(pairs: float) -> float:
    """γ* = n/(n + 2) with n = 2N + 1: the best readout while attention is uniform.

    The mean of the readouts at the exact saddle α = β = 0. (theory.md, section 9)

    Args:
        pairs: N.

    Raises:
        InvalidInput: fewer than two pairs.

    Example:
        >>> round(plateau_readout(4), 6)
        0.818182
    """
    n = 2 * checked_pairs(pairs) + 1
    return n / (n + 2)


def plateau_level(pairs: float) -> float:
    """The loss of the saddle, ½ (1 − 1/(n + 2)).

    With n = 2N + 1. (theory.md, section 9)

    Args:
        pairs: N.

    Raises:
        InvalidInput: fewer than two pairs.

    Example:
        >>> round(plateau_level(4), 6)
        0.454545
    """
    n = 2 * checked_pairs(pairs) + 1
    return 0.5 * (1 - 1 / (n + 2))


def escape_curvature(pairs: float) -> float:
    """The smallest curvature at the saddle, h = −(n + 1)/(n (n + 2)²); 1/time.

    The Hessian in (α, β) is h times the exchange of the two, so α = β leaves the saddle at the
    rate |h|, of order N⁻². Each of several equal circuits has the eigenvalues ±h. (theory.md,
    section 9)

    Args:
        pairs: N.

    Raises:
        InvalidInput: fewer than two pairs.

    Example:
        >>> round(escape_curvature(4), 7)
        -0.0091827
    """
    n = 2 * checked_pairs(pairs) + 1
    return -(n + 1) / (n * (n + 2) ** 2)
