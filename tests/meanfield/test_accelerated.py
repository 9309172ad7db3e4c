"""Accelerated flows against the damped oscillator, Bessel's function, and their energy identity."""

import math
from pathlib import Path

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import xarray
from flow_cases import Springs, assert_same_bits, end, flat, points, smooth_attention
from helpers import cloud, dense_loss, regression

from meanfield import AcceleratedFlow, Checkpoints, FlowFailed, Outcome, at, every, simulate
from meanfield.flows import Diffusion, NesterovDamping, Projection, Resampling, scheme_from
from meanfield.runs import stable_step
from particles import Ensemble, InvalidInput, particle_mesh, placed

STIFFNESS = 4.0  # k of the oscillator
ORDERS = {"euler": 1, "heun": 2, "bosh3": 3, "tsit5": 5}


def oscillator(**options) -> AcceleratedFlow:
    return AcceleratedFlow(Springs(pull=0.0, spring=STIFFNESS), **options)


def damped(start: np.ndarray, gamma: float, time: float) -> np.ndarray:
    """x″ + γx′ + kx = 0 from rest, by the roots of its characteristic polynomial."""
    root = np.sqrt(complex(gamma**2 / 4 - STIFFNESS))
    one, two = -gamma / 2 + root, -gamma / 2 - root
    share = (one * np.exp(two * time) - two * np.exp(one * time)) / (one - two)
    return share.real * np.asarray(start)


def bessel(start: np.ndarray, time: float, r: float = 3.0) -> np.ndarray:
    """x″ + (r/t)x′ + kx = 0 from rest: Γ(ν + 1) (2/z)^ν J_ν(z), z = √k t, ν = (r − 1)/2."""
    z, order = math.sqrt(STIFFNESS) * time, (r - 1) / 2
    factor = scipy.special.gamma(order + 1) * (2 / z) ** order * scipy.special.jv(order, z)
    return factor * np.asarray(start)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 6.0])
def test_heavy_ball_is_the_damped_oscillator(gamma: float) -> None:
    """Undamped, underdamped, overdamped."""
    flow = oscillator(damping=gamma, scheme=scheme_from("adaptive", rtol=1e-10, atol=1e-12))
    run = end(flow, points(), 3.0, 0.01)
    exact = damped(points().particles, gamma, 3.0)
    np.testing.assert_allclose(run.ensemble.particles, exact, rtol=0, atol=1e-8)


@pytest.mark.parametrize("r", [3.0, 5.0])
def test_nesterov_is_a_bessel_function(r: float) -> None:
    scheme = scheme_from("adaptive", rtol=1e-10, atol=1e-12)
    run = end(oscillator(damping=NesterovDamping(r), scheme=scheme), points(), 5.0, 0.01)
    exact = bessel(points().particles, 5.0, r)
    np.testing.assert_allclose(run.ensemble.particles, exact, rtol=0, atol=1e-8)
    z = math.sqrt(STIFFNESS) * 5.0
    plain = 2 * scipy.special.j1(z) / z * np.asarray(points().particles)
    np.testing.assert_allclose(bessel(points().particles, 5.0), plain, rtol=1e-12)


@pytest.mark.parametrize("damping", [1.0, "nesterov"])
@pytest.mark.parametrize("name", ORDERS)
def test_order_of_the_schemes(name: str, damping: float | str) -> None:
    start = points()
    exact = (bessel if damping == "nesterov" else damped)(
        start.particles, *((2.0,) if damping == "nesterov" else (damping, 2.0))
    )
    steps = np.array([0.08, 0.04, 0.02]) if name == "tsit5" else np.array([0.02, 0.01, 0.005])
    errors = [
        np.abs(
            end(oscillator(damping=damping, scheme=name), start, 2.0, dt).ensemble.particles - exact
        ).max()
        for dt in steps
    ]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    # Tsit5's leading terms are tiny.
    assert ORDERS[name] - 0.25 < slope < ORDERS[name] + (2.5 if name == "tsit5" else 0.25), slope


