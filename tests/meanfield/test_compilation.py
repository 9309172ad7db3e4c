"""Numbers are traced: changing one never compiles anything again."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flow_cases import Springs, never, points
from helpers import cloud, samples

from landscapes import MLPAttentionLandscape, Neuron, RegressionLandscape, loss_lines
from meanfield import Checkpoints, GradientFlow, Statistic, every, log_spaced, simulate
from meanfield.flows import scheme_from
from particles import Ensemble
from saddle_analysis import HessianOperator, extreme_eigenpairs

COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def compilations() -> Iterator[Callable[[], int]]:
    """Programs that XLA compiled since the last call."""
    seen: list[str] = []

    def listen(event: str, duration: float, **details) -> None:
        if event == COMPILED:
            seen.append(event)

    def fresh() -> int:
        count = len(seen)
        seen.clear()
        return count

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield fresh
    jax.monitoring.unregister_event_duration_listener(listen)


class CountedTanh:
    """An activation that counts how often it is traced."""

    def __init__(self) -> None:
        self.traced = 0

    def __call__(self, x: jax.Array) -> jax.Array:
        self.traced += 1
        return jnp.tanh(x)


def test_numbers_of_a_run_never_retrace(compilations) -> None:
    tanh = CountedTanh()
    x, f = map(jnp.asarray, samples())

    def run(horizon=0.4, dt=0.1, ratio=1.0, rtol=1e-6, ridge=0.1, shift=0.0, start=0, record=0.2):
        landscape = MLPAttentionLandscape(x + shift, f * (1 + shift), tanh, ridge=ridge)
        scheme = scheme_from("adaptive", rtol=rtol)
        flow = GradientFlow(landscape, scheme=scheme, ratio=ratio)
        mu, fast = cloud(start), jnp.eye(2)
        return simulate(flow, mu, horizon=horizon, dt=dt, fast=fast, record=every(record))

    run()
    run()
    traced = tanh.traced
    compilations()
    run()
    assert (tanh.traced, compilations()) == (traced, 0)
    for change in (
        {"horizon": 0.7},
        {"dt": 0.05},
        {"ratio": 0.5},
        {"rtol": 1e-4},
        {"ridge": 0.2},
        {"shift": 0.1},
        {"start": 3},
        {"record": 0.1},
    ):
        run(**change)
        assert (tanh.traced, compilations()) == (traced, 0), change


def test_a_start_of_weak_type_takes_the_steps_of_any_other(compilations) -> None:
    """`jnp.full(shape, 0.5)` has one; no step gives it back."""

    def run(particles: jax.Array):
        flow = GradientFlow(Springs(), scheme="euler")
        return simulate(flow, Ensemble(particles), horizon=1.0, dt=0.1, record=every(0.1))

    weak = jnp.full((3, 2), 0.5)
    assert weak.weak_type
    run(weak.astype(float))
    compilations()
    run(weak)
    assert compilations() == 2  # the first state and its copy


def largest(flow: GradientFlow, state) -> jax.Array:
    return jnp.max(jnp.abs(state.ensemble.particles))


def test_an_equal_call_compiles_nothing(compilations) -> None:
    """The same statistics and schedules, made anew, are recognised."""

    def run():
        return simulate(
            GradientFlow(Springs()),
            points(),
            horizon=1.0,
            dt=0.1,
            record=log_spaced(0.1, 5),
            statistics=[Statistic("largest", largest), Statistic("late", largest, every(0.5))],
            snapshots=every(0.5),
        )

    run()
    compilations()
    run()
    assert compilations() == 0


def test_going_on_compiles_nothing(compilations) -> None:
    flow = GradientFlow(Springs())
    run = simulate(flow, points(), horizon=1.0, dt=0.1)
    simulate(flow, run.state, horizon=1.5)
    compilations()
    simulate(flow, run.state, horizon=2.0)
    assert compilations() == 0


def test_a_checkpoint_goes_on_without_compiling(compilations, tmp_path) -> None:
    """A restored state lies as freely on its device as the one it was made from."""

    def run(horizon: float, **how):
        checkpoints = Checkpoints(tmp_path, every_steps=5)
        flow = GradientFlow(Springs())
        return simulate(flow, points(), horizon=horizon, dt=0.1, checkpoints=checkpoints, **how)

    run(1.0)
    compilations()
    run(1.5, resume=True)
    assert compilations() == 0


def test_slices_of_other_numbers_of_points_compile_nothing(compilations) -> None:
    field = jnp.ones_like(points().particles)
    found = []
    for count in (3, 5, 70):
        found.append(loss_lines(Springs(), points(), {"one": field}, extent=1.0, points=count))
        assert (compilations() == 0) == (count == 5)  # more than 64 make a longer loop
    few, many = (lines.loss.values[0] for lines in (found[0], found[2]))
    np.testing.assert_allclose(few[[0, 2]], many[[0, -1]], rtol=1e-12)
    assert np.all(np.diff(many, 2) > 0)


def test_curvature_of_another_ensemble_compiles_nothing(compilations) -> None:
    """Eigenpairs at every snapshot of a run are found by one program, also densely."""
    landscape = RegressionLandscape(jnp.eye(2), jnp.eye(2), "tanh")
    values = []
    for scale in (0.1, 0.2, 0.3):
        compilations()
        operator = HessianOperator(landscape, Ensemble(Neuron(a=scale * jnp.eye(2), w=jnp.eye(2))))
        values.append(float(extreme_eigenpairs(operator).values[0]))
        assert values[-1] == pytest.approx(np.linalg.eigvalsh(operator.dense())[0], rel=1e-6)
    assert compilations() == 0
    assert len(set(values)) == 3


@pytest.mark.parametrize("scheme", ["euler", "tsit5"])
def test_long_runs_compile_one_loop(scheme: str, compilations) -> None:
    flow = GradientFlow(Springs(), scheme=scheme)
    short = functools.partial(simulate, flow, points(), dt=1e-3, record=never)
    short(horizon=1e-2)
    compilations()
    assert int(short(horizon=20.0).state.step) == 20_000
    assert compilations() == 0


def test_the_loop_costs_little_on_the_host(compilations) -> None:
    """Steps are taken inside compiled code: the calls grow like the logarithm of their number."""
    calls = 0

    class Counting(Springs):
        pass

    def count(seen: dict[str, np.ndarray]) -> bool:
        nonlocal calls
        calls += 1
        return False

    run = simulate(
        GradientFlow(Counting()), points(), horizon=10.0, dt=1e-3, record=every(5.0), stop=count
    )
    assert (int(run.state.step), calls) == (10_000, 3)


def test_size_of_the_ensemble_does_compile_anew(compilations) -> None:
    """The counter counts: otherwise the tests above would prove nothing."""
    flow = GradientFlow(Springs())
    simulate(flow, points(), horizon=0.2, dt=0.1)
    compilations()
    simulate(flow, Ensemble(jnp.ones((11, 2))), horizon=0.2, dt=0.1)
    assert compilations() > 0
