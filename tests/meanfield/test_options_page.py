"""The page of options is what the code says, and every range on it is enforced."""

import dataclasses
import math
import typing
from pathlib import Path
from typing import Annotated, Any

import pytest

from meanfield.cli import COMMANDS
from meanfield.cli._options_page import Section, page, sections
from meanfield.cli._parse import parse
from meanfield.problems import Range, hints_of, require_ranges
from particles import InvalidInput

SECTIONS = list(sections())
PAGE = Path(__file__).parents[2] / "docs" / "options.md"


def ranged(hint: Any) -> tuple[type, Range, bool] | None:
    """Type and range of a number, and whether it stands in a list; `None` for what has no range."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated:
        found = [extra for extra in arguments[1:] if isinstance(extra, Range)]
        return (arguments[0], found[0], False) if found else ranged(arguments[0])
    for option in arguments:
        if (inner := ranged(option)) is not None:
            return (*inner[:2], typing.get_origin(hint) is tuple)
    return None


def inside(kind: type, allowed: Range) -> list[float]:
    """The smallest, the largest, and one between."""
    assert allowed.low is not None, "every number has a lower bound"
    step = 1 if kind is int else 1e-3
    low = allowed.low + step if allowed.open_low else allowed.low
    high = math.inf if allowed.infinite else allowed.high
    return [kind(low), kind(low + step), *([] if high is None else [high])]


def outside(kind: type, allowed: Range) -> list[float]:
    """Just below, just above, and what is no number."""
    low = allowed.low or 0
    below = low if allowed.open_low else low - (1 if kind is int else max(1e-3, abs(low) * 1e-6))
    found: list[float] = [kind(below)]
    if allowed.high is not None:
        found.append(allowed.high + 1 if kind is int else allowed.high * 1.000001)
    if kind is float:
        found += [math.nan, -math.inf, *([] if allowed.infinite else [math.inf])]
    return found


def numbers() -> list[Any]:
    """Every number on the page."""
    found = []
    for section in SECTIONS:
        hints = hints_of(section.holder)
        for row in section.rows:
            if (told := ranged(hints[row.name])) is not None:
                name = f"{section.title or section.holder.__name__}: {row.name}"
                found.append(pytest.param(row.name, hints[row.name], *told, id=name))
    return found


NUMBERS = numbers()


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make options`"


def test_every_option_of_every_command_is_on_it() -> None:
    shown = page()
    for name in COMMANDS:
        assert f"## meanfield {name}\n" in shown or name in ("problems", "cite")
    assert len(NUMBERS) > 60
    assert all(row.text for section in SECTIONS for row in section.rows)


def test_every_number_has_a_range() -> None:
    for section in SECTIONS:
        for row in section.rows:
            hint = hints_of(section.holder)[row.name]
            assert ranged(hint) or "number" not in row.kind, (section.title, row)


@pytest.mark.parametrize(("name", "hint", "kind", "allowed", "listed"), NUMBERS)
def test_a_range(name: str, hint: Any, kind: type, allowed: Range, listed: bool) -> None:
    options = dataclasses.make_dataclass("Options", [(name, hint)], frozen=True)
    for value in inside(kind, allowed):
        require_ranges(options((value,) if listed else value))
    for value in outside(kind, allowed):
        given = (value,) if listed else value
        with pytest.raises(InvalidInput) as refused:
            require_ranges(options(given))
        assert str(refused.value).startswith(f"{name} is {given}; it must be ")


@pytest.mark.parametrize(
    "section",
    [s for s in SECTIONS if any(ranged(hints_of(s.holder)[r.name]) for r in s.rows)],
    ids=lambda section: section.title or section.holder.__name__,
)
def test_the_command_line_holds_to_it(section: Section, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last number of each table, one outside and one inside."""
    import importlib

    what, _, kind = section.title.partition(" ")
    index = SECTIONS.index(section)
    owner = next(s.title for s in reversed(SECTIONS[: index + 1]) if s.title)
    command = owner.split()[1] if owner.startswith("meanfield") else "simulate"
    place, attribute = COMMANDS[command][0].split(":")
    cls = getattr(importlib.import_module(f"meanfield.cli.{place}"), attribute)
    names = [r.name for r in section.rows if ranged(hints_of(section.holder)[r.name])]
    told = ranged(hints_of(section.holder)[names[-1]])
    assert told is not None
    words = [f"--{what}", kind] if section.title and section.prefix != "--" else []
    flag = section.prefix + names[-1].replace("_", "-")
    if command == "reproduce":
        words = [owner.split()[2]]
    with pytest.raises(InvalidInput) as refused:
        checked(cls, [*words, f"{flag}={outside(*told[:2])[0]}"])
    assert flag.removeprefix("--").replace("-", "_") in str(refused.value)
    checked(cls, [*words, f"{flag}={inside(*told[:2])[1]}"])


def checked(cls: type, words: list[str]) -> None:
    command = parse(cls, words)
    if hasattr(command, "_chosen"):  # reproductions look at their options one after the other
        command._chosen()
