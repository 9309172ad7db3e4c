"""Flows that a scheme moves: the step, its clock and its refusals, written once."""

from __future__ import annotations

import abc
import math
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Key, PyTree

from landscapes import AbstractLandscape, Observable, StartWarning
from particles import Ensemble, InvalidInput
from particles.internal import leaf_names, require_finite

from ._base import AbstractFlow, Balance
from ._jumps import Jump, Projection, remaining_balance
from ._noise import SharedNoise, common_key, own_keys, raw_key, require_shared, whole_key
from ._scheme import AbstractScheme, Field
from ._state import FlowState, Observation

ENERGY_SHARE = 0.1  # of the dissipated energy, that must at least have been lost


class Moving(NamedTuple):
    """What the scheme moves, or the velocity of it; `None` where a flow has no such part."""

    particles: PyTree
    momentum: PyTree | None
    log_weights: Float[Array, " particles"] | None
    fast: PyTree | None
    dissipated: Float[Array, ""]


class Rates(NamedTuple):
    """What a flow finds at one point: moments, loss, gradient field, and the velocity."""

    moments: PyTree
    loss: Float[Array, ""]
    gradient: PyTree
    velocity: Moving


class AbstractSchemeFlow(AbstractFlow):
    """A flow that is an ordinary differential equation between its jumps.

    Write `_rates` (the velocity of everything that moves), `_begin` (what moves at time zero) and
    the options; start, step and observation follow.

    Args:
        scheme: takes the steps.
        jumps: what happens after every step, in this order.
    """

    scheme: eqx.AbstractVar[AbstractScheme]
    jumps: eqx.AbstractVar[tuple[Jump, ...]]

    @abc.abstractmethod
    def _rates(
        self, landscape: AbstractLandscape, time: Array, ensemble: Ensemble, y: Moving
    ) -> Rates:
        """Loss and velocity on a landscape, which may be a batch's."""

    @abc.abstractmethod
    def _begin(
        self, ensemble: Ensemble, fast: PyTree | None
    ) -> tuple[Ensemble, PyTree | None, PyTree | None]:
        """Ensemble, momentum and fast variables at time zero."""

    @abc.abstractmethod
    def _seen(self, key: Array | None) -> AbstractLandscape:
        """The landscape that one step sees: the whole one, or a fresh batch of it."""

    @property
    @abc.abstractmethod
    def _moves_weights(self) -> bool:
        """Whether weights move with the particles."""

    @abc.abstractmethod
    def _numbers(self, state: FlowState) -> dict[str, Observable]:
        """What is recorded besides, by name."""

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
            dt: step size in flow time (the first one, for an adaptive scheme).
            fast: start of the fast variables; by default their equilibrium.
            key: random key, needed where steps are random; or noise that ensembles share.

        Raises:
            InvalidInput: non-finite particles, a step that is not positive, particles of another
                landscape, `fast` given in the two-timescale limit, or a missing key.
        """
        dtype = _common_type(ensemble)
        require_step(dt, dtype)
        require_finite("ensemble", ensemble.particles)
        self.landscape.require_fit(ensemble)
        if self.landscape.manifold is not None:
            ensemble = self.landscape.onto_manifold(ensemble)
            require_finite("ensemble, on the manifold,", ensemble.particles)
        if self.random and key is None:
            raise InvalidInput(
                "key is missing; a flow with random jumps or batches draws random numbers: give it "
                "jax.random.key(seed)."
            )
        ensemble, momentum, fast = self._begin(ensemble, fast)
        zero, dt = jnp.zeros((), dtype), jnp.asarray(dt, dtype)
        require_shared(self.jumps, key, ensemble.size)
        raw = raw_key(key) if self.random else None
        first = whole_key(raw)
        first = common_key(first, 0) if isinstance(first, SharedNoise) else first
        y = self._moving(ensemble, momentum, fast, zero)
        return FlowState(
            time=zero,
            time_error=zero,
            step=jnp.zeros((), jnp.int32),
            ensemble=ensemble,
            momentum=momentum,
            fast=fast,
            dissipated=zero,
            dt=dt,
            finite=jnp.asarray(True),
            carried=self.scheme.start(self._field(ensemble, self._seen(first), zero), dt, y),
            key=raw,
        )

    def step(self, state: FlowState, until: float | Array = math.inf) -> FlowState:
        """One step of the scheme, not past time `until`; pure, for `jit` and `vmap`.

        A step that would make anything non-finite is not taken: `finite` turns false instead, or
        the next one is shorter where the error is controlled.
        """
        until = jnp.asarray(until, state.time.dtype)
        remaining = until - state.time
        dt = jnp.minimum(state.dt, remaining) if self.controlled else state.dt
        source = whole_key(state.key)
        key = common_key(source, state.step)
        y = self._moving(state.ensemble, state.momentum, state.fast, state.dissipated)
        field = self._field(state.ensemble, self._seen(key), state.time)
        bound = self.landscape.manifold is not None
        jumped = jnp.asarray(bool(self.jumps) or self.random or bound)
        new, keep, next_dt, carried = self.scheme.step(field, dt, y, state.carried, jumped)
        time, time_error = _add_exactly(state.time, state.time_error, dt)
        if self.controlled:
            finite = keep | (next_dt > 4 * jnp.finfo(next_dt.dtype).eps * state.time)
            # A step cut short ends on the spot, and must not shorten the next one.
            cut = remaining < state.dt
            time, time_error = jnp.where(cut, until, time), jnp.where(cut, 0, time_error)
            next_dt = jnp.where(keep & cut, jnp.maximum(next_dt, state.dt), next_dt)
        else:
            finite = _sound(new)
        moved = self.landscape.onto_manifold(_pushed(state.ensemble, new))
        taken = FlowState(
            time=time,
            time_error=time_error,
            step=state.step + 1,
            ensemble=self._jumps_of(source, state.step, dt, moved),
            momentum=new.momentum,
            fast=new.fast,
            dissipated=new.dissipated,
            dt=next_dt,
            finite=finite,
            carried=carried,
            key=state.key,
        )
        refused = eqx.tree_at(
            lambda s: (s.dt, s.finite, s.carried),
            state,
            (jnp.where(finite, next_dt, state.dt), finite, carried),
            is_leaf=lambda leaf: leaf is None,
        )
        return jax.tree.map(lambda new, old: jnp.where(keep & finite, new, old), taken, refused)

    def observe(self, state: FlowState) -> Observation:
        """Loss, energy, gradient norm, dissipation rate and observables of a state."""
        y = self._moving(state.ensemble, state.momentum, state.fast, state.dissipated)
        seen = self._rates(self.landscape, state.time, state.ensemble, y)
        energy = seen.loss
        if state.momentum is not None:
            energy = energy + 0.5 * state.ensemble.inner(state.momentum, state.momentum)
        return Observation(
            loss=seen.loss,
            energy=energy,
            gradient_norm=state.ensemble.norm(seen.gradient),
            dissipation_rate=seen.velocity.dissipated,
            observables=Observable.joined(
                self.landscape.observables(seen.moments),
                self._numbers(state),
                self.scheme.numbers(state.carried),
            ),
        )

    def concerns(self, ensemble: Ensemble) -> list[StartWarning]:
        """The landscape's; none where a projection holds an invariant set on purpose."""
        projected = any(isinstance(jump, Projection) for jump in self.jumps)
        return [] if projected else self.landscape.concerns(ensemble)

    @property
    def shares_noise(self) -> bool:
        """Whether ensembles can share their noise."""
        return all(jump.shares_noise or not jump.random for jump in self.jumps)

    @property
    def controlled(self) -> bool:
        """Whether the step size follows the scheme's error estimate."""
        return self.scheme.adaptive

    def _jumps_of(
        self,
        source: Key[Array, ""] | SharedNoise | None,
        step: Array,
        dt: Array,
        ensemble: Ensemble,
    ) -> Ensemble:
        """All jumps after a step; with shared noise, as many as the noise has increments in it."""
        if not isinstance(source, SharedNoise):
            return self._jump(common_key(source, step), dt, ensemble)
        first, part = step * source.substeps, dt / source.substeps.astype(dt.dtype)

        def once(index: Array, ensemble: Ensemble) -> Ensemble:
            for stream, jump in enumerate(self.jumps):
                key = own_keys(source, first + index, stream + 1) if jump.random else None
                ensemble = jump(key, part, ensemble)
            return ensemble

        return jax.lax.fori_loop(0, source.substeps, once, ensemble)

    def _jump(self, key: Array | None, dt: Array, ensemble: Ensemble) -> Ensemble:
        for index, jump in enumerate(self.jumps):  # stream 0 draws the batch
            own = None if key is None else jax.random.fold_in(key, index + 1)
            ensemble = jump(own, dt, ensemble)
        return ensemble

    def _field(self, ensemble: Ensemble, landscape: AbstractLandscape, now: Array) -> Field:
        """What a step moves along on a landscape, with the time since `now`."""

        def velocity(time: Any, y: Moving, args: None) -> Moving:
            rates = self._rates(landscape, now + time, _pushed(ensemble, y), y).velocity
            return rates._replace(dissipated=rates.dissipated.astype(y.dissipated.dtype))

        return Field(diffrax.ODETerm(velocity), landscape, ensemble, self.chunk)

    def _moving(
        self, ensemble: Ensemble, momentum: PyTree | None, fast: PyTree | None, dissipated: Array
    ) -> Moving:
        log_weights = jnp.log(ensemble.probabilities) if self._moves_weights else None
        return Moving(ensemble.particles, momentum, log_weights, fast, dissipated)

    def _balance_of(self, balance: Balance) -> Balance | None:
        """A balance with the errors of the scheme, and what the jumps leave of it."""
        rtol = max(self.scheme.tolerance, balance.rtol)
        return remaining_balance(balance._replace(rtol=rtol), self.jumps)

    def _description(self, options: dict[str, str | int | float | None]) -> dict[str, Any]:
        """Scheme, options that are given, and jumps."""
        found: dict[str, Any] = {
            "flow": type(self).__name__,
            "scheme": self.scheme.title,
            "adaptive": int(self.controlled),
        }
        found |= {name: value for name, value in options.items() if value is not None}
        for jump in self.jumps:
            found |= jump.describe()
        return found


