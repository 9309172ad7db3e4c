"""Checkpoints belong to one run, and one that is damaged is noticed, named and left out."""

import json
import logging
import shutil
import sys
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from flow_cases import Springs, assert_same_bits, points, smooth_attention
from helpers import attention, cloud

from landscapes import MLPAttentionLandscape
from meanfield import (
    AcceleratedFlow,
    Checkpoints,
    FlowFailed,
    GradientFlow,
    Outcome,
    Statistic,
    every,
    simulate,
)
from meanfield.flows import Diffusion
from meanfield.runs import DamagedCheckpointWarning
from particles import Ensemble, InvalidInput, particle_mesh, placed

RUN = {"dt": 0.05, "horizon": 1.0, "record": every(0.25)}
KEY = jax.random.key(3)


def sixteen(scale: float = 1.0) -> Ensemble:
    return Ensemble(scale * points(size=16).particles)


def more_samples() -> MLPAttentionLandscape:
    base = smooth_attention()
    x, f = (jnp.concatenate([a, a[:1]]) for a in (base.x, base.f))
    return MLPAttentionLandscape(x, f, ridge=0.1)


def other_sample() -> MLPAttentionLandscape:
    base = smooth_attention()
    return eqx.tree_at(lambda b: b.x, base, base.x.at[3, 1].add(1e-13))


