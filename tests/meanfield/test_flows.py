"""A flow and a jump of one's own: the loop asks nothing but what the bases list."""

import math
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flow_cases import Springs, assert_same_bits, end, points, springs_solution

from landscapes import Landscape
from meanfield import Checkpoints, GradientFlow, every, simulate
from meanfield.flows import (
    AbstractFlow,
    Balance,
    Diffusion,
    FlowState,
    Jump,
    Observation,
    Projection,
    Resampling,
)
from meanfield.runs import stable_step


class Implicit(AbstractFlow):
    """Implicit Euler by a few fixed-point iterations; no scheme, no jumps."""

    landscape: Landscape
    chunk: int | None = eqx.field(static=True, default=None)
    random = False
    balance = Balance(0.5)

    def start(self, ensemble, dt, fast=None, key=None) -> FlowState:
        zero = jnp.zeros(())
        return FlowState(
            time=zero, time_error=zero, step=jnp.zeros((), jnp.int32), ensemble=ensemble,
            momentum=None, fast=None, dissipated=zero, dt=jnp.asarray(dt, float),
            finite=jnp.asarray(True), carried=None, key=None,
        )  # fmt: skip

    def step(self, state, until=math.inf) -> FlowState:
        old = state.ensemble.particles

        def sweep(_, new):
            return old + state.dt * self.landscape.velocity(state.ensemble.with_particles(new))

        ensemble = state.ensemble.with_particles(jax.lax.fori_loop(0, 30, sweep, old))
        rate = self.observe(eqx.tree_at(lambda s: s.ensemble, state, ensemble)).dissipation_rate
        return eqx.tree_at(
            lambda s: (s.time, s.step, s.ensemble, s.dissipated),
            state,
            (state.time + state.dt, state.step + 1, ensemble, state.dissipated + state.dt * rate),
        )

    def observe(self, state) -> Observation:
        loss, velocity = self.landscape.value_and_velocity(state.ensemble)
        square = state.ensemble.inner(velocity, velocity)
        return Observation(loss, loss, jnp.sqrt(square), square, {})

    def describe(self) -> dict:
        return {"flow": "implicit"}


def test_a_flow_of_ones_own_gets_the_whole_loop(tmp_path: Path) -> None:
    flow, options = Implicit(Springs()), {"dt": 0.01, "record": every(0.25)}
    run = simulate(flow, points(), horizon=1.0, snapshots=every(0.5), **options)
    exact = springs_solution(flow.landscape, points().particles, 1.0)
    np.testing.assert_allclose(run.ensemble.particles, exact, atol=2e-2)
    assert run.trajectory.attrs["flow"] == "implicit"
    assert stable_step(flow, points()) == pytest.approx(1 / 1.5, rel=1e-2)
    simulate(flow, points(), horizon=0.5, checkpoints=Checkpoints(tmp_path), **options)
    rest = simulate(
        flow, points(), horizon=1.0, checkpoints=Checkpoints(tmp_path), resume=True, **options
    )
    assert_same_bits(rest.state, run.state)
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), points())
    batch = simulate(flow, starts, horizon=1.0, batch=True, **options)
    np.testing.assert_allclose(batch.ensemble.particles[0], run.ensemble.particles, rtol=1e-12)


class Pulled(Jump):
    """A drift of −κθ by splitting."""

    strength: float

    def __call__(self, key, dt, ensemble):
        return ensemble.with_particles(ensemble.particles * jnp.exp(-self.strength * dt))


def test_a_jump_of_ones_own() -> None:
    """Splitting is exact for linear drifts that commute."""
    flow = GradientFlow(Springs(), scheme="tsit5", jumps=(Pulled(0.3),))
    run = end(flow, points(), 1.0, 0.05)
    exact = math.exp(-0.3) * springs_solution(flow.landscape, points().particles, 1.0)
    np.testing.assert_allclose(run.ensemble.particles, exact, rtol=1e-6)
    assert run.trajectory.attrs["pulled"] == 1


def test_jumps_happen_in_order() -> None:
    shift = Projection(lambda mu: mu.with_particles(mu.particles + 1))
    double = Projection(lambda mu: mu.with_particles(2 * mu.particles))
    still = Springs(pull=0.0, spring=0.0)
    start = points()
    both = end(GradientFlow(still, jumps=(shift, double)), start, 0.1, 0.1).ensemble
    np.testing.assert_allclose(both.particles, 2 * (start.particles + 1))


def test_what_jumps_leave_of_the_balance() -> None:
    share = lambda *jumps: GradientFlow(Springs(), jumps=jumps).balance  # noqa: E731
    kept = Projection(lambda mu: mu)
    assert share() == Balance(0.1)
    assert share(kept) == Balance(0.0)
    for noise in (Diffusion(0.1), Resampling(0.5)):
        assert share(kept, noise) is None
    assert GradientFlow(Springs(), batch_size=2).balance is None


def test_every_jump_has_a_stream_of_its_own() -> None:
    still, key = Springs(pull=0.0, spring=0.0), jax.random.key(0)
    start = points().with_particles(jnp.zeros((5, 2)))
    one = end(GradientFlow(still, jumps=(Diffusion(0.5),)), start, 0.1, 0.1, key=key).ensemble
    two = end(
        GradientFlow(still, jumps=(Diffusion(0.5), Diffusion(0.5))), start, 0.1, 0.1, key=key
    ).ensemble
    second = two.particles - one.particles
    assert not np.allclose(second, one.particles)
