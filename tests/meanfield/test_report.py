"""What a report leaves in its folder: files as they come, a page, tables that stay tables."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray
from matplotlib.image import imread

from meanfield import Claim, Config, Result
from meanfield.problems import load_config
from meanfield.reports import Report, undone_if_refused
from meanfield.results import Figure, claims_table
from particles import InvalidInput

HOLDS = Claim.equal("rate is |λ_min|", "KS24; theory 2", 9.7, 9.71, relative=0.03)
FAILS = Claim.below("loss is low", "a|b", bound=0.1, measured=float("nan"))


def cells(row: str) -> list[str]:
    """Cells of a row of a Markdown table, as a reader of Markdown splits them."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(tmp_path / "new" / "run", "A title", "simulate", Config(seed=5))


def test_the_folder_is_made_and_holds_the_configuration(report: Report) -> None:
    assert load_config(report.out / "config.toml") == Config(seed=5)
    assert (report.out / "config.toml").read_text().startswith('command = "simulate"\n')


def test_a_folder_belongs_to_one_command(report: Report) -> None:
    before = (report.out / "config.toml").read_bytes()
    with pytest.raises(InvalidInput, match="holds the results of `meanfield simulate`; choose"):
        Report(report.out, "Another", "spectrum", Config())
    assert (report.out / "config.toml").read_bytes() == before
    Report(report.out, "Again", "simulate", Config(seed=6))
    assert load_config(report.out / "config.toml").seed == 6


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("colour = 3\n")
    with pytest.raises(InvalidInput, match="holds the results of `meanfield another program`"):
        Report(tmp_path, "A title", "simulate", Config())


def test_the_current_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for out in (Path(), Path(), tmp_path):
        with pytest.raises(InvalidInput, match="the current folder; name a folder of its own"):
            Report(out, "A title", "simulate", Config())
    assert not list(tmp_path.iterdir())


def test_claims_are_on_disk_as_soon_as_they_are_added(report: Report) -> None:
    for made, claim in enumerate((HOLDS, FAILS), 1):
        result = Result("A part")
        result.claim(claim)
        report.add(result)
        stored = json.loads((report.out / "claims.json").read_text("utf-8"))
        assert len(stored) == made
    assert stored == [HOLDS.to_dict(), FAILS.to_dict()]
    assert stored[1]["measured"] == "nan"


def test_figures_have_one_panel_per_function(tmp_path: Path) -> None:
    axes = []
    one = Figure("one", "First.", (axes.append,)).save(tmp_path)
    two = Figure("two", "Second.", (axes.append, axes.append)).save(tmp_path)
    assert len(axes) == 3
    assert axes[1].figure is axes[2].figure
    assert axes[0].figure is not axes[1].figure
    small, large = imread(one), imread(two)
    assert large.shape[:2] == (small.shape[0], 2 * small.shape[1])


def test_the_data_reloads_without_loss(report: Report) -> None:
    time = np.array([0.0, 0.1])
    dataset = xarray.Dataset(
        {"loss": ("time", np.array([1.0, 1 / 3]), {"units": "μ"})}, {"time": time}, {"why": "λ"}
    )
    result = Result("A part")
    result.trajectory(dataset)
    report.add(result)
    with xarray.open_dataset(report.out / "trajectory.nc", engine="h5netcdf") as stored:
        xarray.testing.assert_identical(stored.load(), dataset)


def test_the_page(report: Report) -> None:
    result = Result("A part")
    result.claim(HOLDS, FAILS)
    result.text("Some words.")
    result.figure("loss", "What it shows.", lambda ax: ax.plot([0, 1]))
    report.add(result)
    report.finish()
    page = (report.out / "report.md").read_text("utf-8")
    assert page.startswith("# A title\n\n1 of 2 claims hold.\n\n| claim |")
    for image in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert (report.out / image).is_file()
    assert page.index("## A part") < page.index("Some words.") < page.index("(loss.png)")
    assert page.index("(loss.png)") < page.index("- jax: ") < page.index("## References")
    assert "float64: 1" in page
    assert "arXiv:2402.01258" in page[page.index("## References") :]


