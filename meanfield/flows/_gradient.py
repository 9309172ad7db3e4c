"""The Wasserstein gradient flow of a landscape, and the dynamics built upon it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Key, PyTree

from landscapes import Landscape
from particles import Ensemble, InvalidInput
from particles.internal import leaf_names, require_finite

from ._jumps import diffused, resampled
from ._schemes import Scheme, scheme_from
from ._state import FlowState, Observation


class GradientFlow(eqx.Module):
    """dθ/dt = −∇_θ δL/δμ[μ](θ), with d(fast)/dt = −(1/ε) ∇_fast R when there are fast variables.

    (theory.md, sections 1 and 2; CB18, KS24) The dynamics built upon it are options, and combine:

    - `temperature` τ adds √(2τ) dB to every particle: mean-field Langevin dynamics, the flow of
      the free energy L(μ) + τ ∫ log μ dμ (see `entropy`). The noise follows each step of the
      scheme, so with `euler` this is Euler–Maruyama; it is of weak order one with any scheme.
    - `birth_death` α moves weights too, dp_i/dt = −α p_i (V(θ_i) − ∫V dμ) with V = δL/δμ: the
      Wasserstein–Fisher–Rao flow, −dL/dt = ∫‖∇V‖² dμ + α Var_μ(V). `resample_below` s redraws
      the particles with equal weights once 1/Σp² falls below s·N.
    - `batch_size` B takes every step on B freshly drawn prompts (`Landscape.minibatch`): with
      `euler`, stochastic gradient descent whose learning rate is the step. Records show the full
      landscape.

    Args:
        landscape: any landscape.
        scheme: `euler`, `heun`, `bosh3`, `tsit5`, `adaptive`, or a `Scheme`.
        ratio: timescale ratio ε. `None` is the limit ε → 0, the fast variables always at
            `solve_fast`; `math.inf` freezes them at their start; anything between couples them.
        temperature: τ ≥ 0 of entropic noise, in units of the loss; `None` for none.
        birth_death: rate α ≥ 0 of birth and death, per unit of loss and time; `None` for none.
        resample_below: share s of N, between 0 and 1, or `None` never to resample.
        batch_size: prompts per step, or `None` for the full landscape.
        projection: applied to the ensemble after every step, such as the restriction to an
            invariant set that round-off would leave.
        chunk: particles held at once; chosen from the size of the features by default.

    Raises:
        InvalidInput: unknown scheme, an option out of range, noise with a controlled step, or a
            ratio for a landscape without fast variables.

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
    temperature: Float[Array, ""] | None
    birth_death: Float[Array, ""] | None
    resample_below: Float[Array, ""] | None
    projection: Callable[[Ensemble], Ensemble] | None
    batch_size: int | None = eqx.field(static=True)
    chunk: int | None = eqx.field(static=True)

    def __init__(
        self,
        landscape: Landscape,
        *,
        scheme: str | Scheme = "heun",
        ratio: float | None = None,
        temperature: float | None = None,
        birth_death: float | None = None,
        resample_below: float | None = None,
        batch_size: int | None = None,
        projection: Callable[[Ensemble], Ensemble] | None = None,
        chunk: int | None = None,
    ):
        if ratio is not None and not ratio > 0:
            raise InvalidInput(
                f"ratio is {ratio}; it must be positive, math.inf to freeze the fast variables, or "
                "None for the two-timescale limit."
            )
        for name, value in {"temperature": temperature, "birth_death": birth_death}.items():
            if value is not None and not 0 <= value < math.inf:
                raise InvalidInput(f"{name} is {value}; it must be finite and not negative.")
        if resample_below is not None and not 0 < resample_below <= 1:
            raise InvalidInput(f"resample_below is {resample_below}; it must lie in (0, 1].")
        if batch_size is not None and batch_size < 1:
            raise InvalidInput(f"batch_size is {batch_size}; a batch needs at least one prompt.")
        self.landscape = landscape
        self.scheme = scheme_from(scheme)
        self.inverse_ratio = _scalar(None if ratio is None else 1.0 / ratio)
        self.temperature, self.birth_death = _scalar(temperature), _scalar(birth_death)
        self.resample_below = _scalar(resample_below)
        self.batch_size = batch_size
        self.projection = projection
        self.chunk = chunk
        if self.scheme.adaptive and (temperature is not None or batch_size is not None):
            raise InvalidInput(
                "scheme is adaptive, whose error estimate takes noise for error; with temperature "
                "or batch_size choose a fixed step, such as 'euler'."
            )

    @property
    def random(self) -> bool:
        """Whether steps draw random numbers."""
        return any(o is not None for o in (self.temperature, self.resample_below, self.batch_size))

    @property
    def ratio(self) -> float | None:
        """Timescale ratio ε; `None` for the limit, infinity for frozen fast variables."""
        if self.inverse_ratio is None:
            return None
        inverse = float(self.inverse_ratio)
        return math.inf if inverse == 0 else 1 / inverse

    def start(
        self,
        ensemble: Ensemble,
        dt: float | Array,
        fast: PyTree | None = None,
        key: Key[Array, ""] | None = None,
    ) -> FlowState:
        """The state at time zero.

        Args:
            ensemble: N particles.
            dt: step size in flow time (the first one, for an adaptive scheme).
            fast: start of the fast variables; by default their equilibrium.
            key: random key, needed where steps are random.

        Raises:
            InvalidInput: non-finite particles, a step that is not positive, particles of another
                landscape, `fast` given in the two-timescale limit, or a missing key.
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
        if self.random and key is None:
            raise InvalidInput(
                "key is missing; a flow with temperature, resampling or batches draws random "
                "numbers: give it jax.random.key(seed)."
            )
        if self.birth_death is not None:
            ensemble = ensemble.with_weights(ensemble.probabilities)
        zero, dt = jnp.zeros((), dtype), jnp.asarray(dt, dtype)
        y = (*self._moving(ensemble), fast, zero)
        raw = jax.random.key_data(key) if self.random and key is not None else None
        first = None if raw is None else jax.random.wrap_key_data(raw)
        return FlowState(
            time=zero,
            time_error=zero,
            step=jnp.zeros((), jnp.int32),
            ensemble=ensemble,
            fast=fast,
            dissipated=zero,
            dt=dt,
            finite=jnp.asarray(True),
            carried=self.scheme.start(self._field(ensemble, self._seen(first)), dt, y),
            key=raw,
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
        key = None
        if state.key is not None:
            key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        y = (*self._moving(state.ensemble), state.fast, state.dissipated)
        field = self._field(state.ensemble, self._seen(key))
        jumped = jnp.asarray(self.projection is not None or self.random)
        new, keep, next_dt, carried = self.scheme.step(field, dt, y, state.carried, jumped)
        particles, log_weights, fast, dissipated = new
        time, time_error = _add_exactly(state.time, state.time_error, dt)
        if adaptive:
            finite = keep | (next_dt > 4 * jnp.finfo(next_dt.dtype).eps * state.time)
            # A step cut short ends on the spot, and must not shorten the next one.
            cut = remaining < state.dt
            time, time_error = jnp.where(cut, until, time), jnp.where(cut, 0, time_error)
            next_dt = jnp.where(keep & cut, jnp.maximum(next_dt, state.dt), next_dt)
        else:
            # Every stage's ‖velocity‖² enters the dissipated energy: one number tells for all.
            finite = jnp.isfinite(dissipated)
        taken = FlowState(
            time=time,
            time_error=time_error,
            step=state.step + 1,
            ensemble=self._jump(key, dt, _pushed(state.ensemble, particles, log_weights)),
            fast=fast,
            dissipated=dissipated,
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

    def _seen(self, key: Array | None) -> Landscape:
        """The landscape one step sees: itself, or through a fresh batch."""
        if self.batch_size is None or key is None:
            return self.landscape
        return self.landscape.minibatch(jax.random.fold_in(key, 0), self.batch_size)

    def _jump(self, key: Array | None, dt: Array, ensemble: Ensemble) -> Ensemble:
        """What happens between two steps of the scheme: noise, resampling, projection."""
        if self.temperature is not None and key is not None:
            variance = 2 * self.temperature * dt
            ensemble = diffused(jax.random.fold_in(key, 1), ensemble, variance)
        if self.resample_below is not None and key is not None:
            ensemble = resampled(jax.random.fold_in(key, 2), ensemble, self.resample_below)
        return ensemble if self.projection is None else self.projection(ensemble)

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
        seen = self._rates(self.landscape, state.ensemble, state.fast)
        moments, value, (velocity, _, _), rate = seen
        norm = state.ensemble.norm(velocity)
        return Observation(value, norm, rate, self.landscape.observables(moments))

    def _rates(
        self, landscape: Landscape, ensemble: Ensemble, fast: PyTree | None
    ) -> tuple[PyTree, Array, tuple[PyTree, Array | None, PyTree], Array]:
        """Moments, value, velocity of (particles, log-weights, fast variables), dissipation."""
        moments = landscape.moments(ensemble, chunk=self.chunk)
        value, dual, slope = landscape.value_and_slopes(moments, fast)
        if self.birth_death is None:
            gradient = landscape.gradient_field(ensemble, dual, chunk=self.chunk)
            growth, rate = None, ensemble.inner(gradient, gradient)
        else:
            potential, gradient = landscape.potential_and_gradient(ensemble, dual, chunk=self.chunk)
            excess = potential - jnp.sum(ensemble.probabilities * potential)
            growth = -jnp.asarray(self.birth_death, value.dtype) * excess
            rate = ensemble.inner(gradient, gradient)
            rate = rate - jnp.sum(ensemble.probabilities * growth * excess)
        if fast is not None:
            inverse = jnp.asarray(self.inverse_ratio, value.dtype)
            rate = rate + inverse * sum(jnp.sum(s**2) for s in jax.tree.leaves(slope))
            slope = jax.tree.map(lambda s: -inverse * s, slope)
        return moments, value, (jax.tree.map(jnp.negative, gradient), growth, slope), rate

    def _field(self, ensemble: Ensemble, landscape: Landscape) -> diffrax.ODETerm:
        """Velocity of (particles, log-weights, fast, dissipated) on a landscape."""

        def velocity(time: Any, y: PyTree, args: None) -> PyTree:
            particles, log_weights, fast, dissipated = y
            here = _pushed(ensemble, particles, log_weights)
            _, _, moving, rate = self._rates(landscape, here, fast)
            return *moving, rate.astype(dissipated.dtype)

        return diffrax.ODETerm(velocity)

    def _moving(self, ensemble: Ensemble) -> tuple[PyTree, Array | None]:
        """What the scheme moves of an ensemble: particles, and log-weights where they move."""
        if self.birth_death is None:
            return ensemble.particles, None
        return ensemble.particles, jnp.log(ensemble.probabilities)


def _pushed(ensemble: Ensemble, particles: PyTree, log_weights: Array | None) -> Ensemble:
    moved = ensemble.with_particles(particles)
    return moved if log_weights is None else moved.with_weights(jax.nn.softmax(log_weights))


def _scalar(value: float | None) -> Float[Array, ""] | None:
    return None if value is None else jnp.asarray(value, float)


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
