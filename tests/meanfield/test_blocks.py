"""Records written on the device are those read one by one, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from flow_cases import Cliff, Springs, assert_same_bits, points, seeds, smooth_attention

from meanfield import Checkpoints, GradientFlow, Run, Statistic, every, simulate
from meanfield.runs import LostSeedsWarning, _blocks
from meanfield.runs._compiled import _advance_and_read
from meanfield.runs._records import _Main
from particles import Ensemble


def largest(flow: GradientFlow, state) -> jax.Array:
    return jnp.max(jnp.abs(jax.tree.leaves(state.ensemble.particles)[0]), axis=0)


def both(monkeypatch: pytest.MonkeyPatch, run: Callable[[], Run]) -> Run:
    """The run by blocks, held against the run without."""
    blocks, taken = run(), []
    with monkeypatch.context() as patch:
        patch.setattr(_blocks, "STATE_BYTES", 0)
        patch.setattr(_blocks.Blocks, "take", lambda *_: taken.append(1))
        single = run()
    assert not taken
    assert_same_bits(blocks.state, single.state)
    xarray.testing.assert_identical(blocks.trajectory, single.trajectory)
    assert blocks.outcome is single.outcome
    return blocks


@pytest.mark.optimized  # what is fused may round in another way
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("scheme", ["euler", "adaptive"])
def test_equal_to_records_one_by_one(scheme, batch, monkeypatch) -> None:
    start = seeds(3) if batch else jax.tree.map(lambda leaf: leaf[0], seeds(1))
    flow = GradientFlow(smooth_attention(), scheme=scheme)
    run = both(
        monkeypatch,
        lambda: simulate(
            flow,
            start,
            horizon=2.0,
            dt=0.02,
            record=every(0.03),
            statistics=[
                Statistic("largest", largest),
                Statistic("seldom", largest, every(0.5)),
            ],
            batch=batch,
        ),
    )
    assert run.trajectory.sizes["time"] == 68


def test_due_times_that_share_a_step(monkeypatch) -> None:
    flow = GradientFlow(Springs())
    run = both(
        monkeypatch, lambda: simulate(flow, points(), horizon=1.0, dt=0.1, record=every(0.01))
    )
    assert run.trajectory.step.to_numpy().tolist() == list(range(11))


def test_a_criterion_undoes_what_came_after_its_record(monkeypatch) -> None:
    looked = []

    def stop(seen: dict[str, np.ndarray]) -> bool:
        looked.append(int(seen["step"]))
        return looked[-1] == 123

    run = both(
        monkeypatch,
        lambda: simulate(
            GradientFlow(Springs()), points(), horizon=9.0, dt=0.01, record=every(0.01), stop=stop
        ),
    )
    assert looked == 2 * list(range(124))
    assert (run.outcome.name, int(run.state.step)) == ("STOPPED", 123)


def test_a_seed_that_fails_is_left_where_it_failed(monkeypatch) -> None:
    """Too stiff for this step in one seed; another one falls off a cliff."""
    stiff = Ensemble(jnp.array([[[0.1]], [[0.9]], [[0.3]]]))
    flow = GradientFlow(Cliff())

    def run() -> Run:
        with pytest.warns(LostSeedsWarning):
            return simulate(flow, stiff, horizon=0.6, dt=1e-3, record=every(2e-3), batch=True)

    found = both(monkeypatch, run)
    lost = np.isnan(found.trajectory.loss.to_numpy()).any(axis=0)
    assert lost.tolist() == [False, True, False]


@pytest.mark.parametrize("batch", [False, True])
def test_an_unstable_run_ends_at_the_same_record(batch, monkeypatch) -> None:
    start = Ensemble(points().particles[None]) if batch else points()
    flow = GradientFlow(Springs(spring=5.0), scheme="euler")
    run = both(
        monkeypatch,
        lambda: simulate(
            flow, start, horizon=90.0, dt=0.6, record=every(0.6), batch=batch, throw=False
        ),
    )
    assert run.outcome.failed


def test_resumed_in_the_middle_of_a_block(tmp_path: Path) -> None:
    flow = GradientFlow(Springs())
    options = {"horizon": 3.0, "dt": 0.01, "record": every(0.01)}
    whole = simulate(flow, points(), **options)
    checkpoints = Checkpoints(tmp_path, 97)
    save, saved = checkpoints.save, []

    def second_kills(state, *rest):
        saved.append(int(state.step))
        written = save(state, *rest)
        if len(saved) == 2:
            raise KeyboardInterrupt
        return written

    checkpoints.save = second_kills
    with pytest.raises(KeyboardInterrupt):
        simulate(flow, points(), checkpoints=checkpoints, **options)
    assert saved == [97, 194]
    rest = simulate(flow, points(), checkpoints=Checkpoints(tmp_path), resume=True, **options)
    assert_same_bits(rest.state, whole.state)
    xarray.testing.assert_identical(rest.trajectory, whole.trajectory)


def test_calls_grow_like_the_logarithm_of_the_records(monkeypatch) -> None:
    calls, take = [], _blocks.Blocks.take

    def counted(self, state, due, most):
        calls.append(len(due))
        return take(self, state, due, most)

    monkeypatch.setattr(_blocks.Blocks, "take", counted)
    monkeypatch.setattr("meanfield.runs._pace.SECONDS_PER_CALL", 1e6)  # whatever the machine does
    run = simulate(GradientFlow(Springs()), points(), horizon=5.0, dt=1e-3, record=every(1e-3))
    assert run.trajectory.sizes["time"] == 5001
    assert len(calls) < 12


@pytest.mark.optimized  # where the compiler leaves it
def test_what_the_flow_alone_decides_is_computed_once_a_call() -> None:
    def of_the_flow(flow: GradientFlow, state) -> jax.Array:
        return jnp.linalg.eigvalsh(flow.landscape.pull + jnp.eye(3))

    flow, due = GradientFlow(Springs()), jnp.arange(1.0, 9.0)
    state, compute = flow.start(points(), 1.0), _Main((("constant", of_the_flow),))
    limits = jnp.zeros(()), jnp.asarray(8), jnp.asarray(99)  # the latest row, count, steps
    program = _advance_and_read.lower(flow, state, due, *limits, compute, False).compile()
    before, entry = program.compiled.as_text().split("\nENTRY ")
    assert "lapack_dsyevd" in entry
    assert "lapack_dsyevd" not in before
