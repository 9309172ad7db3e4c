"""A run that is killed, or meets a full disk, loses what came after its last checkpoint only."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

CONFIG = """
particles = 8
[problem]
kind = "regression"
samples = 16
dim = 2
spectrum = [1.0]
teacher_neurons = 2
[flow]
scheme = "euler"
[run]
horizon = 40.0
dt = 0.01
every = 1.0
checkpoint_steps = 20
"""

#: `meanfield` in a process that may not write files beyond a size: a disk that is full.
FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from meanfield.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "meanfield", "simulate", *map(str, arguments), "--quiet"]


def steps(folder: Path) -> list[int]:
    """The whole checkpoints of a run."""
    there = folder / "checkpoints"
    return (
        sorted(int(p.name) for p in there.iterdir() if p.name.isdigit()) if there.exists() else []
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("killing") / "config.toml"
    path.write_text(CONFIG)
    return path


@pytest.mark.slow
def test_killed_again_and_again(config: Path, tmp_path: Path) -> None:
    """Checkpoints come so thickly that kills fall into the middle of writing them."""
    whole = tmp_path / "whole"
    subprocess.run(command(config, "--out", whole), check=True, timeout=300)
    folder, rng, kills = tmp_path / "killed", np.random.default_rng(0), 0
    start = [config, "--out", folder]
    for _ in range(12):
        before = steps(folder)[-1:] or [0]
        process = subprocess.Popen(command(*start), stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and (steps(folder)[-1:] or [0]) <= before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 0.15)))
        process.kill()
        kills += process.wait() == -9
        assert (steps(folder)[-1:] or [0]) >= before  # never falls behind
        start = ["--resume", folder]
        if kills == 3:
            break
    assert kills == 3
    subprocess.run(command("--resume", folder), check=True, timeout=300)
    one, two = (np.load(path / "ensemble.npz") for path in (whole, folder))
    for name in one.files:
        np.testing.assert_array_equal(one[name], two[name])
    claims = [json.loads((path / "claims.json").read_text()) for path in (whole, folder)]
    assert claims[0] == claims[1]


@pytest.mark.slow
def test_a_full_disk_stops_the_run_with_a_sentence(config: Path, tmp_path: Path) -> None:
    """Not even the first checkpoint fits: it says so last, and there is none to resume."""
    folder = tmp_path / "full"
    limited = [sys.executable, "-c", FULL, "1500", "simulate", str(config), "--out", str(folder)]
    run = subprocess.run([*limited, "--quiet"], capture_output=True, text=True, timeout=300)
    assert run.returncode == 1
    [last] = run.stderr.splitlines()  # orbax and its threads are silent
    assert last.startswith("meanfield: the run could not write a checkpoint at t = ")
    assert "File too large" in last
    assert (folder / "config.toml").exists()
    assert steps(folder) == []
    resumed = command("--resume", folder)
    again = subprocess.run(resumed, capture_output=True, text=True, timeout=300)
    assert (again.returncode, "holds no checkpoint" in again.stderr) == (2, True)
