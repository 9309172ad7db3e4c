"""The front door: help, exit codes, and where each kind of word goes."""

import re
import subprocess
import sys

import pytest
from commands import meanfield

import meanfield as package
from meanfield import FlowFailed
from meanfield.cli import Demo
from particles import InvalidInput

COMMANDS = ["demo", "simulate"]


def test_help_lists_every_command() -> None:
    shown = meanfield("--help")
    assert shown.code == 0
    for command in COMMANDS:
        assert re.search(rf"• {command} +\w", shown.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_common_options_and_explains_them(command: str) -> None:
    shown = meanfield(command, "--help")
    assert shown.code == 0
    assert {"--out", "--seed", "--json", "--quiet"} <= set(re.findall(r"--[\w-]+", shown.stdout))
    assert "{None}" not in shown.stdout
    assert "True,False" not in shown.stdout
    assert "--no-" not in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "demo"),
        (("dem",), "simulate"),
        (("demo", "--particle", "3"), "--particles"),
        (("demo", "--particles", "many"), "--particles"),
        (("simulate", "a.toml", "b.toml"), "b.toml"),
    ],
)
def test_arguments_that_make_no_sense(arguments: tuple[str, ...], words: str) -> None:
    refused = meanfield(*arguments)
    assert refused.code == 2
    assert refused.stdout == ""
    assert words in refused.stderr
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
        (KeyboardInterrupt(), 1, "interrupted"),
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
    """Neither plots nor trajectories, checkpoints and commands are imported before use."""
    heavy = ["matplotlib", "xarray", "orbax", "ott", "tyro", "rich"]
    code = f"import sys, {package.__name__}; print(*[n for n in {heavy} if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
