"""docs/performance.md and its figure: `python -m benchmarks.page` in tests/, from figures.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.accuracy_curves import Curve

HERE = Path(__file__).parent
FIGURES = HERE / "figures.json"
MARKERS = "osD^vP"
DOCS = HERE.parents[1] / "docs"
PAGE, FIGURE = DOCS / "performance.md", DOCS / "figures" / "performance.png"
CURVES = DOCS / "figures" / "accuracy.png"
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
ACCURACY = """\
![Error of the loss after the flow against time, one panel a problem.](figures/accuracy.png)

*Error of L(μ_T), rms over keys, against the processor's time in one compiled flow, neither drawing
nor compiling. Random: i.i.d. particles and as many i.i.d. samples. Sobol, whitened: both drawn so.
Pairs, modes: no samples, all Gaussian inputs. Multilevel: `meanfield converge --tolerance`. Broken
line: random, with the wanted gain. Grey: below it the reference (a plain integration over pairs)
cannot judge.*
"""


def page(content: dict[str, Any]) -> str:
    """The text of the page: a table for each topic."""
    parts = [HEAD.format(**content["with"])]
    for topic, title in TOPICS.items():
        entries = [entry for entry in content["figures"] if entry["topic"] == topic]
        if entries:
            rows = "\n".join(map(_row, entries))
            parts.append(f"## {title}\n\n| what | measured | wanted |\n|---|---|---|\n{rows}\n")
        if topic == "accuracy" and entries:
            parts.append(ACCURACY)
            missed = [e for e in entries if "why" in e]
            parts += [f"Not met, {e['what'].split(':')[0]}: {e['why']}\n" for e in missed]
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

    entries = [
        e for e in content["figures"] if "target" in e and e["unit"] == "×" and "curves" not in e
    ]
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


def draw_curves(content: dict[str, Any], path: Path) -> None:
    """Error against time, one panel a problem."""
    import matplotlib.pyplot as plt

    from meanfield.plots import QUIET, SERIES, THEORY

    entries = [entry for entry in content["figures"] if "curves" in entry]
    names = list(dict.fromkeys(name for entry in entries for name in entry["curves"]))
    figure, axes = plt.subplots(2, 3, figsize=(10, 6.4), layout="constrained", squeeze=False)
    handles: dict[str, Any] = {}
    for ax, entry in zip(axes.flat, entries, strict=False):
        for name, data in entry["curves"].items():
            _, errors, _, seconds = zip(*Curve.read(name, data).points, strict=True)
            place = names.index(name)
            (handles[name],) = ax.plot(
                seconds, errors, f"{MARKERS[place]}-", color=SERIES[place], lw=1.2, ms=5
            )
            if name == "random":
                bound = float(entry["target"].split()[1])
                wanted = [one / bound for one in seconds]
                (handles["wanted"],) = ax.plot(wanted, errors, "--", color=THEORY, lw=1.2)
        ax.set(xscale="log", yscale="log", title=entry["what"].split(":")[0])
        low, high = ax.get_ylim()
        uncertain = entry["seconds"]["uncertain"]
        low = min(low, uncertain / 1.5)
        ax.axhspan(low, uncertain, color=QUIET, alpha=0.3, lw=0)
        ax.set_ylim(low, high)
        ax.set(xlabel="time of the processor (s)", ylabel="rms error of L(μ_T)")
    for ax in axes.flat[len(entries) :]:
        ax.axis("off")
    axes.flat[-1].legend(handles.values(), handles, loc="center", frameon=False)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Write the page and its figures."""
    content = json.loads(FIGURES.read_text("utf-8"))
    if any("curves" in entry for entry in content["figures"]):
        draw_curves(content, CURVES)
    PAGE.write_text(page(content), "utf-8")
    draw(content, FIGURE)


if __name__ == "__main__":
    main()
