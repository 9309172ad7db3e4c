"""A refused run leaves no folder, whichever command it is, however late the refusal comes."""

from pathlib import Path

import pytest
from commands import meanfield

from meanfield.cli._main import COMMANDS
from particles import InvalidInput

READING = {"problems", "cite"}  # these write nothing
SMALL = "--problem.samples 16 --problem.dim 2 --problem.spectrum 1.0 --problem.teacher-neurons 2"

#: Words of each command, and what it calls once its folder is there.
LATE = {
    "demo": (f"{SMALL} --particles 8", "meanfield.cli._demo.detect"),
    "simulate": (f"{SMALL} --particles 8", "meanfield.cli._simulate.simulate"),
    "escape": (f"{SMALL} --particles 8", "meanfield.cli._escape.growth_result"),
    "converge": (SMALL, "meanfield.cli._converge.convergence_study"),
    "spectrum": (f"{SMALL} --particles 8", "meanfield.cli._spectrum.criticality_result"),
    "diagnose": (f"{SMALL} --particles 8", "meanfield.cli._diagnose.diagnose"),
    "animate": (f"{SMALL} --particles 8", "meanfield.cli._animate.filmed"),
    "plan": (f"{SMALL} --particles 8", "meanfield.cli._plan.plan_result"),
    "reproduce": ("mt25", "meanfield.reproductions.Reproduction.results"),
}


def test_every_command_that_writes_is_here() -> None:
    assert set(LATE) == set(COMMANDS) - READING


@pytest.mark.parametrize("command", LATE)
def test_a_late_refusal(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, callee = LATE[command]
    new, old = tmp_path / "a" / "b", tmp_path / "old"
    old.mkdir()
    (old / "config.toml").write_text(before := f'command = "{command}"\n')
    present = []

    def refuse(*values: object, **options: object) -> None:
        present.append([(folder / "config.toml").exists() for folder in (new, old)])
        raise InvalidInput("it is refused.")

    monkeypatch.setattr(callee, refuse)
    for out in (new, old):
        ran = meanfield(command, *words.split(), "--out", out, "--quiet")
        assert (ran.code, ran.sentence) == (2, "meanfield: it is refused.")
    assert present == [[True, True], [False, True]]
    assert not (tmp_path / "a").exists()
    assert [path.name for path in old.iterdir()] == ["config.toml"]
    assert (old / "config.toml").read_text() == before


def test_a_file_that_is_no_ensemble_is_named_as_such(tmp_path: Path) -> None:
    """Also where the landscape is not told: what the file is comes first."""
    junk = tmp_path / "junk.npz"
    junk.write_text("junk")
    found = meanfield("diagnose", junk, "--out", tmp_path / "out")
    assert found.code == 2
    assert found.sentence.endswith("is not an .npz file of named arrays.")
