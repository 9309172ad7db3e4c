"""The Wasserstein gradient flow of a landscape, alone or coupled to fast variables."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, PyTree

from landscapes import Landscape
from particles import Ensemble, InvalidInput, leaf_names, require_finite

from ._schemes import Scheme, scheme_from


class FlowState(eqx.Module):
    """What the next step needs, and nothing else; a pytree that can be saved and restored.

    Args:
        time: flow time.
        time_error: what rounding has added to `time`: the clock is a compensated sum, so that
            millions of small steps neither drift nor stall, in float32 either.
        step: accepted steps so far.
        ensemble: the particles.
        fast: fast variables, or `None` in the two-timescale limit.
        dissipated: ∫ (−dL/dt) dt so far, integrated by the same scheme as the particles, so that
            L(t) + dissipated is constant up to the scheme's error (without a projection).
        dt: size of the next step.
        finite: false once no step could be taken, for a non-finite number or, with error control,
            because the step vanished; the state before that step is kept.
        carried: the scheme's own memory.
    """

    time: Float[Array, ""]
    time_error: Float[Array, ""]
    step: Int[Array, ""]
    ensemble: Ensemble
    fast: PyTree | None
    dissipated: Float[Array, ""]
    dt: Float[Array, ""]
    finite: Bool[Array, ""]
    carried: PyTree


class Observation(NamedTuple):
    """What the flow looks like at one state; only for looking.

    Args:
        loss: L(μ), or R(m, fast) off the limit.
        gradient_norm: ‖∇δL/δμ‖ in L²(μ).
        dissipation_rate: −dL/dt as theory has it: the squared gradient norm, plus the fast
            variables' share ‖∇_fast R‖²/ε.
        observables: what the landscape says of its moments.
    """

    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    dissipation_rate: Float[Array, ""]
    observables: dict[str, Array]


class GradientFlow(eqx.Module):
    """dθ/dt = −∇_θ δL/δμ[μ](θ), with d(fast)/dt = −(1/ε) ∇_fast R when there are fast variables.

    (theory.md, sections 1 and 2; CB18, KS24)

    Args:
        landscape: any landscape.
        scheme: `euler`, `heun`, `bosh3`, `tsit5`, `adaptive`, or a `Scheme`.
        ratio: timescale ratio ε. `None` is the limit ε → 0, the fast variables always at
            `solve_fast`; `math.inf` freezes them at their start; anything between couples them.
        projection: applied to the ensemble after every step, such as the restriction to an
            invariant set that round-off would leave.
        chunk: particles held at once; chosen from the size of the features by default.

    Raises:
        InvalidInput: unknown scheme, a ratio that is not positive, or a ratio for a landscape
            without fast variables.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[1.0]]), "relu")
        >>> flow = GradientFlow(landscape, scheme="heun")
        >>> mu = Ensemble(Neuron(a=jnp.array([[0.5]]), w=jnp.array([[0.5]])))
        >>> state = flow.start(mu, dt=0.1)
        >>> step = eqx.filter_jit(flow.step)
        >>> for _ in range(100):
        ...     state = step(state)
        >>> round(float(landscape.value(state.ensemble)), 6)
        0.0
    """

    landscape: Landscape
    scheme: Scheme
    inverse_ratio: Float[Array, ""] | None
    projection: Callable[[Ensemble], Ensemble] | None
    chunk: int | None = eqx.field(static=True)

    def __init__(
        self,
        landscape: Landscape,
        *,
        scheme: str | Scheme = "heun",
        ratio: float | None = None,
        projection: Callable[[Ensemble], Ensemble] | None = None,
        chunk: int | None = None,
    ):
        if ratio is not None and not ratio > 0:
            raise InvalidInput(
                f"ratio is {ratio}; it must be positive, math.inf to freeze the fast variables, or "
                "None for the two-timescale limit."
            )
        self.landscape = landscape
        self.scheme = scheme_from(scheme)
        self.inverse_ratio = None if ratio is None else jnp.asarray(1.0 / ratio)
        self.projection = projection
        self.chunk = chunk

    @property
    def ratio(self) -> float | None:
        """Timescale ratio ε; `None` for the limit, infinity for frozen fast variables."""
        if self.inverse_ratio is None:
            return None
        inverse = float(self.inverse_ratio)
        return math.inf if inverse == 0 else 1 / inverse

    def start(self, ensemble: Ensemble, dt: float | Array, fast: PyTree | None = None) -> FlowState:
        """The state at time zero.

        Args:
            ensemble: N particles.
            dt: step size in flow time (the first one, for an adaptive scheme).
            fast: start of the fast variables; by default their equilibrium.

        Raises:
            InvalidInput: non-finite particles, a step that is not positive, particles of another
                landscape, or `fast` given in the two-timescale limit.
        """
        require_step(dt)
        dtype = _common_type(ensemble)
        require_finite("ensemble", ensemble.particles)
        self.landscape.require_fit(ensemble)
        if self.inverse_ratio is None and fast is not None:
            raise InvalidInput(
                "fast is given, but ratio is None (the two-timescale limit), where the fast "
                "variables are always at equilibrium; give the flow a ratio."
            )
        if self.inverse_ratio is not None and fast is None:
            fast = self.landscape.solve_fast(self.landscape.moments(ensemble, chunk=self.chunk))
            if fast is None:
                raise InvalidInput(
                    "ratio is given, but the landscape has no fast variables (solve_fast returns "
                    "None); leave ratio at None."
                )
        zero, dt = jnp.zeros((), dtype), jnp.asarray(dt, dtype)
        y = (ensemble.particles, fast, zero)
        return FlowState(
            time=zero,
            time_error=zero,
            step=jnp.zeros((), jnp.int32),
            ensemble=ensemble,
            fast=fast,
            dissipated=zero,
            dt=dt,
            finite=jnp.asarray(True),
            carried=self.scheme.start(self._field(ensemble), dt, y),
        )

    def step(self, state: FlowState, until: float | Array = math.inf) -> FlowState:
        """One step of the scheme, not past time `until`; pure, for `jit` and `vmap`.

        A step that would make anything non-finite is not taken: `finite` turns false instead, or
        the next one is shorter where the error is controlled.
        """
        adaptive = self.scheme.adaptive
        until = jnp.asarray(until, state.time.dtype)
        remaining = until - state.time
        dt = jnp.minimum(state.dt, remaining) if adaptive else state.dt
        y = (state.ensemble.particles, state.fast, state.dissipated)
        field = self._field(state.ensemble)
        jumped = jnp.asarray(self.projection is not None)
        new, keep, next_dt, carried = self.scheme.step(field, dt, y, state.carried, jumped)
        time, time_error = _add_exactly(state.time, state.time_error, dt)
        if adaptive:
            finite = keep | (next_dt > 4 * jnp.finfo(next_dt.dtype).eps * state.time)
            # A step cut short ends on the spot, and must not shorten the next one.
            cut = remaining < state.dt
            time, time_error = jnp.where(cut, until, time), jnp.where(cut, 0, time_error)
            next_dt = jnp.where(keep & cut, jnp.maximum(next_dt, state.dt), next_dt)
        else:
            # Every stage's ‖velocity‖² enters the dissipated energy: one number tells for all.
            finite = jnp.isfinite(new[2])
        ensemble = state.ensemble.with_particles(new[0])
        if self.projection is not None:
            ensemble = self.projection(ensemble)
        taken = FlowState(
            time=time,
            time_error=time_error,
            step=state.step + 1,
            ensemble=ensemble,
            fast=new[1],
            dissipated=new[2],
            dt=next_dt,
            finite=finite,
            carried=carried,
        )
        refused = eqx.tree_at(
            lambda s: (s.dt, s.finite, s.carried),
            state,
            (jnp.where(finite, next_dt, state.dt), finite, carried),
            is_leaf=lambda leaf: leaf is None,
        )
        return jax.tree.map(lambda new, old: jnp.where(keep & finite, new, old), taken, refused)

    @property
    def slack(self) -> float:
        """Steps by which a time may be missed and still count as reached."""
        return 0.0 if self.scheme.adaptive else 0.5

    def reached(self, state: FlowState, until: float | Array) -> Bool[Array, "..."]:
        """Whether a state, or each of a batch, is at time `until`.

        A fixed step is there at the step nearest to it.
        """
        # Exact arithmetic, so that host and compiled code never disagree about it.
        return state.time >= jnp.asarray(until, state.time.dtype) - self.slack * state.dt

    def advance(self, state: FlowState, until: Array, max_steps: Array) -> FlowState:
        """Steps up to time `until` (a fixed step: to the nearest), at most `max_steps` of them.

        Both bounds are traced: changing them never recompiles.
        """

        def unfinished(carry: tuple[FlowState, Array]) -> Array:
            state, tries = carry
            return ~self.reached(state, until) & (tries < max_steps) & state.finite

        def once(carry: tuple[FlowState, Array]) -> tuple[FlowState, Array]:
            state, tries = carry
            return self.step(state, until), tries + 1

        return jax.lax.while_loop(unfinished, once, (state, jnp.zeros((), jnp.int32)))[0]

    def observe(self, state: FlowState) -> Observation:
        """Loss, gradient norm, dissipation rate and the landscape's observables at a state."""
        moments, value, velocity, rate = self._rates(state.ensemble, state.fast)
        norm = state.ensemble.norm(velocity[0])
        return Observation(value, norm, rate, self.landscape.observables(moments))

    def _rates(
        self, ensemble: Ensemble, fast: PyTree | None
    ) -> tuple[PyTree, Array, tuple[PyTree, PyTree], Array]:
        """Moments, value, velocity of particles and fast variables, dissipation rate."""
        landscape = self.landscape
        moments = landscape.moments(ensemble, chunk=self.chunk)
        value, dual, slope = landscape.value_and_slopes(moments, fast)
        gradient = landscape.gradient_field(ensemble.particles, dual, chunk=self.chunk)
        rate = ensemble.inner(gradient, gradient)
        if fast is not None:
            inverse = jnp.asarray(self.inverse_ratio, value.dtype)
            rate = rate + inverse * sum(jnp.sum(s**2) for s in jax.tree.leaves(slope))
            slope = jax.tree.map(lambda s: -inverse * s, slope)
        return moments, value, (jax.tree.map(jnp.negative, gradient), slope), rate

    def _field(self, ensemble: Ensemble) -> diffrax.ODETerm:
        """Velocity of (particles, fast, dissipated)."""

        def velocity(time: Any, y: PyTree, args: None) -> PyTree:
            particles, fast, dissipated = y
            _, _, moving, rate = self._rates(ensemble.with_particles(particles), fast)
            return *moving, rate.astype(dissipated.dtype)

        return diffrax.ODETerm(velocity)


def require_step(dt: float | Array) -> None:
    """Refuse a step that is not positive and finite."""
    if not isinstance(dt, Tracer) and not (dt > 0 and math.isfinite(dt)):
        raise InvalidInput(f"dt is {dt}; the step must be positive and finite.")


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
