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

#: The kinds of BibTeX entries, and the field of each that holds the venue.
VENUE_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "article": "journal",
        "book": "publisher",
        "inproceedings": "booktitle",
        "misc": "howpublished",
        "phdthesis": "school",
    }
)
#: How a key is written: initials of the authors and two digits of the year.
KEY = re.compile(r"\b[A-Z]{2,8}\d{2}\b")


@dataclass(frozen=True)
class Reference:
    """One source.

    Args:
        key: what docstrings and claims cite, such as `KS24`.
        authors: in order, `First Last`.
        title: of the work.
        year: of publication.
        kind: type of the BibTeX entry; `misc` for a preprint.
        venue: journal, conference, publisher or university; empty for a preprint.
        volume: of the journal; empty if there is none.
        number: of the issue; empty if there is none.
        arxiv: identifier; empty if there is none.
        doi: identifier; empty if not known.

    Raises:
        InvalidInput: a kind that BibTeX entries here do not have.
    """

    key: str
    authors: tuple[str, ...]
    title: str
    year: int
    kind: str = "misc"
    venue: str = ""
    volume: str = ""
    number: str = ""
    arxiv: str = ""
    doi: str = ""

    def __post_init__(self) -> None:
        if self.kind not in VENUE_FIELDS:
            raise InvalidInput(
                f"kind of {self.key} is {self.kind!r}; it must be one of {sorted(VENUE_FIELDS)}."
            )

    def __str__(self) -> str:
        where = [self.venue, f"{self.year}", f"arXiv:{self.arxiv}" if self.arxiv else ""]
        where += [f"doi:{self.doi}" if self.doi else ""]
        names = ", ".join(self.authors)
        return f"**{self.key}** {names}. *{self.title}*. {', '.join(filter(None, where))}."

    def to_bibtex(self) -> str:
        """The reference as a BibTeX entry; accents stay as they are, in UTF-8."""
        fields = {
            "author": " and ".join(self.authors),
            "title": f"{{{self.title}}}",
            VENUE_FIELDS[self.kind]: self.venue,
            "year": f"{self.year}",
            "volume": self.volume,
            "number": self.number,
            "eprint": self.arxiv,
            "archiveprefix": "arXiv" if self.arxiv else "",
            "doi": self.doi,
        }
        lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
        return f"@{self.kind}{{{self.key},\n" + ",\n".join(lines) + "\n}"


@functools.cache
def references() -> Mapping[str, Reference]:
    """All sources by key, from `references.toml`.

    Example:
        >>> references()["SBC16"].authors
        ('Weijie Su', 'Stephen Boyd', 'Emmanuel J. Candès')
    """
    text = resources.files("meanfield.results").joinpath("references.toml").read_text("utf-8")
    entries = {
        key: Reference(key, tuple(entry.pop("authors")), **entry)
        for key, entry in tomllib.loads(text).items()
    }
    return MappingProxyType(entries)


def cite(key: str) -> Reference:
    """The source with this key; `.to_bibtex()` gives BibTeX.

    Args:
        key: as docstrings, claims and the theory page write it.

    Raises:
        InvalidInput: there is no such key.

    Example:
        >>> cite("KS24").year, cite("KS24").arxiv
        (2024, '2402.01258')
        >>> print(cite("KID21").to_bibtex())
        @phdthesis{KID21,
          author = {Patrick Kidger},
          title = {{On Neural Differential Equations}},
          school = {University of Oxford},
          year = {2021},
          eprint = {2202.02435},
          archiveprefix = {arXiv}
        }
    """
    if key not in references():
        raise InvalidInput(f"key is {key!r}; the sources are {', '.join(sorted(references()))}.")
    return references()[key]


def references_in(text: str) -> list[str]:
    """Keys of the sources that a text names, sorted; what only looks like a key is left out.

    Example:
        >>> references_in("KS24; theory 2, and YKS25 in TF32")
        ['KS24', 'YKS25']
    """
    return sorted(set(KEY.findall(text)) & set(references()))
