"""The JKO scheme against closed forms, scipy's minimiser, and entropic JKO on a grid by ott."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from flow_cases import Cliff, Springs, end, points, smooth_attention
from helpers import cloud
from jaxtyping import Array
from ott.geometry import geometry

from landscapes import (
    Confinement,
    Interaction,
    PairLandscape,
    RieszGasLandscape,
    Sum,
    TokenLandscape,
)
from meanfield import AcceleratedFlow, FlowFailed, GradientFlow, simulate
from meanfield.costs import step_cost
from meanfield.flows import FlowState
from particles import Ensemble, InvalidInput, particle_mesh, placed


def one_step(landscape, ensemble: Ensemble, dt: float) -> FlowState:
    flow = GradientFlow(landscape, scheme="jko")
    return end(flow, ensemble, dt, dt).state


@pytest.mark.parametrize("dt", [0.1, 1e4])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 3.0, 2.0, 1.0]])
def test_a_quadratic_energy(dt: float, weights: list | None) -> None:
    """The mean falls by 1 + (α + κ)dt, deviations by 1 + κdt."""
    start = Ensemble(points().particles, None if weights is None else jnp.array(weights))
    mean = np.average(start.particles, axis=0, weights=weights)
    found = one_step(Springs(pull=1.0, spring=0.5), start, dt)
    exact = mean / (1 + 1.5 * dt) + (start.particles - mean) / (1 + 0.5 * dt)
    np.testing.assert_allclose(found.ensemble.particles, exact, rtol=1e-6, atol=1e-9)


def test_order_one() -> None:
    landscape, start = smooth_attention(), cloud()
    steps = np.array([0.1, 0.05, 0.025])
    exact = end(GradientFlow(landscape, scheme="tsit5"), start, 1.0, 0.05).ensemble
    flow = GradientFlow(landscape, scheme="jko")
    errors = [
        exact.norm(
            jax.tree.map(
                jnp.subtract, end(flow, start, 1.0, dt).ensemble.particles, exact.particles
            )
        )
        for dt in steps
    ]
    order = np.polyfit(np.log(steps), np.log(np.array(errors)), 1)[0]
    assert order == pytest.approx(1, abs=0.2)


def test_the_energy_falls_at_steps_where_euler_diverges() -> None:
    """λ_max is 2000: Euler needs dt < 1e-3. Each step gains ‖θ' − θ‖²/(2dt) at least."""
    landscape, start, dt = Springs(pull=0.0, spring=2000.0), points(), 0.1
    with pytest.raises(FlowFailed):
        end(GradientFlow(landscape, scheme="euler"), start, 1000 * dt, dt)
    hard, mu = smooth_attention(), cloud()
    run = simulate(GradientFlow(hard, scheme="jko"), mu, horizon=3e3, dt=1e3)
    losses = run.trajectory["loss"].to_numpy()
    spent = np.diff(run.trajectory["dissipated"].to_numpy())
    assert (-np.diff(losses) >= 0.5 * spent * (1 - 1e-9)).all()
    assert losses[-1] < 0.1 * losses[0]
    assert float(run.trajectory["proximal_residual"].max()) < 1e-4
    calm = one_step(landscape, start, dt)
    np.testing.assert_allclose(calm.ensemble.particles, start.particles / 201, rtol=1e-6)


def test_one_step_is_the_minimum_that_scipy_finds() -> None:
    """A gas of six charges on a line, whose forces are unbounded."""
    landscape, dt = RieszGasLandscape(1, 1.0), 5.0
    x = np.sort(np.random.default_rng(3).normal(size=6))

    def prox(y: np.ndarray) -> float:
        mu = Ensemble(jnp.asarray(y)[:, None])
        return float(landscape.value(mu)) + np.mean((y - x) ** 2) / (2 * dt)

    wanted = scipy.optimize.minimize(prox, x, method="Nelder-Mead", options={
        "xatol": 1e-9, "fatol": 1e-13, "maxiter": 20_000, "maxfev": 20_000,
    })  # fmt: skip
    found = one_step(landscape, Ensemble(jnp.asarray(x)[:, None]), dt)
    np.testing.assert_allclose(found.ensemble.particles[:, 0], wanted.x, atol=1e-5)


class Quartic(PairLandscape):
    """½∬½|x − y|² + ∫¼x⁴."""

    def pair(self, particle: Array, other: Array) -> Array:
        return 0.5 * jnp.sum((particle - other) ** 2)

    def potential(self, particle: Array) -> Array:
        return 0.25 * jnp.sum(particle**4)