def checked_jumps(jumps: tuple[Jump, ...], scheme: AbstractScheme) -> tuple[Jump, ...]:
    """Jumps that fit the scheme.

    Raises:
        InvalidInput: not a tuple of jumps, or noise with a controlled step.
    """
    jumps = tuple(jumps) if isinstance(jumps, (tuple, list)) else (jumps,)
    for jump in jumps:
        if not isinstance(jump, Jump):
            raise InvalidInput(
                f"jumps holds a {type(jump).__name__}; it takes a tuple of jumps, such as "
                "(Diffusion(0.1),), and a function of the ensemble as Projection(fn)."
            )
        if jump.fixed_step:
            require_fixed_step(scheme, type(jump).__name__)
    return jumps


def require_fixed_step(scheme: AbstractScheme, what: str) -> None:
    """Refuse a controlled step where an error estimate would take noise for error."""
    if scheme.adaptive:
        raise InvalidInput(
            f"scheme is adaptive, whose error estimate takes noise for error; with {what} choose a "
            "fixed step, such as 'euler'."
        )


def require_step(dt: float | Array, dtype: Any = float) -> None:
    """Refuse a step that is not positive and finite, also as a number of the particles' type."""
    if isinstance(dt, Tracer):
        return
    if not (dt > 0 and math.isfinite(dt)):
        raise InvalidInput(f"dt is {dt}; the step must be positive and finite.")
    if not (0 < float(jnp.asarray(dt, dtype)) < math.inf):
        raise InvalidInput(f"dt is {dt}, which {jnp.dtype(dtype)} does not resolve; change it.")


