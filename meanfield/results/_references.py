"""Where statements come from: the keys that docstrings and claims cite, as full references."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from particles import InvalidInput


@dataclass(frozen=True)
class Reference:
    """One source.

    Args:
        key: what docstrings and claims cite, such as `KS24`.
        authors: in order, `First Last`.
        title: of the work.
        year: of publication.
        venue: journal, conference, or publisher; empty for a preprint.
        arxiv: identifier; empty if there is none.
        doi: identifier; empty if not known.
    """

    key: str
    authors: tuple[str, ...]
    title: str
    year: int
    venue: str = ""
    arxiv: str = ""
    doi: str = ""

    def __str__(self) -> str:
        where = [self.venue, f"{self.year}", f"arXiv:{self.arxiv}" if self.arxiv else ""]
        where += [f"doi:{self.doi}" if self.doi else ""]
        names = ", ".join(self.authors)
        return f"**{self.key}** {names}. *{self.title}*. {', '.join(filter(None, where))}."

    def to_bibtex(self) -> str:
        """The reference as a BibTeX entry."""
        fields = {
            "author": " and ".join(self.authors),
            "title": f"{{{self.title}}}",
            "year": str(self.year),
            "howpublished": self.venue,
            "eprint": self.arxiv,
            "archiveprefix": "arXiv" if self.arxiv else "",
            "doi": self.doi,
        }
        lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
        return f"@misc{{{self.key},\n" + ",\n".join(lines) + "\n}"


@functools.cache
def references() -> Mapping[str, Reference]:
    """All sources by key, from `references.toml`."""
    text = resources.files(__package__).joinpath("references.toml").read_text("utf-8")
    entries = {
        key: Reference(key, tuple(entry.pop("authors")), **entry)
        for key, entry in tomllib.loads(text).items()
    }
    return MappingProxyType(entries)


def cite(key: str) -> Reference:
    """The source with this key; `.to_bibtex()` gives BibTeX.

    Raises:
        InvalidInput: there is no such key.

    Example:
        >>> cite("KS24").year, cite("KS24").arxiv
        (2024, '2402.01258')
    """
    if key not in references():
        raise InvalidInput(f"key is {key!r}; the sources are {sorted(references())}.")
    return references()[key]


def references_in(text: str) -> list[str]:
    """Keys of the sources that a text names, sorted."""
    return sorted(set(re.findall(r"\b[A-Z][A-Za-z]*\d{2}\b", text)) & set(references()))
