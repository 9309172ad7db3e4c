"""Why a run failed, and which step would not have."""

from __future__ import annotations

import contextlib

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from particles import Ensemble
from particles.internal import leaf_names
from saddle_analysis import HessianOperator, extreme_eigenpairs

from ..flows import AbstractFlow, FlowState
from ._outcome import Outcome


def stable_step(flow: AbstractFlow, start: Ensemble | FlowState) -> float:
    """A step that is stable at an ensemble or state: `flow.time_scale` of its curvature.

    For the gradient flow that is 1/λ_max, half of what explicit Euler could take, with the
    Wasserstein Hessian and, at a finite timescale ratio ε, the fast variables' Hessian over ε.
    Infinite where nothing curves upwards.
    """
    key = jax.random.key(0)  # random steps have curvature too
    state = start if isinstance(start, FlowState) else flow.start(start, dt=1.0, key=key)
    operator = HessianOperator(flow.landscape, state.ensemble, state.fast, chunk=flow.chunk)
    curvature = float(extreme_eigenpairs(operator, which="largest", tolerance=1e-2).values[-1])
    stiff = 0.0
    if state.fast is not None:
        flat, unravel = jax.flatten_util.ravel_pytree(state.fast)

        def value(v: Array) -> Array:
            return flow.landscape.value(state.ensemble, unravel(v), chunk=flow.chunk)

        stiff = float(jnp.linalg.eigvalsh(jax.hessian(value)(flat))[-1])
    return flow.time_scale(curvature, stiff)


def explain_failure(
    flow: AbstractFlow,
    first: FlowState | None,
    state: FlowState,
    outcome: Outcome,
    batch: bool,
) -> str:
    """One sentence with step, time, offending quantity and a step to try instead.

    Args:
        flow: the flow that ran.
        first: where it started, if that was kept.
        state: the last good state.
        outcome: how it failed.
        batch: whether the states carry a seed axis.
    """
    where = ""
    if batch:
        lost = np.flatnonzero(~np.asarray(state.finite))
        seed = int(lost[0]) if lost.size else 0
        first, state = jax.tree.map(lambda leaf: leaf[seed], (first, state))
        where = f"in seed {seed} "
    looked = jax.block_until_ready(_looked(flow, state))
    culprit = _first_bad(looked) or _fastest(looked["velocity"])
    if int(state.step) == 0 and _first_bad(looked):
        advice = "No step was taken: look at the landscape's data and at the start."
    elif flow.controlled:
        advice = (
            "The velocity is singular nearby, or rtol and atol are below what the precision "
            "resolves."
        )
    else:
        advice = _smaller_step(flow, first, state, looked["loss"])
    return (
        f"the run {outcome.value}: {where}at step {int(state.step)}, t = {float(state.time):.6g} "
        f"with dt = {float(state.dt):.3g}; {culprit}. {advice}"
    )


@eqx.filter_jit
def _looked(flow: AbstractFlow, state: FlowState) -> dict[str, PyTree]:
    """What may be no number, in one program."""
    seen = flow.landscape.first_order(state.ensemble, state.fast, chunk=flow.chunk)
    return {
        "moments": seen.moments,
        "loss": seen.value,
        "velocity": seen.velocity,
        "fast": state.fast,
    }


def _smaller_step(
    flow: AbstractFlow, first: FlowState | None, state: FlowState, loss: Array
) -> str:
    remedy = 0.5 * float(state.dt)
    # Curvature often grows along the flow, but where the loss has exploded it says nothing.
    known = [] if first is None else [first]
    if all(loss <= flow.landscape.value(s.ensemble, s.fast, chunk=flow.chunk) for s in known):
        known = [*known, state]
    for looked_at in known:
        with contextlib.suppress(ValueError, RuntimeError, FloatingPointError):
            remedy = min(remedy, stable_step(flow, looked_at))
    return f"Try dt = {remedy:.2g}, or the adaptive scheme."


def _first_bad(tree: PyTree) -> str | None:
    for name, leaf in zip(leaf_names(tree), jax.tree.leaves(tree), strict=True):
        bad = ~jnp.isfinite(leaf)
        if bool(jnp.any(bad)):
            index = [int(i) for i in jnp.unravel_index(jnp.argmax(bad), leaf.shape)]
            return f"{name}{index or ''} is {float(leaf[tuple(index)])}"
    return None


def _fastest(velocity: PyTree) -> str:
    """The leaf and particle that move fastest: the usual suspect of an unstable step."""
    sizes = {
        name: jnp.max(jnp.abs(leaf).reshape(leaf.shape[0], -1), axis=1)
        for name, leaf in zip(leaf_names(velocity), jax.tree.leaves(velocity), strict=True)
    }
    name = max(sizes, key=lambda n: float(jnp.max(sizes[n])))
    particle = int(jnp.argmax(sizes[name]))
    speed = float(sizes[name][particle])
    return f"the fastest particle is {particle}, whose {name} moves at {speed:.3g}"
