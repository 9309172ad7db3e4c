"""Kinds by name: built-in ones, and the user's own as `package.module:callable`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from particles import InvalidInput


@dataclasses.dataclass(frozen=True)
class Registry:
    """Options of every kind of one thing, such as problems, starts or flows.

    A kind is a frozen dataclass of options with a method `build`. The user's own is named
    `package.module:Name`; `Name` may also be a function, whose keyword arguments with their
    annotations and defaults are then the options.

    Args:
        what: is registered, for messages.
        kinds: built-in option classes by name.
        positional: how many arguments `build` takes; the first ones of a function that stands for
            a kind.
    """

    what: str
    kinds: Mapping[str, type]
    positional: int = 1

    def options(self, kind: str, *, trust: bool = True, folder: Path | None = None) -> type:
        """The dataclass of options of a kind.

        Args:
            kind: a built-in name, or `package.module:Name`.
            trust: whether the user's own code may run.
            folder: where modules are looked for, besides the current folder.

        Raises:
            InvalidInput: an unknown kind, code that may not run, or nothing usable at that name.
        """
        if kind in self.kinds:
            return self.kinds[kind]
        module, colon, name = kind.partition(":")
        if not (colon and module and name):
            raise InvalidInput(
                f"{self.what} is {kind!r}; choose one of {list(self.kinds)}, or name your own as "
                "package.module:Name."
            )
        if not trust:
            raise InvalidInput(
                f"{self.what} is {kind!r}, code of its own that a run folder names; add --trust to "
                "run it, if you trust the folder."
            )
        with _importable(folder):
            try:
                found = getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError) as error:
                raise InvalidInput(f"{self.what} {kind!r} cannot be loaded: {error}.") from error
        return self._as_options(kind, found)

    def name_of(self, options: Any) -> str:
        """The kind that options belong to."""
        for name, cls in self.kinds.items():
            if type(options) is cls:
                return name
        cls = type(options)
        return getattr(cls, "kind_name", f"{cls.__module__}:{cls.__qualname__}")

    def _as_options(self, kind: str, found: Any) -> type:
        if isinstance(found, type) and dataclasses.is_dataclass(found) and hasattr(found, "build"):
            named: Any = found
            named.kind_name = kind
            return found
        if not callable(found) or isinstance(found, type):
            raise InvalidInput(
                f"{self.what} {kind!r} is {found!r}; it must be a frozen dataclass with a method "
                "`build`, or a function."
            )
        return _from_function(self.what, kind, found, self.positional)


@functools.cache
def _from_function(what: str, kind: str, function: Callable[..., Any], positional: int) -> type:
    """Options from a function's signature: its keyword arguments after the positional ones."""
    try:
        hints = inspect.get_annotations(function, eval_str=True)
    except NameError as error:
        raise InvalidInput(f"{what} {kind!r} has a bad annotation: {error}.") from error
    fields = []
    for name, parameter in list(inspect.signature(function).parameters.items())[positional:]:
        if name not in hints or parameter.default is inspect.Parameter.empty:
            raise InvalidInput(
                f"{what} {kind!r}: its argument {name} needs an annotation and a default to be an "
                "option."
            )
        fields.append((name, hints[name], dataclasses.field(default=parameter.default)))

    def build(options: Any, *arguments: Any) -> Any:
        given = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
        return function(*arguments, **given)

    namespace = {"build": build, "kind_name": kind, "__doc__": function.__doc__ or kind}
    name = kind.rpartition(":")[2]
    return dataclasses.make_dataclass(name, fields, namespace=namespace, frozen=True)


@contextlib.contextmanager
def _importable(folder: Path | None) -> Iterator[None]:
    """The current folder, and that of the configuration, on the path of imports."""
    before = list(sys.path)
    sys.path[:0] = [str(Path.cwd()), *([] if folder is None else [str(folder.absolute())])]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before
