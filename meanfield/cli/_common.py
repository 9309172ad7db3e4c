"""What all commands share: where results go, and how they reach the user."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from particles import InvalidInput

from ..reports import Report, require_own_folder, undone_if_refused
from ..results import Claim

Folder = Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")]
File = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]


@dataclass(frozen=True)
class Common:
    """Options of every command."""

    command: ClassVar[str]

    out: Folder = None
    """Folder for results; runs/<command>-<timestamp> by default."""
    json: bool = False
    """Print one machine-readable result on standard output, and nothing else there."""
    quiet: bool = False
    """No progress and no table."""

    @property
    def shows_progress(self) -> bool:
        """Whether to show progress."""
        return not self.quiet

    def folder(self) -> Path:
        """The folder to write to.

        Raises:
            InvalidInput: it is the current folder, as an empty name is, or another command's.
        """
        if self.out is None:
            return Path("runs") / f"{self.command}-{time.strftime('%Y%m%d-%H%M%S')}"
        require_own_folder(self.out, self.command)
        return self.out

    @contextlib.contextmanager
    def report(self, out: Path, title: str) -> Iterator[Report]:
        """The report in a folder; if what follows is refused, no new folder stays behind."""
        with undone_if_refused(out):
            yield Report(out, title, self.command, self)

    def say(self, line: str) -> None:
        """One line about what is going on, on standard error."""
        if self.shows_progress:
            print(line, file=sys.stderr, flush=True)

    def show(self, report: Report, **more: object) -> None:
        """Print the result: JSON, or a table of claims and where the report is."""
        if self.json:
            print(json.dumps(report.to_dict(**more), ensure_ascii=False))
        elif not self.quiet:
            if report.found.claims:
                _table(report.found.claims)
            print(f"report: {report.out / 'report.md'}")


def resumed_folder(command: Any, changes: str) -> Path:
    """The folder that a command with the options `resume`, `config` and `out` goes on with.

    Args:
        command: whose `resume` is given.
        changes: which options may change, in words.

    Raises:
        InvalidInput: a configuration or another folder besides, or a folder without a run.
    """
    for name in ("config", "out"):
        if (value := getattr(command, name)) is not None:
            raise InvalidInput(
                f"{name} is {value}, but --resume goes on with its folder and configuration; "
                f"{changes} can change."
            )
    if not (command.resume / "config.toml").exists():
        raise InvalidInput(f"resume is {command.resume}, which holds no run: no config.toml.")
    return command.resume


def _table(claims: Sequence[Claim]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("claim", "predicted", "measured", "holds")
    for claim in claims:
        verdict = "[green]yes[/]" if claim.holds else "[bold red]NO[/]"
        statement = escape(claim.statement)  # brackets are markup
        table.add_row(statement, claim.expected, escape(claim.found), verdict)
    Console().print(table)
