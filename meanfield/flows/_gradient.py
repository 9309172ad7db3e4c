"""The Wasserstein gradient flow of a landscape, and the dynamics built upon it."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from landscapes import AbstractLandscape, Observable
from particles import Ensemble, InvalidInput

from ._base import Balance, scalar
from ._jumps import Diffusion, Jump, require_rate
from ._proximal import Proximal
from ._scheme import AbstractScheme
from ._scheme_flow import (
    ENERGY_SHARE,
    AbstractSchemeFlow,
    Moving,
    Rates,
    checked_jumps,
    require_fixed_step,
)
from ._schemes import scheme_from
from ._state import FlowState

PROXIMAL_SHARE = 0.5  # of ‖θ' − θ‖²/dt, that a JKO step takes off the energy by its minimality


class GradientFlow(AbstractSchemeFlow):
    """dθ/dt = −m ∇_θ δL/δμ[μ](θ), with d(fast)/dt = −(1/ε) ∇_fast R when there are fast variables.

    (theory.md, sections 1 and 2; CB18, KS24) m is the landscape's mobility, one for most. Further
    dynamics are options, and combine:

    - `birth_death` α moves weights too, dp_i/dt = −α p_i (V(θ_i) − ∫V dμ) with V = δL/δμ: the
      Wasserstein–Fisher–Rao flow, −dL/dt = ∫‖∇V‖² dμ + α Var_μ(V) (LMS18).
    - `batch_size` B takes every step on B freshly drawn prompts (`Landscape.minibatch`): with
      `euler`, stochastic gradient descent whose learning rate is the step. Records show the full
      landscape.
    - `jumps` happen after every step: `Diffusion(τ)` makes it mean-field Langevin dynamics,
      `Resampling(s)` redraws particles whose weights have gone, `Projection(fn)` keeps an
      invariant set; `Jump` is the base of your own.

    Args:
        landscape: any landscape.
        scheme: `euler`, `heun`, `bosh3`, `tsit5`, `adaptive`, or a `Scheme`; or `jko`, the implicit
            step that lowers the energy at any size (`Proximal`).
        ratio: timescale ratio ε. `None` is the limit ε → 0, the fast variables always at
            `solve_fast`; `math.inf` freezes them at their start; anything between couples them.
        birth_death: rate α ≥ 0 of birth and death, per unit of loss and time; `None` for none.
        batch_size: prompts per step, or `None` for the full landscape.
        jumps: what happens between two steps, in this order.
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

    landscape: AbstractLandscape
    scheme: AbstractScheme
    inverse_ratio: Float[Array, ""] | None
    birth_death: Float[Array, ""] | None
    jumps: tuple[Jump, ...]
    batch_size: int | None = eqx.field(static=True)
    chunk: int | None = eqx.field(static=True)

    def __init__(
        self,
        landscape: AbstractLandscape,
        *,
        scheme: str | AbstractScheme = "heun",
        ratio: float | None = None,
        birth_death: float | None = None,
        batch_size: int | None = None,
        jumps: tuple[Jump, ...] = (),
        chunk: int | None = None,
    ):
        if ratio is not None and not ratio > 0:
            raise InvalidInput(
                f"ratio is {ratio}; it must be positive, math.inf to freeze the fast variables, or "
                "None for the two-timescale limit."
            )
        if birth_death is not None:
            require_rate("birth_death", birth_death)
        if batch_size is not None and batch_size < 1:
            raise InvalidInput(f"batch_size is {batch_size}; a batch needs at least one prompt.")
        self.landscape = landscape
        self.scheme = scheme_from(scheme)
        self.inverse_ratio = None if ratio is None else scalar(1.0 / ratio)
        self.birth_death = None if birth_death is None else scalar(birth_death)
        self.batch_size = batch_size
        self.jumps = checked_jumps(jumps, self.scheme)
        self.chunk = chunk
        if batch_size is not None:
            require_fixed_step(self.scheme, "batch_size")
        if self.proximal:
            _require_particles_alone(ratio, birth_death)
        if landscape.mobile:
            _require_velocities_alone(landscape, self.proximal, birth_death, self.jumps)

    @property
    def random(self) -> bool:
        """Whether steps draw random numbers."""
        return self.batch_size is not None or any(jump.random for jump in self.jumps)

    @property
    def balance(self) -> Balance | None:
        """The loss falls by what is dissipated, unless noise or batches disturb it."""
        if self.batch_size is not None:
            return None
        return self._balance_of(Balance(PROXIMAL_SHARE if self.proximal else ENERGY_SHARE))

    @property
    def proximal(self) -> bool:
        """Whether steps are those of the JKO scheme."""
        return isinstance(self.scheme, Proximal)

    @property
    def ratio(self) -> float | None:
        """Timescale ratio ε; `None` for the limit, infinity for frozen fast variables."""
        if self.inverse_ratio is None:
            return None
        inverse = float(self.inverse_ratio)
        return math.inf if inverse == 0 else 1 / inverse

    def describe(self) -> dict[str, str | int | float]:
        """Scheme, timescale ratio, and the options that are given."""
        return self._description(
            {
                "timescale_ratio": "limit" if self.ratio is None else self.ratio,
                "birth_death": None if self.birth_death is None else float(self.birth_death),
                "batch_size": self.batch_size,
            }
        )

    def _begin(
        self, ensemble: Ensemble, fast: PyTree | None
    ) -> tuple[Ensemble, None, PyTree | None]:
        if self.inverse_ratio is None and fast is not None:
            raise InvalidInput(
                "fast is given, but ratio is None (the two-timescale limit), where the fast "
                "variables are always at equilibrium; give the flow a ratio."
            )
        if self.inverse_ratio is not None and fast is None:
            fast = self.landscape.fast_equilibrium(ensemble, chunk=self.chunk)
            if fast is None:
                raise InvalidInput(
                    "ratio is given, but the landscape has no fast variables (solve_fast returns "
                    "None); leave ratio at None."
                )
        if self._moves_weights:
            ensemble = ensemble.with_weights(ensemble.probabilities)
        return ensemble, None, fast

    def _seen(self, key: Array | None) -> AbstractLandscape:
        if self.batch_size is None or key is None:
            return self.landscape
        return self.landscape.minibatch(jax.random.fold_in(key, 0), self.batch_size)

    @property
    def _moves_weights(self) -> bool:
        return self.birth_death is not None

    def _numbers(self, state: FlowState) -> dict[str, Observable]:
        if not self._moves_weights:
            return {}
        return {"effective_size": Observable(state.ensemble.effective_size, units="particle")}

    def _rates(
        self, landscape: AbstractLandscape, time: Array, ensemble: Ensemble, y: Moving
    ) -> Rates:
        moves = self._moves_weights
        found = landscape.first_order(ensemble, y.fast, potential=moves, chunk=self.chunk)
        value, slope, velocity = found.value, found.slope, found.velocity
        growth, rate = None, -ensemble.inner(found.gradient, velocity)
        if found.potential is not None:
            excess = found.potential - jnp.sum(ensemble.probabilities * found.potential)
            growth = -jnp.asarray(self.birth_death, value.dtype) * excess
            rate = rate - jnp.sum(ensemble.probabilities * growth * excess)
        if y.fast is not None:
            inverse = jnp.asarray(self.inverse_ratio, value.dtype)
            rate = rate + inverse * sum(jnp.sum(s**2) for s in jax.tree.leaves(slope))
            slope = jax.tree.map(lambda s: -inverse * s, slope)
        moving = Moving(velocity, None, growth, slope, rate)
        return Rates(found.moments, value, found.gradient, moving)


