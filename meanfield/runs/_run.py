"""The host loop: compiled chunks of steps; between them progress, records, checkpoints, stops."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Array, Key, PyTree

from particles import Ensemble, InvalidInput

from ..costs import calibrated_chunk
from ..flows import AbstractFlow, FlowState, SharedNoise
from ._blocks import Blocks, record_now
from ._checkpoints import Checkpoints
from ._compiled import advance, copied
from ._fingerprint import fingerprint
from ._first import first_state, require_horizon, restored, steps_ahead
from ._hosts import anywhere, speaks
from ._interrupts import Interrupts
from ._outcome import End, Outcome
from ._pace import Pace
from ._progress import Progress
from ._provenance import provenance
from ._records import Plan, Statistic, plan_of
from ._saving import Saver
from ._schedules import Schedule, every
from ._stability import explain_failure
from ._tape import Tape

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class Run:
    """What a run leaves behind, complete also when it stopped early.

    Args:
        state: the last state whose numbers are finite.
        trajectory: everything recorded, as an `xarray.Dataset`.
        outcome: why it stopped.
        message: the same in a sentence, with step, time and remedy where it failed.
        signal: the number of the signal that interrupted it; 0 if none did, or one on another host.
    """

    state: FlowState
    trajectory: xarray.Dataset
    outcome: Outcome
    message: str
    signal: int = 0

    @property
    def ensemble(self) -> Ensemble:
        """The particles at the end."""
        return self.state.ensemble


class FlowFailed(RuntimeError):
    """A run that cannot be trusted past its last good state; `.run` holds all up to there."""

    def __init__(self, run: Run):
        super().__init__(run.message)
        self.run = run


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM stopped a run before its end; `.run` holds all up to there.

    An exception, so that half a run is never taken for a whole one.
    """

    def __init__(self, run: Run):
        super().__init__(run.message)
        self.run = run


def simulate(
    flow: AbstractFlow,
    start: Ensemble | FlowState,
    *,
    horizon: float,
    dt: float | None = None,
    fast: PyTree | None = None,
    key: Key[Array, "..."] | SharedNoise | None = None,
    record: Schedule | None = None,
    statistics: Sequence[Statistic] = (),
    snapshots: Schedule | None = None,
    stop: Callable[[dict[str, np.ndarray]], bool] | None = None,
    batch: bool = False,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    keep_start: bool = True,
    progress: bool = False,
    label: str = "flow",
    throw: bool = True,
) -> Run:
    """Run a flow from a start to a horizon and record it.

    One mechanism serves all: compiled chunks of steps, and plain Python between them. Ctrl-C and
    SIGTERM stop between chunks; what is done is kept in the exception.

    Args:
        flow: what moves the particles.
        start: an ensemble, or the state of an earlier run to go on from, also of one that failed.
            With `batch`, leaves carry a leading seed axis.
        horizon: time to stop at; a fixed step stops at the step nearest to it.
        dt: step size in flow time; needed with an ensemble, otherwise the state's by default.
        fast: start of the fast variables, when the flow has a timescale ratio.
        key: random key, when steps are random (diffusion, resampling, batches); equal keys give
            equal runs. With `batch`, one for every seed, or one to split.
        record: schedule of the loss and its companions; 200 times evenly by default.
        statistics: further (when, statistic) pairs.
        snapshots: schedule for whole ensembles.
        stop: looks at each record (names to arrays) in turn; true ends the run there. Records come
            in blocks of one compiled call; what a call did after that record is undone.
        batch: run many seeds at once in one compiled, vmapped call. A seed that fails does not
            stop the others: it is named in the message, and its later records are NaN.
        checkpoints: where and how often to save the state and the records. What was saved is read
            back each time, and must give the loss that was computed.
        resume: go on from the last whole checkpoint, which must have been made with this flow,
            start, step and key; horizon and schedules are those of the whole run, and so is the
            trajectory.
        keep_start: false gives the start's memory to the run: it halves what the largest
            ensembles need, and `start` cannot be used afterwards.
        progress: show a bar once the run takes more than two seconds.
        label: name on that bar.
        throw: raise an exception on failure and interruption; otherwise read `Run.outcome`.

    Raises:
        InvalidInput: a horizon behind the start, a step that is missing, not positive or far
            beyond the horizon, a checkpoint of another run, …
        FlowFailed: a non-finite number or an unstable step, with the partial run attached.
        RunInterrupted: Ctrl-C or SIGTERM, with the partial run attached.

    Particles held at once are chosen from the size of the features. A run of more than ten seconds
    times a few sizes first, once on a machine; `chunk=` of the flow bypasses this, as does the
    environment variable MEANFIELD_CHUNKS=default. The choice is kept in the trajectory's attributes
    and in checkpoints, where a resumed run finds it.

    Warns `StartWarning` where the landscape has concerns about the start, and
    `DamagedCheckpointWarning` where a checkpoint had to be left out.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> from meanfield import GradientFlow
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[1.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.array([[0.5]]), w=jnp.array([[0.5]])))
        >>> run = simulate(GradientFlow(landscape), mu, horizon=10.0, dt=0.1)
        >>> run.outcome.name, run.trajectory.sizes["time"]
        ('HORIZON', 101)
    """
    first = first_state(flow, start, dt, fast, key, batch)
    require_horizon(flow, first, horizon, given=dt is not None)
    made_with = {} if checkpoints is None else fingerprint(flow, first)
    # The loop gives its memory back to the compiler; the caller keeps theirs.
    state, tape, chunk = restored(copied(first, keep_start), checkpoints, resume, made_with)
    began = float(np.asarray(first.time).min())
    if flow.chunk is None and not batch:
        if not resume:
            chunk = calibrated_chunk(flow, first.ensemble, steps_ahead(first, horizon))
        flow = flow if chunk is None else flow.with_chunk(chunk)
    first = first if keep_start else None
    record = every((horizon - began) / 200) if record is None else record
    plan = plan_of(flow, state, batch, record, statistics, snapshots)
    due = {t.name: _still_due(flow, state, t.when(began, horizon), horizon) for t in plan.tracks}
    saver = None if checkpoints is None else Saver(flow, checkpoints, made_with, batch)

    end = None
    now = float(np.asarray(state.time).max())
    targets = sorted({float(horizon)}.union(*due.values()))
    blocks = Blocks(flow, state, plan, targets, due, tape, stop, batch)
    pace, position = Pace(), 0
    with Interrupts() as interrupts, Progress(label, now, horizon, progress and speaks()) as bar:
        while end is None and position < len(targets):
            target, ahead = targets[position], blocks.ahead(position)
            if ahead or not _reached(flow, state, target):
                before = int(np.asarray(state.step).max())
                most = pace.steps if saver is None else saver.checkpoints.until_next(state)
                most = min(most, pace.steps)
                pace.start()
                if ahead:
                    state, passed, end = blocks.take(state, ahead[: pace.rows], most)
                    position += passed
                else:
                    state, passed = advance(flow, state, target, most, batch), 0
                steps = max(0, int(np.asarray(state.step).max()) - before)
                pace.stop(steps, passed)
                end = _stuck(flow, state) if end is None else end
                time = float(np.asarray(state.time).max())
                bar.update(time, f"t = {time:.4g}, {_note(tape, plan)}")
                if end is None and saver is not None and steps and saver.checkpoints.due(state):
                    end = saver.save(state, tape, plan)
            if end is None and not ahead and _reached(flow, state, target):
                now_due = [track for track in plan.tracks if target in due[track.name]]
                state, end = record_now(flow, state, plan, now_due, tape, batch)
                latest = tape.latest(plan.main.name)
                if end is None and stop is not None and latest is not None and stop(latest):
                    end = End(Outcome.STOPPED)
                position += 1
            if end is None and anywhere(interrupts.seen):
                end = End(Outcome.INTERRUPTED)
    end = End(Outcome.HORIZON) if end is None else end
    if saver is not None and not end.outcome.failed:
        end = saver.save(state, tape, plan) or end
    if end.outcome is Outcome.INTERRUPTED or (end.outcome.failed and not batch):
        record_now(flow, state, plan, [plan.main], tape, batch)  # the records reach up to there
    number = interrupts.signal if end.outcome is Outcome.INTERRUPTED else 0
    return _finish(flow, first, state, plan, tape, end, batch, throw, number)


