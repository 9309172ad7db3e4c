"""docs/reliability.md: `python -m faults.page` in tests/ writes it from campaign.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FIGURES = HERE / "campaign.json"
PAGE = HERE.parents[1] / "docs" / "reliability.md"
WHAT = {
    "kills": "SIGKILL, SIGTERM and Ctrl-C at random moments, within checkpoint writes too; "
    "each run resumed to its end and compared bit for bit",
    "disks": "a full or read-only disk at random moments",
    "inputs": "malformed input on the command line and in Python, judged by what the sentence "
    "names",
    "damage": "checkpoints truncated, bit-flipped, removed, swapped",
    "twins": "two processes of which one dies; other clocks and locales; a folder moved",
    "stress": "pairs of equal simulations on one device and on several, in processes under load",
}
HEAD = """\
# Reliability

Written by `make reliability` from `tests/faults/campaign.json`; a test holds the two equal.

## What is promised

- A run that is killed goes on from its last checkpoint, bit for bit.
- Half a run is never taken for a whole one: a signal ends `simulate` by an exception that holds
  what is done.
- A checkpoint is written whole or not at all. A damaged one is found by its checksums, named and
  set aside; the one before is used.
- A checkpoint resumes only the problem, data, start, flow and step that it was made with.
- The loss of every saved state is computed again and must agree with the one recorded.
- A command writes into a folder of its own. What is refused leaves no folder behind.
- Bad input ends in one sentence: the option, the value, what is allowed.
- Nothing that is only read is executed: no pickle, and no code that a folder names without
  `--trust`.

## How it was tested

`make faults ARGS=--full` runs the campaign; each row adds up what `campaign.json` holds. *Wrong*
is a number that differs or words that mislead, *lost* a run that does not go on.

| part | what | tried | survived | wrong | lost |
|---|---|---|---|---|---|
"""
LIMITS = """\
## Limits

- In float32 small curvatures cannot be told from zero: what can be resolved is relative to the
  norm of the Hessian, and the rest is refused.
- A finite ratio of timescales approaches the limit in first order only below a bound
  ([theory](theory.md#where-first-order-in-the-ratio-begins-found-here)).
- A run on another number of devices agrees to the order of summation, not bit for bit.
- No accelerator was at hand: programs for them are lowered and checked, not run.
"""


def page(campaigns: list[dict[str, Any]]) -> str:
    """The page."""
    parts = [part for campaign in campaigns for part in campaign["parts"]]
    rows, failures = [], []
    for name, what in WHAT.items():
        own = [part for part in parts if part["part"] == name]
        counts = [sum(part[key] for part in own) for key in ("tried", "survived", "wrong", "lost")]
        rows.append(f"| {name} | {what} | {' | '.join(map(str, counts))} |")
        failures += [failure for part in own for failure in part["failures"]]
    lines = [HEAD + "\n".join(rows), ""]
    settings = {
        f"commit {c['with']['commit']}, {c['with']['machine']}, jax {c['with']['jax']}, "
        f"Python {c['with']['python']}, {c['date']}": None
        for c in campaigns
    }
    lines += ["Run at:", "", *(f"- {setting}" for setting in settings), ""]
    if failures:
        lines += ["What failed there, and why:", ""]
        lines += [f"- *{failure['kind']}*: {_plain(failure['why'])}" for failure in failures]
        lines += ["", *_after(campaigns)]
    return "\n".join([*lines, LIMITS])


def _after(campaigns: list[dict[str, Any]]) -> list[str]:
    """What a person wrote about the failures, kept beside the figures."""
    notes = [note for campaign in campaigns for note in campaign.get("notes", [])]
    return ["Since then:", "", *(f"- {note}" for note in notes), ""] if notes else []


def _plain(text: str) -> str:
    return re.sub(r"([<>*_`])", r"\\\1", " ".join(text.split()))


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(FIGURES.read_text("utf-8"))), "utf-8")
