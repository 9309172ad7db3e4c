"""Pairs of equal simulations, on one device and on four, under stress (issue 12, item 1).

Once the two differed by half, in a process that had run other simulations, on a loaded machine.
Each process here runs pairs in the setting of then, between other simulations, compilations,
donations and reads by the host, under load; each pair is compared in the particles at its end and
in the loss at 201 times on the way. A difference beyond the order of summation is wrong,
and is kept with all that is needed to repeat it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from .processes import PATIENCE, Child, forked
from .tally import Context

VARIANTS = ["plain", "plain", "plain", "undonated", "copied", "synchronous"]
HISTORIES = ["fresh", "used"]
PAIRS = {"fresh": 3, "used": 30}


def run(context: Context) -> None:
    """Processes, each with some pairs, until the time is over."""
    tally = context.tally
    number = 0
    while context.time_left or number < len(HISTORIES):
        variant, history = context.choice(VARIANTS), HISTORIES[number % len(HISTORIES)]
        folder = context.folder / f"pairs-{number:04d}"
        folder.mkdir()
        seed = int(context.rng.integers(2**31))
        child = forked(
            context.server,
            folder,
            [seed, PAIRS[history], variant, history],
            devices=4,
            target="faults.pairs:pairs",
        )
        code, kind = _finished(child), f"{history} process, {variant}"
        found = _found(child.stdout)
        apart = [entry for entry in found if not entry["difference"] <= entry["allowed"]]
        if apart:
            tally.count(kind, "wrong", f"{apart[0]} ({folder})", times=len(apart))
        if len(found) > len(apart):
            tally.count(kind, "survived", times=len(found) - len(apart))
        if code != 0:
            tally.count(kind, "lost", f"exit code {code}: {child.last_words} ({child.stderr})")
        number += 1


def _finished(child: Child) -> int | None:
    """The exit code; `None` if no pair came for a long time, and the process had to be killed."""
    seen, since = 0, time.monotonic()
    while child.running:
        time.sleep(0.1)
        now = len(_found(child.stdout)) if child.stdout.exists() else 0
        if now > seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            return child.wait(0)
    return child.code


def _found(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines() if line.startswith("{")]
