"""The host loop: compiled chunks of steps; between them progress, records, checkpoints, stops."""

from __future__ import annotations

import math
import time as clock
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Key, PyTree

from particles import Ensemble, InvalidInput
from particles.internal import require_finite, to_host

from ._batches import map_batch
from ._checkpoints import Checkpoints
from ..flows import GradientFlow, require_step
from ._hosts import anywhere, least, speaks
from ._interrupts import Interrupts
from ._outcome import Outcome
from ._progress import Progress
from ._provenance import provenance
from ._records import Statistic, Tape, Track, tracks
from ._schedules import Schedule, every
from ._stability import explain_failure
from ..flows import FlowState

if TYPE_CHECKING:
    import xarray

SECONDS_PER_CALL = 0.5  # compiled work between looks at the clock, the keyboard and the numbers
ENERGY_SHARE = 0.1  # of the dissipated energy, that the loss must at least have lost


@dataclass(frozen=True)
class Run:
    """What a run leaves behind, complete also when it stopped early.

    Args:
        state: the last state whose numbers are finite.
        trajectory: everything recorded, as an `xarray.Dataset`.
        outcome: why it stopped.
        message: the same in a sentence, with step, time and remedy where it failed.
    """

    state: FlowState
    trajectory: xarray.Dataset
    outcome: Outcome
    message: str

    @property
    def ensemble(self) -> Ensemble:
        """The particles at the end."""
        return self.state.ensemble


class FlowFailed(RuntimeError):
    """A run that cannot be trusted past its last good state; `.run` holds all up to there."""

    def __init__(self, run: Run):
        super().__init__(run.message)
        self.run = run


