"""What a flow is: all that the loop, the records, provenance and failure reports ask of one."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from landscapes import AbstractLandscape, StartWarning
from particles import Ensemble

from ._noise import SharedNoise, whole_key
from ._state import FlowState, Observation

F = TypeVar("F", bound="AbstractFlow")


class Balance(NamedTuple):
    """How the energy of a flow must fall: energy lost ≥ `share` × energy dissipated, up to `rtol`.

    Args:
        share: least share, between 0 and 1. On a mode of curvature λ explicit Euler loses the share
            1 − λdt/2 of what it counts as dissipated: it vanishes where the step becomes unstable.
        rtol: error allowed to the scheme besides round-off, relative to the energies.
        since_start: whether the balance is drawn since the start of the run, or from record to
            record. An energy that is exchanged, not only lost, errs both ways in an oscillation.
    """

    share: float
    rtol: float = 0.0
    since_start: bool = False


class AbstractFlow(eqx.Module):
    """Dynamics of an ensemble: a pure step from state to state, and what it shows of itself.

    `simulate`, the records, checkpoints and failure reports need nothing else. Write `start`,
    `step`, `observe`, `describe`, `random` and `balance`; the rest is derived. Flows that a
    Runge–Kutta scheme moves derive from `AbstractSchemeFlow`, which writes the step.

    Args:
        landscape: what the flow descends.
        chunk: particles held at once; `None` chooses.

    Example:
        >>> from landscapes import RegressionLandscape
        >>> from meanfield.flows import GradientFlow
        >>> flow = GradientFlow(RegressionLandscape(jnp.ones((1, 1)), jnp.ones((1, 1))))
        >>> isinstance(flow, AbstractFlow), flow.random, flow.balance
        (True, False, Balance(share=0.1, rtol=0.0, since_start=False))
    """

    landscape: eqx.AbstractVar[AbstractLandscape]
    chunk: eqx.AbstractVar[int | None]

    @abc.abstractmethod
    def start(
        self,
        ensemble: Ensemble,
        dt: float | Array,
        fast: PyTree | None = None,
        key: Key[Array, ""] | SharedNoise | None = None,
    ) -> FlowState:
        """The state at time zero.

        Args:
            ensemble: N particles.
            dt: step size in flow time (the first one, where the step is controlled).
            fast: start of the fast variables, for flows off the two-timescale limit.
            key: random key, needed where steps are random; or noise that ensembles share.

        Raises:
            InvalidInput: an ensemble or option that the flow cannot start from.
        """

    @abc.abstractmethod
    def step(self, state: FlowState, until: float | Array = math.inf) -> FlowState:
        """One step, not past time `until`; pure, for `jit` and `vmap`.

        A step that would make anything non-finite is not taken: `finite` turns false instead.
        """

    @abc.abstractmethod
    def observe(self, state: FlowState) -> Observation:
        """What is recorded of a state; pure, for `jit` and `vmap`."""

    @abc.abstractmethod
    def describe(self) -> dict[str, str | int | float]:
        """How the flow is set up, as plain values for the attributes of files."""

    @property
    @abc.abstractmethod
    def random(self) -> bool:
        """Whether steps draw random numbers."""

    @property
    @abc.abstractmethod
    def balance(self) -> Balance | None:
        """How the energy must fall, or `None` where it need not."""

    def with_chunk(self: F, chunk: int | None) -> F:
        """The same flow with another number of particles held at once."""
        new = object.__new__(type(self))
        for field in dataclasses.fields(self):
            object.__setattr__(new, field.name, getattr(self, field.name))
        object.__setattr__(new, "chunk", chunk)
        return new

    def restarted(self, state: FlowState, ensemble: Ensemble) -> FlowState:
        """The state at the same time with other particles, at rest, in the two-timescale limit."""
        fresh = self.start(ensemble, state.dt, key=whole_key(state.key))
        clock = lambda s: (s.time, s.time_error, s.step, s.dissipated)  # noqa: E731
        return eqx.tree_at(clock, fresh, clock(state))

    def concerns(self, ensemble: Ensemble) -> list[StartWarning]:
        """Sentences about what may mislead in a run from this ensemble."""
        return self.landscape.concerns(ensemble)

    @property
    def shares_noise(self) -> bool:
        """Whether ensembles can share their noise, so that studies can compare them."""
        return not self.random

    @property
    def controlled(self) -> bool:
        """Whether the step size follows an error estimate; then times are met on the spot."""
        return False

    @property
    def ratio(self) -> float | None:
        """Timescale ratio of the fast variables; `None` for the limit: always at equilibrium."""
        return None

    def time_scale(self, curvature: float, fast_curvature: float = 0.0) -> float:
        """Shortest time scale where the landscape curves so much: a step that is stable.

        Args:
            curvature: largest eigenvalue of the Wasserstein Hessian.
            fast_curvature: largest eigenvalue of the risk's Hessian in the fast variables.
        """
        fast_rate = 0.0 if self.ratio is None else fast_curvature / self.ratio
        fastest = max(curvature, fast_rate)
        return 1 / fastest if fastest > 0 else math.inf

    @property
    def slack(self) -> float:
        """Steps by which a time may be missed and still count as reached."""
        return 0.0 if self.controlled else 0.5

    def reached(self, time: Any, dt: Any, until: Any) -> Any:
        """Whether a state at `time`, or each of a batch, is at time `until`; all of one dtype.

        A fixed step is there at the step nearest to it. Arrays of the device or of the host:
        half a step is exact, so that both never disagree about it.
        """
        return time >= until - self.slack * dt

    def advance(self, state: FlowState, until: Array, max_steps: Array) -> FlowState:
        """Steps up to time `until` (a fixed step: to the nearest), at most `max_steps` of them.

        Both bounds are traced: changing them never recompiles.
        """
        until = jnp.asarray(until, state.time.dtype)

        def unfinished(carry: tuple[FlowState, Array]) -> Array:
            state, tries = carry
            return ~self.reached(state.time, state.dt, until) & (tries < max_steps) & state.finite

        def once(carry: tuple[FlowState, Array]) -> tuple[FlowState, Array]:
            state, tries = carry
            return self.step(state, until), tries + 1

        return jax.lax.while_loop(unfinished, once, (state, jnp.zeros((), jnp.int32)))[0]


def scalar(value: Any) -> Float[Array, ""]:
    """An option as an array, so that changing it never recompiles."""
    return jnp.asarray(value, float)
