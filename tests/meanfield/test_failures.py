"""A flow that meets a non-finite number or too large a step stops, says so, and keeps the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flow_cases import Cliff, Springs, assert_same_bits, end, points
from helpers import cloud, regression

from meanfield import FlowFailed, GradientFlow, Outcome, at, every, simulate
from meanfield.flows import scheme_from
from particles import Ensemble

EDGE = 4 / 3  # where the flow from m = 0 falls off the cliff


def on_plateau(*means: float) -> Ensemble:
    """One particle per mean, or a batch of single particles."""
    starts = [Ensemble(jnp.full((1, 1), mean)) for mean in means]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts) if len(means) > 1 else starts[0]


def fall(scheme: str = "heun", **options) -> FlowFailed:
    flow = GradientFlow(Cliff(), scheme=scheme)
    with pytest.raises(FlowFailed) as failure:
        simulate(flow, on_plateau(0.0), **{"horizon": 5.0, "dt": 0.05} | options)
    return failure.value


@pytest.mark.parametrize("scheme", ["euler", "heun", "tsit5"])
def test_a_non_finite_number_stops_the_run(scheme: str) -> None:
    failure = fall(scheme)
    run = failure.run
    assert run.outcome is Outcome.NON_FINITE
    assert run.outcome.failed
    assert EDGE - 0.2 < float(run.state.time) < EDGE + 0.1
    assert all(np.isfinite(values).all() for values in run.trajectory.values())
    assert run.trajectory.attrs["outcome"] == "NON_FINITE"
    assert run.trajectory.attrs["message"] == run.message == str(failure)


def test_the_state_kept_is_that_of_a_run_stopped_a_step_earlier() -> None:
    run = fall("heun", record=at()).run
    good = end(GradientFlow(Cliff()), on_plateau(0.0), float(run.state.time), 0.05)
    assert int(good.state.step) == int(run.state.step)
    assert_same_bits(good.state.ensemble, run.state.ensemble)
    assert_same_bits(good.state.dissipated, run.state.dissipated)


def test_the_message_names_step_time_quantity_and_a_step() -> None:
    run = fall("heun").run
    step, time = int(run.state.step), float(run.state.time)
    assert f"at step {step}, t = {time:.6g} with dt = 0.05" in run.message
    assert "the fastest particle is 0, whose particles moves at" in run.message
    assert "Try dt = " in run.message
    # Euler has stepped over the edge without looking, and stands where the loss is no number.
    assert "; moments" not in fall("euler").run.message
    assert "loss is nan" in fall("euler", record=at()).run.message


def test_a_loss_that_turns_nan_at_the_horizon_is_no_success() -> None:
    """Euler's last step lands beyond the edge: nothing but the record would notice."""
    good = fall("euler", record=at()).run.state
    run = fall("euler", horizon=float(good.time)).run
    assert run.outcome is Outcome.NON_FINITE
    assert np.isfinite(run.trajectory.loss).all()


def test_adaptive_steps_creep_up_to_the_edge_and_vanish() -> None:
    run = fall("adaptive").run
    assert run.outcome is Outcome.STEP_VANISHED
    assert float(run.state.time) == pytest.approx(EDGE, abs=1e-5)
    assert "needed a step below the resolution of time" in run.message
    assert "rtol and atol" in run.message
    assert "Try dt" not in run.message


def test_a_tolerance_that_precision_cannot_resolve_warns(precision: str) -> None:
    rtol = {"float32": 1e-7, "float64": 1e-16}[precision]
    with pytest.warns(UserWarning, match=f"rtol is {rtol}, but {precision} resolves no less"):
        scheme_from("adaptive", rtol=rtol)


def test_a_start_without_numbers_names_them_and_no_step() -> None:
    """Before the first record: the loss is none at the start already."""
    with pytest.raises(FlowFailed, match=r"loss is nan\. No step was taken: look at") as failure:
        simulate(GradientFlow(Cliff()), on_plateau(2.0), horizon=1.0, dt=0.1)
    run = failure.value.run
    assert (run.outcome, int(run.state.step)) == (Outcome.NON_FINITE, 0)
    assert run.trajectory.sizes == {"time": 0}


