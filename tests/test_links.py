"""Links between documents lead to files and headings that are there; the network is not asked."""

import re
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
#: Made when the site is built, whose strict mode checks links to them.
MADE = ("docs/api/", "docs/tutorials/", "docs/papers/", "docs/references.md", "docs/figures/demo")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```\s*$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def text_of(document: Path) -> str:
    return CODE.sub("", document.read_text("utf-8"))


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+?)\s*$", document.read_text("utf-8"), re.MULTILINE)
    return {slugify(heading.replace("`", ""), "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(text_of(document)):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        if str(target.relative_to(ROOT)).startswith(MADE):
            continue
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# One `two`\n\n[x](b.md), [y](#one-two), `[z](no)`\n\n```\n[w](no)\n```\n")
    assert LINK.findall(text_of(page)) == ["b.md", "#one-two"]
    assert anchors(page) == {"one-two"}