def _still_due(
    flow: AbstractFlow, state: FlowState, times: np.ndarray, horizon: float
) -> frozenset[float]:
    """The due times that the state has not passed, the one it may stand at included."""
    times, now = np.asarray(times, float), float(np.asarray(state.time).max())
    if now > horizon + float(np.asarray(state.dt).max()):
        raise InvalidInput(f"horizon is {horizon}; the checkpoint is already at time {now:g}.")
    lowest = now - flow.slack * float(np.asarray(state.dt).max())
    rounded = times.astype(state.time.dtype)
    ahead = rounded >= lowest if flow.controlled else rounded > lowest
    return frozenset(times[ahead & (times <= horizon)].tolist())


def _reached(flow: AbstractFlow, state: FlowState, until: float) -> bool:
    time, dt, finite = (np.asarray(leaf) for leaf in (state.time, state.dt, state.finite))
    return bool((flow.reached(time, dt, time.dtype.type(until)) | ~finite).all())


def _stuck(flow: AbstractFlow, state: FlowState) -> End | None:
    """A batch fails when all its seeds have; the others run on without the lost ones."""
    if bool(np.asarray(state.finite).any()):
        return None
    return End(Outcome.STEP_VANISHED if flow.controlled else Outcome.NON_FINITE)


def _note(tape: Tape, plan: Plan) -> str:
    """The latest loss, for showing; the mean over the seeds that still run."""
    seen = np.atleast_1d((tape.latest(plan.main.name) or {}).get("loss", np.nan))
    seen = seen[np.isfinite(seen)]
    return f"loss {seen.mean():.4g}" if seen.size else ""


def _finish(
    flow: AbstractFlow,
    first: FlowState | None,
    state: FlowState,
    plan: Plan,
    tape: Tape,
    end: End,
    batch: bool,
    throw: bool,
    number: int,
) -> Run:
    outcome = end.outcome
    lost = np.flatnonzero(~np.atleast_1d(np.array(state.finite)))
    message = f"the run {outcome.value} at t = {float(np.asarray(state.time).max()):.6g}."
    if end.cause:
        message = f"{message[:-1]}: {end.cause}."
    elif outcome.failed:
        message = explain_failure(flow, first, state, outcome, batch)
    elif lost.size:
        message += f" Seeds {lost.tolist()} failed and stopped earlier."
        warnings.warn(message, LostSeedsWarning, stacklevel=3)
    attributes = provenance(flow) | {"outcome": outcome.name, "message": message}
    run = Run(
        state, tape.to_dataset(plan.tracks, attributes, batch=batch), outcome, message, number
    )
    if outcome.failed and throw:
        raise FlowFailed(run)
    if outcome is Outcome.INTERRUPTED and throw:
        raise RunInterrupted(run)
    return run


class LostSeedsWarning(UserWarning):
    """Some seeds of a batch failed and stopped earlier than the others."""
