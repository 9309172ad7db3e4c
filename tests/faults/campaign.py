"""The campaign of faults: `python -m faults.campaign` in tests/, or `make faults`.

Kills, full disks, malformed inputs, damaged checkpoints, dying partners, changed clocks, and pairs
of equal simulations under stress. It prints what was tried, survived, wrong and lost; all but the
first two must be zero. Wrong is a number that differs, or words that mislead; lost is a run that
does not go on. The figures are written as they grow: a campaign may be stopped at any time.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .processes import Server
from .setups import Undisturbed
from .tally import Context, Tally

#: Parts with their share of the time.
PARTS = {"kills": 20, "disks": 3, "inputs": 3, "damage": 2, "twins": 2, "stress": 4}
#: Faults of each part in a full campaign; a seventh of the kills are Ctrl-C.
FULL = {"kills": 240, "disks": 50, "inputs": 200, "damage": 60, "twins": 24, "stress": 300}
HERE = Path(__file__).parent
LAST = HERE / "last.json"


def campaign(
    minutes: float,
    seed: int,
    parts: Sequence[str],
    folder: Path,
    *,
    least: dict[str, int] | None = None,
    at_once: int = 2,
    sample: bool = False,
    server: Server | None = None,
    changed: Callable[[list[Tally]], object] = lambda tallies: None,
) -> list[Tally]:
    """Run some parts, each for its share of the time, and each for one fault at least.

    Args:
        minutes: in all.
        seed: of every choice.
        parts: names.
        folder: for what the runs write.
        least: faults of a part to try however long it takes.
        at_once: processes to be killed that run at a time.
        sample: one setup, and nothing that waits for minutes.
        server: forks the processes; `None` starts one for this campaign.
        changed: called with the tallies after each count.
    """
    own, tallies = None if server else Server(folder / "programs"), list[Tally]()
    server = server or own
    assert server is not None
    undisturbed = Undisturbed(server, folder)
    whole = sum(PARTS[name] for name in parts)
    try:
        for name in parts:
            place = folder / name
            place.mkdir()
            print(f"{name} …", flush=True)
            deadline = time.monotonic() + 60 * minutes * PARTS[name] / whole
            rng = np.random.default_rng([seed, list(PARTS).index(name)])
            tallies.append(Tally(name, lambda: changed(tallies)))
            context = Context(
                server,
                place,
                rng,
                deadline,
                tallies[-1],
                undisturbed,
                (least or {}).get(name, 0),
                at_once,
                sample,
            )
            importlib.import_module(f"faults.{name}").run(context)
    finally:
        if own:
            own.close()
    return tallies


def figures(tallies: Sequence[Tally], minutes: float, seed: int) -> dict[str, Any]:
    """Plain values of one campaign, for the page on reliability."""
    return {
        "minutes": round(minutes, 1),
        "seed": seed,
        "date": time.strftime("%Y-%m-%d"),
        "with": _setting(),
        "parts": [_without_folders(tally.to_dict()) for tally in tallies if tally.tried],
    }


def _without_folders(part: dict[str, Any]) -> dict[str, Any]:
    """A part whose failures name no folder of the machine."""
    folder = re.escape(tempfile.gettempdir())
    text = re.sub(rf" \({folder}[^)]*\)", "", json.dumps(part, ensure_ascii=False))
    return json.loads(text)


def table(tallies: Sequence[Tally]) -> str:
    """The figures for a reader."""
    rows = [f"{'part':10}{'tried':>8}{'survived':>10}{'wrong':>8}{'lost':>8}"]
    for t in tallies:
        ends = f"{t.ends['survived']:>10}{t.ends['wrong']:>8}{t.ends['lost']:>8}"
        rows.append(f"{t.part:10}{t.tried:>8}{ends}")
    return "\n".join(rows)


@functools.cache
def _setting() -> dict[str, Any]:
    from meanfield.runs import provenance

    commit = subprocess.run(
        ["git", "-C", str(HERE), "rev-parse", "--short=7", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    versions = {
        name: provenance()[name] for name in ("machine", "meanfield_flows", "jax", "python")
    }
    return {"commit": commit or "unknown"} | versions


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign; returns 1 if anything was wrong or lost."""
    parser = argparse.ArgumentParser("campaign", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="in all (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of every choice (default: 0)")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="may be repeated")
    parser.add_argument("--full", action="store_true", help=f"however long it takes: {FULL}")
    parser.add_argument("--at-once", type=int, default=2, help="processes to kill (default: 2)")
    parser.add_argument("--json", type=Path, default=LAST, help=f"figures (default: {LAST})")
    parser.add_argument("--add", action="store_true", help="keep the campaigns in that file")
    parser.add_argument("--keep", action="store_true", help="keep the folders of all runs")
    options = parser.parse_args(arguments)
    folder, began = Path(tempfile.mkdtemp(prefix="faults-")), time.monotonic()
    earlier = json.loads(options.json.read_text("utf-8")) if options.add else []

    def save(tallies: list[Tally]) -> None:
        now = figures(tallies, (time.monotonic() - began) / 60, options.seed)
        text = json.dumps([*earlier, now], indent=2, ensure_ascii=False)
        part = options.json.with_suffix(".part")
        part.write_text(text + "\n", "utf-8")
        part.replace(options.json)

    tallies = campaign(
        options.minutes,
        options.seed,
        options.only or list(PARTS),
        folder,
        least=FULL if options.full else None,
        at_once=options.at_once,
        changed=save,
    )
    save(tallies)
    clean = all(tally.clean for tally in tallies)
    print(table(tallies))
    if clean and not options.keep:
        shutil.rmtree(folder)
    else:
        print(f"the folders of all runs are in {folder}")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
