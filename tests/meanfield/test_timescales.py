"""Fast variables: the limit, finite timescale ratios, and frozen ones."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from flow_cases import LaggedSprings, end, flat, lagged_solution, points, smooth_attention
from helpers import attention_matrix, cloud, dense_loss
from jax.flatten_util import ravel_pytree

from landscapes import MLPAttentionLandscape, neuron_start
from meanfield import GradientFlow
from meanfield.flows import scheme_from
from meanfield.reproductions import realisable
from particles import Ensemble
from saddle_analysis import displaced, isotropic
from saddle_analysis.sensitivity import timescale_threshold


@pytest.mark.parametrize("ratio", [0.1, 1.0, 5.0])
def test_coupled_flow_equals_the_matrix_exponential(ratio: float) -> None:
    landscape, start, fast = LaggedSprings(), points(), jnp.array([2.0, -1.0])
    flow = GradientFlow(landscape, scheme=scheme_from("adaptive", rtol=1e-9), ratio=ratio)
    run = end(flow, start, 1.5, 0.01, fast=fast)
    wanted, wanted_fast = lagged_solution(landscape, start.particles, fast, ratio, 1.5)
    np.testing.assert_allclose(run.ensemble.particles, wanted, rtol=0, atol=1e-7)
    np.testing.assert_allclose(run.state.fast, wanted_fast, rtol=0, atol=1e-7)


def test_coupled_step_equals_a_loop_by_hand() -> None:
    landscape, start, fast, ratio, dt = smooth_attention(), cloud(), attention_matrix(), 0.5, 0.02
    loss = lambda neurons, w: dense_loss(landscape, neurons, start.probabilities, w)  # noqa: E731
    neurons, w = start.particles, fast
    for _ in range(5):
        slope, slope_w = jax.grad(loss, argnums=(0, 1))(neurons, w)
        neurons = jax.tree.map(lambda p, s: p - dt * start.size * s, neurons, slope)
        w = w - dt / ratio * slope_w
    run = end(GradientFlow(landscape, scheme="euler", ratio=ratio), start, 5 * dt, dt, fast=fast)
    np.testing.assert_allclose(flat(run.ensemble), flat(neurons), rtol=0, atol=1e-13)
    np.testing.assert_allclose(run.state.fast, w, rtol=0, atol=1e-13)


def test_distance_to_the_limit_is_linear_in_the_ratio() -> None:
    # The fast rate is that of Σμ°Σ°μ over ε: this start keeps its smallest eigenvalue at 3e-5.
    landscape = smooth_attention(ridge=1.0)
    start = neuron_start(jax.random.key(0), landscape, 7, output_mean=4.0)
    limit = flat(end(GradientFlow(landscape, scheme="adaptive"), start, 0.5, 0.01).ensemble)
    ratios = [1.0, 0.1, 0.01, 0.001]
    distances = []
    for ratio in ratios:
        flow = GradientFlow(landscape, scheme="adaptive", ratio=ratio)
        distances.append(np.abs(flat(end(flow, start, 0.5, 1e-3).ensemble) - limit).max())
    assert np.all(np.diff(distances) < 0)
    assert distances[-1] < 5e-3 * np.abs(limit).max()
    # First order in ε once ε is well below the other time scales.
    assert distances[2] / distances[3] == pytest.approx(10, rel=0.05)


SHARES = np.array([0.01, 0.1, 1.0, 2.0, 20.0])  # of the threshold


def slopes(ratios: np.ndarray, distances: list[float]) -> np.ndarray:
    return np.diff(np.log(distances)) / np.diff(np.log(ratios))


def separates(found: np.ndarray) -> bool:
    """First order over both decades below the threshold, and not over the one from twice it on."""
    return bool(np.all(np.abs(found[:2] - 1) < 0.05) and found[3] < 0.9)


def test_threshold_separates_the_orders_of_a_linear_flow() -> None:
    landscape, start = LaggedSprings(), points()
    mean = start.particles.mean(axis=0)
    threshold = timescale_threshold(landscape, start)
    ratios, time = SHARES * threshold.ratio, 1 / threshold.reduced_rate
    limit = np.exp(-landscape.spring * time) * start.particles
    ends = [lagged_solution(landscape, start.particles, mean, r, time)[0] for r in ratios]
    assert separates(slopes(ratios, [float(np.linalg.norm(end - limit)) for end in ends]))


@eqx.filter_jit
def rates(
    landscape: MLPAttentionLandscape, y: jax.Array, like: tuple, weights: jax.Array, ratio: float
) -> jax.Array:
    """Slopes of the loss written out by hand, on the clocks of particles and fast variables."""
    shaped = ravel_pytree(like)[1](y)
    slope, *fast = jax.grad(lambda y: dense_loss(landscape, y[0], weights, *y[1:]))(shaped)
    slope = jax.tree.map(lambda s: s / weights[:, None], slope)
    return -ravel_pytree((slope, *(f / ratio for f in fast)))[0]


def followed(
    landscape: MLPAttentionLandscape, start: Ensemble, horizon: float, ratio: float | None = None
) -> np.ndarray:
    """Particles at the horizon, by a stiff solver: its steps need not shorten with the ratio."""
    like = (start.particles,)
    if ratio is not None:
        like += (landscape.solve_fast(landscape.moments(start)),)
    weights, ratio = start.probabilities, jnp.asarray(ratio or 1.0)
    solution = scipy.integrate.solve_ivp(
        lambda t, y: rates(landscape, y, like, weights, ratio),
        (0, horizon),
        flat(like),
        method="LSODA",
        rtol=1e-9,
        atol=1e-11,
    )
    assert solution.success
    return solution.y[: flat(start.particles).size, -1]


# Few neurons near the minimum, not a draw; the warning about draws does not apply.
# Spectra of the targets and displacements; the slowest rates of W differ by a factor of 100.
@pytest.mark.filterwarnings("ignore::landscapes.StartWarning")
@pytest.mark.parametrize(
    ("spectrum", "norm", "slowest"),
    [((2.0, 1.5), 0.1, 2.64), ((1.0, 0.5), 0.1, 0.115), ((1.0, 0.3), 0.1, 0.0268)],
)
def test_threshold_separates_the_orders(
    spectrum: tuple[float, ...], norm: float, slowest: float
) -> None:
    setting = realisable(0, dim=3, samples=48, teacher_neurons=6, spectrum=spectrum)
    landscape, minimum = setting.landscape, setting.saddle((), 6)
    start = displaced(minimum, isotropic(jax.random.key(3), landscape, minimum, norm))
    threshold = timescale_threshold(landscape, start)
    assert threshold.fast_rate == pytest.approx(slowest, rel=0.02)

    def found(shares: np.ndarray, horizon: float) -> np.ndarray:
        ratios, limit = shares * threshold.ratio, followed(landscape, start, horizon)
        ends = [followed(landscape, start, horizon, ratio) for ratio in ratios]
        return slopes(ratios, [float(np.linalg.norm(one - limit)) for one in ends])

    assert separates(found(SHARES, 1 / threshold.reduced_rate))
    # Later the layer of the start counts for less.
    assert found(SHARES[1:3], 5 / threshold.reduced_rate) == pytest.approx(1, abs=0.05)


def test_infinite_ratio_freezes_the_fast_variables() -> None:
    landscape, start, fast = smooth_attention(), cloud(), attention_matrix()
    run = end(GradientFlow(landscape, ratio=math.inf), start, 1.0, 0.05, fast=fast)
    np.testing.assert_array_equal(run.state.fast, fast)
    assert np.abs(flat(run.ensemble) - flat(start)).max() > 1e-2


def test_fast_variables_start_at_equilibrium() -> None:
    landscape, start = smooth_attention(), cloud()
    state = GradientFlow(landscape, ratio=1.0).start(start, 0.1)
    np.testing.assert_array_equal(state.fast, landscape.solve_fast(landscape.moments(start)))


@pytest.mark.parametrize("ratio", [None, 0.25, math.inf])
def test_ratio_is_remembered(ratio: float | None) -> None:
    assert GradientFlow(smooth_attention(), ratio=ratio).ratio == ratio
