"""The chunk that a long run chooses: the fastest one timed, remembered, and kept by a resume."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscapes import RegressionLandscape, neuron_start
from meanfield import Checkpoints, GradientFlow, every, simulate
from meanfield.costs import _chunks as chunks
from meanfield.costs import calibrated_chunk

KEY = jax.random.key(0)
SIZE, CHOSEN = 64, 16
OPTIONS: dict[str, Any] = {"dt": 0.1, "record": every(0.2)}


def network(samples: int = 8, activation: str = "tanh") -> RegressionLandscape:
    x = jax.random.normal(KEY, (samples, 3))
    return RegressionLandscape(x, x[:, :2], activation)


FLOW = GradientFlow(network(), scheme="euler")
START = neuron_start(jax.random.key(1), network(), SIZE)


class Passes:
    """Passes that take a known time by size, on a clock of their own."""

    def __init__(self, seconds: dict[int, float], compiling: float = 0.0):
        self.seconds, self.compiling, self.now = seconds, compiling, 0.0
        self.seen: set[int] = set()

    def __call__(self, size: int) -> None:
        self.now += self.seconds[size] + (0 if size in self.seen else self.compiling)
        self.seen.add(size)

    def fastest(self, sizes: list[int], allowed: float = 1.0) -> int:
        return chunks.fastest(self, sizes, allowed, lambda: self.now)


def test_the_fastest_is_chosen() -> None:
    assert Passes({64: 0.02, 256: 0.01, 16: 0.03}).fastest([64, 256, 16]) == 256


def test_the_default_stays_where_nothing_is_clearly_faster() -> None:
    assert Passes({64: 0.0100, 256: 0.0097}).fastest([64, 256]) == 64


@pytest.mark.parametrize("allowed", [1.0, 60.0])
@pytest.mark.parametrize("compiling", [0.01, 0.1, 0.3, 5.0])
def test_a_trial_ends_in_time(compiling: float, allowed: float) -> None:
    """What has been compiled when half of the time is over takes one turn at least."""
    passes = Passes({64: 0.02, 256: 0.01, 16: 0.03, 128: 0.03}, compiling)
    passes.fastest([64, 256, 16, 128], allowed)
    turn = 0.09  # of all sizes
    assert passes.now <= allowed + compiling + 2 * turn
    assert passes.now <= 4 * compiling + turn + chunks.MOST + turn  # however much is allowed
    if allowed > 4 * compiling + chunks.MOST:
        assert len(passes.seen) == 4
    assert compiling < allowed or passes.seen == {64}


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[int]]:
    """Every run is long enough for a trial, whose outcome is known; returns the trials."""
    trials: list[list[int]] = []

    def fastest(run: Any, sizes: list[int], allowed: float) -> int:
        trials.append(sizes)
        return CHOSEN

    monkeypatch.delenv(chunks.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(chunks, "LEAST", 0.0)
    monkeypatch.setattr(chunks, "fastest", fastest)
    return trials


def chunk_of(run: Any) -> int | None:
    return run.trajectory.attrs.get("chunk")


def equal(one: Any, two: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


def test_a_machine_is_asked_once(timed: list[list[int]], tmp_path: Path) -> None:
    for _ in range(2):
        assert calibrated_chunk(FLOW, START, 100) == CHOSEN
    assert timed == [[SIZE, 16, 32]]
    simulated = simulate(FLOW, START, horizon=0.5, **OPTIONS)
    assert chunk_of(simulated) == CHOSEN
    assert len(timed) == 1
    (file,) = (tmp_path / "cache").rglob("*.json")
    [(key, value)] = json.loads(file.read_text()).items()
    assert (value, "float64[8, 3]" in key, "tanh" in key) == (CHOSEN, True, True)
    file.write_text(json.dumps({key: "many"}))
    assert calibrated_chunk(FLOW, START, 100) == CHOSEN
    assert len(timed) == 2


@pytest.mark.parametrize(
    "other", [network(9), network(activation="relu")], ids=["samples", "activation"]
)
def test_another_kind_of_landscape_is_timed_anew(
    other: RegressionLandscape, timed: list[list[int]]
) -> None:
    for landscape in (network(), other):
        calibrated_chunk(GradientFlow(landscape), START, 100)
    assert len(timed) == 2


def test_it_can_be_bypassed(timed: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    given = GradientFlow(network(), scheme="euler", chunk=8)
    assert chunk_of(simulate(given, START, horizon=0.5, **OPTIONS)) == 8
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), START)
    assert chunk_of(simulate(FLOW, batch, horizon=0.5, batch=True, **OPTIONS)) is None
    monkeypatch.setenv(chunks.VARIABLE, "default")
    assert chunk_of(simulate(FLOW, START, horizon=0.5, **OPTIONS)) is None
    assert not timed


def test_a_short_run_asks_nothing(timed: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial takes 2 % of a run that itself is thought too short rather than too long."""
    monkeypatch.setattr(chunks, "LEAST", 0.2)
    seconds = chunks.nominal_seconds(FLOW, START, 1000)
    assert calibrated_chunk(FLOW, START, 1000 * 9.9 / seconds) is None
    assert not timed
    assert calibrated_chunk(FLOW, START, 1000 * 10.1 / seconds) == CHOSEN


def test_a_resume_takes_the_chunk_of_the_run(
    timed: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, whatever a trial would say by then."""
    whole = simulate(FLOW.with_chunk(CHOSEN), START, horizon=1.0, **OPTIONS)
    checkpoints = Checkpoints(tmp_path / "kept", every_steps=2)
    simulate(FLOW, START, horizon=0.5, checkpoints=checkpoints, **OPTIONS)
    monkeypatch.setattr(chunks, "fastest", lambda *_: 32)
    for file in (tmp_path / "cache").rglob("*.json"):
        file.unlink()
    again = Checkpoints(tmp_path / "kept", every_steps=2)
    resumed = simulate(FLOW, START, horizon=1.0, checkpoints=again, resume=True, **OPTIONS)
    assert chunk_of(resumed) == chunk_of(whole) == CHOSEN
    assert equal(resumed.state, whole.state)


def test_a_run_without_a_choice_is_resumed_without_one(
    timed: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(chunks.VARIABLE, "default")
    checkpoints = Checkpoints(tmp_path / "kept", every_steps=2)
    simulate(FLOW, START, horizon=0.5, checkpoints=checkpoints, **OPTIONS)
    monkeypatch.delenv(chunks.VARIABLE)
    again = Checkpoints(tmp_path / "kept", every_steps=2)
    resumed = simulate(FLOW, START, horizon=1.0, checkpoints=again, resume=True, **OPTIONS)
    assert chunk_of(resumed) is None
    assert not timed


def test_the_passes_that_are_timed_are_the_landscape_s() -> None:
    """No stub: two sizes of a small network, on the machine's own clock."""
    run = chunks._passes(network(), START)
    assert chunks.fastest(run, [64, 16], 0.01) in (64, 16)
    for one, other in zip(jax.tree.leaves(run(64)), jax.tree.leaves(run(16)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