def simulate(
    flow: GradientFlow,
    start: Ensemble | FlowState,
    *,
    horizon: float,
    dt: float | None = None,
    fast: PyTree | None = None,
    key: Key[Array, "..."] | None = None,
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
    SIGTERM stop between chunks and keep what is done.

    Args:
        flow: what moves the particles.
        start: an ensemble, or the state of an earlier run to go on from, also of one that failed.
            With `batch`, leaves carry a leading seed axis.
        horizon: time to stop at; a fixed step stops at the step nearest to it.
        dt: step size in flow time; needed with an ensemble, otherwise the state's by default.
        fast: start of the fast variables, when the flow has a timescale ratio.
        key: random key, when steps are random (temperature, resampling, batches); equal keys give
            equal runs. With `batch`, one for every seed, or one to split.
        record: schedule of the loss and its companions; 200 times evenly by default.
        statistics: further (when, statistic) pairs.
        snapshots: schedule for whole ensembles.
        stop: looks at the latest record (names to arrays); true ends the run.
        batch: run many seeds at once in one compiled, vmapped call. A seed that fails does not
            stop the others: it is named in the message, and its later records are NaN.
        checkpoints: where and how often to save the state and the records.
        resume: go on from the last checkpoint, if there is one; start, horizon and schedules are
            those of the whole run, and so is the trajectory.
        keep_start: false gives the start's memory to the run: it halves what the largest
            ensembles need, and `start` cannot be used afterwards.
        progress: show a bar once the run takes more than two seconds.
        label: name on that bar.
        throw: raise `FlowFailed` on failure; otherwise read `Run.outcome`.

    Raises:
        InvalidInput: a horizon behind the start, a step that is missing or not positive, …
        FlowFailed: a non-finite number or an unstable step, with the partial run attached.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[1.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.array([[0.5]]), w=jnp.array([[0.5]])))
        >>> run = simulate(GradientFlow(landscape), mu, horizon=10.0, dt=0.1)
        >>> run.outcome.name, run.trajectory.sizes["time"]
        ('HORIZON', 101)
    """
    first = _first_state(flow, start, dt, fast, key, batch)
    # The loop gives its buffers back to the compiler; the caller keeps theirs.
    state, tape = _restored(_copied(first, keep_start), checkpoints, resume)
    began, now = float(jnp.min(first.time)), float(jnp.max(state.time))
    first = first if keep_start else None
    if not began < horizon < math.inf:
        raise InvalidInput(
            f"horizon is {horizon}; it must be finite and lie after the start at time {began:g}."
        )
    record = every((horizon - began) / 200) if record is None else record
    plan = tracks(flow.landscape, record, statistics, snapshots)
    due = [_still_due(flow, state, track.when(began, horizon), horizon) for track in plan]
    recorder = _Recorder(flow, plan, tape, batch)

    outcome = None
    with Interrupts() as interrupts, Progress(label, now, horizon, progress and speaks()) as bar:
        pace = _Pace()
        for target in sorted({float(horizon)}.union(*due)):
            while outcome is None and not _reached(flow, state, target):
                most = pace.steps if checkpoints is None else checkpoints.until_next(state)
                with pace:
                    state = _advance(flow, state, target, min(most, pace.steps), batch)
                    outcome = _failure(flow, state)
                time = float(jnp.max(state.time))
                bar.update(time, f"t = {time:.4g}, {recorder.note}")
                if outcome is None and checkpoints is not None and checkpoints.due(state):
                    outcome = recorder.save(checkpoints, state)
                if outcome is None and anywhere(interrupts.seen):
                    outcome = Outcome.INTERRUPTED
            if outcome is not None:
                break
            now_due = [track for track, when in zip(plan, due, strict=True) if target in when]
            state, outcome = recorder.write(state, now_due)
            if outcome is None and stop is not None and recorder.latest and stop(recorder.latest):
                outcome = Outcome.STOPPED
            if outcome is None and anywhere(interrupts.seen):
                outcome = Outcome.INTERRUPTED
            if outcome is not None:
                break
    outcome = Outcome.HORIZON if outcome is None else outcome
    if checkpoints is not None and not outcome.failed:
        outcome = recorder.save(checkpoints, state) or outcome
    if outcome is Outcome.INTERRUPTED or (outcome.failed and not batch):
        recorder.write(state, plan[:1])  # the records reach up to where the run did
    return _finish(flow, first, state, recorder, outcome, throw)


def _first_state(
    flow: GradientFlow,
    start: Ensemble | FlowState,
    dt: float | None,
    fast: PyTree | None,
    key: Array | None,
    batch: bool,
) -> FlowState:
    if isinstance(start, FlowState):
        return _continued(flow, start, dt, fast, key, batch)
    if dt is None:
        raise InvalidInput("dt is missing; give the step size when starting from an ensemble.")
    if batch:
        require_finite("start", start.particles)
        if key is not None and key.ndim == 0:
            key = jax.random.split(key, jax.tree.leaves(start)[0].shape[0])
        state = jax.vmap(lambda e, k: flow.start(e, dt, fast, k))(start, key)
    else:
        state = _everywhere(flow.start(start, dt, fast, key))
        # With a projection the start lies on an invariant set on purpose.
        for concern in flow.landscape.concerns(start) if flow.projection is None else ():
            warnings.warn(concern, stacklevel=3)
    return state


def _everywhere(state: FlowState) -> FlowState:
    """What is not split over the ensemble's mesh, on every device of it."""
    mesh = state.ensemble.mesh
    if mesh is None:
        return state

    def put(leaf: Any) -> Any:
        if isinstance(leaf, Array) and len(leaf.sharding.device_set) < mesh.size:
            return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec()))
        return leaf

    return jax.tree.map(put, state)


def _continued(
    flow: GradientFlow,
    state: FlowState,
    dt: float | None,
    fast: PyTree | None,
    key: Array | None,
    batch: bool,
) -> FlowState:
    if fast is not None:
        raise InvalidInput("fast is given, but start is a state, which holds the fast variables.")
    if key is not None:
        raise InvalidInput("key is given, but start is a state, which holds the key.")

    def anew(s: FlowState) -> FlowState:
        key = None if s.key is None else jax.random.wrap_key_data(s.key)
        return flow.start(s.ensemble, s.dt, s.fast, key)

    like = jax.eval_shape(jax.vmap(anew) if batch else anew, state)
    if jax.tree.structure(like) != jax.tree.structure(state):
        raise InvalidInput(
            "start is the state of another flow (other particles, scheme or kind of timescale "
            "ratio); go on from its ensemble instead."
        )
    if dt is not None:
        require_step(dt)
        state = eqx.tree_at(lambda s: s.dt, state, jnp.full_like(state.dt, dt))
    return eqx.tree_at(lambda s: s.finite, state, jnp.ones_like(state.finite))


