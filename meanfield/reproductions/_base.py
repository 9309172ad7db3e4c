"""What a reproduction is: options, and parts that each return a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from particles import InvalidInput

from ..problems import require_ranges
from ..results import Result

Options = TypeVar("Options")


@dataclass(frozen=True)
class Reproduction(Generic[Options]):
    """A source's headline results.

    Args:
        name: by which it is called.
        title: what it is about, in a few words.
        options: a frozen dataclass; every field has a default, a range (such as `Count`) and a
            docstring, and acts on the results.
        parts: given the options and whether to show progress, yields one result a part, each
            computed when it is asked for.
        titles: of the parts' results, in order, known before they are computed.
    """

    name: str
    title: str
    options: type[Options]
    parts: Callable[[Options, bool], Iterator[Result]]
    titles: tuple[str, ...]

    @property
    def option_names(self) -> list[str]:
        """Names of the options."""
        return [field.name for field in fields(self.options)]  # pyright: ignore[reportArgumentType]

    def configured(self, **options: Any) -> Options:
        """The options, the named ones set and the others at their defaults.

        Raises:
            InvalidInput: there is no such option, or a value is out of range.
        """
        unknown = [name for name in options if name not in self.option_names]
        if unknown:
            raise InvalidInput(
                f"{unknown[0]} is no option of {self.name}; its options are "
                f"{', '.join(self.option_names)}."
            )
        chosen = self.options(**options)
        require_ranges(chosen)
        return chosen

    def results(self, options: Options, *, progress: bool = False) -> Iterator[Result]:
        """The results of the parts, each computed when it is asked for.

        Args:
            options: as `configured` gives them.
            progress: show bars.
        """
        return self.parts(options, progress)
