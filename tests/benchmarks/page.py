"""docs/performance.md and its figure: `python -m benchmarks.page` in tests/, from figures.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FIGURES = HERE / "figures.json"
DOCS = HERE.parents[1] / "docs"
PAGE, FIGURE = DOCS / "performance.md", DOCS / "figures" / "performance.png"
TOPICS = {
    "step": "A step of the flow",
    "hessian": "Hessian products and eigenpairs",
    "chunks": "The chunk",
    "records": "Records",
    "pairs": "Pair interactions",
    "scale": "Size and devices",
    "softmax": "Softmax attention",
    "accuracy": "Time to a given error",
}
HEAD = """\
# Performance

Written by `make bench` from `tests/benchmarks/figures.json`; a test holds the two equal. Ratios are
to a baseline that took turns with what is measured, in one run: a machine under load slows both.

Measured on {machine} ({device}), jax {jax}, Python {python}. No accelerator was at hand; what
`meanfield plan --device` says of one is a bound from its data sheet, not a measurement.

![Ratios to the baseline of the same run, with the bound that was wanted.](figures/performance.png)

*Ratios to the baseline of the same run. Triangles: what was wanted, at most (pointing left) or at
least (pointing right).*
"""


def page(content: dict[str, Any]) -> str:
    """The text of the page: a table for each topic."""
    parts = [HEAD.format(**content["with"])]
    for topic, title in TOPICS.items():
        entries = [entry for entry in content["figures"] if entry["topic"] == topic]
        if entries:
            rows = "\n".join(map(_row, entries))
            parts.append(f"## {title}\n\n| what | measured | wanted |\n|---|---|---|\n{rows}\n")
    dates = sorted({entry["date"] for entry in content["figures"]})
    between = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    parts.append(f"Measured {between}, the last at commit {content['with']['commit']}.\n")
    return "\n".join(parts)


def _row(entry: dict[str, Any]) -> str:
    wanted = entry.get("target", "")
    if wanted and not entry["met"]:
        wanted += " (not met)"
    return f"| {entry['what']} | {entry['value']:.3g} {entry['unit']} | {wanted} |"


def draw(content: dict[str, Any], path: Path) -> None:
    """Measured ratios as points, what was wanted as a mark, one line each."""
    import matplotlib.pyplot as plt

    from meanfield.plots import MEASURED, QUIET, THEORY

    entries = [e for e in content["figures"] if "target" in e and e["unit"] == "×"]
    figure, ax = plt.subplots(figsize=(10, 0.36 * len(entries) + 1.2), layout="constrained")
    for place, entry in enumerate(reversed(entries)):
        sign, bound = entry["target"].split()
        ax.plot([1, entry["value"]], [place, place], color=QUIET, lw=1, zorder=0)
        mark = "<" if sign == "≤" else ">"
        ax.plot(float(bound), place, mark, color=THEORY, ms=7, label=None if place else "wanted")
        ax.plot(entry["value"], place, "o", color=MEASURED, label=None if place else "measured")
    ax.set_yticks(range(len(entries)), [e["what"] for e in reversed(entries)], fontsize=7)
    ax.axvline(1, color=QUIET, lw=0.8, zorder=0)
    ax.set(xscale="log", xlabel="ratio to the baseline")
    ax.set_xticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
    ax.set_xticks([], minor=True)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Write both."""
    content = json.loads(FIGURES.read_text("utf-8"))
    PAGE.write_text(page(content), "utf-8")
    draw(content, FIGURE)


if __name__ == "__main__":
    main()
