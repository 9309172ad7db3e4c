"""Records: by blocks, written on the device and fetched together, or one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..flows import AbstractFlow, FlowState
from ._compiled import Block, advance_and_read, read, row_bytes
from ._outcome import End, Outcome
from ._records import Plan, Track, Values
from ._tape import Tape
from ._watch import watch, without

Stop = Callable[[dict[str, np.ndarray]], bool]

STATE_BYTES = 2**24  # larger states are not held twice, as undoing needs
BLOCK_BYTES = 2**22
MOST_ROWS = 4096


class Blocks:
    """Takes the due times at which nothing but the main record is wanted, many in one call."""

    def __init__(
        self,
        flow: AbstractFlow,
        state: FlowState,
        plan: Plan,
        targets: Sequence[float],
        due: Mapping[str, frozenset[float]],
        tape: Tape,
        stop: Stop | None,
        batch: bool,
    ):
        self.flow, self.plan, self.tape, self.stop, self.batch = flow, plan, tape, stop, batch
        self._targets = targets
        others = frozenset[float]().union(*(due[track.name] for track in plan.own))
        alone = due[plan.main.name] - others
        self._until = [0] * len(targets)  # behind the last of the due times that follow
        for index in reversed(range(len(targets))):
            follows = index + 1 < len(targets) and targets[index + 1] in alone
            self._until[index] = self._until[index + 1] if follows else index + 1
            if targets[index] not in alone:
                self._until[index] = index
        # Where no record follows another one, there is nothing to fetch together.
        several = any(end > index + 1 for index, end in enumerate(self._until))
        self._capacity = _capacity(flow, state, plan.main, batch) if several else 0

    def ahead(self, position: int) -> Sequence[float]:
        """The due times from a position on that one call can take; none where blocks do not fit."""
        last = min(self._until[position], position + self._capacity)
        return self._targets[position:last]

    def take(
        self, state: FlowState, due: Sequence[float], most: int
    ) -> tuple[FlowState, int, End | None]:
        """Steps and records through some due times: the state, the times passed, and an end."""
        main = self.plan.main
        block = self._go(state, due, len(due), most)
        rows = _fetched(block)
        times, passed, values = rows["time"], rows["passed"], rows["values"]
        if self.batch:
            values = {name: _without(v, ~rows["finite"]) for name, v in values.items()}
        good = self._good(values, rows["finite"])
        if good:
            first = {name: np.asarray(column[0]) for name, column in values.items()}
            main.require_fit(first, self.batch)
        # A criterion sees the rows one by one; what was done after the last one is undone.
        step = 1 if self.stop is not None else max(good, 1)
        for at in range(0, good, step):
            part = slice(at, at + step)
            self.tape.extend(main.name, times[part], {n: v[part] for n, v in values.items()})
            if self._stops():
                back = self._go(state, due, int(passed[at]), most).state
                return back, int(passed[at]), End(Outcome.STOPPED)
        if good == times.size:
            return block.state, int(block.passed), None
        state = self._go(state, due, int(passed[good]), most).state
        state, end = record_now(self.flow, state, self.plan, [main], self.tape, self.batch)
        if end is None and self._stops():
            end = End(Outcome.STOPPED)
        return state, int(passed[good]), end

    def _go(self, state: FlowState, due: Sequence[float], count: int, most: int) -> Block:
        filled = np.full(self._capacity, np.inf)
        filled[: len(due)] = due
        main = self.plan.main
        last = self.tape.latest_time(main.name)
        return advance_and_read(
            self.flow, state, filled, count, last, most, main.compute, self.batch
        )

    def _stops(self) -> bool:
        latest = self.tape.latest(self.plan.main.name)
        return self.stop is not None and latest is not None and bool(self.stop(latest))

    def _good(self, values: Values, finite: np.ndarray) -> int:
        """How many rows come before the first that loses a seed."""
        if not len(finite):
            return 0
        name, balance = self.plan.main.name, self.flow.balance
        whole = balance is not None and balance.since_start
        earlier = self.tape.first(name) if whole else self.tape.latest(name)
        judged = {n: values[n] for n in ("loss", "energy", "dissipated")}
        before = {}
        for n, column in judged.items():
            first = column[:1] if earlier is None else earlier[n][None]
            before[n] = first if whole else np.concatenate([first, column[:-1]])
        lost = finite & watch(before, judged, balance).lost
        bad = np.flatnonzero(lost.reshape(len(finite), -1).any(axis=1))
        return int(bad[0]) if bad.size else len(finite)


def record_now(
    flow: AbstractFlow,
    state: FlowState,
    plan: Plan,
    due: Sequence[Track],
    tape: Tape,
    batch: bool,
) -> tuple[FlowState, End | None]:
    """Write what is due now; give up seeds whose numbers cannot be trusted, at last the run."""
    time, end = float(np.asarray(state.time).max()), None
    for track in due:
        if tape.ends_at(track.name, time):
            continue  # two due times may share a step
        values = read(flow, state, track.compute, batch)
        track.require_fit(values, batch)
        running = np.array(state.finite)
        if batch:
            values = {name: without(v, ~running) for name, v in values.items()}
        if track is plan.main:
            balance = flow.balance
            whole = balance is not None and balance.since_start
            earlier = tape.first(track.name) if whole else tape.latest(track.name)
            verdict = watch(earlier, values, balance)
            left = running & ~verdict.lost
            if not left.any():
                unstable = verdict.unstable.any()
                end = End(Outcome.UNSTABLE if unstable else Outcome.NON_FINITE)
                if verdict.blown.all():
                    break
            if left.sum() < running.sum():
                state = eqx.tree_at(lambda s: s.finite, state, jnp.asarray(left))
        tape.append(track.name, time, values)
    return state, end


def _capacity(flow: AbstractFlow, state: FlowState, main: Track, batch: bool) -> int:
    """Rows of a block; none where the state is split over devices or too large to be held twice."""
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    if state.ensemble.mesh is not None or held > STATE_BYTES:
        return 0
    rows = BLOCK_BYTES // max(1, row_bytes(flow, state, main.compute, batch))
    return min(MOST_ROWS, rows) if rows > 1 else 0


def _fetched(block: Block) -> dict[str, Any]:
    """The rows that were written, on the host."""
    count = int(block.written)
    return jax.tree.map(lambda leaf: np.array(np.asarray(leaf)[:count]), block.rows)


def _without(values: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """`without`, for a column of rows."""
    seeds = values.reshape(-1, *values.shape[2:])
    return without(seeds, lost.reshape(-1)).reshape(values.shape)
