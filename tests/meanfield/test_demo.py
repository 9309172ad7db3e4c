"""`meanfield demo`, small: all claims hold, the files are there, words go where they belong."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray
from commands import Outcome, meanfield
from quickly import run_quickly

from landscapes.mlp_attention import saddle_level
from meanfield.cli import _demo as _demo
from particles import load_ensemble

SMALL = [
    *("--particles", "48", "--problem.samples", "128", "--problem.dim", "4"),
    *("--problem.teacher-neurons", "8", "--prompts", "1024"),
]
FIGURES = ["overview", "loss", "growth", "spectrum", "energy", "particles", "in_context"]
STATEMENTS = [
    "loss at the saddle missing",
    "gradient norm at the saddle vanishes",
    "number of features missing",
    "smallest curvature is negative",
    "Morse index",
    "growth rate of the unstable component is |λ_min|",
    "the run enters the benign region",
    "the run comes within 5%",
    "energy balance",
    "dissipation identity",
    "in-context error at n = 1024 falls",
    "error on fresh prompts agrees with its exact expectation",
]


def check_folder(out: Path) -> list[dict]:
    """All claims of the demo are there and hold; returns them."""
    claims = json.loads((out / "claims.json").read_text("utf-8"))
    assert len(claims) == len(STATEMENTS)
    for claim, words in zip(claims, STATEMENTS, strict=True):
        assert set(claim) == {
            "statement", "source", "relation", "predicted", "measured", "tolerance", "holds",
            "detail",
        }  # fmt: skip
        assert claim["statement"].startswith(words)
        assert claim["holds"] is True, claim
    report = (out / "report.md").read_text("utf-8")
    assert f"{len(claims)} of {len(claims)} claims hold." in report
    assert sorted(re.findall(r"\]\((\w+)\.png\)", report)) == sorted(FIGURES)
    assert all((out / f"{name}.png").stat().st_size > 5000 for name in FIGURES)
    return claims


@pytest.fixture(scope="module")
def quiet(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Outcome, Path, int]:
    """What a shell would see, the folder, and how many programs were compiled."""
    out = tmp_path_factory.mktemp("demo")
    costs = request.config.pluginmanager.get_plugin("costs")
    before = costs.programs
    with run_quickly():
        ran = meanfield("demo", *SMALL, "--out", out, "--quiet")
    return ran, out, costs.programs - before


@pytest.mark.slow
def test_the_main_job(quiet: tuple[Outcome, Path, int]) -> None:
    ran, out, _ = quiet
    assert ran == Outcome(0, "", "")
    claims = check_folder(out)
    assert claims[0]["predicted"] == pytest.approx(0.1)


@pytest.mark.slow
def test_few_programs_are_compiled(quiet: tuple[Outcome, Path, int]) -> None:
    """Small dense algebra outside compiled code is NumPy's."""
    assert 10 < quiet[2] <= 60


@pytest.mark.slow
def test_the_trajectory_tells_the_same(quiet: tuple[Outcome, Path, int]) -> None:
    out = quiet[1]
    with xarray.open_dataset(out / "trajectory.nc", engine="h5netcdf") as stored:
        loss, growth = stored["loss"].values, np.abs(stored["unstable_component"].values)
        assert stored.attrs["outcome"] == "STOPPED"
    assert loss[0] == pytest.approx(0.1, rel=1e-6)
    assert loss[-1] < 0.005
    assert growth[0] == pytest.approx(1e-6, rel=1e-3)
    assert load_ensemble(out / "ensemble.npz").size == 48


@pytest.mark.slow
def test_two_missing_features_as_json(tmp_path: Path) -> None:
    with run_quickly():
        ran = meanfield("demo", *SMALL, "--missing", 1, 2, "--out", tmp_path, "--json")
    assert ran.code == 0
    result = json.loads(ran.stdout)
    assert result["command"] == "demo"
    assert result["out"] == str(tmp_path)
    assert result["outcome"] == "STOPPED"
    assert result["claims"] == check_folder(tmp_path)
    level, index = result["claims"][0], result["claims"][4]  # k missing features: k² ways down
    assert level["predicted"] == saddle_level((1.0, 0.5, 0.2), (1, 2)) == pytest.approx(0.35)
    assert index["predicted"] == index["measured"] == 4
    assert "4/4" in ran.stderr


@pytest.mark.slow
def test_a_failing_claim_is_reported_and_exits_with_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_demo, "dissipation_deviation", lambda trajectory: 0.5)
    with run_quickly():
        ran = meanfield("demo", *SMALL, "--out", tmp_path)
    assert ran.code == 0
    claims = {c["statement"]: c for c in json.loads((tmp_path / "claims.json").read_text("utf-8"))}
    failing = [claim for claim in claims.values() if not claim["holds"]]
    assert [claim["measured"] for claim in failing] == [0.5]
    assert "11 of 12 claims hold." in (tmp_path / "report.md").read_text("utf-8")
    assert ran.stdout.count(" NO ") == 1
    assert ran.stdout.rstrip().endswith(f"report: {tmp_path / 'report.md'}")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--missing", "1", "1"], "missing is [1, 1]; name each feature once."),
        (["--problem", "regression"], "problem is of another kind; the demo is about 'attention'"),
        (["--missing", "3"], "missing is [3]; features run from 0 to 2."),
        (["--distance", "0"], "distance is 0.0; it must be above 0 and at most 0.1."),
        (["--particles", "0"], "particles is 0; it must be at least 1"),
        (["--problem.samples", "0"], "problem.samples is 0; it must be at least 1"),
        (
            ["--problem.teacher-neurons", "2"],
            "problem.teacher_neurons is 2; it must be at least",
        ),
    ],
)
def test_bad_options(options: list[str], sentence: str, tmp_path: Path) -> None:
    small = SMALL if "--problem" not in options else []
    ran = meanfield("demo", *small, *options, "--out", tmp_path / "out", "--quiet")
    assert (ran.code, ran.stdout) == (2, "")
    assert sentence in ran.sentence
    assert not (tmp_path / "out").exists()


def test_a_horizon_before_the_end_of_the_escape_is_refused(
    quiet: tuple[Outcome, Path, int], tmp_path: Path
) -> None:
    found = meanfield("demo", *SMALL, "--horizon", "1e-9", "--out", tmp_path / "out", "--quiet")
    assert (found.code, found.stdout) == (2, "")
    told = re.fullmatch(
        r"meanfield: horizon is 1e-09; the escape from distance 1e-06 alone takes ([\d.]+): "
        r"give at least that, or start farther away\.",
        found.sentence,
    )
    assert told is not None
    claims = json.loads((quiet[1] / "claims.json").read_text("utf-8"))
    (rate,) = (c["predicted"] for c in claims if c["statement"].startswith("growth rate of the"))
    assert float(told[1]) == pytest.approx(np.log(1e6) / rate, rel=5e-3)  # three digits are said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("distance", ["1", "0.11", "0", "-1e-6", "nan"])
def test_a_start_that_is_not_near_the_saddle_is_refused(distance: str, tmp_path: Path) -> None:
    found = meanfield("demo", *SMALL, f"--distance={distance}", "--out", tmp_path / "out")
    said = f"meanfield: distance is {float(distance)}; it must be above 0 and at most 0.1."
    assert (found.code, found.sentence) == (2, said)
    assert not (tmp_path / "out").exists()
