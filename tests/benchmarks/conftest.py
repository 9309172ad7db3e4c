"""Collects what the benchmarks measure: one table at the end, and one file, figures.json."""

from __future__ import annotations

import json
import operator
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest

HERE = Path(__file__).parent
FIGURES = HERE / "figures.json"
HOLDS = {"≤": operator.le, "≥": operator.ge}
TAKEN = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", type=Path, help=f"where to write (default: {FIGURES})")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TAKEN] = []


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Takes down a number: what it is of what, against which baseline, and what was wanted.

    A number is a ratio to a baseline of the same run wherever it can be; a machine under load
    changes both.
    """
    entries = request.config.stash[TAKEN]
    topic = request.path.stem.removeprefix("bench_")

    def add(
        what: str,
        value: float,
        unit: str = "×",
        *,
        target: str = "",
        why: str = "",
        curves: dict[str, Any] | None = None,
        **times: float,
    ) -> None:
        entry = {"topic": topic, "what": what, "value": float(value), "unit": unit}
        if target:
            sign, bound = target.split()
            entry |= {"target": target, "met": bool(HOLDS[sign](value, float(bound)))}
        if why:
            entry["why"] = why
        if curves:
            entry["curves"] = curves
        entries.append(entry | {"seconds": {name: float(one) for name, one in times.items()}})

    return add


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    entries = config.stash[TAKEN]
    if not entries:
        return
    terminalreporter.section("measured")
    for entry in entries:
        wanted = ""
        if "target" in entry:
            wanted = f"  ({entry['target']}{'' if entry['met'] else ', not met'})"
        terminalreporter.line(f"{entry['what']}: {entry['value']:.3g} {entry['unit']}{wanted}")
    path = config.getoption("--figures") or FIGURES
    others = json.loads(path.read_text("utf-8"))["figures"] if path.exists() else []
    again = {entry["topic"] for entry in entries}
    kept = [entry for entry in others if entry["topic"] not in again]
    setting = _setting()
    new = [entry | {"date": setting["date"]} for entry in entries]
    figures = sorted(kept + new, key=lambda entry: entry["topic"])  # stable: in order of writing
    text = json.dumps({"with": setting, "figures": figures}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", "utf-8")


def _setting() -> dict[str, Any]:
    from meanfield.runs import provenance

    run = ["git", "-C", str(HERE), "rev-parse", "--short=7", "HEAD"]
    commit = subprocess.run(run, capture_output=True, text=True, check=False).stdout.strip()
    named = ("machine", "meanfield_flows", "jax", "python")
    versions = {name: provenance()[name] for name in named}
    device = {"device": jax.devices()[0].device_kind}
    return {"date": time.strftime("%Y-%m-%d"), "commit": commit or "unknown"} | device | versions
