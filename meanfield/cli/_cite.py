"""`meanfield cite`: the sources as BibTeX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import tyro

from ..results import cite, references


@dataclass(frozen=True)
class Cite:
    """Print the sources with these keys as BibTeX; without a key, list all sources.

    Args:
        keys: as claims, reports and the theory page write them, such as KS24.

    Example:
        >>> Cite(("KS24",))()  # doctest: +ELLIPSIS
        @inproceedings{KS24,
        ...
        0
    """

    command: ClassVar[str] = "cite"

    keys: Annotated[tuple[str, ...], tyro.conf.Positional] = ()

    def __call__(self) -> int:
        """Print to standard output; returns the exit code."""
        if not self.keys:
            print("\n".join(f"{source}".replace("*", "") for source in references().values()))
            return 0
        found = [cite(key) for key in dict.fromkeys(self.keys)]  # refuse before printing anything
        print("\n\n".join(source.to_bibtex() for source in found))
        return 0
