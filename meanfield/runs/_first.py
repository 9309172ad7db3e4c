"""Where a run begins: at an ensemble, at the state of an earlier run, or at a checkpoint."""

from __future__ import annotations

import math
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from landscapes import StartWarning
from particles import Ensemble, InvalidInput
from particles.internal import require_finite, to_host

from ..flows import AbstractFlow, FlowState, SharedNoise, require_step, whole_key
from ._batches import members
from ._checkpoints import Checkpoints, Restored
from ._compiled import begin
from ._fingerprint import Fingerprint
from ._tape import Tape

MOST_STEPS = 2**31 - 1  # the counter of steps holds no more


def first_state(
    flow: AbstractFlow,
    start: Ensemble | FlowState,
    dt: float | None,
    fast: PyTree | None,
    key: Array | SharedNoise | None,
    batch: bool,
) -> FlowState:
    """The state that a run begins with."""
    if isinstance(start, FlowState):
        return _continued(flow, start, dt, fast, key, batch)
    if not isinstance(start, Ensemble):
        raise InvalidInput(
            f"start is {type(start).__name__}; give an Ensemble, or the state of an earlier run."
        )
    if dt is None:
        raise InvalidInput("dt is missing; give the step size when starting from an ensemble.")
    require_step(dt)
    # The first state is computed in compiled code, which sees no values: they are checked here.
    require_finite("start" if batch else "ensemble", start.particles)
    # Entries of a batch as the host has them: slices on devices would cost more than steps.
    for one in members(to_host(start)) if batch else (start,):
        flow.landscape.require_fit(one)
    if batch and isinstance(key, Array) and key.ndim == 0:
        key = jax.random.split(key, jax.tree.leaves(start)[0].shape[0])
    state = begin(flow, start, dt, fast, key, batch)
    if not bool((np.asarray(state.dt) > 0).all()):
        raise InvalidInput(
            f"dt is {dt}, which {state.dt.dtype} does not resolve; take a larger one."
        )
    for concern in [] if batch else flow.concerns(start):
        warnings.warn(concern, StartWarning, stacklevel=3)
    return state


def require_horizon(flow: AbstractFlow, state: FlowState, horizon: float, given: bool) -> None:
    """Refuse a horizon that the step does not lead to.

    Args:
        flow: knows whether the step is controlled.
        state: the first one.
        horizon: where to.
        given: whether the step size was chosen for this run.

    Raises:
        InvalidInput: a horizon behind the start, a fixed step far beyond it, or one too small.
    """
    began, dt = float(np.asarray(state.time).min()), float(np.asarray(state.dt).min())
    if not began < horizon < math.inf:
        raise InvalidInput(
            f"horizon is {horizon}; it must be finite and lie after the start at time {began:g}."
        )
    if flow.controlled or not given:
        return
    way = horizon - began
    if way <= flow.slack * dt:
        raise InvalidInput(
            f"dt is {dt:g}, but horizon is {horizon:g}, only {way:g} after the start, so that no "
            "step would be taken; take a smaller one or a later horizon."
        )
    if way / dt > MOST_STEPS:
        raise InvalidInput(
            f"dt is {dt:g} and horizon is {horizon:g}: that takes {way / dt:.3g} steps, and a run "
            f"has at most {MOST_STEPS}; take a larger step."
        )


def steps_ahead(state: FlowState, horizon: float) -> float:
    """Steps to the horizon, were all of them as long as the first."""
    return (horizon - float(np.asarray(state.time).min())) / float(np.asarray(state.dt).min())


def restored(
    state: FlowState, checkpoints: Checkpoints | None, resume: bool, made_with: Fingerprint
) -> Restored:
    """State and records to go on from: those of a checkpoint, or none."""
    if checkpoints is None:
        if resume:
            raise InvalidInput("resume is True, but checkpoints is None; say where they are.")
        return Restored(state, Tape())
    if resume:
        return checkpoints.restore(state, made_with)
    latest = checkpoints.latest()
    if latest is not None and latest > int(np.asarray(state.step).max()):
        raise InvalidInput(
            f"checkpoints: {checkpoints.directory} holds step {latest} of an earlier run, which "
            "this one would mix with; resume it, or give another directory."
        )
    return Restored(state, Tape())


def _continued(
    flow: AbstractFlow,
    state: FlowState,
    dt: float | None,
    fast: PyTree | None,
    key: Array | SharedNoise | None,
    batch: bool,
) -> FlowState:
    if fast is not None:
        raise InvalidInput("fast is given, but start is a state, which holds the fast variables.")
    if key is not None:
        raise InvalidInput("key is given, but start is a state, which holds the key.")

    def anew(s: FlowState) -> FlowState:
        return flow.start(s.ensemble, s.dt, s.fast, whole_key(s.key))

    like = jax.eval_shape(jax.vmap(anew) if batch else anew, state)
    if jax.tree.structure(like) != jax.tree.structure(state):
        raise InvalidInput(
            "start is the state of another flow (other particles, scheme or kind of timescale "
            "ratio); go on from its ensemble instead."
        )
    if dt is not None:
        require_step(dt, state.dt.dtype)
        state = eqx.tree_at(lambda s: s.dt, state, jnp.full_like(state.dt, dt))
    return eqx.tree_at(lambda s: s.finite, state, jnp.ones_like(state.finite))