class Page(HTMLParser):
    """What an HTML page loads, its claims, and the text of its elements by their ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.rows: list[dict[str, str | None]] = []
        self.text: dict[str, str] = {}
        self.open: list[str] = []
        self.feed(text)
        assert self.open == [], "elements that are not closed"

    def handle_starttag(self, tag: str, attrs) -> None:
        found = dict(attrs)
        if tag in ("img", "script", "iframe", "link") and (
            source := found.get("src", found.get("href"))
        ):
            self.sources.append(source)
        if tag == "a":
            self.links.append(found["href"] or "")
        if "data-sources" in found:
            self.rows.append(found)
        if tag not in ("img", "input", "meta", "br", "hr"):
            self.open.append(found.get("id") or tag)

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for name in self.open:
            self.text[name] = self.text.get(name, "") + data


@pytest.fixture
def live(report: Report) -> Path:
    result = Result("A part")
    result.claim(HOLDS, FAILS)
    result.text("Some *words* & <b>signs</b>, [the rest](ks24/report.md).\n\n| a |\n|---|\n| 1 |")
    result.figure("loss", 'It shows "more" < less.', lambda ax: ax.plot([0, 1]))
    report.add(result)
    report.finish()
    return report.out / "report.html"


def test_the_live_page_needs_nothing_else(live: Path) -> None:
    text = live.read_text("utf-8")
    page = Page(text)
    assert "$" not in re.sub(r"<pre.*?</pre>|data:[^\"]*", "", text, flags=re.DOTALL)
    (image,) = page.sources
    kind, content = image.split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == live.with_name("loss.png").read_bytes()
    assert page.text["config"] == live.with_name("config.toml").read_text("utf-8")
    assert [row["class"] for row in page.rows] == ["holds", "fails"]
    assert [row["data-sources"] for row in page.rows] == ["KS24", "a|b"]
    assert "<em>words</em> &amp; &lt;b&gt;signs" in text
    assert "ks24/report.html" in page.links
    assert "https://arxiv.org/abs/2402.01258" in page.links
    assert page.text["td"].count("1") >= 1
    assert "connect-src" not in text
    assert "default-src 'none'" in text


def test_the_live_page_in_a_browser(live: Path, tmp_path: Path) -> None:
    """Its own script filters the claims; whatever it would load from elsewhere is refused."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium on this machine")
    chosen = """<script>
        const choice = document.getElementById("verdict");
        choice.value = "fails";
        choice.dispatchEvent(new Event("input"));
    </script></body>"""
    (tmp_path / "page.html").write_text(live.read_text("utf-8").replace("</body>", chosen))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    asked = [browser, *options, f"--user-data-dir={tmp_path}", (tmp_path / "page.html").as_uri()]
    shown = subprocess.run(asked, text=True, capture_output=True, check=True).stdout
    rows = re.findall(r"<tr class=\"(holds|fails)\"[^>]*?(hidden)?(?:=\"\")?>", shown)
    assert rows == [("holds", "hidden"), ("fails", "")]
    assert '<span id="shown">1</span>' in shown


def test_bars_do_not_break_the_table() -> None:
    head, rule, *rows = (cells(row) for row in claims_table([HOLDS, FAILS]).splitlines())
    assert head == ["claim", "predicted", "measured", "tolerance", "holds"]
    assert rule == ["---"] * 5
    assert rows == [
        ["rate is \\|λ_min\\| (KS24; theory 2)", "9.7", "9.71", "0.29", "yes"],
        ["loss is low (a\\|b)", "< 0.1", "nan", "", "**NO**"],
    ]


def test_the_machine_readable_result(report: Report) -> None:
    result = Result("A title")
    result.claim(FAILS)
    result.summary["features"] = [{"half_learned_at": None, "final_fraction": np.nan}]
    report.add(result)
    found = json.loads(json.dumps(report.to_dict(extra=1), allow_nan=False))
    assert found == {
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
            Report(out, "A title", "simulate", Config())


def refuse(folder: Path, file: str) -> None:
    with undone_if_refused(folder):
        (folder / "checkpoints").mkdir(parents=True)
        (folder / file).write_text("new")
        raise InvalidInput("no")


def test_what_is_refused_leaves_no_folder_and_no_other_configuration(tmp_path: Path) -> None:
    new, old = tmp_path / "a" / "b", tmp_path / "old"
    old.mkdir()
    (old / "config.toml").write_text("old")
    for folder in (new, old):
        with pytest.raises(InvalidInput):
            refuse(folder, "config.toml")
    assert not (tmp_path / "a").exists()
    assert (old / "config.toml").read_text() == "old"
    with pytest.raises(InvalidInput):
        refuse(new, "checkpoints/found")
    assert (new / "checkpoints" / "found").exists()  # what a run has found stays
