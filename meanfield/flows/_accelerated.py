"""Accelerated flows: particles with momentum, heavy-ball or Nesterov damping."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from landscapes import AbstractLandscape, Observable
from particles import Ensemble, InvalidInput

from ._base import Balance
from ._damping import AbstractDamping, damping_from
from ._jumps import Jump
from ._proximal import Proximal
from ._scheme import AbstractScheme
from ._scheme_flow import ENERGY_SHARE, AbstractSchemeFlow, Moving, Rates, checked_jumps
from ._schemes import scheme_from
from ._state import FlowState

EXCHANGE = 0.05  # error allowed to the energy, which is exchanged besides being lost


class AcceleratedFlow(AbstractSchemeFlow):
    """dθ/dt = V, dV/dt = −γ(t) V − ∇_θ δL/δμ[μ](θ): the mean-field heavy ball, or Nesterov's flow.

    From rest. The energy E = L(μ) + ½ ∫ ‖V‖² dμ obeys dE/dt = −γ ∫ ‖V‖² dμ, which is recorded and
    checked. (POL64, SBC16) Fast variables are in the two-timescale limit.

    Args:
        landscape: any landscape.
        damping: a number γ ≥ 0 (heavy ball), `"nesterov"` (3/t), or a damping such as
            `NesterovDamping(r)`.
        scheme: as in `GradientFlow`. `heun` and `euler` are unstable without enough damping.
        jumps: what happens to the ensemble between two steps; momenta stay as they are.
        chunk: particles held at once; chosen from the size of the features by default.

    Raises:
        InvalidInput: unknown scheme or damping, `jko`, a jump that redraws particles.

    Example:
        >>> from landscapes import Neuron, RegressionLandscape
        >>> from meanfield import simulate
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[1.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.array([[0.5]]), w=jnp.array([[0.5]])))
        >>> run = simulate(AcceleratedFlow(landscape, damping=1.0), mu, horizon=20.0, dt=0.1)
        >>> float(run.trajectory["energy"][-1]) < 1e-6
        True
    """

    landscape: AbstractLandscape
    damping: AbstractDamping
    scheme: AbstractScheme
    jumps: tuple[Jump, ...]
    chunk: int | None = eqx.field(static=True)

    def __init__(
        self,
        landscape: AbstractLandscape,
        *,
        damping: float | str | AbstractDamping = "nesterov",
        scheme: str | AbstractScheme = "bosh3",
        jumps: tuple[Jump, ...] = (),
        chunk: int | None = None,
    ):
        self.landscape = landscape
        self.damping = damping_from(damping)
        self.scheme = scheme_from(scheme)
        self.jumps = checked_jumps(jumps, self.scheme)
        self.chunk = chunk
        if isinstance(self.scheme, Proximal):
            raise InvalidInput(
                "scheme is 'jko', a minimum over particles without momenta; use a GradientFlow, or "
                "another scheme."
            )
        if landscape.manifold is not None:
            raise InvalidInput(
                f"landscape is bound to a {type(landscape.manifold).__name__}, along which momenta "
                "are not carried; use a GradientFlow."
            )
        if landscape.mobile:
            raise InvalidInput(
                f"landscape is a {type(landscape.unwrapped).__name__} with a mobility, which "
                "multiplies velocities, not forces; use a GradientFlow."
            )
        for jump in self.jumps:
            if not jump.keeps_order:
                raise InvalidInput(
                    f"jumps holds {type(jump).__name__}, which redraws particles; an accelerated "
                    "flow moves no weights, and momenta would be left behind."
                )

    @property
    def random(self) -> bool:
        """Whether steps draw random numbers."""
        return any(jump.random for jump in self.jumps)

    @property
    def balance(self) -> Balance | None:
        """Loss and kinetic energy together fall by what is dissipated, unless jumps disturb it."""
        return self._balance_of(Balance(ENERGY_SHARE, rtol=EXCHANGE, since_start=True))

    def describe(self) -> dict[str, str | int | float]:
        """Scheme and damping."""
        return self._description({"damping": self.damping.describe()})

    def time_scale(self, curvature: float, fast_curvature: float = 0.0) -> float:
        """1/√λ of an oscillation, or 1/γ where the damping (at time one) is faster."""
        fastest = max(math.sqrt(max(curvature, 0.0)), float(self.damping.rate(jnp.ones(()))))
        return 1 / fastest if fastest > 0 else math.inf

    def _begin(self, ensemble: Ensemble, fast: PyTree | None) -> tuple[Ensemble, PyTree, None]:
        if fast is not None:
            raise InvalidInput(
                "fast is given, but an accelerated flow keeps the fast variables at equilibrium."
            )
        # Zeros made from the particles lie on the devices where these do.
        return ensemble, jax.tree.map(lambda leaf: 0 * leaf, ensemble.particles), None

    def _seen(self, key: Array | None) -> AbstractLandscape:
        return self.landscape

    @property
    def _moves_weights(self) -> bool:
        return False

    def _numbers(self, state: FlowState) -> dict[str, Observable]:
        energy = 0.5 * state.ensemble.inner(state.momentum, state.momentum)
        return {"kinetic_energy": Observable(energy)}

    def _rates(
        self, landscape: AbstractLandscape, time: Array, ensemble: Ensemble, y: Moving
    ) -> Rates:
        found = landscape.first_order(ensemble, chunk=self.chunk)
        force = jax.tree.map(jnp.negative, found.gradient)
        change = self.damping.acceleration(time, y.momentum, force)
        square = ensemble.inner(y.momentum, y.momentum)
        rate = self.damping.rate(time).astype(square.dtype) * square
        velocity = Moving(y.momentum, change, None, None, rate)
        return Rates(found.moments, found.value, found.gradient, velocity)
