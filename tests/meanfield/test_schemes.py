"""Every scheme against closed forms, against diffrax's own driver, and at its promised order."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flow_cases import Springs, end, flat, points, smooth_attention, springs_solution
from helpers import cloud, dense_loss

from landscapes import MLPAttentionLandscape
from meanfield import GradientFlow
from meanfield.flows import Scheme, scheme_from
from particles import Ensemble

ORDERS = {"euler": 1, "heun": 2, "bosh3": 3, "tsit5": 5}
SOLVERS = {
    "euler": diffrax.Euler,
    "heun": diffrax.Heun,
    "bosh3": diffrax.Bosh3,
    "tsit5": diffrax.Tsit5,
}


def solve(
    landscape: MLPAttentionLandscape, start: Ensemble, time: float, solver, controller, dt: float
) -> np.ndarray:
    """The flow by diffrax's driver, from N times the gradient of the loss written out by hand."""
    loss = lambda neurons: dense_loss(landscape, neurons, start.probabilities)  # noqa: E731

    def velocity(t, neurons, args):
        return jax.tree.map(lambda slope: -start.size * slope, jax.grad(loss)(neurons))

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(velocity), solver, 0.0, time, dt, start.particles,
        stepsize_controller=controller, max_steps=10_000,
    )  # fmt: skip
    return flat(solution.ys)


@functools.cache
def exact() -> np.ndarray:
    """The attention case at time 2, to 1e-12."""
    tight = diffrax.PIDController(rtol=1e-13, atol=1e-13)
    return solve(smooth_attention(), cloud(), 2.0, diffrax.Dopri8(), tight, 0.01)


def slope(steps: np.ndarray, errors: list[float]) -> float:
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


# The slope around dt differs from the order by O(dt), from the next term of the error. Tsit5 was
# made to have a tiny leading term, so its slope lies between 5 and 6 until round-off.
@pytest.mark.parametrize("name", ORDERS)
def test_order_on_a_closed_form(name: str) -> None:
    landscape, start = Springs(), points()
    steps = np.array([0.05, 0.025, 0.0125])
    errors = [
        np.abs(
            end(GradientFlow(landscape, scheme=name), start, 2.0, dt).ensemble.particles
            - springs_solution(landscape, start.particles, 2.0)
        ).max()
        for dt in steps
    ]
    assert slope(steps, errors) == pytest.approx(ORDERS[name], abs=0.2)
    assert scheme_from(name).order == ORDERS[name]


@pytest.mark.parametrize("name", ORDERS)
def test_order_on_the_attention_landscape(name: str) -> None:
    landscape, start = smooth_attention(), cloud()
    steps = np.array([0.2, 0.1, 0.05])
    flow = GradientFlow(landscape, scheme=name)
    errors = [np.abs(flat(end(flow, start, 2.0, dt).ensemble) - exact()).max() for dt in steps]
    order = ORDERS[name]
    assert order - 0.2 < slope(steps, errors) < order + (0.6 if name == "tsit5" else 0.2)


@pytest.mark.parametrize("name", SOLVERS)
def test_fixed_steps_equal_diffrax(name: str) -> None:
    landscape, start = smooth_attention(), cloud()
    run = end(GradientFlow(landscape, scheme=name), start, 1.0, 0.1)
    oracle = solve(landscape, start, 1.0, SOLVERS[name](), diffrax.ConstantStepSize(), 0.1)
    np.testing.assert_allclose(flat(run.ensemble), oracle, rtol=0, atol=1e-13)
    assert int(run.state.step) == 10


@pytest.mark.parametrize("rtol", [1e-4, 1e-8])
def test_adaptive_meets_its_tolerance(rtol: float) -> None:
    landscape, start = smooth_attention(), cloud()
    scheme = scheme_from("adaptive", rtol=rtol, atol=rtol)
    run = end(GradientFlow(landscape, scheme=scheme), start, 2.0, 0.01)
    error = np.abs(flat(run.ensemble) - exact()).max()
    # The tolerance is per step; a contracting flow of a dozen steps keeps their sum close to it.
    assert rtol / 1e4 < error < 10 * rtol
    assert float(run.state.time) == 2.0


def test_adaptive_takes_fewer_steps_for_a_looser_tolerance() -> None:
    landscape, start = smooth_attention(), cloud()
    steps = [
        int(end(GradientFlow(landscape, scheme=scheme), start, 2.0, 0.01).state.step)
        for scheme in (scheme_from("adaptive", rtol=tolerance) for tolerance in (1e-4, 1e-8))
    ]
    assert steps[0] < 0.7 * steps[1]


def test_adaptive_recovers_from_a_first_step_far_too_large() -> None:
    landscape, start = smooth_attention(), cloud()
    run = end(GradientFlow(landscape, scheme="adaptive"), start, 2.0, 1e9)
    np.testing.assert_allclose(flat(run.ensemble), exact(), atol=1e-4)


def test_a_scheme_of_ones_own() -> None:
    landscape, start = Springs(), points()
    flow = GradientFlow(landscape, scheme=Scheme(diffrax.Dopri5(), order=5))
    found = end(flow, start, 1.0, 0.05).ensemble.particles
    np.testing.assert_allclose(found, springs_solution(landscape, start.particles, 1.0), rtol=1e-7)


@pytest.mark.parametrize("name", ["euler", "tsit5"])
def test_float32_clock_and_steps_do_not_drift(name: str) -> None:
    """At t = 8192 float32 resolves 5e-4: adding dt = 4e-4 to the time would do nothing."""
    landscape = Springs(pull=0.0, spring=1.0, dtype="float32")
    flow = GradientFlow(landscape, scheme=name)
    state = flow.start(Ensemble(jnp.ones((1, 1), "float32")), dt=4e-4)
    late = eqx.tree_at(lambda s: s.time, state, jnp.asarray(8192.0, "float32"))
    run = end(flow, late, 8192.4)
    assert int(run.state.step) == pytest.approx(1000, abs=2)  # the horizon is rounded, too
    decay = np.exp(-float(run.state.step) * 4e-4)
    assert float(run.ensemble.particles[0, 0]) == pytest.approx(decay, rel=3e-4)
