"""SIGKILL, SIGTERM and SIGINT at random moments; whatever is left goes on to the same end."""

from __future__ import annotations

import dataclasses
import itertools
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from .processes import Child, forked, started
from .setups import Setup, Undisturbed, differences, steps
from .tally import Context, Tally

#: What a process may say at its end, by signal: the first where the run itself was stopped.
CODES = {
    signal.SIGKILL: (-9,),
    signal.SIGTERM: (143, -15),  # before and after the run SIGTERM acts as usual
    signal.SIGINT: (130, -2),
}
MOMENTS = ["anywhere", "writing", "saved"]


def run(context: Context) -> None:
    """Chains of up to five kills, over all setups in turn, until the time is over."""
    tally, setups = context.tally, context.setups
    numbers, base = itertools.count(), int(context.rng.integers(2**31))

    # Most of a chain is waiting for the moment.
    def chains() -> None:
        while (number := next(numbers)) < context.at_once or context.time_left:
            own = dataclasses.replace(context, rng=np.random.default_rng([base, number]))
            _chain(own, tally, setups[number % len(setups)], context.undisturbed, number)

    with ThreadPoolExecutor(context.at_once) as pool:
        for worker in [pool.submit(chains) for _ in range(context.at_once)]:
            worker.result()


def _chain(
    context: Context, tally: Tally, setup: Setup, undisturbed: Undisturbed, number: int
) -> None:
    reference, seconds = undisturbed.of(setup)
    folder = context.folder / f"chain-{number:04d}"
    folder.mkdir()
    out = folder / "out"
    kinds: list[str] = []
    for _ in range(int(context.rng.integers(1, 2 if context.sample else 6))):
        before = steps(out)[-1:]
        child = _start(context, setup, folder, out)
        moment = context.choice(MOMENTS)
        sent = context.rng.choice([signal.SIGKILL] * 4 + [signal.SIGTERM] * 2 + [signal.SIGINT])
        _await(context, child, out, moment, seconds)
        child.signal(int(sent))
        code = child.wait()
        kind = f"{setup.name}, {signal.Signals(sent).name}, {moment}"
        if code == 0:
            break  # it was faster than the signal
        kinds.append(kind)
        why = _misbehaved(child, code, CODES[signal.Signals(sent)])
        if not why and steps(out)[-1:] < before:
            why = f"the checkpoints fell behind: {before} before, {steps(out)} after"
        if why:
            tally.count(kind, "wrong", f"{why} ({folder})")
            return
    if not kinds:
        return
    child = _start(context, setup, folder, out)
    if child.wait() != 0:
        why = f"does not go on, exit code {child.code}: {child.last_words} ({folder})"
        _count(tally, kinds, "lost", why)
        return
    found = differences(reference, out)
    _count(tally, kinds, "wrong" if found else "survived", f"{found} ({folder})")


def _start(context: Context, setup: Setup, folder: Path, out: Path) -> Child:
    """Mostly forked, with the programs of the undisturbed run; now and then as a user starts it.

    In a sample it is the part on languages that kills and resumes what users start.
    """
    words = setup.going_on(folder, out)
    if context.rng.random() < 0.08 and not context.sample:
        return started(folder, words, devices=setup.devices)
    return forked(context.server, folder, words, devices=setup.devices, programs="shared")


def _await(context: Context, child: Child, out: Path, moment: str, seconds: float) -> None:
    """Until the moment of the signal, or the end of the process."""
    if moment == "anywhere":  # it has less to compile than the undisturbed run
        deadline = time.monotonic() + context.rng.uniform(0, 0.6 * seconds)
        while child.running and time.monotonic() < deadline:
            time.sleep(0.005)
        return
    # The checkpoints of a study lie deeper than those of a run.
    seen, skip = _entries(out, moment), int(context.rng.integers(0, 4 if context.sample else 12))
    while child.running:
        now = _entries(out, moment)
        if now - seen:
            seen, skip = seen | now, skip - 1
        if skip < 0:
            break
        time.sleep(0.001)
    time.sleep(context.rng.uniform(0, 0.02 if moment == "writing" else 0.05))


def _entries(out: Path, moment: str) -> set[Path]:
    """What is being written to, or the whole checkpoints."""
    found = set()
    for folder in (out / "checkpoints", *out.glob("checkpoints/runs-*")):
        try:
            names = list(folder.iterdir())
        except OSError:
            continue
        found |= {n for n in names if n.name.isdigit() == (moment == "saved")}
    return found


def _misbehaved(child: Child, code: int | None, allowed: tuple[int, ...]) -> str:
    if code is None:
        return "it hung"
    if code not in allowed:
        return f"exit code {code}, not one of {allowed}: {child.last_words}"
    return "a traceback" if "Traceback" in child.errors else ""


def _count(tally: Tally, kinds: list[str], verdict, why: str) -> None:
    for kind in kinds[:-1]:
        tally.count(kind, verdict if verdict == "survived" else "survived")
    tally.count(kinds[-1], verdict, why if verdict != "survived" else "")
