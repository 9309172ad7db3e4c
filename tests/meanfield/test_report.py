"""What a report leaves in its folder: files as they come, a page, tables that stay tables."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray
from matplotlib.image import imread

from meanfield import Claim, load_config
from meanfield.problems import Config
from meanfield.reports import Report, claims_table
from particles import InvalidInput

HOLDS = Claim.equal("rate is |λ_min|", "KS24; theory 2", 9.7, 9.71, relative=0.03)
FAILS = Claim.below("loss is low", "a|b", bound=0.1, measured=float("nan"))


def cells(row: str) -> list[str]:
    """Cells of a row of a Markdown table, as a reader of Markdown splits them."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(tmp_path / "new" / "run", "A title", Config(seed=5))


def test_the_folder_is_made_and_holds_the_configuration(report: Report) -> None:
    assert load_config(report.out / "config.toml") == Config(seed=5)


def test_options_with_paths_and_without_values_are_written(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Options:
        out: Path | None = None
        data: Path | None = Path("d.npz")

    Report(tmp_path, "A title", Options())
    assert (tmp_path / "config.toml").read_text() == 'data = "d.npz"\n'


def test_claims_are_on_disk_as_soon_as_they_are_made(report: Report) -> None:
    for made in (1, 2):
        report.claim((HOLDS, FAILS)[made - 1])
        stored = json.loads((report.out / "claims.json").read_text("utf-8"))
        assert len(stored) == made
    assert stored == [HOLDS.to_dict(), FAILS.to_dict()]
    assert stored[1]["measured"] == "nan"


def test_figures_have_one_panel_per_function(report: Report) -> None:
    axes = []
    report.figure("one", "First.", axes.append)
    report.figure("two", "Second.", axes.append, axes.append)
    assert len(axes) == 3
    assert axes[1].figure is axes[2].figure
    assert axes[0].figure is not axes[1].figure
    one, two = (imread(report.out / f"{name}.png") for name in ("one", "two"))
    assert two.shape[:2] == (one.shape[0], 2 * one.shape[1])


def test_the_trajectory_reloads_without_loss(report: Report) -> None:
    time = np.array([0.0, 0.1])
    dataset = xarray.Dataset(
        {"loss": ("time", np.array([1.0, 1 / 3]), {"units": "μ"})}, {"time": time}, {"why": "λ"}
    )
    report.trajectory(dataset)
    with xarray.open_dataset(report.out / "trajectory.nc", engine="h5netcdf") as stored:
        xarray.testing.assert_identical(stored.load(), dataset)


def test_the_page(report: Report) -> None:
    report.claim(HOLDS, FAILS)
    report.text("Some words.")
    report.figure("loss", "What it shows.", lambda ax: ax.plot([0, 1]))
    report.finish()
    page = (report.out / "report.md").read_text("utf-8")
    assert page.startswith("# A title\n\n1 of 2 claims hold.\n\n| claim |")
    for image in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert (report.out / image).is_file()
    assert page.index("Some words.") < page.index("(loss.png)") < page.index("- jax: ")
    assert "float64: 1" in page


def test_bars_do_not_break_the_table() -> None:
    head, rule, *rows = (cells(row) for row in claims_table([HOLDS, FAILS]).splitlines())
    assert head == ["claim", "predicted", "measured", "tolerance", "holds"]
    assert rule == ["---"] * 5
    assert rows == [
        ["rate is \\|λ_min\\| (KS24; theory 2)", "9.7", "9.71", "0.29", "yes"],
        ["loss is low (a\\|b)", "< 0.1", "nan", "", "**NO**"],
    ]


def test_the_machine_readable_result(report: Report) -> None:
    report.claim(FAILS)
    report.summary["features"] = [{"half_learned_at": None, "final_fraction": np.nan}]
    result = json.loads(json.dumps(report.result("simulate", extra=1), allow_nan=False))
    assert result == {
        "command": "simulate",
        "out": str(report.out),
        "claims": [FAILS.to_dict()],
        "features": [{"half_learned_at": None, "final_fraction": "nan"}],
        "extra": 1,
    }


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidInput, match=r"out is .*file.*, which cannot be written \("):
            Report(out, "A title", Config())
