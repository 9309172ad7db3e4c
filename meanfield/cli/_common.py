"""What all commands share: options, the folder, and how results reach the user."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from ..reports import Report, prediction
from ..results import Claim

Folder = Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")]
File = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]


@dataclass(frozen=True)
class Common:
    """Options of every command."""

    out: Folder = None
    """Folder for results; runs/<command>-<timestamp> by default."""
    json: bool = False
    """Print one machine-readable result on standard output, and nothing else there."""
    quiet: bool = False
    """No progress and no table."""

    @property
    def talks(self) -> bool:
        """Whether to show progress."""
        return not self.quiet

    def folder(self, command: str) -> Path:
        """The folder to write to."""
        return self.out or Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"

    def say(self, line: str) -> None:
        """One line about what is going on, on standard error."""
        if self.talks:
            print(line, file=sys.stderr, flush=True)

    def show(self, report: Report, command: str, **more: Any) -> None:
        """Print the result: JSON, or a table of claims and where the report is."""
        if self.json:
            print(json.dumps(report.result(command, **more), ensure_ascii=False))
        elif not self.quiet:
            _table(report.claims)
            print(f"report: {report.out / 'report.md'}")


def _table(claims: list[Claim]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("claim", "predicted", "measured", "holds")
    for claim in claims:
        verdict = "[green]yes[/]" if claim.holds else "[bold red]NO[/]"
        statement = escape(claim.statement)  # brackets are markup
        table.add_row(statement, prediction(claim), f"{claim.measured:.6g}", verdict)
    Console().print(table)


@contextlib.contextmanager
def constructed() -> Iterator[None]:
    """Leaves out the warning about unlucky draws: the start is a construction, not a draw."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the start's outputs")
        yield


def first_time(times: np.ndarray, reached: np.ndarray) -> float | None:
    """The first time at which a condition holds, `None` if it never does."""
    hits = np.flatnonzero(reached)
    return float(times[hits[0]]) if hits.size else None