def _copied(state: FlowState, all_of_it: bool) -> FlowState:
    """A copy, whose buffers may be given away; of all but the ensemble where that is given too."""
    if all_of_it:
        return jax.tree.map(jnp.copy, state)
    without = eqx.tree_at(lambda s: s.ensemble, state, None)
    copy = jax.tree.map(jnp.copy, without)
    return eqx.tree_at(lambda s: s.ensemble, copy, state.ensemble, is_leaf=lambda x: x is None)


def _restored(
    state: FlowState, checkpoints: Checkpoints | None, resume: bool
) -> tuple[FlowState, Tape]:
    if checkpoints is None:
        if resume:
            raise InvalidInput("resume is True, but checkpoints is None; say where they are.")
        return state, Tape()
    latest = checkpoints.latest()
    if latest is None:
        return state, Tape()
    if resume:
        return checkpoints.restore(state)
    if latest > int(jnp.max(state.step)):
        raise InvalidInput(
            f"checkpoints: {checkpoints.directory} holds step {latest} of an earlier run, which "
            "this one would mix with; resume it, or give another directory."
        )
    return state, Tape()


def _still_due(
    flow: GradientFlow, state: FlowState, times: np.ndarray, horizon: float
) -> frozenset[float]:
    """The due times that the state has not passed, the one it may stand at included."""
    times, now = np.asarray(times, float), float(jnp.max(state.time))
    if now > horizon + float(jnp.max(state.dt)):
        raise InvalidInput(f"horizon is {horizon}; the checkpoint is already at time {now:g}.")
    lowest = now - flow.slack * float(jnp.max(state.dt))
    rounded = times.astype(state.time.dtype)
    ahead = rounded >= lowest if flow.scheme.adaptive else rounded > lowest
    return frozenset(times[ahead & (times <= horizon)].tolist())


@eqx.filter_jit(donate="all-except-first")
def _advance_compiled(
    flow: GradientFlow, state: FlowState, until: Array, most: Array, batch: bool
) -> FlowState:
    def go(state: FlowState) -> FlowState:
        return flow.advance(state, until, most)

    return _each(flow, go, state) if batch else go(state)


def _each(flow: GradientFlow, fn: Callable[[FlowState], Any], states: FlowState) -> Any:
    return map_batch(flow.landscape, fn, states, lambda state: state.ensemble)


def _advance(
    flow: GradientFlow, state: FlowState, until: float, most: int, batch: bool
) -> FlowState:
    limits = jnp.asarray(until, state.time.dtype), jnp.asarray(most, jnp.int32)
    return _advance_compiled(flow, state, *limits, batch)


@eqx.filter_jit
def _read(
    flow: GradientFlow, state: FlowState, compute: Callable[..., Any], batch: bool
) -> dict[str, Array]:
    def look(state: FlowState) -> dict[str, Array]:
        return compute(flow, state)

    return _each(flow, look, state) if batch else look(state)


def _reached(flow: GradientFlow, state: FlowState, until: float) -> bool:
    return bool(jnp.all(flow.reached(state, until) | ~state.finite))


def _failure(flow: GradientFlow, state: FlowState) -> Outcome | None:
    """A batch fails when all its seeds have; the others run on without the lost ones."""
    if bool(jnp.any(state.finite)):
        return None
    return Outcome.STEP_VANISHED if flow.scheme.adaptive else Outcome.NON_FINITE


def _finish(
    flow: GradientFlow,
    first: FlowState | None,
    state: FlowState,
    recorder: _Recorder,
    outcome: Outcome,
    throw: bool,
) -> Run:
    lost = np.flatnonzero(~np.atleast_1d(np.asarray(state.finite)))
    message = f"the run {outcome.value} at t = {float(jnp.max(state.time)):.6g}."
    if outcome is Outcome.UNSAVED:
        message = f"{message[:-1]}: {recorder.trouble}."
    elif outcome.failed:
        message = explain_failure(flow, first, state, outcome, recorder.batch)
    elif lost.size:
        message += f" Seeds {lost.tolist()} failed and stopped earlier."
        warnings.warn(message, stacklevel=3)
    attributes = provenance(flow) | {"outcome": outcome.name, "message": message}
    trajectory = recorder.tape.to_dataset(recorder.plan, attributes, batch=recorder.batch)
    run = Run(state, trajectory, outcome, message)
    if outcome.failed and throw:
        raise FlowFailed(run)
    return run


