"""The front door: help, exit codes, and where each kind of word goes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import meanfield

import meanfield as package
from meanfield import FlowFailed
from meanfield.cli import COMMANDS
from meanfield.cli._demo import Demo
from meanfield.problems import PROBLEMS
from particles import InvalidInput

WRITING = [name for name in COMMANDS if name not in ("problems", "cite")]
CONFIGURED = ["demo", "simulate", "escape", "converge", "spectrum", "diagnose", "animate", "plan"]


def test_help_lists_every_command() -> None:
    shown = meanfield("--help")
    assert shown.code == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\w", shown.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", WRITING)
def test_every_command_has_the_common_options_and_explains_them(command: str) -> None:
    shown = meanfield(command, "--help")
    assert shown.code == 0
    assert {"--out", "--seed", "--json", "--quiet"} <= set(re.findall(r"--[\w-]+", shown.stdout))
    assert "{None}" not in shown.stdout
    assert "True,False" not in shown.stdout
    assert "--no-" not in shown.stdout


@pytest.mark.parametrize("command", CONFIGURED)
def test_help_shows_the_options_of_the_chosen_kind(command: str) -> None:
    shown = meanfield(command, "--problem", "softmax-attention", "--help")
    assert shown.code == 0
    assert "--problem.prompts" in shown.stdout
    assert "--problem.ridge" not in shown.stdout
    for kind in PROBLEMS:
        assert kind in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "demo"),
        (("dem",), "simulate"),
        (("demo", "--particle", "3"), "--particles"),
        (("demo", "--particles", "many"), "--particles"),
        (("simulate", "a.toml", "b.toml"), "a.toml: No such file"),
        (("simulate", "--problem"), "--problem needs a kind; choose one of ['attention', "),
        (("simulate", "--problem", "phase"), "problem is 'phase'; choose one of ['attention', "),
        (("simulate", "--start", "file", "--start.missing", "1"), "--start.missing"),
        (("spectrum", "--flow", "gradient"), "--flow"),
    ],
)
def test_arguments_that_make_no_sense(arguments: tuple[str, ...], words: str) -> None:
    refused = meanfield(*arguments)
    assert refused.code == 2
    assert words in refused.stderr + refused.stdout
    assert "Traceback" not in refused.stderr


class Partial(FlowFailed):
    """A failure without a run."""

    def __init__(self, message: str):
        RuntimeError.__init__(self, message)


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (InvalidInput("dt is -1; it must be positive."), 2, "dt is -1; it must be positive."),
        (FileNotFoundError(2, "No such file or directory", "a.npz"), 2, "a.npz: No such file or "),
        (IsADirectoryError(21, "Is a directory", "runs"), 2, "runs: Is a directory."),
        (PermissionError(13, "Permission denied", "/root/x"), 2, "/root/x: Permission denied."),
        (OSError(28, "No space left on device", "t.nc"), 1, "t.nc: No space left on device."),
        (OSError("unnamed trouble"), 1, "unnamed trouble"),
        (Partial("the run met a non-finite number"), 1, "the run met a non-finite number"),
        (MemoryError(), 1, "MemoryError"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Demo) -> int:
        raise error

    monkeypatch.setattr(Demo, "__call__", fail)
    ran = meanfield("demo")
    assert (ran.code, ran.stdout) == (code, "")
    assert ran.sentence.startswith(f"meanfield: {sentence}")


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Demo, "__call__", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        meanfield("demo")


def test_the_front_door_stays_light() -> None:
    """Nothing heavy is imported before it is used; not even by `meanfield --help`."""
    heavy = ["jax", "matplotlib", "xarray", "orbax", "ott", "tyro", "rich", "diffrax", "scipy"]
    for start in (
        f"import {package.__name__}",
        "from meanfield.cli import main; main(['--help'])",
    ):
        code = f"import sys; {start}; print('LOADED', *[n for n in {heavy} if n in sys.modules])"
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert found.stdout.splitlines()[-1].split() == ["LOADED"]


def test_the_names_at_the_top_are_what_they_say() -> None:
    assert len(package._PLACES) <= 27
    for name, room in package._PLACES.items():
        assert getattr(package, name) is getattr(getattr(package, room), name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = package.nothing
    source = Path(package.__file__).read_text("utf-8")
    listed = set(re.findall(r"^    from \.(\w+) import (\w+) as \2$", source, re.MULTILINE))
    assert listed == {(room, name) for name, room in package._PLACES.items()}


def test_problems_lists_every_kind_with_its_options() -> None:
    shown = meanfield("problems")
    assert shown.code == 0
    for kind in (*PROBLEMS, "saddle", "accelerated"):
        assert kind in shown.stdout
    found = json.loads(meanfield("problems", "--json").stdout)
    assert set(found["problem"]) == set(PROBLEMS)
    (row,) = [row for row in found["problem"]["attention"] if row["name"] == "ridge"]
    assert row == {
        "name": "ridge",
        "kind": "a number, at least 0",
        "default": "0.0",
        "text": "Ridge ρ of the attention matrix.",
    }
    assert meanfield("problems", "nothing").code == 2
