"""The documentation builds in strict mode, needs nothing from elsewhere, and names everything."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["particles", "landscapes", "saddle_analysis", "meanfield"]


class Page(HTMLParser):
    """What a page names and loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.loaded: list[str] = []
        self.formulas = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs) -> None:
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        self.formulas += tag == "math"
        if tag in ("script", "img", "iframe", "source"):
            self.loaded.append(found.get("src") or "")
        if tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.loaded.append(found.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    folder = tmp_path_factory.mktemp("site")
    # Not --quiet: warnings that are not shown are not counted, and nothing is strict.
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    plain = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"}
    plain |= {"TUTORIALS_RUN": "false"}  # test_examples runs them
    built = subprocess.run(command, cwd=ROOT, env=plain, text=True, capture_output=True)
    assert built.returncode == 0, built.stderr
    files = folder.rglob("*.html")
    return {str(f.relative_to(folder)): Page(f.read_text("utf-8")) for f in files}


def public_names() -> set[str]:
    """Every public name, by the room that defines it; read in the source, independently."""
    names = set()
    for file in (file for package in PACKAGES for file in (ROOT / package).rglob("__init__.py")):
        room = ".".join(file.parent.relative_to(ROOT).parts)
        if room not in ("meanfield", "meanfield.cli"):  # no names of its own; the commands
            found = re.findall(r"^from \._\w+ import (\w+) as \1$", file.read_text("utf-8"), re.M)
            names |= {f"{room}.{name}" for name in found}
    return names


def test_every_public_name_is_in_the_reference(site: dict[str, Page]) -> None:
    described = {name for path, page in site.items() if path[:4] == "api/" for name in page.ids}
    assert len(public_names()) > 300
    assert public_names() - described == set()


def test_nothing_is_loaded_from_elsewhere(site: dict[str, Page]) -> None:
    loaded = {source for page in site.values() for source in page.loaded}
    assert any(source.endswith(".css") for source in loaded)
    assert [source for source in loaded if source.startswith(("http:", "https:", "//"))] == []


def test_formulas_are_shown_without_a_script(site: dict[str, Page]) -> None:
    written = (ROOT / "docs/theory.md").read_text("utf-8")
    assert site["theory.html"].formulas > 0.9 * len(
        re.findall(r"\$\$.+?\$\$|\$.+?\$", written, re.DOTALL)
    )


def test_pages_of_papers_say_what_their_claims_say(site: dict[str, Page]) -> None:
    index = (ROOT / "docs/papers/index.md").read_text("utf-8")
    found = sorted(path.parent for path in (ROOT / "docs/papers").glob("*/claims.json"))
    assert found
    for folder in found:
        claims = json.loads((folder / "claims.json").read_text("utf-8"))
        held = f"{sum(claim['holds'] for claim in claims)} of {len(claims)}"
        assert re.search(rf"\[{folder.name}\].*\| {held} \|", index)
        text = (folder / "index.md").read_text("utf-8")
        assert f"{held} claims hold." in text
        assert f"papers/{folder.name}/index.html" in site
        assert {f"{name}.png" for name in re.findall(r"\]\((\w+)\.png\)", text)} == {
            path.name for path in folder.glob("*.png")
        }