def _sound(new: Moving) -> Array:
    """Whether a step has met only finite numbers.

    Every stage's ‖velocity‖² enters the dissipated energy: one number tells for all. A momentum is
    looked at itself, since the force of the last stage enters nothing else.
    """
    finite = jnp.isfinite(new.dissipated)
    for leaf in jax.tree.leaves(new.momentum):
        finite = finite & jnp.all(jnp.isfinite(leaf))
    return finite


def _pushed(ensemble: Ensemble, y: Moving) -> Ensemble:
    moved = ensemble.with_particles(y.particles)
    return moved if y.log_weights is None else moved.with_weights(jax.nn.softmax(y.log_weights))


def _common_type(ensemble: Ensemble) -> jnp.dtype:
    """The floating type of the particles."""
    names, leaves = leaf_names(ensemble.particles), jax.tree.leaves(ensemble.particles)
    types = {name: str(leaf.dtype) for name, leaf in zip(names, leaves, strict=True)}
    if len(set(types.values())) > 1 or not jnp.issubdtype(leaves[0].dtype, jnp.floating):
        raise InvalidInput(
            f"ensemble holds particles of types {types}; a flow needs one floating-point type."
        )
    return leaves[0].dtype


def _add_exactly(total: Array, error: Array, term: Array) -> tuple[Array, Array]:
    """One step of a compensated (Kahan) sum: the new total, and what rounding has added to it."""
    corrected = term - error
    new = total + corrected
    return new, (new - total) - corrected
