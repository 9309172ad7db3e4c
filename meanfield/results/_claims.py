"""Claims: what theory predicts beside what was measured, and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from particles import InvalidInput


@dataclass(frozen=True)
class Claim:
    """One checkable statement; a failing claim is reported as failing, never dropped.

    Make one with `equal`, `below`, `above`, `within` or `true`.

    Args:
        statement: what is claimed, in words.
        source: where it comes from: keys that `meanfield cite` knows and sections of the theory
            page, such as `"KS24; theory 2"`.
        relation: how measured must stand to predicted: `=`, `<`, `>`, `in` an interval, or `is`
            true.
        predicted: the number theory gives, the bound, the two ends of the interval, or `True`.
        measured: the number found, or whether it is so.
        tolerance: allowed |measured − predicted| of `=`; `None` for the others.
        holds: the verdict.
        detail: a few words on what was found, for a claim without a number.

    Example:
        >>> Claim.equal("two is two", "arithmetic", 2.0, 2.01, relative=0.01).holds
        True
        >>> Claim.below("one is below two", "arithmetic", bound=2.0, measured=1.0).holds
        True
        >>> Claim.true("the point is a saddle", "KS24", False, detail="a local minimum").holds
        False
    """

    statement: str
    source: str
    relation: Literal["=", "<", ">", "in", "is"]
    predicted: float | tuple[float, float] | bool
    measured: float | bool
    tolerance: float | None
    holds: bool
    detail: str = ""

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
        return cls(statement, source, "=", predicted, measured, tolerance, holds)

    @classmethod
    def below(cls, statement: str, source: str, *, bound: float, measured: float) -> Claim:
        """Holds if measured lies strictly below the bound."""
        bound, measured = float(bound), float(measured)
        return cls(statement, source, "<", bound, measured, None, measured < bound)

    @classmethod
    def above(cls, statement: str, source: str, *, bound: float, measured: float) -> Claim:
        """Holds if measured lies strictly above the bound."""
        bound, measured = float(bound), float(measured)
        return cls(statement, source, ">", bound, measured, None, measured > bound)

    @classmethod
    def within(
        cls, statement: str, source: str, *, low: float, high: float, measured: float
    ) -> Claim:
        """Holds if low ≤ measured ≤ high.

        Raises:
            InvalidInput: `low` lies above `high`.
        """
        low, high, measured = float(low), float(high), float(measured)
        if low > high:
            raise InvalidInput(f"low is {low} and high is {high}; low must not exceed high.")
        return cls(statement, source, "in", (low, high), measured, None, low <= measured <= high)

    @classmethod
    def true(cls, statement: str, source: str, holds: bool, *, detail: str = "") -> Claim:
        """Holds if it is so: for what has no number, such as a classification."""
        holds = bool(holds)
        return cls(statement, source, "is", True, holds, None, holds, detail)

    @property
    def expected(self) -> str:
        """The prediction in words: the number, `< bound`, `> bound`, an interval, or `yes`."""
        match self.relation, self.predicted:
            case "is", _:
                return "yes"
            case "in", (low, high):
                return f"{low:.6g} to {high:.6g}"
            case ("<" | ">") as sign, bound:
                return f"{sign} {bound:.6g}"
            case _, number:
                return f"{number:.6g}"

    @property
    def found(self) -> str:
        """The measurement in words."""
        if self.relation == "is":
            return self.detail or ("yes" if self.measured else "no")
        return f"{self.measured:.6g}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a non-finite number becomes its name."""
        return plain(asdict(self))


def claims_table(claims: Sequence[Claim]) -> str:
    """The claims as a Markdown table."""
    rows = ["| claim | predicted | measured | tolerance | holds |", "|---|---|---|---|---|"]
    for claim in claims:
        tolerance = "" if claim.tolerance is None else f"{claim.tolerance:.2g}"
        verdict = "yes" if claim.holds else "**NO**"
        cells = f"{claim.statement} ({claim.source})", claim.expected, claim.found
        said = " | ".join(cell.replace("|", "\\|") for cell in cells)  # a bar ends the cell
        rows.append(f"| {said} | {tolerance} | {verdict} |")
    return "\n".join(rows)


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
