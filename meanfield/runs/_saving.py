"""Saving a run, and holding what was written against what was computed."""

from __future__ import annotations

import numpy as np

from ..flows import AbstractFlow, FlowState
from ._checkpoints import Checkpoints
from ._compiled import placed_like, read
from ._fingerprint import Fingerprint, differences, landscape_fingerprint
from ._outcome import End, Outcome
from ._records import Plan
from ._tape import Tape


class Saver:
    """Writes checkpoints, and holds what was written against what was computed."""

    def __init__(
        self, flow: AbstractFlow, checkpoints: Checkpoints, made_with: Fingerprint, batch: bool
    ):
        self.flow, self.checkpoints, self.batch = flow, checkpoints, batch
        self.made_with = made_with

    def save(self, state: FlowState, tape: Tape, plan: Plan) -> End | None:
        """A disk that refuses a checkpoint ends the run, not what it has found."""
        main = plan.main.name
        latest, first = tape.latest(main), tape.first(main)
        fresh = tape.ends_at(main, float(np.asarray(state.time).max()))
        # A record of this moment was computed from this very state.
        computed = latest["loss"] if latest and fresh else self._loss(state, plan)
        try:
            written = self.checkpoints.save(state, tape, self.made_with, self.flow.chunk)
        except OSError as error:
            return End(Outcome.UNSAVED, str(error))
        if written is None:
            return None
        again = self._loss(placed_like(written, state), plan)
        scale = np.asarray(np.abs(again if first is None else first["loss"]))
        if not _agree(computed, again, scale):
            return End(
                Outcome.INCONSISTENT,
                f"the saved state has loss {again}, but {computed} was "
                f"{'recorded' if fresh else 'computed'} for it; do not trust this run, and look at "
                "the machine's memory",
            )
        changed = differences(self.made_with, landscape_fingerprint(self.flow.landscape))
        if changed:
            return End(Outcome.INCONSISTENT, f"since the start another {changed[0]}")
        return None

    def _loss(self, state: FlowState, plan: Plan) -> np.ndarray:
        """By the program that records it: another one would round otherwise."""
        return read(self.flow, state, plan.main.compute, self.batch)["loss"]


def _agree(one: np.ndarray, two: np.ndarray, scale: np.ndarray) -> bool:
    """Equal up to the order of summation, where both are numbers (lost seeds have none)."""
    with np.errstate(all="ignore"):
        tolerance = 1e4 * np.finfo(two.dtype).eps * (np.abs(two) + scale)
        return bool(
            np.all((np.abs(one - two) <= tolerance) | ~np.isfinite(one) | ~np.isfinite(scale))
        )
