"""From the words of a command line to a command with its options.

A command is a frozen dataclass. Its fields `problem`, `start` and `flow` hold the options of one
kind each; `--problem KIND` chooses the kind, after which `--problem.OPTION` are that kind's. A
configuration file gives the defaults.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from particles import InvalidInput

from ..problems import REGISTRIES, from_table, read_table, require_ranges

#: Flags without a value.
SWITCHES = {"--json", "--quiet", "--trust", "--errors", "--help", "-h"}


#: Options of a problem that need not be called the problem's.
SHORT = ("data", "samples")


def parse(cls: type, words: Sequence[str]) -> Any:
    """A command from its words.

    Raises:
        InvalidInput: a configuration, a kind or an option that cannot be used.
        SystemExit: help was asked for, or words that do not fit.
    """
    kinds, words = _kinds(cls, _long_data(cls, words))
    source = _source(cls, words)
    table, folder, trust = {}, None, True
    if source is not None:
        table, folder = read_table(source), source.parent
        trust = _named(cls, words) == source or "--trust" in words
    default = from_table(cls, table, kinds=kinds, trust=trust, folder=folder)
    concrete = _concrete(cls, default)
    chosen = tyro.cli(
        concrete,
        prog=f"meanfield {cls.command}",
        description=_description(cls),
        args=list(words),
        default=concrete(**_values(default)),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    command = cls(**_values(chosen))
    _require_ranges(command)
    return command


def _values(command: Any) -> dict[str, Any]:
    return {field.name: getattr(command, field.name) for field in dataclasses.fields(command)}


def _require_ranges(command: Any) -> None:
    """Ranges of all options, by the names that the command line has for them."""
    for field in dataclasses.fields(command):
        value = getattr(command, field.name)
        if dataclasses.is_dataclass(value):
            flat = field.name in ("options", "run")
            require_ranges(value, "" if flat else f"{field.name}.")
    flat_command = dataclasses.make_dataclass(
        "Options", [(n, t) for n, t in _plain_hints(type(command)).items()], frozen=True
    )
    require_ranges(flat_command(**{n: getattr(command, n) for n in _plain_hints(type(command))}))


def _plain_hints(cls: type) -> dict[str, Any]:
    from typing import get_type_hints

    hints = get_type_hints(cls, include_extras=True)
    nested = {"problem", "start", "flow", "run", "options", "map"}
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.name not in nested}


def _long_data(cls: type, words: Sequence[str]) -> list[str]:
    """`--data FILE` and `--samples M` are short for the problem's own options."""
    if "problem" not in _fields(cls):
        return list(words)
    short = [f"--{name}" for name in SHORT if name not in _fields(cls)]
    return [f"--problem.{w.removeprefix('--')}" if _flag(w) in short else w for w in words]


def _flag(word: str) -> str:
    return word.partition("=")[0]


def _fields(cls: type) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def _kinds(cls: type, words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The kinds that are named, and the other words."""
    kinds: dict[str, str] = {}
    rest: list[str] = []
    pending = None
    for word in words:
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--").removesuffix(".kind")
        if pending is not None:
            kinds[pending], pending = word, None
        elif flag.startswith("--") and name in REGISTRIES and name in _fields(cls):
            if equals:
                kinds[name] = value
            else:
                pending = name
        else:
            rest.append(word)
    if pending is not None:
        raise InvalidInput(
            f"--{pending} needs a kind; choose one of {list(REGISTRIES[pending].kinds)}, or name "
            "your own as package.module:Name."
        )
    return kinds, rest


def _values_of(words: Sequence[str], flag: str) -> str | None:
    for word, following in itertools.zip_longest(words, words[1:]):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def _positionals(words: Sequence[str]) -> list[str]:
    """Words that are no flags and no values of flags, as far as can be told before parsing."""
    found, before = [], ""
    for word in words:
        takes = before.startswith("--") and "=" not in before and before not in SWITCHES
        if not word.startswith("-") and not takes:
            found.append(word)
        before = word
    return found


def _named(cls: type, words: Sequence[str]) -> Path | None:
    """The configuration file that is named, if one is."""
    named = _values_of(words, "--config")
    if named is None:
        named = next((w for w in _positionals(words) if w.endswith(".toml")), None)
    return None if named is None else Path(named)


def _source(cls: type, words: Sequence[str]) -> Path | None:
    """The configuration to start from: the one that is named, or that of a folder of results."""
    named = _named(cls, words)
    if named is not None:
        return named
    folder = _values_of(words, "--resume")
    if folder is None and "source" in _fields(cls):
        folder = next((w for w in _positionals(words) if Path(w).is_dir()), None)
    config = None if folder is None else Path(folder) / "config.toml"
    return config if config is not None and config.exists() else None


def _concrete(cls: type, default: Any) -> type:
    """The command with the options of the chosen kinds in place of open fields."""
    fields = []
    for field in dataclasses.fields(cls):
        value = getattr(default, field.name)
        if field.name in REGISTRIES:
            fields.append((field.name, type(value), dataclasses.field(default=value)))
        elif field.name in ("options", "run"):
            flat = Annotated[type(value), tyro.conf.arg(name="")]
            fields.append((field.name, flat, dataclasses.field(default=value)))
    return dataclasses.make_dataclass(cls.__name__, fields, bases=(cls,), frozen=True)


def _description(cls: type) -> str:
    first = (cls.__doc__ or "").split("\n\n")[0]
    said = [" ".join(first.split())]
    for name, registry in REGISTRIES.items():
        if name in _fields(cls):
            said.append(f"--{name} KIND: {', '.join(registry.kinds)}, or package.module:Name.")
    if "problem" in _fields(cls):
        said += [f"--{name}: short for --problem.{name}." for name in SHORT]
    return " ".join(said)
