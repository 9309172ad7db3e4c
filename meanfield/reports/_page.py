"""A report as one HTML file that needs nothing else: figures inside, claims to filter."""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import unquote

from ..results import Claim, Figure, Reference, references_in

CLAIMS = """\
<h2 id="all-claims">Claims</h2>
<div class="filters">
<label>Verdict <select id="verdict"><option value="">all</option>
<option value="holds">holds</option><option value="fails">fails</option></select></label>
<label>Source <select id="source"><option value="">all</option>{options}</select></label>
<label>Words <input id="words" type="search"></label>
<span><span id="shown">{count}</span> of {count} shown</span>
</div>
<table id="claims" class="claims"><thead><tr><th>claim</th><th>source</th><th>predicted</th>
<th>measured</th><th>tolerance</th><th>holds</th></tr></thead>
<tbody>
{rows}
</tbody></table>
"""


def html_page(
    title: str,
    held: str,
    claims: Sequence[Claim],
    body: Sequence[str | Figure],
    folder: Path,
    *,
    provenance: str,
    references: Sequence[Reference],
) -> str:
    """The whole report as the text of one HTML file.

    Args:
        title: heading of the page.
        held: how many claims hold, in a sentence.
        claims: all of them.
        body: paragraphs of Markdown, and figures.
        folder: where the figures and `config.toml` are.
        provenance: versions and settings, as Markdown.
        references: the sources used.
    """
    markdown = _Markdown(folder)
    parts = [
        markdown.figure(entry) if isinstance(entry, Figure) else markdown(entry) for entry in body
    ]
    written = markdown(provenance)
    cited = "".join(f"<li>{_cited(reference)}</li>" for reference in references)
    contents = "".join(
        f'<li><a href="#{name}">{escape(text)}</a></li>' for name, text in markdown.headings
    )
    template = resources.files("meanfield.reports").joinpath("page.html").read_text("utf-8")
    return Template(template).substitute(
        title=escape(title),
        held=escape(held),
        contents=f"<nav><ul>{contents}</ul></nav>" if len(markdown.headings) > 2 else "",
        claims=_claims(claims) if claims else "",
        body="\n".join(parts),
        config=escape((folder / "config.toml").read_text("utf-8")),
        provenance=written,
        references=f'<h2 id="references">References</h2>\n<ul>{cited}</ul>' if cited else "",
    )


def _claims(claims: Sequence[Claim]) -> str:
    rows, sources = [], set()
    for claim in claims:
        keys = references_in(claim.source) or [claim.source.partition(";")[0]]
        sources |= set(keys)
        cells = [
            claim.statement,
            claim.source,
            claim.expected,
            claim.found,
            "" if claim.tolerance is None else f"{claim.tolerance:.2g}",
            "yes" if claim.holds else "NO",
        ]
        said = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        verdict = "holds" if claim.holds else "fails"
        named = " ".join(key.replace(" ", "_") for key in keys)
        rows.append(f'<tr class="{verdict}" data-sources="{escape(named)}">{said}</tr>')
    options = "".join(
        f'<option value="{escape(key.replace(" ", "_"))}">{escape(key)}</option>'
        for key in sorted(sources)
    )
    return CLAIMS.format(options=options, rows="\n".join(rows), count=len(claims))


def _cited(reference: Reference) -> str:
    text = escape(str(reference))
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"\*(.+?)\*", r"<i>\1</i>", text)
    where = f"https://doi.org/{reference.doi}" if reference.doi else ""
    where = f"https://arxiv.org/abs/{reference.arxiv}" if reference.arxiv else where
    return f'{text} <a href="{escape(where)}">link</a>' if where else text


class _Markdown:
    """Markdown to HTML, with the images of a folder in the page itself.

    Args:
        folder: where images are.
    """

    def __init__(self, folder: Path):
        from markdown_it import MarkdownIt

        self._folder, self._parser = folder, MarkdownIt("commonmark", {"html": False})
        self._parser.enable("table")
        self.headings: list[tuple[str, str]] = []

    def __call__(self, text: str) -> str:
        tokens = self._parser.parse(text)
        for place, token in enumerate(tokens):
            if token.type == "heading_open":
                said = tokens[place + 1].content
                name = f"part-{len(self.headings) + 1}"
                token.attrSet("id", name)
                self.headings += [(name, said)] if token.tag == "h2" else []
            for inner in token.children or ():
                self._local(inner)
        return self._parser.renderer.render(tokens, self._parser.options, {})

    def figure(self, figure: Figure) -> str:
        """A figure as an image with its caption."""
        image = self._inside(f"{figure.name}.png")
        caption = escape(figure.caption)
        alt = caption.replace("\n", " ")
        return f'<figure><img src="{image}" alt="{alt}"><figcaption>{caption}</figcaption></figure>'

    def _local(self, token: Any) -> None:
        """Images move into the page; links to other reports go to their pages."""
        if token.type == "image":
            token.attrSet("src", self._inside(token.attrGet("src")))
        elif token.type == "link_open":
            href = str(token.attrGet("href"))
            if href.endswith("report.md") and ":" not in href:
                token.attrSet("href", href.removesuffix("md") + "html")

    def _inside(self, name: str) -> str:
        """A file of the folder as a data address; one that is not there stays a name."""
        path = self._folder / unquote(name)
        if not path.is_file():
            return name
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
