"""Options as frozen dataclasses: allowed ranges, strict reading from tables, plain writing."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import math
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal

from particles import InvalidInput

HUGE = 1e9  # bounds beyond are there for absurd values, and not worth a word


@dataclass(frozen=True)
class Range:
    """The numbers that an option may be; an annotation of its type.

    Args:
        low: smallest; `None` for no bound.
        high: largest; `None` for no bound.
        open_low: whether `low` itself is excluded.
        infinite: whether infinity is allowed.
    """

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    infinite: bool = False

    def __contains__(self, value: float) -> bool:
        if math.isnan(value) or (math.isinf(value) and not self.infinite):
            return False
        above = self.low is None or value > self.low or (value == self.low and not self.open_low)
        return above and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        words = []
        if self.low is not None and self.low > -HUGE:
            words.append(f"above {self.low:g}" if self.open_low else f"at least {self.low:g}")
        if self.high is not None and self.high < HUGE:
            words.append(f"at most {self.high:g}")
        words += [] if self.infinite or self.high is not None else ["finite"]
        return (" and ".join(words) or "finite") + (", or inf" if self.infinite else "")


Count = Annotated[int, Range(1, 10**12)]
"""A number of things, at least one."""
Natural = Annotated[int, Range(0, 10**12)]
"""A number of things, perhaps none."""
Seed = Annotated[int, Range(0, 2**63 - 1)]
"""A seed of all random draws."""
Positive = Annotated[float, Range(0, 1e100, open_low=True)]
"""A positive finite number."""
NonNegative = Annotated[float, Range(0, 1e100)]
"""A finite number that is not negative."""
Finite = Annotated[float, Range(-1e100, 1e100)]
"""A finite number."""
Length = Annotated[float, Range(1, infinite=True)]
"""A prompt length; infinity for the limit."""
Feature = Annotated[int, Range(0, 10**6)]
"""The number of a feature or coordinate, from 0."""


def require_ranges(options: Any, prefix: str = "") -> None:
    """Refuse an option outside its range, and an empty list that must not be empty.

    Args:
        options: a dataclass whose annotations carry `Range`s; nested ones are walked too.
        prefix: of the names in the message, such as `problem.`.

    Raises:
        InvalidInput: the first option out of range: its name, its value, what is allowed.

    Example:
        >>> @dataclass(frozen=True)
        ... class Options:
        ...     samples: Count = 8
        >>> require_ranges(Options(3))
    """
    for name, hint in hints_of(type(options)).items():
        value = getattr(options, name)
        if dataclasses.is_dataclass(value):
            require_ranges(value, f"{prefix}{name}.")
        for allowed, number in _ranged(hint, value):
            if number not in allowed:
                absurd = allowed.high is not None and HUGE <= allowed.high < number < math.inf
                said = f"at most {allowed.high:.3g}" if absurd else str(allowed)
                raise InvalidInput(f"{prefix}{name} is {value}; it must be {said}.")


def _ranged(hint: Any, value: Any) -> Iterator[tuple[Range, float]]:
    """Every number of an option with the range that its annotation gives."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated:
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield from ((extra, value) for extra in arguments[1:] if isinstance(extra, Range))
    elif isinstance(value, tuple):
        for entry in value:
            yield from _ranged(arguments[0], entry)
    else:
        for option in arguments if _is_union(hint) else ():
            yield from _ranged(option, value)


@dataclass(frozen=True)
class OptionRow:
    """One line of the table of options.

    Args:
        name: of the option.
        kind: what it may be, in words.
        default: its default.
        text: what it does.
    """

    name: str
    kind: str
    default: str
    text: str


def option_table(cls: type) -> list[OptionRow]:
    """All options of a dataclass: name, what is allowed, default, meaning."""
    texts = _field_texts(cls)
    rows = []
    for field in dataclasses.fields(cls):
        hint = hints_of(cls)[field.name]
        default = field.default
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        said = "required" if default is dataclasses.MISSING else repr(default)
        text = " ".join(texts.get(field.name, "").split())
        rows.append(OptionRow(field.name, allowed(hint), said, text))
    return rows


def _field_texts(cls: type) -> dict[str, str]:
    """The strings that stand below the fields of a class and of its bases."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):  # built in, or made at run time
            continue
        body = ast.parse(source).body[0]
        for statement, following in itertools.pairwise(getattr(body, "body", [])):
            match statement, following:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                    value=ast.Constant(value=text)
                ):
                    texts[name] = str(text)
    return texts


def hints_of(cls: type) -> dict[str, Any]:
    """Resolved annotations of a dataclass's fields, ranges included."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def fill(cls: type, table: Mapping[str, Any], prefix: str = "") -> Any:
    """A dataclass of options from a table, strictly.

    Args:
        cls: the dataclass.
        table: as read from TOML.
        prefix: of the names in messages.

    Raises:
        InvalidInput: an unknown key, a value of the wrong type, or a missing key.
    """
    hints = hints_of(cls)
    unknown = [key for key in table if key not in hints]
    if unknown:
        raise InvalidInput(
            f"config has the unknown key {prefix}{unknown[0]}; allowed there: {sorted(hints)}."
        )
    values = {}
    for key, value in table.items():
        kind = hints[key]
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, Mapping):
                raise InvalidInput(f"config {prefix}{key} is {value!r}; it must be a table.")
            values[key] = fill(typing.cast(type, kind), value, f"{prefix}{key}.")
        else:
            values[key] = _converted(kind, value, f"{prefix}{key}")
    for field in dataclasses.fields(cls):
        bare = field.default is field.default_factory is dataclasses.MISSING
        if bare and field.name not in values:
            raise InvalidInput(f"config lacks {prefix}{field.name}, which has no default.")
    return cls(**values)


def _converted(kind: Any, value: Any, name: str) -> Any:
    """`value` as the annotated type, or one sentence about why not."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _converted(arguments[0], value, name)
    if origin is Literal and value in arguments:
        return value
    if _is_union(kind):
        for option in arguments:
            try:
                return _converted(option, value, name)
            except InvalidInput:
                continue
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_converted(arguments[0], entry, name) for entry in value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind in (bool, int, str) and type(value) is kind:
        return value
    raise InvalidInput(f"config {name} is {value!r}; it must be {allowed(kind)}.")


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def allowed(kind: Any) -> str:
    """An annotated type in words."""
    names = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}
    arguments = typing.get_args(kind)
    match typing.get_origin(kind):
        case typing.Annotated:
            ranges = [str(extra) for extra in arguments[1:] if isinstance(extra, Range)]
            return ", ".join([allowed(arguments[0]), *ranges])
        case typing.Literal:
            return f"one of {list(arguments)}"
        case typing.Union | types.UnionType:
            return " or ".join(allowed(option) for option in arguments if option is not NoneType)
        case None:
            return names.get(kind, "text")
        case _:
            return f"a list, each entry {allowed(arguments[0])}"


def plain_table(value: Any) -> Any:
    """Options as TOML can hold them: without `None`, which it lacks, and with paths as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return plain_table({field.name: getattr(value, field.name) for field in fields})
    if isinstance(value, Mapping):
        return {key: plain_table(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [plain_table(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
