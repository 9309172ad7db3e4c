"""A run that meets a full disk; kills are in tests/faults."""

import subprocess
import sys
from pathlib import Path

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
horizon = 1.0
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
