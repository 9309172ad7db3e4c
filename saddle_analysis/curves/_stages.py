"""Stages of softmax attention: the phases of every query, read off a trajectory (HCL23)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from particles import InvalidInput

from ._crossing import crossing


@dataclass(frozen=True)
class Stage:
    """One phase of one query.

    Args:
        name: `"growth"` or `"convergence"`; before these, for an under-represented query,
            `"turning away"` and `"turning point"`.
        start: time it begins.
        end: time it ends; the last record's where the run stopped within it.
    """

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class QueryStages:
    """The phases of one query in order of time.

    Args:
        query: feature k that is asked for.
        dominant: the token m whose B_km falls first; `None` for a query without such a phase.
        stages: consecutive phases, from the first record to the last.
    """

    query: int
    dominant: int | None
    stages: list[Stage]

    @property
    def boundaries(self) -> list[float]:
        """Times between phases."""
        return [stage.start for stage in self.stages[1:]]

    @property
    def converges(self) -> float:
        """When convergence begins; infinite if it did not within the run."""
        last = self.stages[-1]
        return last.start if last.name == "convergence" else float("inf")

    def __str__(self) -> str:
        """The phases and their times."""
        spans = (f"{s.name} t = {s.start:.4g} to {s.end:.4g}" for s in self.stages)
        return f"query {self.query + 1}: " + ", ".join(spans)


def find_stages(
    times: Float[np.ndarray, " times"],
    own: Float[np.ndarray, "_ queries"],
    others: Float[np.ndarray, "_ queries tokens"],
    losses: Float[np.ndarray, "_ queries"],
    floors: Float[np.ndarray, " queries"] | float = 0.0,
    *,
    lead: float = 2.0,
    share: float = 0.25,
    prominence: float = 0.01,
) -> list[QueryStages]:
    """The phases of every query along a run of softmax attention.

    Nothing is differentiated; each boundary is a maximum or a crossing of a recorded curve. With
    A_k and B_km counted from their start, and m the token for which −B_km − A_k rises highest:

    - *turning away* (HCL23's phase I): B_km falls faster than A_k grows. It ends where −B_km − A_k
      is largest, which is where A_k's growth overtakes.
    - *turning point* (II): A_k's growth takes the lead. It ends where −lead·B_km − A_k is largest,
      which is where A_k grows `lead` times as fast as B_km falls.
    - *growth* (III; the first phase of balanced features and of the dominant one).
    - *convergence* (IV): from where L_k − floor_k is below `share` of its start. A quarter means
      that about half of the attention has moved to the queried feature.

    The first two exist where −B_km − A_k rises above `prominence` times the largest A_k; otherwise
    B_km never falls faster, and the query has the last two phases only. Phases that the run does
    not reach are left out, and so is one whose end would come before its start. (theory.md,
    section 6; HCL23)

    Args:
        times: increasing; any spacing.
        own: A_k along the run, one row for each time.
        others: B_km along the run; entries with m = k are not looked at.
        losses: L_k along the run.
        floors: what L_k tends to, such as `query_floor`.
        lead: how many times as fast A_k must grow for its growth to count as rapid; above one.
        share: of the initial loss above the floor, where convergence begins.
        prominence: least height of −B_km − A_k that counts.

    Raises:
        InvalidInput: shapes that disagree, fewer than three records, times that do not increase,
            or options out of their range.

    Example:
        >>> t = np.linspace(0, 10, 101)
        >>> own, loss = t[:, None] * np.ones(2), np.exp(-t)[:, None] * np.ones(2)
        >>> print(find_stages(t, own, np.zeros((101, 2, 2)), loss)[0])
        query 1: growth t = 0 to 1.387, convergence t = 1.387 to 10
    """
    t, own, others, losses = (np.asarray(v, float) for v in (times, own, others, losses))
    if own.shape != losses.shape or others.shape[:2] != own.shape or own.shape[0] != t.size:
        raise InvalidInput(
            f"times has shape {t.shape}, own {own.shape}, others {others.shape} and losses "
            f"{losses.shape}; they must share their records and queries."
        )
    if t.size < 3 or not np.all(np.diff(t) > 0):
        raise InvalidInput(f"times has {t.size} records; give at least 3 that increase.")
    if not (lead > 1 and 0 < share < 1 and prominence >= 0):
        raise InvalidInput(
            f"lead is {lead}, share {share} and prominence {prominence}; lead is above 1, share "
            "between 0 and 1, prominence not negative."
        )
    floors = np.broadcast_to(np.asarray(floors, float), own.shape[1:])
    found = []
    for k in range(own.shape[1]):
        excess = losses[:, k] - floors[k]
        reached = crossing(t, excess, share * float(excess[0]), rising=False)
        starts = [("growth", float(t[0]))]
        if np.isfinite(reached):
            starts.append(("convergence", reached))
        rise, fall = own[:, k] - own[0, k], others[0, k] - others[:, k]
        fall[:, k] = -np.inf
        m = int(np.argmax(np.max(fall - rise[:, None], axis=0)))
        dominant = None
        if np.max(fall[:, m] - rise) > prominence * np.max(np.abs(rise)):
            dominant = m
            overtakes = float(t[np.argmax(fall[:, m] - rise)])
            rapid = float(t[np.argmax(lead * fall[:, m] - rise)])
            turn = [("turning away", float(t[0])), ("turning point", overtakes), ("growth", rapid)]
            starts = turn + starts[1:]
        found.append(QueryStages(k, dominant, _consecutive(t, starts)))
    return found


def _consecutive(t: np.ndarray, starts: list[tuple[str, float]]) -> list[Stage]:
    """Phases from where each begins to where the next does; empty ones are left out."""
    first, last = float(t[0]), float(t[-1])
    begun = [(name, time) for name, time in starts if time < last or time == first]
    ends = [time for _, time in begun[1:]] + [last]
    # A later phase that begins earlier cuts the one before short.
    ends = list(itertools.accumulate(reversed(ends), min))[::-1]
    return [
        Stage(name, time, end) for (name, time), end in zip(begun, ends, strict=True) if time < end
    ]
