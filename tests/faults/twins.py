"""A partner that dies, a clock that jumps, another language, and a folder that moves house."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from pathlib import Path

from .processes import Child, forked, started
from .setups import Setup, Undisturbed, differences, steps
from .tally import Context, Tally

LANGUAGES = [
    {"LC_ALL": "C", "TZ": "Pacific/Kiritimati"},
    {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "America/St_Johns"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "TZ": "Nowhere/Nothing"},
    {"LC_ALL": "de_DE.UTF-8", "PYTHONHASHSEED": "1", "COLUMNS": "20"},
]
TWINS = Setup(
    "twins",
    'particles = 8\ndevices = 0\n[problem]\nkind = "regression"\nsamples = 24\ndim = 2\n'
    'spectrum = [1.0, 0.5]\nteacher_neurons = 4\n[flow]\nscheme = "euler"\ntemperature = 0.01\n'
    "[run]\nhorizon = 3.0\ndt = 0.01\nevery = 0.5\ncheckpoint_steps = 5\n",
    devices=2,
)
GIVEN_UP = 150.0  # seconds after which a partner left alone is ended from outside


def run(context: Context) -> None:
    """Each in turn."""
    tally = context.tally
    number = 0
    faults = [_language] if context.sample else [_clock, _language, _moved, _partner]
    while context.time_left or number < len(faults):
        folder = context.folder / f"twin-{number:04d}"
        folder.mkdir()
        faults[number % len(faults)](context, tally, context.undisturbed, folder)
        number += 1


def _clock(context: Context, tally: Tally, whole: Undisturbed, folder: Path) -> None:
    """The clock of the day jumps by weeks; nothing but dates may depend on it."""
    setup = context.choice(context.setups)
    prelude = ["jumping_clock", int(context.rng.integers(2**31))]
    words = setup.words(folder, folder / "out")
    child = forked(
        context.server, folder, words, devices=setup.devices, prelude=prelude, programs="shared"
    )
    child.wait()
    _judge(tally, f"clock, {setup.name}", whole.of(setup)[0], folder / "out", child)


def _language(context: Context, tally: Tally, whole: Undisturbed, folder: Path) -> None:
    """Killed in one language and time zone, resumed in another."""
    setup = context.choice(context.simulations)
    one, two = (context.choice(LANGUAGES) for _ in range(2))
    out = folder / "out"
    kept = {"devices": setup.devices, "programs": context.server.programs}
    child = started(folder, setup.words(folder, out), **kept, **one)
    _until_saved(child, out)
    child.signal(signal.SIGKILL)
    child.wait()
    rest = started(folder, setup.going_on(folder, out), **kept, **two)
    rest.wait()
    said = f"language {one['LC_ALL']} then {two['LC_ALL']}"
    _judge(tally, said, whole.of(setup)[0], out, rest)


def _moved(context: Context, tally: Tally, whole: Undisturbed, folder: Path) -> None:
    """Killed, copied to another place, and resumed there by a relative name."""
    setup = context.choice(context.simulations)
    out, there = folder / "out", folder / "an other plaçe"
    child = forked(
        context.server, folder, setup.words(folder, out), devices=setup.devices, programs="shared"
    )
    _until_saved(child, out)
    child.signal(signal.SIGKILL)
    child.wait()
    shutil.copytree(out, there / "run")
    shutil.rmtree(out)
    words = ["simulate", "--resume", "run", "--quiet"]
    rest = forked(context.server, there, words, devices=setup.devices, programs="shared")
    rest.wait()
    _judge(tally, f"moved, {setup.name}", whole.of(setup)[0], there / "run", rest)


def _partner(context: Context, tally: Tally, whole: Undisturbed, folder: Path) -> None:
    """Of two processes one dies; the other ends too, and both go on from the checkpoints."""
    reference = context.folder / "two"
    if not reference.exists():
        for child in _pair(context, folder, TWINS.words(folder, reference)):
            if child.wait() != 0:
                raise RuntimeError(f"two processes fail undisturbed: {child.errors}")
    out, kind = folder / "out", "one of two processes dies"
    pair = _pair(context, folder, TWINS.words(folder, out))
    dying = int(context.rng.integers(2))
    _until_saved(pair[dying], out)
    time.sleep(context.rng.uniform(0, 0.5))
    pair[dying].signal(signal.SIGKILL)
    pair[dying].wait()
    pair[1 - dying].wait(GIVEN_UP)
    if pair[1 - dying].code == 0 and pair[dying].code != 0:
        tally.count(kind, "wrong", f"the other one saw nothing ({folder})")
        return
    pair = _pair(context, folder, TWINS.going_on(folder, out))
    codes = [child.wait() for child in pair]
    ill = next((child for child in pair if child.code != 0), pair[0])
    _judge(tally, kind, reference, out, ill if any(codes) else pair[0])


def _pair(context: Context, folder: Path, words: list[object]) -> list[Child]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    return [
        forked(
            context.server,
            folder,
            [*words, "--distributed", f"127.0.0.1:{port}/2/{index}"],
            devices=TWINS.devices,
        )
        for index in range(2)
    ]


def _until_saved(child: Child, out: Path) -> None:
    while child.running and len(steps(out)) < 2:
        time.sleep(0.005)


def _judge(tally: Tally, kind: str, reference: Path, out: Path, child: Child) -> None:
    if child.code != 0:
        why = f"exit code {child.code}: {child.last_words} ({child.stderr})"
        tally.count(kind, "lost", why)
        return
    found = differences(reference, out)
    tally.count(kind, "wrong" if found else "survived", f"{found} ({os.fspath(out)})")
