"""What a flow needs to go on, and what it shows of itself."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, PyTree, UInt32

from landscapes import Observable
from particles import Ensemble

from ._noise import SharedNoise


class FlowState(eqx.Module):
    """What the next step needs, and nothing else; a pytree that can be saved and restored.

    Args:
        time: flow time.
        time_error: what rounding has added to `time`: the clock is a compensated sum, so that
            millions of small steps neither drift nor stall, in float32 either.
        step: accepted steps so far.
        ensemble: the particles.
        momentum: their velocities, where these are part of the state; `None` in flows of first
            order.
        fast: fast variables, or `None` in the two-timescale limit.
        dissipated: ∫ (−dE/dt) dt so far, integrated by the same scheme as the particles, so that
            E(t) + dissipated is constant up to the scheme's error (without projection or noise).
        dt: size of the next step.
        finite: false once no step could be taken, for a non-finite number or, with error control,
            because the step vanished; the state before that step is kept.
        carried: the scheme's own memory.
        key: raw data of the random key, from which every step derives its own; `None` where nothing
            is random. Or the noise that ensembles share.
    """

    time: Float[Array, ""]
    time_error: Float[Array, ""]
    step: Int[Array, ""]
    ensemble: Ensemble
    momentum: PyTree | None
    fast: PyTree | None
    dissipated: Float[Array, ""]
    dt: Float[Array, ""]
    finite: Bool[Array, ""]
    carried: PyTree
    key: UInt32[Array, "..."] | SharedNoise | None


class Observation(NamedTuple):
    """What the flow looks like at one state; only for looking.

    Args:
        loss: L(μ), or R(m, fast) off the limit.
        energy: E, what the flow loses by dissipation: the loss, plus the kinetic energy
            ½ ∫ ‖V‖² dμ where there is a momentum V.
        gradient_norm: ‖∇δL/δμ‖ in L²(μ).
        dissipation_rate: −dE/dt as theory has it, without noise.
        observables: what the landscape says of its moments, and the flow of itself.
    """

    loss: Float[Array, ""]
    energy: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    dissipation_rate: Float[Array, ""]
    observables: dict[str, Observable]
