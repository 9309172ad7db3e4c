"""`meanfield problems`: the kinds of problems, starts and flows, with their options."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated, ClassVar

import tyro

from ..problems import REGISTRIES, option_table


@dataclass(frozen=True)
class Problems:
    """The kinds of problems, starts and flows, with what each option may be."""

    command: ClassVar[str] = "problems"

    kinds: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Kinds to show, also your own as package.module:Name; all built-in ones by default."""
    json: bool = False
    """Print one machine-readable result on standard output."""

    def __call__(self) -> int:
        """Print the kinds; returns the exit code."""
        chosen = self._chosen()
        if self.json:
            table = {
                what: {
                    name: [dataclasses.asdict(row) for row in option_table(cls)]
                    for name, cls in kinds.items()
                }
                for what, kinds in chosen.items()
            }
            print(json.dumps(table, ensure_ascii=False))
            return 0
        for what, kinds in chosen.items():
            for name, cls in kinds.items():
                _show(what, name, cls)
        return 0

    def _chosen(self) -> dict[str, dict[str, type]]:
        if not self.kinds:
            return {what: dict(registry.kinds) for what, registry in REGISTRIES.items()}
        named: dict[str, dict[str, type]] = {}
        for kind in self.kinds:
            owners = [what for what, registry in REGISTRIES.items() if kind in registry.kinds]
            what = owners[0] if owners else "problem"
            named.setdefault(what, {})[kind] = REGISTRIES[what].options(kind)
        return named


def _show(what: str, name: str, cls: type) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    text = (cls.__doc__ or "").split("\n\n")[0]
    console.print(f"\n[bold]{what} {escape(name)}[/]: {escape(' '.join(text.split()))}")
    table = Table("option", "allowed", "default", "meaning")
    for row in option_table(cls):
        cells = (f"{what}.{row.name}", row.kind, row.default, row.text)
        table.add_row(*map(escape, cells))
    if table.row_count:
        console.print(table)