def test_entropic_jko_on_a_grid() -> None:
    """Densities in the place of particles, and ott's entropic transport in that of the metric.

    ½∬½|x − y|² is the least of ∫½(x − m)² over m. For fixed m the energy is linear in the density,
    and its slope is the potential of the free marginal; the other potential is Sinkhorn's.
    """
    dt, epsilon = 0.4, 0.005
    x = jnp.linspace(-1.5, 2.5, 101)
    old = jax.nn.softmax(-0.5 * ((x - 0.8) / 0.4) ** 2)
    geom = geometry.Geometry(cost_matrix=(x[:, None] - x) ** 2, epsilon=epsilon)

    def improve(_: int, rho: Array) -> Array:
        f = -2 * dt * (0.25 * x**4 + 0.5 * (x - rho @ x) ** 2)
        g = geom.update_potential(f, jnp.zeros_like(x), jnp.log(old), axis=0)
        return geom.marginal_from_potentials(f, g, axis=1)

    rho = jax.jit(lambda r: jax.lax.fori_loop(0, 40, improve, r))(old)
    np.testing.assert_allclose(improve(0, rho), rho, atol=1e-9)
    ranks = (np.arange(50) + 0.5) / 50
    start = np.interp(ranks, np.cumsum(old) - 0.5 * old, x)
    moved = one_step(Quartic(), Ensemble(jnp.asarray(start)[:, None]), dt).ensemble.particles[:, 0]
    grid = np.interp(ranks, np.cumsum(rho) - 0.5 * rho, x)
    assert np.abs(moved - start).mean() > 0.15
    np.testing.assert_allclose(np.sort(moved), grid, atol=0.02)


def test_tokens_keep_to_the_sphere() -> None:
    tokens = TokenLandscape(3, 2.0)
    start = tokens.onto_manifold(points(dim=3))
    found = one_step(tokens, start, 5.0).ensemble
    np.testing.assert_allclose(np.linalg.norm(found.particles, axis=1), 1)
    assert float(tokens.value(found)) < float(tokens.value(start)) - 0.1


def test_eight_devices_take_the_step_of_one() -> None:
    gas, start = RieszGasLandscape(2), points(size=8)
    flow = GradientFlow(gas, scheme="jko")
    alone = end(flow, start, 5.0, 5.0)
    split = end(flow, placed(start, particle_mesh(8)), 5.0, 5.0)
    np.testing.assert_allclose(split.ensemble.particles, alone.ensemble.particles, atol=1e-9)
    assert len(split.ensemble.particles.sharding.device_set) == 8


def test_single_precision() -> None:
    """The closed form of a stiff quadratic, as near as the recorded residual promises.

    The sum that a step minimises curves at least by 1 + dt (times 1/dt), so that the distance to
    its minimum is at most the residual over that.
    """
    with jax.enable_x64(False):
        start, dt = points(dtype="float32"), 10.0
        mean = np.average(start.particles, axis=0)
        stiff = Interaction(lambda x, y: 50 * jnp.sum((x - y) ** 2))
        landscape = Sum(stiff, Confinement(1.0))
        run = end(GradientFlow(landscape, scheme="jko"), start, dt, dt)
        exact = mean / (1 + dt) + (start.particles - mean) / (1 + 101 * dt)
        assert run.ensemble.particles.dtype == jnp.float32
        left = float(run.state.carried)  # recorded as proximal_residual
        assert left < 1e-5
        first = dt * float(start.norm(landscape.velocity(start)))
        assert float(start.norm(run.ensemble.particles - exact)) <= 1.1 * left * first / (1 + dt)


def test_the_soft_mode_of_a_stiff_energy_in_single_precision() -> None:
    """The mean falls by 1 + dt a step, whatever deviations at 10⁴ times its rate leave undone."""
    with jax.enable_x64(False):
        start, dt = points(dtype="float32"), 10.0
        stiff = Interaction(lambda x, y: 5000 * jnp.sum((x - y) ** 2))
        flow = GradientFlow(Sum(stiff, Confinement(1.0)), scheme="jko")
        found = end(flow, start, 6 * dt, dt).ensemble.particles.mean(axis=0)
        exact = np.average(start.particles, axis=0) / (1 + dt) ** 6
        np.testing.assert_allclose(found, exact, rtol=1e-3)


def test_no_numbers_are_no_step() -> None:
    flow = GradientFlow(Cliff(), scheme="jko")
    state = flow.start(Ensemble(jnp.full((2, 1), 2.0)), dt=0.1)  # √(1 − m) of m = 2
    assert not bool(flow.step(state).finite)


def test_refusals() -> None:
    landscape = smooth_attention()
    with pytest.raises(InvalidInput, match="moves particles and no weights"):
        GradientFlow(landscape, scheme="jko", birth_death=1.0)
    with pytest.raises(InvalidInput, match=r"scheme is 'jko', but ratio is 0.1"):
        GradientFlow(landscape, scheme="jko", ratio=0.1)
    with pytest.raises(InvalidInput, match="without momenta"):
        AcceleratedFlow(landscape, scheme="jko")
    with pytest.raises(InvalidInput, match="not known beforehand"):
        step_cost(GradientFlow(landscape, scheme="jko"), cloud(), 8)
