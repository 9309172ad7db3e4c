"""What mkdocs does besides: reference pages of every public name, sources, formulas as MathML."""

from __future__ import annotations

import ast
import html
import re
import tomllib
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGES = ["particles", "landscapes", "saddle_analysis", "meanfield"]
#: `meanfield` takes all its names from its rooms, and the command line is described by --help.
WITHOUT_PAGE = {"meanfield", "meanfield.cli"}


def rooms_of(package: str) -> list[str]:
    """A package and the rooms in it that have a reference page."""
    found = sorted(path.parent.name for path in (ROOT / package).glob("[a-z]*/__init__.py"))
    rooms = [package, *(f"{package}.{name}" for name in found)]
    return [room for room in rooms if room not in WITHOUT_PAGE]


ROOMS = {package: rooms_of(package) for package in PACKAGES}
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the pages of papers and of the reference to the navigation."""
    [papers] = [entry["Papers"] for entry in config.nav if "Papers" in entry]
    if len(papers) == 1:  # not yet, as it is when pages are served
        found = sorted(path.parent.name for path in (ROOT / "docs/papers").glob("*/index.md"))
        papers += [{name: f"papers/{name}/index.md"} for name in found]
    pages = [{part: [{room: f"api/{room}.md"} for room in rooms]} for part, rooms in ROOMS.items()]
    [reference] = [entry for entry in config.nav if "Reference" in entry]
    if len(reference["Reference"]) == 3:  # not yet, as it is when pages are served
        reference["Reference"] = [*pages, *reference["Reference"]]
    return config


@event_priority(100)  # before the plugin that makes notebooks of the tutorials
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made from the source."""
    pages = {f"api/{room}.md": api_page(room) for rooms in ROOMS.values() for room in rooms}
    pages["references.md"] = references_page()
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    demo = str(ROOT / "examples/figures/demo.png")  # the README's, not kept twice
    files.append(File.generated(config, "figures/demo.png", abs_src_path=demo))
    tutorials = ROOT / "examples"  # where they run from; each is a page
    for path in sorted(tutorials.glob("tutorials/*.py")):
        name = path.relative_to(tutorials).as_posix()
        page = File(name, str(tutorials), config.site_dir, config.use_directory_urls)
        files.append(page)
    return files


def on_page_content(content: str, **_: object) -> str:
    """Formulas as MathML, which browsers show without any script."""

    def formula(found: re.Match) -> str:
        display = "block" if found[1] == "div" else "inline"
        return convert(html.unescape(found[2].strip()), display=display)

    return FORMULA.sub(formula, content)


def public_names(room: str) -> tuple[list[str], dict[str, str]]:
    """Names that a room defines, and names that it takes from a room below, with that room."""
    text = (ROOT / room.replace(".", "/") / "__init__.py").read_text("utf-8")
    own, shared = [], {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.asname != alias.name or node.module is None:
                    continue  # not re-exported, or a room
                if node.module.startswith("_"):
                    own.append(alias.name)
                else:
                    shared[alias.name] = f"{room}.{node.module}"
    return own, shared


def api_page(room: str) -> str:
    """The reference page of a room."""
    text = (ROOT / room.replace(".", "/") / "__init__.py").read_text("utf-8")
    own, shared = public_names(room)
    lines = [f"# `{room}`", "", ast.get_docstring(ast.parse(text)) or "", ""]
    if shared:
        lines += ["Also here, from the rooms below:", ""]
        lines += [f"- [`{name}`][{there}.{name}]" for name, there in shared.items()]
        lines += [""]
    lines += [f"::: {room}.{name}\n" for name in own]
    return "\n".join(lines)


def references_page() -> str:
    """All sources, by key."""
    sources = tomllib.loads((ROOT / "meanfield/results/references.toml").read_text("utf-8"))
    lines = ["# References", "", "`meanfield cite KEY` prints any of them as BibTeX.", ""]
    for key, source in sorted(sources.items()):
        authors = source.get("authors", [])
        names = ", ".join(authors[:3]) + (" and others" if len(authors) > 3 else "")
        parts = [f"**{key}**", f"{names}.", f"*{source['title']}*."]
        parts += [f"{source['venue']}," if "venue" in source else "", f"{source.get('year', '')}."]
        if "arxiv" in source:
            parts.append(f"[arXiv:{source['arxiv']}](https://arxiv.org/abs/{source['arxiv']})")
        elif "doi" in source:
            parts.append(f"[doi:{source['doi']}](https://doi.org/{source['doi']})")
        lines.append("- " + " ".join(part for part in parts if part))
    return "\n".join(lines) + "\n"
