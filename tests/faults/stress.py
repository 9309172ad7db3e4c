"""Pairs of equal simulations, on one device and on four, under stress (issue 12, item 1).

Once the two differed by half, in a process that had run other simulations, on a loaded machine.
Each process here runs pairs in the setting of then, between other simulations, compilations,
donations and reads by the host, under load. A difference beyond the order of summation is wrong,
and is kept with all that is needed to repeat it.
"""

from __future__ import annotations

import json
from pathlib import Path

from .processes import forked
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
        code, kind = child.wait(), f"{history} process, {variant}"
        found = _found(child.stdout)
        apart = [entry for entry in found if not entry["difference"] <= entry["allowed"]]
        if apart:
            tally.count(kind, "wrong", f"{apart[0]} ({folder})", times=len(apart))
        if len(found) > len(apart):
            tally.count(kind, "survived", times=len(found) - len(apart))
        if code != 0:
            tally.count(kind, "lost", f"exit code {code}: {child.last_words} ({child.stderr})")
        number += 1


def _found(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines() if line.startswith("{")]
