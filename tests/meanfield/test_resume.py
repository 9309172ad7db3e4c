"""Ten steps and ten more are twenty, bit for bit: passed on, or through a checkpoint."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from flow_cases import LaggedSprings, Springs, assert_same_bits, points, smooth_attention
from helpers import cloud

from meanfield import Checkpoints, GradientFlow, Outcome, every, simulate
from particles import Ensemble, InvalidInput

HALF, WHOLE = 0.5, 1.0


def batch_of_points() -> Ensemble:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(points(seed) for seed in range(3)))


RUN = {"dt": 0.05, "record": every(0.1)}
CASES = {
    "attention": (smooth_attention, cloud, {}, {}),
    "coupled": (LaggedSprings, points, {"ratio": 0.5}, {"fast": jnp.array([2.0, -1.0])}),
    "tsit5": (Springs, points, {"scheme": "tsit5"}, {}),
    "adaptive": (Springs, points, {"scheme": "adaptive"}, {}),
    "batch": (Springs, batch_of_points, {}, {"batch": True}),
    "adaptive batch": (Springs, batch_of_points, {"scheme": "adaptive"}, {"batch": True}),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest):
    """Flow, start, and options of a run."""
    landscape, start, flow_options, run_options = CASES[request.param]
    return GradientFlow(landscape(), **flow_options), start(), RUN | run_options


def test_the_state_passed_on_goes_on_bit_for_bit(case) -> None:
    flow, start, options = case
    whole = simulate(flow, start, horizon=WHOLE, **options)
    half = simulate(flow, start, horizon=HALF, **options)
    rest = simulate(
        flow, half.state, horizon=WHOLE, record=options["record"], batch="batch" in options
    )
    assert_same_bits(whole.state, rest.state)
    joined = xarray.concat([half.trajectory, rest.trajectory.isel(time=slice(1, None))], "time")
    xarray.testing.assert_equal(whole.trajectory, joined)


def test_a_checkpoint_goes_on_bit_for_bit(case, tmp_path: Path) -> None:
    flow, start, options = case
    whole = simulate(flow, start, horizon=WHOLE, **options)
    simulate(flow, start, horizon=HALF, checkpoints=Checkpoints(tmp_path, 3), **options)
    again = Checkpoints(tmp_path, 3)  # as a new process would find it
    rest = simulate(flow, start, horizon=WHOLE, checkpoints=again, resume=True, **options)
    assert_same_bits(whole.state, rest.state)
    xarray.testing.assert_identical(whole.trajectory, rest.trajectory)


def test_a_checkpoint_between_two_records_loses_none(tmp_path: Path) -> None:
    """Killed at any step: only what was saved on the way is there."""
    flow, start = GradientFlow(Springs()), points()
    options = RUN | {"horizon": WHOLE, "snapshots": every(0.25), "record": every(0.15)}
    whole = simulate(flow, start, **options)
    for step in range(1, 8, 2):
        folder = tmp_path / str(step)
        checkpoints = Checkpoints(folder, step)
        save = checkpoints.save

        def once_then_die(*what, save=save) -> None:
            save(*what)
            raise KeyboardInterrupt

        checkpoints.save = once_then_die
        with pytest.raises(KeyboardInterrupt):
            simulate(flow, start, checkpoints=checkpoints, **options)
        resumed = simulate(flow, start, checkpoints=Checkpoints(folder), resume=True, **options)
        assert_same_bits(whole.state, resumed.state)
        xarray.testing.assert_identical(whole.trajectory, resumed.trajectory)


def test_a_finished_run_resumes_to_itself(tmp_path: Path) -> None:
    flow, start = GradientFlow(Springs()), points()
    options = RUN | {"horizon": WHOLE}
    whole = simulate(flow, start, checkpoints=Checkpoints(tmp_path), **options)
    again = simulate(flow, start, checkpoints=Checkpoints(tmp_path), resume=True, **options)
    assert_same_bits(whole.state, again.state)
    xarray.testing.assert_identical(whole.trajectory, again.trajectory)
    assert again.outcome is Outcome.HORIZON


def test_resuming_before_the_first_checkpoint_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "new"):
        with pytest.raises(InvalidInput, match="holds no checkpoint; start without resume"):
            simulate(
                GradientFlow(Springs()), points(), horizon=WHOLE,
                checkpoints=Checkpoints(folder), resume=True, **RUN,
            )  # fmt: skip


def test_only_the_latest_checkpoints_stay(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, every_steps=4, keep=2)
    simulate(GradientFlow(Springs()), points(), horizon=WHOLE, checkpoints=checkpoints, **RUN)
    assert checkpoints.latest() == 20
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdigit()) == ["16", "20"]


def test_a_new_run_does_not_mix_with_an_old_one(tmp_path: Path) -> None:
    flow, options = GradientFlow(Springs()), RUN | {"horizon": WHOLE}
    first = simulate(flow, points(), checkpoints=Checkpoints(tmp_path), **options)
    with pytest.raises(InvalidInput, match="step 20 of an earlier run"):
        simulate(flow, points(seed=1), checkpoints=Checkpoints(tmp_path), **options)
    # Going on from its end is no new run.
    further = options | {"horizon": 1.5}
    on = simulate(flow, first.state, checkpoints=Checkpoints(tmp_path), **further)
    assert float(on.state.time) == pytest.approx(1.5)


def test_a_horizon_behind_the_checkpoint_is_refused(tmp_path: Path) -> None:
    flow, start = GradientFlow(Springs()), points()
    simulate(flow, start, horizon=WHOLE, checkpoints=Checkpoints(tmp_path), **RUN)
    with pytest.raises(InvalidInput, match=r"horizon is 0\.5; the checkpoint is already at time 1"):
        simulate(flow, start, horizon=HALF, checkpoints=Checkpoints(tmp_path), resume=True, **RUN)


def test_resuming_from_nowhere_is_refused() -> None:
    with pytest.raises(InvalidInput, match="resume is True, but checkpoints is None"):
        simulate(GradientFlow(Springs()), points(), horizon=WHOLE, resume=True, **RUN)


def test_a_state_can_go_on_with_another_step() -> None:
    flow = GradientFlow(Springs())
    half = simulate(flow, points(), horizon=HALF, **RUN)
    rest = simulate(flow, half.state, horizon=WHOLE, dt=0.01)
    assert int(rest.state.step) == 10 + 50


def test_a_state_of_another_flow_is_refused() -> None:
    fast = jnp.ones(2)
    state = GradientFlow(LaggedSprings()).start(points(), 0.1)
    for options in ({"scheme": "tsit5"}, {"scheme": "adaptive"}, {"ratio": 1.0}):
        with pytest.raises(InvalidInput, match="state of another flow"):
            simulate(GradientFlow(LaggedSprings(), **options), state, horizon=1.0)
    coupled = GradientFlow(LaggedSprings(), ratio=math.inf).start(points(), 0.1, fast)
    with pytest.raises(InvalidInput, match="ratio is None"):
        simulate(GradientFlow(LaggedSprings()), coupled, horizon=1.0)
    with pytest.raises(InvalidInput, match="fast is given, but start is a state"):
        simulate(GradientFlow(LaggedSprings(), ratio=1.0), coupled, horizon=1.0, fast=fast)


def test_the_callers_ensemble_and_state_survive() -> None:
    flow, start, fast = GradientFlow(LaggedSprings(), ratio=1.0), points(), jnp.ones(2)
    state = flow.start(start, 0.05, fast)
    before = jax.tree.map(np.array, state)
    simulate(flow, start, horizon=0.2, dt=0.05, fast=fast)
    simulate(flow, state, horizon=0.2)
    run = simulate(flow, state, horizon=0.2)
    end = jax.tree.map(np.array, run.state)
    simulate(flow, run.state, horizon=0.4)
    assert_same_bits(start, points())
    assert_same_bits(fast, jnp.ones(2))
    assert_same_bits(state, before)
    assert_same_bits(run.state, end)