def test_without_throw_the_run_is_returned() -> None:
    options = {"horizon": 5.0, "dt": 0.05, "throw": False}
    run = simulate(GradientFlow(Cliff()), on_plateau(0.0), **options)
    assert run.outcome is Outcome.NON_FINITE
    assert_same_bits(run.state, fall("heun").run.state)


@pytest.mark.parametrize("scheme", ["euler", "heun", "adaptive"])
def test_one_bad_seed_does_not_stop_the_others(scheme: str) -> None:
    flow, options = GradientFlow(Cliff(), scheme=scheme), {"dt": 0.05, "record": every(0.5)}
    starts = on_plateau(-20.0, 0.0, -30.0)
    with pytest.warns(UserWarning, match=r"Seeds \[1\] failed and stopped earlier"):
        run = simulate(flow, starts, horizon=5.0, batch=True, **options)
    assert run.outcome is Outcome.HORIZON
    assert np.asarray(run.state.finite).tolist() == [True, False, True]
    assert np.asarray(run.state.time)[[0, 2]] == pytest.approx([5.0, 5.0])
    for seed, mean in ((0, -20.0), (2, -30.0)):
        alone = simulate(flow, on_plateau(mean), horizon=5.0, **options).trajectory
        np.testing.assert_allclose(run.trajectory.loss[:, seed], alone.loss, rtol=1e-9)
    # The lost seed leaves no numbers behind for times that it did not live to see.
    alive = run.trajectory.time < EDGE - 0.2
    assert np.isfinite(run.trajectory.loss[:, 1]).to_numpy()[alive].all()
    assert np.isnan(run.trajectory.loss[:, 1]).to_numpy()[run.trajectory.time > EDGE + 0.1].all()
    assert "Seeds [1]" in run.trajectory.attrs["message"]


def test_a_batch_fails_when_all_its_seeds_have() -> None:
    with pytest.raises(FlowFailed, match="in seed 0 at step") as failure:
        simulate(GradientFlow(Cliff()), on_plateau(0.0, 0.5), horizon=5.0, dt=0.05, batch=True)
    assert failure.value.run.outcome is Outcome.NON_FINITE


def test_too_large_a_step_is_noticed_and_the_suggested_one_works() -> None:
    flow, start = GradientFlow(regression(), scheme="euler"), cloud()
    with pytest.raises(FlowFailed) as failure:
        simulate(flow, start, horizon=500.0, dt=50.0)
    run = failure.value.run
    assert run.outcome is Outcome.UNSTABLE
    assert "the step is too large" in run.message
    suggested = float(run.message.split("Try dt = ")[1].split(",")[0])
    assert suggested < 25
    again = simulate(flow, start, horizon=30.0, dt=suggested)
    assert again.outcome is Outcome.HORIZON
    assert np.all(np.diff(again.trajectory.loss) < 0)


def test_one_unstable_seed_does_not_stop_the_others() -> None:
    resting = points().with_particles(jnp.zeros((5, 2)))
    starts = jax.tree.map(lambda *leaves: jnp.stack(leaves), resting, points())
    with pytest.warns(UserWarning, match=r"Seeds \[1\] failed"):
        run = simulate(GradientFlow(Springs(), scheme="euler"), starts, horizon=20.0, dt=1.5,
                       batch=True)  # fmt: skip
    assert np.asarray(run.state.finite).tolist() == [True, False]


def test_a_failed_run_goes_on_with_a_smaller_step() -> None:
    flow = GradientFlow(Springs(), scheme="euler")
    failed = simulate(flow, points(), horizon=40.0, dt=2.0, throw=False)
    assert failed.outcome is Outcome.UNSTABLE
    run = simulate(flow, failed.state, horizon=60.0, dt=0.1)
    assert run.outcome is Outcome.HORIZON
    assert float(run.trajectory.loss[-1]) < 1e-6
    with pytest.raises(FlowFailed):  # and fails again with the same one
        simulate(flow, failed.state, horizon=60.0)


def test_round_off_at_a_minimum_is_no_instability() -> None:
    """The loss has come down by sixteen digits and now only jitters."""

    class Offset(Springs):
        def risk(self, moments, fast=None):
            return super().risk(moments) + 1.0 - 1.0 * jnp.cos(moments[1] * 1e-9)

    run = simulate(GradientFlow(Offset()), points(), horizon=200.0, dt=0.2, record=every(1.0))
    assert run.outcome is Outcome.HORIZON
