"""All options on one page: `python -m meanfield.cli._options_page` prints docs/options.md."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import tyro

from ..problems import REGISTRIES, OptionRow, TensorMap, hints_of, option_table
from ..reproductions import REPRODUCTIONS
from ._common import Common
from ._main import COMMANDS

INTRODUCTION = """\
# Options

Written by `make options` from the code; a test holds the two equal, and walks every range.

On the command line an option is `--name VALUE`, and those of a problem, a start or a flow are
`--problem.name VALUE` and so on, after `--problem KIND`. In a configuration file they stand in the
tables `[problem]`, `[start]`, `[flow]` and `[run]`, and a command's own in a table of its name.
`meanfield problems` shows the kinds, also your own.

A value outside its range is refused before anything is drawn, compiled or written, in one sentence
with the option, the value and what is allowed. Beyond what is said below, a number of things is at
most 10¹², any other number at most 10¹⁰⁰ in absolute value, and a seed at most 2⁶³ − 1. NaN is
never allowed, infinity where `inf` is said. Combinations that do not fit are refused where the
values meet: an option without effect (a tolerance for a fixed step), a step beyond the horizon, a
size that no machine holds.
"""

OPEN = {"problem", "start", "flow"}
FLAT = ("options", "run")
MAP = "map"


@dataclass(frozen=True)
class Section:
    """Options that stand together.

    Args:
        title: of the section.
        text: what they are for.
        prefix: of their names.
        holder: the dataclass whose options they are.
        rows: the options shown; those of the holder, or some of them.
    """

    title: str
    text: str
    prefix: str
    holder: type
    rows: list[OptionRow]


def sections() -> Iterator[Section]:
    """Commands, then kinds of problems, starts and flows, then reproductions."""
    yield Section("Every command that writes results", "", "--", Common, option_table(Common))
    shared = {row.name for row in option_table(Common)}
    for name, (place, text) in COMMANDS.items():
        module, attribute = place.split(":")
        cls = getattr(importlib.import_module(f".{module}", __package__), attribute)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        kinds = [f"`--{kind}`" for kind in fields if kind in OPEN]
        taken = f" Takes {', '.join(kinds)}." if kinds else ""
        own = [r for r in option_table(cls) if r.name not in shared | OPEN | {*FLAT, MAP}]
        if name in ("problems", "cite"):
            own = [row for row in own if row.name in ("json",)]
        if own:
            yield Section(f"meanfield {name}", f"{_capital(text)}.{taken}", "--", cls, own)
        for nested in FLAT if name != "reproduce" else ():
            if nested not in fields:
                continue
            factory = fields[nested].default_factory
            assert factory is not dataclasses.MISSING
            holder = type(factory())
            rows = option_table(holder)
            yield Section("", _summary(holder), "--", holder, rows)
        if MAP in fields:
            yield Section("", _summary(TensorMap), f"--{MAP}.", TensorMap, option_table(TensorMap))
    for what, registry in REGISTRIES.items():
        for name, cls in registry.kinds.items():
            yield Section(f"{what} {name}", _summary(cls), f"--{what}.", cls, option_table(cls))
    for name, reproduction in REPRODUCTIONS.items():
        cls = reproduction.options
        said = f"{_capital(reproduction.title)}."
        yield Section(f"meanfield reproduce {name}", said, "--", cls, option_table(cls))


def page() -> str:
    """The page, as Markdown."""
    parts = [INTRODUCTION]
    for section in sections():
        parts += [f"## {section.title}\n"] if section.title else []
        parts += [f"{section.text}\n"] if section.text else []
        if section.rows:
            lines = ["| option | allowed | default | meaning |", "| --- | --- | --- | --- |"]
            lines += [_line(_called(section, row.name), row) for row in section.rows]
            parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _called(section: Section, name: str) -> str:
    """An option as the command line has it; what needs no name, by what it is."""
    extras = get_args(hints_of(section.holder)[name])[1:]
    if tyro.conf.Positional in extras:
        return next(extra.metavar for extra in extras if hasattr(extra, "metavar"))
    return section.prefix + name.replace("_", "-")


def _line(name: str, row: OptionRow) -> str:
    default = "none" if row.default == "None" else f"`{row.default}`"
    cells = (f"`{name}`", row.kind, default, row.text)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _summary(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())


if __name__ == "__main__":
    print(page(), end="")
