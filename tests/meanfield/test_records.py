"""What a run writes down, how it is labelled, and that it survives a trip to disk."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from flow_cases import Springs, points, springs_solution
from helpers import cloud, regression

from landscapes import Observable
from meanfield import GradientFlow, Statistic, at, every, log_spaced, simulate
from particles import Ensemble, InvalidInput

MAIN = {"loss", "gradient_norm", "dissipation_rate", "dissipated", "step", "dt"}


def mean(flow: GradientFlow, state) -> jax.Array:
    return state.ensemble.mean(lambda particle: particle)


def covariance(flow: GradientFlow, state) -> jax.Array:
    return state.ensemble.particles.T @ state.ensemble.particles


def full_run(batch: bool = False) -> xarray.Dataset:
    start = points()
    if batch:
        start = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf, 3 * leaf]), start)
    return simulate(
        GradientFlow(Springs(), scheme="tsit5"),
        start,
        horizon=1.0,
        dt=0.05,
        record=every(0.25),
        statistics=[
            Statistic("mean", mean, dims=("axis",), units="length"),
            Statistic("covariance", covariance, when=at(0.0, 0.5)),
        ],
        snapshots=at(1.0),
        batch=batch,
    ).trajectory


def test_the_main_record() -> None:
    seen = full_run()
    assert set(seen.data_vars) >= MAIN
    np.testing.assert_allclose(seen.time, [0, 0.25, 0.5, 0.75, 1], atol=1e-12)
    assert seen.step.to_numpy().tolist() == [0, 5, 10, 15, 20]
    assert np.all(seen.dt == 0.05)
    landscape, start = Springs(), points().particles
    for time, loss in zip(seen.time.to_numpy(), seen.loss.to_numpy(), strict=True):
        there = Ensemble(jnp.asarray(springs_solution(landscape, start, time)))
        assert loss == pytest.approx(float(landscape.value(there)), rel=1e-8)


@pytest.mark.parametrize("batch", [False, True])
def test_dimensions(batch: bool) -> None:
    seen, lead = full_run(batch), (("seed",) if batch else ())
    assert seen.loss.dims == ("time", *lead)
    assert seen["mean"].dims == ("time", *lead, "axis")
    assert seen.covariance.dims == ("covariance_time", *lead, "covariance_0", "covariance_1")
    assert seen.particles.dims == ("snapshot_time", *lead, "particle", "particles_0")
    assert seen.covariance_time.to_numpy().tolist() == pytest.approx([0.0, 0.5])
    assert seen.sizes["snapshot_time"] == 1
    assert not batch or seen.sizes["seed"] == 3


def test_units_and_provenance() -> None:
    seen = full_run()
    assert seen["mean"].attrs["units"] == "length"
    assert seen.gradient_norm.attrs["units"] == "particle / time"
    assert seen.time.attrs["units"] == "flow time"
    assert seen.attrs["landscape"] == "Springs"
    assert seen.attrs["scheme"] == "Tsit5"
    assert seen.attrs["timescale_ratio"] == "limit"
    assert seen.attrs["outcome"] == "HORIZON"
    assert seen.attrs["jax"] == jax.__version__
    assert seen.attrs["float64"] == 1


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("engine", [None, "h5netcdf"])
def test_saves_and_reloads_without_loss(batch: bool, engine: str | None, tmp_path: Path) -> None:
    seen = full_run(batch)
    seen.to_netcdf(tmp_path / "run.nc", engine=engine)
    with xarray.open_dataset(tmp_path / "run.nc", engine=engine) as found:
        xarray.testing.assert_identical(found.load(), seen)
        assert {name: v.dtype for name, v in found.items()} == {
            name: v.dtype for name, v in seen.items()
        }


def test_snapshots_of_neurons_and_weights(tmp_path: Path) -> None:
    run = simulate(
        GradientFlow(regression(), scheme="euler"),
        cloud(weighted=True),
        horizon=0.2,
        dt=0.1,
        snapshots=every(0.1),
    )
    seen = run.trajectory
    assert seen["particles.a"].dims == ("snapshot_time", "particle", "particles.a_0")
    assert seen["particles.w"].shape == (3, 7, 3)
    np.testing.assert_array_equal(seen["particles.w"][-1], run.ensemble.particles.w)
    np.testing.assert_array_equal(seen["weights"][-1], run.ensemble.weights)
    seen.to_netcdf(tmp_path / "run.nc")
    xarray.testing.assert_identical(xarray.load_dataset(tmp_path / "run.nc"), seen)


def test_observables_of_the_landscape_are_recorded() -> None:
    class Watched(Springs):
        def observables(self, moments: tuple[jax.Array, jax.Array]) -> dict[str, Observable]:
            return {
                "mean": Observable(moments[0], ("axis",), "particle"),
                "square": Observable(moments[1]),
            }

    starts = Ensemble(jnp.stack([points().particles, 2 * points().particles]))
    run = simulate(GradientFlow(Watched()), starts, horizon=0.1, dt=0.1, batch=True)
    assert run.trajectory["mean"].dims == ("time", "seed", "axis")
    assert run.trajectory["mean"].attrs["units"] == "particle"
    assert run.trajectory.square.dims == ("time", "seed")
    np.testing.assert_allclose(
        run.trajectory["mean"][-1], run.ensemble.particles.mean(axis=1), rtol=1e-12
    )


@pytest.mark.parametrize("name", ["loss", "time", "dt"])
def test_an_observable_cannot_take_the_name_of_a_record(name: str) -> None:
    class Watched(Springs):
        def observables(self, moments: tuple[jax.Array, jax.Array]) -> dict[str, Observable]:
            return {name: Observable(moments[1])}

    with pytest.raises(InvalidInput, match=f"the name {name!r} is taken"):
        simulate(GradientFlow(Watched()), points(), horizon=0.1, dt=0.1)


def test_times_that_share_a_step_are_recorded_once() -> None:
    flow = GradientFlow(Springs())
    run = simulate(flow, points(), horizon=1.0, dt=0.1, record=every(0.01))
    np.testing.assert_allclose(run.trajectory.time, np.arange(11) * 0.1, atol=1e-12)


def test_an_adaptive_run_is_recorded_on_the_dot() -> None:
    flow = GradientFlow(Springs(), scheme="adaptive")
    record = log_spaced(1e-3, 3)
    run = simulate(flow, points(), horizon=2.0, dt=0.1, record=record)
    assert run.trajectory.time.to_numpy().tolist() == record(0.0, 2.0).tolist()
    # Being cut short for a record does not make the steps after it short.
    free = simulate(flow, points(), horizon=2.0, dt=0.1, record=at())
    assert int(run.state.step) < int(free.state.step) + run.trajectory.sizes["time"]


def test_a_user_schedule_cannot_lead_beyond_the_horizon() -> None:
    wild = lambda start, end: np.array([-1.0, 0.5, end, end + 3])  # noqa: E731
    run = simulate(GradientFlow(Springs()), points(), horizon=1.0, dt=0.1, record=wild)
    np.testing.assert_allclose(run.trajectory.time, [0.5, 1.0])


def test_nothing_recorded_is_still_a_dataset() -> None:
    run = simulate(GradientFlow(Springs()), points(), horizon=1.0, dt=0.1, record=at())
    assert run.trajectory.sizes == {"time": 0}
    assert float(run.state.time) == pytest.approx(1.0)


def test_the_stop_criterion_sees_the_latest_record() -> None:
    looked = []

    def stop(seen: dict[str, np.ndarray]) -> bool:
        looked.append(float(seen["loss"]))
        return looked[-1] < 0.5 * looked[0]

    run = simulate(
        GradientFlow(Springs()), points(), horizon=9.0, dt=0.1, record=every(0.1), stop=stop
    )
    assert run.outcome.name == "STOPPED"
    assert looked == run.trajectory.loss.to_numpy().tolist()
    assert looked[-1] < 0.5 * looked[0] <= looked[-2]
    assert run.message.startswith("the run met the stopping criterion at t = ")


@pytest.mark.parametrize("name", ["loss", "time", "snapshot_time", "mean"])
def test_names_that_are_taken_are_refused(name: str) -> None:
    statistics = [Statistic("mean", mean), Statistic(name, mean, when=every(1.0))]
    with pytest.raises(InvalidInput, match=f"statistics: the name '{name}' is taken"):
        simulate(GradientFlow(Springs()), points(), horizon=1.0, dt=0.1, statistics=statistics)


def test_dimensions_that_do_not_fit_are_refused_at_the_start() -> None:
    wrong = Statistic("mean", mean, dims=("x", "y"))
    with pytest.raises(InvalidInput, match=r"'mean' has dims \('x', 'y'\) but shape \(2,\)"):
        simulate(GradientFlow(Springs()), points(), horizon=1.0, dt=0.1, statistics=[wrong])


def test_a_statistic_may_hold_arrays() -> None:
    class Distance(eqx.Module):
        target: jax.Array

        def __call__(self, flow: GradientFlow, state) -> jax.Array:
            return state.ensemble.norm(state.ensemble.particles - self.target)

    start = points()
    run = simulate(
        GradientFlow(Springs()),
        start,
        horizon=0.2,
        dt=0.1,
        statistics=[Statistic("moved", Distance(start.particles))],
    )
    assert float(run.trajectory.moved[0]) == 0 < float(run.trajectory.moved[-1])
