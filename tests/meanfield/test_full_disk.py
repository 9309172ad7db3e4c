"""A run that meets a full disk; kills are in tests/faults."""

from pathlib import Path

import pytest
from faults.processes import Server, forked
from faults.setups import steps

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


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("killing") / "config.toml"
    path.write_text(CONFIG)
    return path


@pytest.mark.slow
def test_a_full_disk_stops_the_run_with_a_sentence(
    config: Path, tmp_path: Path, server: Server
) -> None:
    """Not even the first checkpoint fits: it says so last, and there is none to resume."""
    folder = tmp_path / "full"
    words = ["simulate", config, "--out", folder, "--quiet"]
    run = forked(server, tmp_path, words, prelude=["limited_files", 1500])
    assert run.wait(300) == 1
    [last] = run.errors.splitlines()  # orbax and its threads are silent
    assert last.startswith("meanfield: the run could not write a checkpoint at t = ")
    assert "File too large" in last
    assert (folder / "config.toml").exists()
    assert steps(folder) == []
    again = forked(server, tmp_path, ["simulate", "--resume", folder, "--quiet"])
    assert (again.wait(300), "holds no checkpoint" in again.errors) == (2, True)
