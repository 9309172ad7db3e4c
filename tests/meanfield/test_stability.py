"""The suggested step against a dense Hessian, and against what really is stable."""

import math

import jax
import numpy as np
import pytest
from flow_cases import LaggedSprings, Springs, points
from helpers import cloud, dense_loss, regression
from jax.flatten_util import ravel_pytree

from landscapes import SeparateLinearAttentionLandscape
from landscapes.linear_attention import (
    PopulationMoments,
    PromptDistribution,
    head_start,
    plateau_levels,
)
from meanfield import FlowFailed, GradientFlow, Outcome, simulate
from meanfield.runs import stable_step


def test_stable_step_is_one_over_the_largest_eigenvalue() -> None:
    landscape, start = regression(), cloud()
    flow = GradientFlow(landscape)
    flat, unravel = ravel_pytree(start.particles)
    hessian = jax.hessian(lambda v: dense_loss(landscape, unravel(v), start.probabilities))(flat)
    largest = start.size * np.linalg.eigvalsh(hessian)[-1]
    assert stable_step(flow, start) == pytest.approx(1 / largest, rel=1e-2)
    assert stable_step(flow, flow.start(start, 0.1)) == stable_step(flow, start)


def test_stable_step_of_a_stiff_fast_variable() -> None:
    """R curves with 1 in y, so by 1/ε in time; the particles' 1.5 is what limits larger ε."""
    for ratio, curvature in ((1e-3, 1e3), (10.0, 1.5)):
        flow = GradientFlow(LaggedSprings(), ratio=ratio)
        assert stable_step(flow, points()) == pytest.approx(1 / curvature, rel=1e-6)


def test_no_curvature_no_limit() -> None:
    assert stable_step(GradientFlow(Springs(pull=0.0, spring=0.0)), points()) == math.inf


@pytest.mark.parametrize(("share", "stable"), [(1.7, True), (2.1, False)])
def test_euler_is_stable_up_to_twice_that_step(share: float, stable: bool) -> None:
    flow, start = GradientFlow(Springs(), scheme="euler"), points()
    dt = share * stable_step(flow, start)
    if stable:
        assert float(simulate(flow, start, horizon=50 * dt, dt=dt).trajectory.loss[-1]) < 1e-2
    else:
        with pytest.raises(FlowFailed, match="too large"):
            simulate(flow, start, horizon=50 * dt, dt=dt)


def test_a_long_plateau_is_no_instability() -> None:
    """On a plateau a controlled step may err by more than the little that is dissipated there."""
    prompts = PopulationMoments(PromptDistribution([0.4, 0.6], 32))
    landscape = SeparateLinearAttentionLandscape(prompts, rank=1)
    start = head_start(jax.random.key(0), landscape, 3, scale=1e-3)
    run = simulate(GradientFlow(landscape, scheme="adaptive"), start, horizon=4e4, dt=1.0)
    assert run.outcome is Outcome.HORIZON
    levels = plateau_levels([0.6, 0.4], 32)
    assert float(run.trajectory["loss"][1]) == pytest.approx(levels[0], rel=1e-3)
    assert np.min(np.abs(levels[1:] - float(run.trajectory["loss"][-1]))) < 1e-3