class _Recorder:
    """Writes due tracks to the tape and watches the energy."""

    def __init__(self, flow: GradientFlow, plan: Sequence[Track], tape: Tape, batch: bool):
        self.flow, self.plan, self.tape, self.batch = flow, plan, tape, batch
        self.trouble = ""  # what kept a checkpoint from being written
        rows = tape.rows.get(plan[0].name, [])
        self.latest: dict[str, np.ndarray] = rows[-1][1] if rows else {}

    @property
    def note(self) -> str:
        """The latest loss, for showing; the mean over the seeds that still run."""
        seen = np.atleast_1d(self.latest.get("loss", np.nan))
        seen = seen[np.isfinite(seen)]
        return f"loss {seen.mean():.4g}" if seen.size else ""

    def save(self, checkpoints: Checkpoints, state: FlowState) -> Outcome | None:
        """Write a checkpoint; a disk that refuses it ends the run, not what it has found."""
        try:
            checkpoints.save(state, self.tape)
        except OSError as error:
            self.trouble = str(error)
            return Outcome.UNSAVED
        return None

    def write(self, state: FlowState, due: Sequence[Track]) -> tuple[FlowState, Outcome | None]:
        """Write what is due; gives up seeds whose numbers cannot be trusted, at last the run."""
        time, outcome = float(jnp.max(state.time)), None
        for track in due:
            if self.tape.ends_at(track.name, time):
                continue  # two due times may share a step
            values = _read(self.flow, state, track.compute, self.batch)
            values = to_host(values)
            track.require_fit(values, self.batch)
            if self.batch:
                values = {n: _without(v, ~np.asarray(state.finite)) for n, v in values.items()}
            if track is self.plan[0]:
                blown = ~np.isfinite(values["loss"])
                unstable = self._unbalanced(values)
                running = np.asarray(state.finite) & ~(blown | unstable)
                if not running.any():
                    outcome = Outcome.UNSTABLE if unstable.any() else Outcome.NON_FINITE
                    if blown.all():
                        break
                if running.sum() < np.sum(state.finite):
                    state = eqx.tree_at(lambda s: s.finite, state, jnp.asarray(running))
                self.latest = values
            self.tape.append(track.name, time, values)
        return state, outcome

    def _unbalanced(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """Which seeds lost far less energy than they dissipated, beyond round-off.

        On a mode of curvature λ explicit Euler loses the share 1 − λdt/2 of what it counts as
        dissipated: the share vanishes exactly where the step becomes unstable. A projection takes
        part of the motion away, so there the loss need only not rise. Noise owes no balance.
        """
        if not self.latest or self.flow.random:
            return np.zeros_like(values["loss"], bool)
        before, after = self.latest["loss"], values["loss"]
        share = ENERGY_SHARE if self.flow.projection is None else 0.0
        with np.errstate(all="ignore"):
            spent = values["dissipated"] - self.latest["dissipated"]
            scale = np.abs(before) + np.abs(after) + np.abs(values["dissipated"])
            rtol = self.flow.scheme.rtol  # errors that a controlled step is allowed to make
            noise = (1e3 * np.finfo(after.dtype).eps + float(rtol or 0)) * scale
            return np.asarray(before - after < share * spent - noise)


def _without(values: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """The values of a batch with NaN for the lost seeds, where the type has one."""
    if not (lost.any() and np.issubdtype(values.dtype, np.floating)):
        return values
    return np.where(lost.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values).astype(values.dtype)


class _Pace:
    """Chooses how many steps a compiled call may take, from how long the last one took."""

    def __init__(self) -> None:
        self.steps, self._calls, self._since = 8, 0, 0.0

    def __enter__(self) -> None:
        self._since = clock.perf_counter()

    def __exit__(self, *error: object) -> None:
        spent, self._calls = clock.perf_counter() - self._since, self._calls + 1
        if self._calls > 1:  # the first call compiles
            wanted = self.steps * SECONDS_PER_CALL / max(least(spent), 1e-6)
            self.steps = int(min(max(1, self.steps // 8, wanted), self.steps * 8, 2**30))
