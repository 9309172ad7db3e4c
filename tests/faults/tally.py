"""What a campaign counts, and what its parts are given."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .processes import Server
from .setups import SAMPLE, SETUPS, Setup, Undisturbed

Verdict = Literal["survived", "wrong", "lost"]


@dataclass
class Tally:
    """One part's faults: how many were tried, and how they ended.

    Args:
        changed: called after each count.
    """

    part: str
    changed: Callable[[], object] = lambda: None
    tried: int = 0
    ends: Counter[Verdict] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, str]] = field(default_factory=list)

    def count(self, kind: str, verdict: Verdict, why: str = "", times: int = 1) -> None:
        """`times` faults of a kind that ended alike."""
        self.tried += times
        self.ends[verdict] += times
        self.kinds[kind] += times
        if verdict != "survived":
            self.failures.append({"kind": kind, "verdict": verdict, "why": why})
            print(f"  {self.part}: {verdict.upper()}: {kind}: {why}", flush=True)
        self.changed()

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong or lost."""
        return self.tried > 0 and self.ends["survived"] == self.tried

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the file of figures."""
        ends = {name: self.ends[name] for name in ("survived", "wrong", "lost")}
        return (
            {"part": self.part, "tried": self.tried}
            | ends
            | {
                "kinds": dict(sorted(self.kinds.items())),
                "failures": self.failures,
            }
        )


@dataclass
class Context:
    """What a part is given.

    Args:
        server: forks processes.
        folder: of its own, for what it writes.
        rng: every choice comes from it.
        deadline: when to begin nothing new, on the monotonic clock.
        tally: where the part counts.
        least: how many faults to try at least, however long it takes.
        at_once: how many processes that are to be killed may run at a time.
        undisturbed: the runs to compare with.
        sample: one setup, and nothing that waits for minutes.
    """

    server: Server
    folder: Path
    rng: np.random.Generator
    deadline: float
    tally: Tally
    undisturbed: Undisturbed
    least: int = 0
    at_once: int = 2
    sample: bool = False

    @property
    def setups(self) -> list[Setup]:
        """What to disturb."""
        return SAMPLE if self.sample else SETUPS

    @property
    def simulations(self) -> list[Setup]:
        """Those of one run."""
        return [setup for setup in self.setups if setup.command == "simulate"]

    @property
    def time_left(self) -> bool:
        """Whether to begin another one."""
        return time.monotonic() < self.deadline or self.tally.tried < self.least

    def choice(self, options: Any) -> Any:
        """One of several, by chance."""
        options = list(options)
        return options[int(self.rng.integers(len(options)))]
