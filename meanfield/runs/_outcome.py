"""How a run can end, each way with a sentence."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Outcome(enum.Enum):
    """Why a run stopped; the value is the sentence."""

    HORIZON = "reached the horizon"
    STOPPED = "met the stopping criterion"
    INTERRUPTED = "was interrupted; everything up to there is kept"
    NON_FINITE = "met a non-finite number; the state before that step is kept"
    UNSTABLE = "lost less energy than it dissipated, so the step is too large"
    STEP_VANISHED = "needed a step below the resolution of time"
    UNSAVED = "could not write a checkpoint"
    INCONSISTENT = "contradicts itself, so that its numbers cannot be trusted"

    @property
    def failed(self) -> bool:
        """Whether an error ended the run; what was good up to there is kept."""
        return self not in (Outcome.HORIZON, Outcome.STOPPED, Outcome.INTERRUPTED)


class End(NamedTuple):
    """That a run ends: how, and what caused it where that is not in the numbers."""

    outcome: Outcome
    cause: str = ""
