"""The examples run as a user runs them, at a smaller size."""

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from faults.processes import Server, forked

EXAMPLES = Path(__file__).parents[2] / "examples"
TUTORIALS = sorted(EXAMPLES.glob("tutorials/*.py"))


@pytest.mark.filterwarnings("ignore::saddle_analysis.NotCriticalWarning")
@pytest.mark.parametrize("file", TUTORIALS, ids=lambda file: file.stem)
def test_tutorial(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs, and ends in a figure whose axes say what they show."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # what it sets is undone
    plt.close("all")
    exec(compile(file.read_text("utf-8"), file.name, "exec"), {"__name__": "__main__"})
    figure = plt.gcf()
    figure.canvas.draw()
    drawn = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    assert drawn
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in drawn)
    plt.close("all")


@pytest.mark.slow
def test_digits(tmp_path: Path, server: Server) -> None:
    words = [
        *(EXAMPLES / "digits.py", "--json"),
        *("--particles", "16", "--horizon", "0.5", "--out", "run"),
    ]
    ran = forked(server, tmp_path, words, target="faults.processes:script")
    assert ran.wait() == 0, ran.errors
    assert "of which only 9 are linearly independent" in ran.errors
    result = json.loads(ran.stdout.read_text("utf-8"))
    assert result["outcome"] == "HORIZON"
    assert all(claim["holds"] for claim in result["claims"])
    eigenvalues = [feature["eigenvalue"] for feature in result["features"]]
    assert len(eigenvalues) == 9
    assert eigenvalues == sorted(eigenvalues, reverse=True)
    report = (tmp_path / "run" / "report.md").read_text("utf-8")
    table = report[report.index("## Features learned") :]
    rows = re.findall(r"^\| (\d+) \| \S+ \| ((?:[+-]\d\.\d\d·f\d+ ?)+) \| (.+) \| \d", table, re.M)
    assert [int(number) for number, _, _ in rows] == list(range(1, 10))
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == {
        "energy.png",
        "loss.png",
        "particles.png",
    }
