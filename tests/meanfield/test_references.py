"""Sources: every key and every section of the theory page that is cited anywhere exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from meanfield.cli import main
from meanfield.results import Reference, cite, references, references_in
from particles import InvalidInput

ROOT = Path(__file__).parents[2]
PACKAGES = ["particles", "landscapes", "saddle_analysis", "meanfield"]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
KEY = re.compile(r"\b[A-Z]{1,8}\d{2}\b")
NOT_KEYS = {"TF32", "UTF16", "SHA256"}
#: "theory 2", "theory, section 2", "theory, sections 1 and 2"; `theory.md` counts as well.
SECTIONS = re.compile(r"\btheory(?:\.md)?(?:,\s+sections?)?\s+(\d+(?:(?:,\s+|\s+and\s+)\d+)*)")


def strings(file: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string of a Python file: docstrings, parts of f-strings."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def cited() -> Iterator[tuple[str, str]]:
    """Place and text of everything that may cite: strings of the packages, comments, pages."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            name = file.relative_to(ROOT)
            for line, text in strings(file):
                yield f"{name}:{line}", text
            for line, text in enumerate(file.read_text("utf-8").splitlines(), 1):
                if "#" in text:
                    yield f"{name}:{line}", text.partition("#")[2]
    for page in PAGES:
        yield page, (ROOT / page).read_text("utf-8")


def unresolved_keys(text: str) -> set[str]:
    return set(KEY.findall(text)) - set(references()) - NOT_KEYS


def sections_in(text: str) -> set[int]:
    return {int(n) for found in SECTIONS.findall(text) for n in re.findall(r"\d+", found)}


@pytest.fixture(scope="module")
def sections() -> set[int]:
    page = (ROOT / "docs/theory.md").read_text("utf-8")
    return {int(n) for n in re.findall(r"^## (\d+)\. ", page, re.MULTILINE)}


def test_every_cited_key_resolves() -> None:
    faults = {place: keys for place, text in cited() if (keys := unresolved_keys(text))}
    assert not faults


def test_every_cited_section_exists(sections: set[int]) -> None:
    faults = {place: n for place, text in cited() if (n := sections_in(text) - sections)}
    assert sections >= set(range(1, 8))
    assert not faults


def test_every_source_is_cited() -> None:
    used = {key for _, text in cited() for key in references_in(text)}
    assert set(references()) <= used


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(theory.md, sections 1 and 2; CB18)", {1, 2}),
        ("HCL23; theory 6 (multinomial)", {6}),
        ("(theory,\n    section 4; ZSLS25)", {4}),
        ("the theory page has 8 sections", set()),
    ],
)
def test_sections_are_recognised(text: str, found: set[int]) -> None:
    assert sections_in(text) == found


def test_unknown_key_is_recognised() -> None:
    assert unresolved_keys("KS24, ABC99; TF32") == {"ABC99"}


@pytest.mark.parametrize("source", references().values(), ids=list(references()))
def test_source_is_complete(source: Reference) -> None:
    assert source.authors
    assert all(" " in author for author in source.authors)
    assert source.title
    assert 1900 < source.year < 2100
    assert source.venue or source.kind == "misc"
    assert source.venue or source.arxiv or source.doi
    assert KEY.fullmatch(source.key)
    assert not source.arxiv or re.fullmatch(r"\d{4}\.\d{4,5}", source.arxiv)


@pytest.mark.parametrize("source", references().values(), ids=list(references()))
def test_bibtex_parses(source: Reference) -> None:
    kind, key, fields = parsed(source.to_bibtex())
    assert (kind, key) == (source.kind, source.key)
    assert fields["author"].split(" and ") == list(source.authors)
    assert fields["title"] == f"{{{source.title}}}"
    assert fields["year"] == str(source.year)


def parsed(entry: str) -> tuple[str, str, dict[str, str]]:
    """Kind, key and fields of one BibTeX entry, read brace by brace."""
    head = re.match(r"@(\w+)\{(\w+),\s*", entry)
    assert head
    fields, at = {}, head.end()
    while entry[at] != "}":
        name = re.compile(r"(\w+) = \{").match(entry, at)
        assert name, entry[at:]
        depth, end = 1, name.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(entry[end], 0)
            end += 1
        fields[name[1]] = entry[name.end() : end - 1]
        rest = re.compile(r",?\s*").match(entry, end)
        assert rest
        at = rest.end()
    assert at == len(entry) - 1
    return head[1], head[2], fields


def test_command_prints_bibtex(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cite", "KS24", "MT25", "KS24"]) == 0
    printed = capsys.readouterr().out
    assert re.findall(r"^@\w+\{(\w+),", printed, re.MULTILINE) == ["KS24", "MT25"]


def test_command_lists_every_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cite"]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()] == list(references())


def test_unknown_key_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cite", "KS24", "KS42"]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert re.fullmatch(r"meanfield: key is 'KS42'; the sources are .*KS24.*\n", printed.err)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'blog'; it must be one of"):
        Reference("AB01", ("Ann B",), "T", 2001, kind="blog")


def test_unknown_key_names_the_known_ones() -> None:
    assert cite("HCL23").authors[0] == "Yu Huang"
    with pytest.raises(InvalidInput, match=r"'KS42'; the sources are .*KS24"):
        cite("KS42")
