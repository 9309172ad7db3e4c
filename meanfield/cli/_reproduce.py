"""`meanfield reproduce NAME…`: a source's headline results as claims."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..problems import option_table
from ..reproductions import REPRODUCTIONS, Reproduction
from ..results import Result
from ._common import Common

ALL = "all"
Name = Literal[*REPRODUCTIONS, "all"]  # pyright: ignore[reportInvalidTypeForm]


def _options_of_all() -> type:
    """Names, and one optional field for each option that a reproduction has."""
    kinds: dict[str, Any] = {}
    texts: dict[str, dict[str, list[str]]] = {}
    for name, reproduction in REPRODUCTIONS.items():
        hints = typing.get_type_hints(reproduction.options, include_extras=True)
        for row in option_table(reproduction.options):
            kinds[row.name] = hints[row.name]
            text = f"{row.text.removesuffix('.')}, by default {row.default}"
            texts.setdefault(row.name, {}).setdefault(text, []).append(name)
    listed = tyro.conf.arg(metavar="NAME …", help=f"{', '.join(REPRODUCTIONS)}, or all.")
    names = Annotated[tuple[Name, ...], tyro.conf.Positional, listed]
    fields: list[Any] = [("names", names, field(default=(ALL,)))]
    for option, kind in kinds.items():
        metavar = "N …" if typing.get_origin(kind) is tuple else "N"
        said = tyro.conf.arg(metavar=metavar, help=_said(texts[option]), help_behavior_hint="")
        fields.append((option, Annotated[kind | None, said], field(default=None)))
    return dataclasses.make_dataclass("ReproduceOptions", fields, frozen=True)


def _said(texts: Mapping[str, Sequence[str]]) -> str:
    """What an option does, and for which reproductions."""
    return " ".join(
        f"{text} ({'all' if len(names) == len(REPRODUCTIONS) else ', '.join(names)})."
        for text, names in texts.items()
    )


ReproduceOptions = _options_of_all()


@dataclass(frozen=True)
class Reproduce(Common):
    """A source's headline results as claims, with figures; without a name, all of them.

    An option acts on every reproduction that is named, or is refused.
    """

    command = "reproduce"

    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """The config.toml of earlier reproductions, to repeat them."""
    options: Any = field(default_factory=ReproduceOptions)

    def __call__(self) -> int:
        """Run the reproductions; see `meanfield reproduce --help`."""
        chosen = self._chosen()
        folder = self.folder()
        with self.report(folder, "Reproductions") as report:
            for reproduction, options in chosen:
                report.add(self._run(reproduction, options, folder / reproduction.name))
                report.finish()
        self.show(report)
        return 0

    def _chosen(self) -> list[tuple[Reproduction[Any], Any]]:
        """The reproductions with their options.

        Raises:
            InvalidInput: an option that one of them does not have, or that is out of range.
        """
        given = {
            entry.name: getattr(self.options, entry.name)
            for entry in dataclasses.fields(self.options)
            if entry.name != "names" and getattr(self.options, entry.name) is not None
        }
        found = [REPRODUCTIONS[name] for name in _names(self.options.names)]
        return [(reproduction, reproduction.configured(**given)) for reproduction in found]

    def _run(self, reproduction: Reproduction[Any], options: Any, folder: Path) -> Result:
        """Write the parts to a folder of their own as they come; returns what the index says."""
        name, titles = reproduction.name, reproduction.titles
        config = dataclasses.replace(
            self,
            options=ReproduceOptions(names=(name,), **dataclasses.asdict(options)),
        )
        parts = reproduction.results(options, progress=self.shows_progress)
        with config.report(folder, reproduction.title) as report:
            try:
                for number, title in enumerate(titles, 1):
                    self.say(f"{name} {number}/{len(titles)}: {title}")
                    report.add(next(parts))
            finally:  # what was found stays, whatever ends the rest
                if report.found.body:
                    report.finish()
        index = Result(f"{name}: {reproduction.title}")
        index.text(f"[{name}]({name}/report.md)")
        index.claim(*report.found.claims)
        return index


def _names(names: Sequence[str]) -> list[str]:
    """The names, each once."""
    return list(REPRODUCTIONS) if ALL in names else list(dict.fromkeys(names))
