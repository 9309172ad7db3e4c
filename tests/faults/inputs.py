"""Malformed inputs over every command, every problem and the Python boundary.

Each is refused within ten seconds of computing, in one sentence that names what it must, without a
traceback and without a folder left behind.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

from .input_cases import COMMANDS, FILES, OPTIONS, Case
from .processes import Child, forked, started
from .python_cases import PYTHON
from .tally import Context, Tally

SOON = 10.0  # seconds of its own: a machine under load does not count
STALLED = 600.0  # seconds without an answer
MEMORY = 24 * 2**30


def run(context: Context) -> None:
    """All cases in an order of chance, as many as the time allows; some as a user types them."""
    tally = context.tally
    cases = [*OPTIONS, *COMMANDS, *FILES, *PYTHON]
    order = context.rng.permutation(len(cases)).tolist()
    done = 0
    while done < len(order):
        if done >= 40 and not context.time_left:
            break
        rest = order[done : done + 40]
        found = _batch(context, rest, done)
        for number in rest[: len(found)]:
            why = found[str(number)]
            tally.count(cases[number].name, "wrong" if why else "survived", why)
        done += len(found)
        if len(found) < len(rest):
            tally.count(cases[rest[len(found)]].name, "wrong", "it hung, or took the process down")
            done += 1
    typed = [cases[number] for number in order if cases[number] not in PYTHON]
    for case in typed[: 1 if context.sample else 3]:
        _typed(context, tally, case)


def _batch(context: Context, numbers: Sequence[int], done: int) -> dict[str, str]:
    """Some cases in one process, watched from outside."""
    folder = context.folder / f"batch-{done:04d}"
    folder.mkdir()
    child = forked(
        context.server,
        folder,
        numbers,
        devices=4,
        prelude=["limited_memory", MEMORY],
        target="faults.inputs:work",
    )
    found, since = _read(child), time.monotonic()
    while child.running:
        time.sleep(0.05)
        now = _read(child)
        if len(now) > len(found):
            found, since = now, time.monotonic()
        elif time.monotonic() - since > STALLED:
            child.wait(0)
    return _read(child)


def _read(child: Child) -> dict[str, str]:
    lines = child.stdout.read_text().splitlines() if child.stdout.exists() else []
    return dict(entry for line in lines if line.startswith("[") for entry in [json.loads(line)])


def work(*numbers: str) -> int:
    """The cases of these numbers; prints for each what is wrong, or nothing."""
    import jax

    from .input_files import write_broken_run, write_files

    jax.config.update("jax_enable_x64", True)
    cases = [*OPTIONS, *COMMANDS, *FILES, *PYTHON]
    write_files(Path())
    write_broken_run(Path("broken"))
    for number in numbers:
        print(json.dumps([number, _judged(cases[int(number)])]), flush=True)
    return 0


def _judged(case: Case) -> str:
    """What is wrong with the answer; empty if nothing."""
    before, began = _tree(), time.process_time()
    errors = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(errors),
            warnings.catch_warnings(),
        ):
            code = _ran(case, errors)
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:200]} ({Path(where.filename).name})"
    took = time.process_time() - began
    said = errors.getvalue()
    return _wrong(case, code, said, took) or _left(before)


def _ran(case: Case, errors: io.StringIO) -> int | str | None:
    from particles import InvalidInput

    if case.words in dict.fromkeys(c.words for c in PYTHON):
        from .python_cases import CALLS

        warnings.simplefilter("ignore")
        try:
            CALLS[case.words]()
        except InvalidInput as error:
            errors.write(f"meanfield: {error}\n")
            return 2
        return 0
    from meanfield.cli import main

    try:
        return main(case.words.split())
    except SystemExit as stopped:  # words that make no sense
        return stopped.code


def _wrong(case: Case, code: object, said: str, took: float) -> str:
    text = " ".join(said.split())
    if code != 2:
        return f"exit code {code}: {text[-200:]}"
    missing = [needle for needle in case.needles if needle not in text]
    if missing:
        return f"{missing} is not in: {text[:300]}"
    refusals = [line for line in said.splitlines() if line.startswith("meanfield: ")]
    refusals = [line for line in refusals if not line.startswith("meanfield: warning")]
    boxed = "For full helptext" in text
    if not boxed and (len(refusals) != 1 or said.splitlines()[-1] != refusals[0]):
        return f"not one sentence: {text[:300]}"
    return f"after {took:.0f} s" if took > SOON else ""


def _tree() -> set[str]:
    return {str(path) for path in Path().rglob("*") if not str(path).startswith("logs")}


def _left(before: set[str]) -> str:
    left = _tree() - before
    return f"left behind: {sorted(left)[:3]}" if left else ""


def _typed(context: Context, tally: Tally, case: Case) -> None:
    """A process of its own."""
    folder = context.folder / f"typed-{tally.tried:04d}"
    (folder / "logs").mkdir(parents=True)
    from .input_files import write_files

    write_files(folder)
    child = started(folder, case.words.split())
    code = child.wait()
    ill = code != 2 or "Traceback" in child.errors
    why = f"exit code {code}: {child.last_words} ({child.stderr})"
    tally.count(f"typed: {case.name}", "wrong" if ill else "survived", why if ill else "")