def test_attention_equals_diffrax() -> None:
    """Positions and velocities by diffrax's driver, from the loss written out by hand."""
    landscape, start, gamma = smooth_attention(), cloud(), 0.7
    loss = lambda neurons: dense_loss(landscape, neurons, start.probabilities)  # noqa: E731

    def velocity(t, y, args):
        force = jax.tree.map(lambda slope: -start.size * slope, jax.grad(loss)(y[0]))
        return y[1], jax.tree.map(lambda v, f: f - gamma * v, y[1], force)

    still = jax.tree.map(jnp.zeros_like, start.particles)
    exact = diffrax.diffeqsolve(
        diffrax.ODETerm(velocity), diffrax.Dopri8(), 0.0, 2.0, 0.01, (start.particles, still),
        stepsize_controller=diffrax.PIDController(rtol=1e-12, atol=1e-12), max_steps=10_000,
    ).ys  # fmt: skip
    run = end(AcceleratedFlow(landscape, damping=gamma, scheme="tsit5"), start, 2.0, 0.02)
    found = flat((run.ensemble.particles, run.state.momentum))
    np.testing.assert_allclose(found, flat(exact), rtol=0, atol=1e-8)


@pytest.mark.parametrize("damping", [0.0, 1.0, "nesterov"])
def test_loss_and_kinetic_energy_fall_by_what_is_dissipated(damping: float | str) -> None:
    flow = AcceleratedFlow(smooth_attention(), damping=damping, scheme="tsit5")
    run = simulate(flow, cloud(weighted=True), horizon=4.0, dt=0.02, record=every(0.25))
    seen = run.trajectory
    energy, spent = seen["energy"].values, seen["dissipated"].values
    np.testing.assert_allclose(energy, seen["loss"] + seen["kinetic_energy"], rtol=1e-14)
    np.testing.assert_allclose(energy[0] - energy, spent, rtol=1e-7, atol=1e-9)
    assert (spent[-1] > 1e-2) == (damping != 0.0)
    np.testing.assert_allclose(
        seen["dissipation_rate"][1:],
        2 * seen["kinetic_energy"][1:] * (damping if damping != "nesterov" else 3 / seen.time[1:]),
        rtol=1e-12,
    )


