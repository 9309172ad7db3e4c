"""The campaign of faults: `python -m faults.campaign` in tests/, or `make faults`.

Kills, full disks, malformed inputs, damaged checkpoints, dying partners, changed clocks, and pairs
of equal simulations under stress. It prints what was tried, survived, wrong and lost; all but the
first two must be zero. Wrong is a number that differs, or words that mislead; lost is a run that
does not go on.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .processes import Server
from .tally import Context, Tally

#: Parts with their share of the time.
PARTS = {"kills": 20, "disks": 3, "inputs": 3, "damage": 2, "twins": 2, "stress": 4}
LAST = Path(__file__).with_name("last.json")


def campaign(minutes: float, seed: int, parts: Sequence[str], folder: Path) -> list[Tally]:
    """Run some parts, each for its share of the time, and each for one fault at least."""
    server, tallies = Server(), []
    whole = sum(PARTS[name] for name in parts)
    try:
        for name in parts:
            own = folder / name
            own.mkdir()
            print(f"{name} …", flush=True)
            deadline = time.monotonic() + 60 * minutes * PARTS[name] / whole
            rng = np.random.default_rng([seed, list(PARTS).index(name)])
            module = importlib.import_module(f"faults.{name}")
            tallies.append(module.run(Context(server, own, rng, deadline)))
    finally:
        server.close()
    return tallies


def figures(tallies: Sequence[Tally], minutes: float, seed: int) -> dict:
    """Plain values, for the page on reliability."""
    from meanfield.runs import provenance

    return {
        "minutes": round(minutes, 1),
        "seed": seed,
        "date": time.strftime("%Y-%m-%d"),
        "with": provenance(),
        "parts": [tally.to_dict() for tally in tallies],
    }


def table(tallies: Sequence[Tally]) -> str:
    """The figures for a reader."""
    rows = [f"{'part':10}{'tried':>8}{'survived':>10}{'wrong':>8}{'lost':>8}"]
    for t in tallies:
        ends = f"{t.ends['survived']:>10}{t.ends['wrong']:>8}{t.ends['lost']:>8}"
        rows.append(f"{t.part:10}{t.tried:>8}{ends}")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign; returns 1 if anything was wrong or lost."""
    parser = argparse.ArgumentParser("campaign", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="in all (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of every choice (default: 0)")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="may be repeated")
    parser.add_argument("--json", type=Path, default=LAST, help=f"figures (default: {LAST})")
    parser.add_argument("--keep", action="store_true", help="keep the folders of all runs")
    options = parser.parse_args(arguments)
    folder, began = Path(tempfile.mkdtemp(prefix="faults-")), time.monotonic()
    parts = options.only or list(PARTS)
    tallies = campaign(options.minutes, options.seed, parts, folder)
    took = (time.monotonic() - began) / 60
    text = json.dumps(figures(tallies, took, options.seed), indent=2, ensure_ascii=False)
    options.json.write_text(text + "\n", "utf-8")
    clean = all(tally.clean for tally in tallies)
    print(table(tallies))
    if clean and not options.keep:
        shutil.rmtree(folder)
    else:
        print(f"the folders of all runs are in {folder}")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
