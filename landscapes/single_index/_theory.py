"""Levels of the plateaus, and the two times that are known exactly."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from particles import InvalidInput

from ._landscape import Numbers


def plateau_levels(teacher: Numbers) -> Float[np.ndarray, " levels"]:
    """½ Σ_{k ≥ l} φ_k² for l = 0, 1, …: the risk when all degrees below l are learned.

    Example:
        >>> plateau_levels([0.0, 2.0, 1.0]).tolist()
        [2.5, 2.5, 0.5, 0.0]
    """
    squares = np.asarray(teacher, float) ** 2
    return 0.5 * np.append(np.cumsum(squares[::-1])[::-1], 0.0)


def linear_time(
    teacher: float, activation: float, ratio: float, *, spread: float = 1.0, share: float = 0.5
) -> float:
    """When a share of degree 1 is learned from s = 0, as ε → 0.

    √ε/(2c) [log(1/A) + log(p/(1 − p))] to leading order, c = |φ₁σ₁|, A = √ε |σ₁/φ₁| E[a²]/4, so
    that the time is √ε log(1/ε)/(4c) with its constant; here without that approximation of sinh.
    It holds while s is small and without degree 0. (theory.md, section 15; BMZ24, GM26)

    Args:
        teacher: φ₁.
        activation: σ₁.
        ratio: ε > 0.
        spread: root mean square of a at the start.
        share: p in (0, 1).

    Raises:
        InvalidInput: φ₁σ₁ = 0, with which degree 1 is never learned, or numbers out of range.

    Example:
        >>> round(linear_time(1.0, 1.0, 1e-8) / (1e-4 * math.log(1e8) / 4), 2)
        1.15
    """
    from scipy.integrate import quad

    if teacher * activation == 0:
        raise InvalidInput(
            f"teacher is {teacher} and activation {activation}; degree 1 is learned where both are "
            "different from zero."
        )
    if not (ratio > 0 and spread > 0 and 0 < share < 1):
        raise InvalidInput(
            f"ratio is {ratio}, spread {spread} and share {share}; the first two must be positive, "
            "the last between 0 and 1."
        )
    growth = 0.5 * math.sqrt(ratio) * abs(activation / teacher) * spread**2
    end = 0.5 * math.asinh(share / growth)
    passed, _ = quad(lambda tau: 1 / (1 - growth * math.sinh(2 * tau)), 0, end, epsrel=1e-10)
    return math.sqrt(ratio) / abs(teacher * activation) * passed


def escape_time(
    teacher: Numbers, start: float, *, link: Numbers | None = None, level: float = 0.5
) -> float:
    """When one student's overlap s grows from a start to a level, exactly.

    ds/dt = (1 − s²) Σ k φ_k c_k s^(k−1), with the link c at its optimum φ_k s^k or frozen. With all
    of degree k: t → s₀^(2−2k)/(2k(k−1)φ²), or s₀^(2−k)/(k(k−2)φc), as s₀ → 0; so with s₀² = 1/d the
    exponents d^(k−1) and d^(k/2−1). (theory.md, section 15; BBPV25)

    Args:
        teacher: φ_k of degrees k = 0, 1, …
        start: s₀ in (0, level).
        link: c_k that is frozen; `None` for the optimum at all times.
        level: below one.

    Returns:
        The time; infinity where s does not grow all the way.

    Raises:
        InvalidInput: start and level out of order.

    Example:
        >>> round(escape_time([0.0, 0.0, 1.0], 0.01))  # s₀⁻²/4 = 2500, and more
        2501
    """
    from scipy.integrate import quad

    if not 0 < start < level < 1:
        raise InvalidInput(f"start is {start} and level {level}; it must be 0 < start < level < 1.")
    phi = np.asarray(teacher, float)
    degrees = np.arange(len(phi))

    def speed(s: float) -> float:
        frozen = phi * s**degrees if link is None else np.asarray(link, float)
        return float((1 - s**2) * np.sum(degrees[1:] * (phi * frozen)[1:] * s ** degrees[:-1]))

    if min(map(speed, np.geomspace(start, level, 1000))) <= 0:
        return math.inf
    # In log s, which resolves the slow beginning.
    found, _ = quad(
        lambda x: math.exp(x) / speed(math.exp(x)),
        math.log(start),
        math.log(level),
        epsrel=1e-10,
        limit=500,
    )
    return float(found)