NOISE = (Diffusion(0.1),)
OTHERS = {
    "more samples": ({"flow": GradientFlow(more_samples())}, r"another landscape \(.*\[24.*\[25"),
    "one bit of a sample": (
        {"flow": GradientFlow(other_sample())},
        r"another landscape \(landscape\.x holds other values\)",
    ),
    "another landscape": (
        {"flow": GradientFlow(attention(ridge=0.2))},
        r"another landscape \(landscape\.ridge was 0\.1, is now 0\.2\)",
    ),
    "scheme": (
        {"flow": GradientFlow(smooth_attention(), scheme="tsit5")},
        r"another flow \(flow\.scheme\.solver was Heun, is now Tsit5\)",
    ),
    "ratio": ({"flow": GradientFlow(smooth_attention(), ratio=1.0)}, r"another flow \(flow\.inver"),
    "kind of flow": (
        {"flow": AcceleratedFlow(smooth_attention())},
        r"another flow \(flow\.kind was GradientFlow, is now AcceleratedFlow\)",
    ),
    "start": ({"start": cloud(5)}, r"another start \(start\.particles\.a holds other values\)"),
    "size": (
        {"start": cloud(size=9)},
        r"another start \(start\.particles\.a was float64\[7, 2\], is now float64\[9, 2\]\)",
    ),
    "weights": ({"start": cloud(weighted=True)}, r"another start \(start\.weights was None"),
    "step": ({"dt": 0.1}, r"another dt \(was 0\.05, is now 0\.1\)"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    flow = GradientFlow(smooth_attention())
    simulate(flow, cloud(), checkpoints=Checkpoints(folder), **RUN | {"horizon": 0.5})
    return folder


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_checkpoint_was_made_with_is_named(name: str, saved: Path) -> None:
    change, sentence = OTHERS[name]
    options = {"flow": GradientFlow(smooth_attention()), "start": cloud()} | RUN | change
    with pytest.raises(InvalidInput, match=sentence):
        simulate(**options, checkpoints=Checkpoints(saved), resume=True)


def test_all_that_differs_is_named(saved: Path) -> None:
    with pytest.raises(InvalidInput, match=r"another start \(.*, another dt \("):
        simulate(
            GradientFlow(smooth_attention()), cloud(5), checkpoints=Checkpoints(saved),
            resume=True, **RUN | {"dt": 0.1},
        )  # fmt: skip


def test_another_key_and_temperature_are_refused(tmp_path: Path) -> None:
    flow = GradientFlow(Springs(), jumps=NOISE)
    options = RUN | {"checkpoints": Checkpoints(tmp_path)}
    simulate(flow, points(), key=KEY, **options | {"horizon": 0.5})
    with pytest.raises(InvalidInput, match=r"another key \(holds other values\)"):
        simulate(flow, points(), key=jax.random.key(4), resume=True, **options)
    warmer = GradientFlow(Springs(), jumps=(Diffusion(0.2),))
    with pytest.raises(InvalidInput, match=r"another flow \(flow\.jumps\.0\.temperature was 0\.1"):
        simulate(warmer, points(), key=KEY, resume=True, **options)
    simulate(flow, points(), key=KEY, resume=True, **options)


def test_horizon_schedules_chunk_and_devices_may_differ(tmp_path: Path) -> None:
    whole = simulate(GradientFlow(Springs()), sixteen(), **RUN)
    simulate(
        GradientFlow(Springs()), sixteen(), checkpoints=Checkpoints(tmp_path), horizon=0.5, dt=0.05
    )
    rest = simulate(
        GradientFlow(Springs(), chunk=3),
        placed(sixteen(), particle_mesh()),
        checkpoints=Checkpoints(tmp_path),
        resume=True,
        snapshots=every(0.5),
        **RUN,
    )
    np.testing.assert_allclose(rest.ensemble.particles, whole.ensemble.particles, rtol=1e-12)


def test_statistics_recorded_in_one_part_only_are_refused(tmp_path: Path) -> None:
    simulate(
        GradientFlow(Springs()), points(), checkpoints=Checkpoints(tmp_path),
        **RUN | {"horizon": 0.5},
    )  # fmt: skip
    late = Statistic("late", lambda flow, state: state.time)
    with pytest.raises(InvalidInput, match=r"statistics: \['late'\] are recorded in only one part"):
        simulate(
            GradientFlow(Springs()), points(), checkpoints=Checkpoints(tmp_path), resume=True,
            statistics=[late], **RUN,
        )  # fmt: skip


def twice_saved(folder: Path) -> None:
    simulate(
        GradientFlow(Springs()), points(), checkpoints=Checkpoints(folder, 5, keep=2),
        **RUN | {"horizon": 0.5},
    )  # fmt: skip
    assert sorted(p.name for p in folder.iterdir() if p.name.isdigit()) == ["10", "5"]


def largest(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def truncated(newest: Path) -> None:
    path = largest(newest / "state")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(newest: Path) -> None:
    for path in (p for p in newest.rglob("*") if p.is_file()):
        path.write_bytes(b"")


def swapped(newest: Path) -> None:
    """The state of another checkpoint: whole, but not this one."""
    older = newest.with_name("5") / "state"
    for path in (p for p in (newest / "state").rglob("*") if p.is_file()):
        path.unlink()
    for path in (p for p in older.rglob("*") if p.is_file()):
        target = newest / "state" / path.relative_to(older)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())


def misdescribed(newest: Path) -> None:
    path = next(
        p for p in (newest / "about").rglob("*") if p.is_file() and b"made_with" in p.read_bytes()
    )
    about = json.loads(path.read_text())
    about["made_with"]["dt"][""] = "float64[] of 0.07#0"
    path.write_text(json.dumps(about))


@pytest.mark.parametrize("damage", [truncated, emptied, swapped, misdescribed])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(damage, tmp_path: Path) -> None:
    whole = simulate(GradientFlow(Springs()), points(), **RUN)
    twice_saved(tmp_path)
    damage(tmp_path / "10")
    with pytest.warns(DamagedCheckpointWarning, match=r"checkpoint of step 10 .* was left out"):
        rest = simulate(
            GradientFlow(Springs()), points(), checkpoints=Checkpoints(tmp_path, 5), resume=True,
            **RUN,
        )  # fmt: skip
    assert_same_bits(rest.state, whole.state)
    xarray.testing.assert_identical(rest.trajectory, whole.trajectory)
    assert (tmp_path / "damaged-10").is_dir()
    assert (tmp_path / "20").is_dir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulate(
            GradientFlow(Springs()), points(), checkpoints=Checkpoints(tmp_path), resume=True, **RUN
        )


# The reader's own threads complain once more when the damaged file is left alone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_flipped_bits_are_found_or_do_no_harm(tmp_path: Path) -> None:
    """Some bytes of the files are padding; wherever a flip matters, it is noticed."""
    whole = simulate(GradientFlow(Springs()), points(), **RUN)
    rng = np.random.default_rng(0)
    noticed = 0
    twice_saved(tmp_path / "saved")
    for trial in range(12):
        folder = tmp_path / str(trial)
        shutil.copytree(tmp_path / "saved", folder)
        # The largest files hold the state and the records.
        files = [p for p in (folder / "10").rglob("*") if p.is_file() and p.stat().st_size]
        path = sorted(files, key=lambda p: (-p.stat().st_size, str(p)))[trial % 4]
        content = bytearray(path.read_bytes())
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            rest = simulate(
                GradientFlow(Springs()), points(), checkpoints=Checkpoints(folder), resume=True,
                **RUN,
            )  # fmt: skip
        noticed += any(issubclass(w.category, DamagedCheckpointWarning) for w in told)
        assert_same_bits(rest.state, whole.state)
        xarray.testing.assert_identical(rest.trajectory, whole.trajectory)
    assert noticed > 2


def test_none_whole_is_one_sentence(tmp_path: Path) -> None:
    twice_saved(tmp_path)
    for step in ("5", "10"):
        emptied(tmp_path / step)
    with (
        pytest.warns(DamagedCheckpointWarning),
        pytest.raises(InvalidInput, match="holds no whole checkpoint"),
    ):
        simulate(
            GradientFlow(Springs()), points(), checkpoints=Checkpoints(tmp_path), resume=True, **RUN
        )


def test_what_was_saved_must_give_the_loss_that_was_computed(tmp_path: Path) -> None:
    """A state that changes between computing and saving ends the run."""
    checkpoints = Checkpoints(tmp_path, 5)
    save = checkpoints.save

    def corrupted(state, *rest):
        written = save(state, *rest)
        wrong = written.ensemble.particles.copy()
        wrong[0, 0] += 1e-6
        return eqx.tree_at(lambda s: s.ensemble.particles, written, wrong)

    checkpoints.save = corrupted
    with pytest.raises(
        FlowFailed, match=r"contradicts itself.*the saved state has loss"
    ) as failure:
        simulate(GradientFlow(Springs()), points(), checkpoints=checkpoints, **RUN)
    assert failure.value.run.outcome is Outcome.INCONSISTENT
    assert int(failure.value.run.state.step) == 5


def test_a_landscape_that_changes_under_the_run_is_noticed(tmp_path: Path) -> None:
    """NumPy data that somebody writes into while the run goes on."""

    class Held(Springs):
        data: np.ndarray

        def __init__(self, data: np.ndarray):
            super().__init__()
            self.data = data

    data = np.ones(3)

    def meddle(seen: dict) -> bool:
        data[1] = 2.0
        return False

    with pytest.raises(FlowFailed, match=r"since the start another landscape \(landscape\.data"):
        simulate(
            GradientFlow(Held(data)), points(), checkpoints=Checkpoints(tmp_path, 5), stop=meddle,
            **RUN,
        )  # fmt: skip


def test_logging_and_hooks_are_as_before(tmp_path: Path) -> None:
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    before = [logger.level for logger in loggers], sys.unraisablehook
    twice_saved(tmp_path / "good")
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(FlowFailed, match="could not write a checkpoint"):
        simulate(GradientFlow(Springs()), points(), checkpoints=Checkpoints(blocked, 5), **RUN)
    assert ([logger.level for logger in loggers], sys.unraisablehook) == before


def test_records_are_copies() -> None:
    """A snapshot is not a view of memory that the next step is given."""
    run = simulate(
        GradientFlow(Springs()), points(), horizon=1.0, dt=0.05, snapshots=every(0.05),
    )  # fmt: skip
    seen = run.trajectory["particles"].values
    assert len({row.tobytes() for row in seen}) == 21
    np.testing.assert_array_equal(seen[0], points().particles)