def _require_velocities_alone(
    landscape: AbstractLandscape,
    proximal: bool,
    birth_death: float | None,
    jumps: tuple[Jump, ...],
) -> None:
    """Refuse what a mobility, which multiplies velocities, says nothing of."""
    name = f"{type(landscape.unwrapped).__name__} has a mobility"
    if proximal:
        raise InvalidInput(
            f"scheme is 'jko', a minimum in the metric without mobility, but {name}; choose "
            "another scheme."
        )
    if birth_death is not None:
        raise InvalidInput(
            f"birth_death is {birth_death}, but {name}, which is given for particles and not for "
            "weights; leave it out."
        )
    if any(isinstance(jump, Diffusion) for jump in jumps):
        raise InvalidInput(
            f"jumps holds Diffusion, but {name}, with which this noise has no free energy; leave "
            "it out."
        )


def _require_particles_alone(ratio: float | None, birth_death: float | None) -> None:
    """Refuse what moves besides the particles, where a step is a minimum over these."""
    if birth_death is not None:
        raise InvalidInput(
            "scheme is 'jko', whose step moves particles and no weights; leave birth_death out, or "
            "choose another scheme."
        )
    if ratio is not None and math.isfinite(ratio):
        raise InvalidInput(
            f"scheme is 'jko', but ratio is {ratio}; its step has the fast variables in the limit "
            "(None) or frozen (math.inf)."
        )
