"""Claims: what theory predicts beside what was measured, and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from particles import InvalidInput


@dataclass(frozen=True)
class Claim:
    """One checkable statement; a failing claim is reported as failing, never dropped.

    Args:
        statement: what is claimed, in words.
        source: where it comes from, a key of theory.md and a section.
        predicted: the number theory gives.
        measured: the number found.
        tolerance: allowed |measured − predicted|; `None` for an inequality.
        holds: the verdict.

    Example:
        >>> Claim.equal("two is two", "arithmetic", 2.0, 2.01, relative=0.01).holds
        True
        >>> Claim.below("one is below two", "arithmetic", bound=2.0, measured=1.0).holds
        True
    """

    statement: str
    source: str
    predicted: float
    measured: float
    tolerance: float | None
    holds: bool

    @classmethod
    def equal(
        cls,
        statement: str,
        source: str,
        predicted: float,
        measured: float,
        *,
        relative: float = 0.0,
        absolute: float = 0.0,
    ) -> Claim:
        """Holds if measured equals predicted within the larger of the two tolerances.

        Raises:
            InvalidInput: a tolerance that is negative or not finite.
        """
        if not (0 <= relative < math.inf and 0 <= absolute < math.inf):
            raise InvalidInput(
                f"relative is {relative} and absolute is {absolute}; tolerances are finite and not "
                "negative."
            )
        predicted, measured = float(predicted), float(measured)
        tolerance = max(absolute, relative * abs(predicted))
        finite = math.isfinite(predicted) and math.isfinite(measured)
        holds = finite and abs(measured - predicted) <= tolerance
        return cls(statement, source, predicted, measured, tolerance, holds)

    @classmethod
    def below(cls, statement: str, source: str, *, bound: float, measured: float) -> Claim:
        """Holds if measured lies strictly below the bound."""
        bound, measured = float(bound), float(measured)
        return cls(statement, source, bound, measured, None, measured < bound)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a non-finite number becomes its name."""
        return plain(asdict(self))


def plain(value: Any) -> Any:
    """What JSON can hold: non-finite numbers, which it lacks, become their names."""
    match value:
        case Mapping():
            return {str(key): plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [plain(entry) for entry in value]
        case float() if not math.isfinite(value):
            return repr(value)
        case _:
            return value
