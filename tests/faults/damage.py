"""Checkpoints that are truncated, bit-flipped, emptied, or swapped between runs.

The damage is found, the checkpoint before is used, and the run says so; without a whole one it is
refused in one sentence. A flip that checksums do not see must not change the result.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .processes import forked
from .setups import Setup, differences, steps
from .tally import Context, Tally


def run(context: Context) -> None:
    """Every kind of damage in turn, on files of every class."""
    tally = context.tally
    setups, undisturbed = context.simulations, context.undisturbed
    kinds = ["bit-flipped", "all"] if context.sample else [*DAMAGES, "swapped", "all"]
    number = 0
    while context.time_left or number < len(kinds):
        setup = context.choice(setups)
        whole, _ = undisturbed.of(setup)
        folder = context.folder / f"damage-{number:04d}"
        shutil.copytree(whole, folder / "out")
        kind = kinds[number % len(kinds)]
        if kind == "swapped":
            other, _ = undisturbed.of(context.choice([s for s in setups if s != setup]))
            what = _swap(folder / "out", other)
        elif kind == "all":
            what = _ruin_all(folder / "out")
        else:
            what = _harm(context, folder / "out", DAMAGES[kind])
        _judge(context, tally, setup, whole, folder, kind, what)
        number += 1


def _truncate(file: Path, rng: np.random.Generator) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(rng.integers(len(content)))] if content else b"")


def _flip(file: Path, rng: np.random.Generator) -> None:
    content = bytearray(file.read_bytes())
    if content:
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    file.write_bytes(bytes(content))


def _junk(file: Path, rng: np.random.Generator) -> None:
    file.write_bytes(rng.bytes(file.stat().st_size))


def _remove(file: Path, rng: np.random.Generator) -> None:
    file.unlink()


DAMAGES: dict[str, Callable[[Path, np.random.Generator], None]] = {
    "truncated": _truncate,
    "bit-flipped": _flip,
    "junk": _junk,
    "removed": _remove,
}


def _harm(context: Context, out: Path, damage: Callable[[Path, np.random.Generator], None]) -> str:
    """One file of the newest checkpoint, all classes equally likely."""
    newest = out / "checkpoints" / str(steps(out)[-1])
    files = [path for path in sorted(newest.rglob("*")) if path.is_file()]
    classes = sorted({_class_of(path, newest) for path in files})
    chosen = context.choice(classes)
    file = context.choice([path for path in files if _class_of(path, newest) == chosen])
    damage(file, context.rng)
    return chosen


def _class_of(file: Path, newest: Path) -> str:
    """Its place, without the names that are made of digests."""
    parts = file.relative_to(newest).parts
    return "/".join("…" if len(part) > 24 else part for part in parts)


def _swap(out: Path, other: Path) -> str:
    """The newest checkpoint becomes that of another run."""
    newest = out / "checkpoints" / str(steps(out)[-1])
    shutil.rmtree(newest)
    shutil.copytree(other / "checkpoints" / str(steps(other)[-1]), newest)
    return "whole"


def _ruin_all(out: Path) -> str:
    for path in (out / "checkpoints").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1])
    return "whole"


def _judge(
    context: Context, tally: Tally, setup: Setup, whole: Path, folder: Path, kind: str, what: str
) -> None:
    said = f"{kind}: {what}"
    out = folder / "out"
    words = ["simulate", "--resume", out, "--quiet"]
    child = forked(context.server, folder, words, devices=setup.devices, programs="shared")
    child.wait()
    why = f"exit code {child.code}: {child.last_words} ({child.stderr})"
    if "Traceback" in child.errors:
        tally.count(said, "wrong", why)
    elif kind in ("swapped", "all"):
        words = "made with another" if kind == "swapped" else "no whole checkpoint"
        sentence = child.code == 2 and words in child.last_words
        tally.count(said, "survived" if sentence else "wrong", why)
    elif child.code != 0:
        tally.count(said, "lost", why)
    elif found := differences(whole, out):
        tally.count(said, "wrong", f"{found} ({folder})")
    else:
        set_aside = list((out / "checkpoints").glob("damaged-*"))
        silent = bool(set_aside) and "is damaged" not in child.errors
        tally.count(said, "wrong" if silent else "survived", f"not said ({child.stderr})")