def test_a_batch_equals_a_loop_over_seeds() -> None:
    flow = AcceleratedFlow(regression())
    starts = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(cloud(seed) for seed in range(3)))
    batch = end(flow, starts, 1.0, 0.05, batch=True)
    for seed in range(3):
        alone = end(flow, cloud(seed), 1.0, 0.05)
        mine = jax.tree.map(lambda leaf, seed=seed: leaf[seed], batch.state)
        np.testing.assert_allclose(flat(mine), flat(alone.state), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("scheme", ["bosh3", "adaptive"])
def test_ten_steps_and_ten_more_are_twenty(scheme: str, tmp_path: Path) -> None:
    """The state handed on, and through a checkpoint: time goes on in the damping too."""
    flow = AcceleratedFlow(smooth_attention(), scheme=scheme)
    options = {"dt": 0.05, "record": every(0.25)}
    whole = simulate(flow, cloud(), horizon=1.0, **options)
    half = simulate(flow, cloud(), horizon=0.5, checkpoints=Checkpoints(tmp_path), **options)
    assert_same_bits(simulate(flow, half.state, horizon=1.0, record=every(0.25)).state, whole.state)
    resumed = simulate(
        flow, cloud(), horizon=1.0, checkpoints=Checkpoints(tmp_path), resume=True, **options
    )
    assert_same_bits(resumed.state, whole.state)
    xarray.testing.assert_identical(resumed.trajectory, whole.trajectory)


@pytest.mark.parametrize("scheme", ["bosh3", "adaptive"])
def test_eight_devices_equal_one(scheme: str) -> None:
    flow, mu = AcceleratedFlow(regression(), scheme=scheme, chunk=2), cloud(size=16)
    options = {"horizon": 1.0, "dt": 0.05, "record": at(0.5, 1.0)}
    one = simulate(flow, mu, **options)
    many = simulate(flow, placed(mu, particle_mesh()), **options)
    assert len(many.state.momentum.w.sharding.device_set) == 8
    assert many.state.momentum.w.sharding == many.ensemble.particles.w.sharding
    for part in (lambda s: s.ensemble, lambda s: s.momentum):
        np.testing.assert_allclose(flat(part(many.state)), flat(part(one.state)), atol=1e-10)


def test_nesterov_decays_as_one_over_time_squared() -> None:
    """On a convex loss t² (L − min L) ≤ (r − 1)²/2 · ‖θ0 − θ*‖² (SBC16, theorem 3)."""
    landscape = Springs(pull=0.05, spring=1e-3)
    start = points()
    run = simulate(AcceleratedFlow(landscape), start, horizon=200.0, dt=0.1)
    time, loss = run.trajectory.time.values[1:], run.trajectory.loss.values[1:]
    bound = 2 * float(start.inner(start.particles, start.particles))
    assert np.all(time**2 * loss <= bound * (1 + 1e-6))
    # A flow of first order is far from it here.
    assert loss[-1] < 0.2 * float(landscape.value(start)) * math.exp(-2 * 1e-3 * 200)


def test_weights_count() -> None:
    """A particle of double weight is two particles."""
    one = Ensemble(jnp.array([[1.0], [2.0]]), jnp.array([2.0, 1.0]))
    two = Ensemble(jnp.array([[1.0], [1.0], [2.0]]))
    flow = AcceleratedFlow(Springs(), damping=1.0)
    runs = [end(flow, mu, 1.0, 0.05) for mu in (one, two)]
    np.testing.assert_allclose(
        runs[0].ensemble.particles[:, 0], runs[1].ensemble.particles[1:, 0], rtol=1e-12
    )


def test_too_large_a_step_is_noticed() -> None:
    flow = oscillator(damping=0.1, scheme="euler")
    with pytest.raises(FlowFailed, match="the step is too large") as failure:
        simulate(flow, points(), horizon=100.0, dt=0.5)
    assert failure.value.run.outcome is Outcome.UNSTABLE
    suggested = float(failure.value.run.message.split("Try dt = ")[1].split(",")[0])
    assert suggested < 0.5
    assert stable_step(oscillator(damping=0.1), points()) == pytest.approx(0.5, rel=1e-3)
    assert stable_step(oscillator(damping=8.0), points()) == pytest.approx(1 / 8, rel=1e-3)


def test_a_force_that_is_no_number_stops_the_run_in_time() -> None:
    """The last stage's force enters the momentum alone."""

    class Wall(Springs):
        def risk(self, moments, fast=None):
            return jnp.sum(jnp.sqrt(jnp.abs(moments[0]) - 0.5) * 0) + super().risk(moments)

    start = Ensemble(jnp.full((1, 1), 1.0))
    flow = AcceleratedFlow(Wall(), damping=0.0, scheme="euler")
    with pytest.raises(FlowFailed) as failure:
        simulate(flow, start, horizon=5.0, dt=0.01)
    assert np.all(np.isfinite(flat(failure.value.run.state)))


def test_jumps_between_accelerated_steps() -> None:
    pin = Projection(lambda mu: mu.with_particles(mu.particles.at[:, 0].set(1.0)))
    run = end(AcceleratedFlow(Springs(), jumps=(pin,)), points(), 1.0, 0.05)
    np.testing.assert_array_equal(run.ensemble.particles[:, 0], 1.0)
    noisy = AcceleratedFlow(Springs(), damping=1.0, jumps=(Diffusion(0.1),))
    assert (noisy.random, noisy.balance) == (True, None)
    with pytest.raises(InvalidInput, match="Resampling, which redraws particles"):
        AcceleratedFlow(Springs(), jumps=(Resampling(0.5),))


def test_a_flow_restarted_keeps_the_time_in_its_damping() -> None:
    flow = AcceleratedFlow(Springs(), scheme="bosh3")
    later = end(flow, points(), 1.0, 0.05).state
    again = flow.restarted(later, later.ensemble)
    assert_same_bits(again.time, later.time)
    assert np.all(np.asarray(again.momentum) == 0)
    dt = 1e-6
    short = eqx.tree_at(lambda s: s.dt, again, jnp.asarray(dt))
    force = flow.landscape.velocity(later.ensemble)  # all of it, not the share 1/(1 + r)
    np.testing.assert_allclose(flow.step(short).momentum, dt * force, rtol=1e-5)


def test_refusals() -> None:
    for wrong, sentence in (
        (-1.0, "damping is -1"),
        (float("nan"), "damping is nan"),
        ("heavy", "damping is 'heavy'"),
    ):
        with pytest.raises(InvalidInput, match=sentence):
            AcceleratedFlow(Springs(), damping=wrong)
    with pytest.raises(InvalidInput, match="r is 0"):
        NesterovDamping(0)
    with pytest.raises(InvalidInput, match="fast is given"):
        simulate(AcceleratedFlow(Springs()), points(), horizon=1.0, dt=0.1, fast=jnp.ones(2))
    state = AcceleratedFlow(Springs()).start(points(), 0.1)
    with pytest.raises(InvalidInput, match="state of another flow"):
        simulate(AcceleratedFlow(Springs(), scheme="adaptive"), state, horizon=1.0)


def test_provenance() -> None:
    described = AcceleratedFlow(Springs(), damping="nesterov").describe()
    assert described == {
        "flow": "AcceleratedFlow",
        "scheme": "Bosh3",
        "adaptive": 0,
        "damping": "nesterov, r = 3",
    }
