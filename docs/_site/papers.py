"""The pages of the papers, from the folders of real runs: `make papers` writes docs/papers."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from PIL import Image

from meanfield.reproductions import REPRODUCTIONS

FOLDER = Path(__file__).parents[1] / "papers"
COLOURS = 96
HEAD = """\
# Papers

Each page is the report of a run of `meanfield reproduce`, as it was written; `make papers` writes
them again. Predicted numbers stand beside measured ones; a claim that fails is shown as failing.

| page | what | claims that hold |
|---|---|---|
"""


def page(name: str, report: str, holding: int, claims: int) -> str:
    """The report with the command that made it on top, and its table of claims to be unfolded."""
    title, rest = report.split("\n", 1)
    said = f"{holding} of {claims} claims hold."
    assert said in rest, name
    table, found, body = rest.split(said, 1)[1].partition("\n## ")
    unfolded = f"<details markdown>\n<summary>{said}</summary>\n\n{table.strip()}\n\n</details>"
    return f"{title}\n\n`meanfield reproduce {name}`\n\n{unfolded}\n{found}{body}"


def copy(run: Path, name: str) -> None:
    """One paper's page, figures, claims and configuration."""
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    claims = json.loads((run / "claims.json").read_text("utf-8"))
    holding = sum(claim["holds"] for claim in claims)
    report = (run / "report.md").read_text("utf-8")
    (folder / "index.md").write_text(page(name, report, holding, len(claims)), "utf-8")
    for file in ("claims.json", "config.toml"):
        shutil.copy(run / file, folder)
    for figure in run.glob("*.png"):
        if f"({figure.name})" in report:  # another one was left by an earlier run
            small = Image.open(figure).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            small.save(folder / figure.name, optimize=True)


def main(runs: Path) -> None:
    """Copies what reproductions left, and lists all that are there."""
    rows = []
    for name, reproduction in REPRODUCTIONS.items():
        if (runs / name / "report.md").exists():
            copy(runs / name, name)
        if (FOLDER / name).exists():
            claims = json.loads((FOLDER / name / "claims.json").read_text("utf-8"))
            held = sum(claim["holds"] for claim in claims)
            row = f"| [{name}]({name}/index.md) | {reproduction.title} | {held} of {len(claims)} |"
            rows.append(row)
    (FOLDER / "index.md").write_text(HEAD + "\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
