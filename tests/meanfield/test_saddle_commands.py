"""`spectrum` and `escape` from the command line, at small sizes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import meanfield


@pytest.fixture(scope="module")
def saddle_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ensemble exactly at a saddle, made by `simulate` with distance zero."""
    folder = tmp_path_factory.mktemp("saddle")
    (folder / "c.toml").write_text(
        """
        particles = 12
        [problem]
        dim = 4
        samples = 48
        teacher_neurons = 8
        spectrum = [1.0, 0.5]
        [start]
        kind = "saddle"
        missing = [1]
        distance = 0.0
        [flow]
        scheme = "euler"
        [run]
        dt = 1e-9
        horizon = 1e-9
        """
    )
    out = folder / "run"
    assert meanfield("simulate", folder / "c.toml", "--out", out, "--quiet").code == 0
    return out


def test_spectrum_classifies_a_saved_saddle(saddle_run: Path, tmp_path: Path) -> None:
    options = ["--out", str(tmp_path / "s"), "--probes", "2", "--json"]
    ran = meanfield("spectrum", saddle_run, *options)
    found = json.loads(ran.stdout)
    assert found["kind"] == "strict saddle"
    assert found["index"] == 1
    assert all(claim["holds"] for claim in found["claims"])
    assert {"spectrum.png", "density.png", "report.md", "claims.json"} <= {
        path.name for path in (tmp_path / "s").iterdir()
    }


def test_spectrum_of_an_npz_needs_its_landscape(saddle_run: Path, tmp_path: Path) -> None:
    npz = saddle_run / "ensemble.npz"
    refused = meanfield("spectrum", npz, "--out", tmp_path)
    assert refused.code == 2
    assert "--config" in refused.stderr
    options = ["--config", str(saddle_run / "config.toml"), "--probes", "0", "--json"]
    ran = meanfield("spectrum", npz, "--out", tmp_path / "s", *options)
    assert json.loads(ran.stdout)["kind"] == "strict saddle"


def test_spectrum_away_from_critical_points_says_so(saddle_run: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(saddle_run / "ensemble.npz"))
    arrays["w"] = arrays["w"] + 0.1
    np.savez(tmp_path / "off.npz", **arrays)
    options = ["--config", str(saddle_run / "config.toml"), "--probes", "0", "--json"]
    ran = meanfield("spectrum", tmp_path / "off.npz", "--out", tmp_path / "s", *options)
    assert ran.code == 0
    assert json.loads(ran.stdout)["kind"] == "not critical"


def test_spectrum_of_another_landscapes_ensemble_is_refused(
    saddle_run: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "other.npz", a=np.ones((3, 5)), w=np.ones((3, 4)))
    options = ["--config", str(saddle_run / "config.toml"), "--out", str(tmp_path / "s")]
    refused = meanfield("spectrum", tmp_path / "other.npz", *options)
    assert refused.code == 2
    assert "holds particles of shapes" in refused.stderr


@pytest.mark.slow
def test_escape_measures_what_the_curvature_predicts(tmp_path: Path) -> None:
    sizes = ["--particles", "12", "--problem.samples", "48", "--problem.dim", "4", "--seeds", "4"]
    sizes += ["--problem.teacher-neurons", "6"]
    ran = meanfield("escape", *sizes, "--out", tmp_path, "--quiet", "--json")
    found = json.loads(ran.stdout)
    assert len(found["claims"]) >= 7
    assert all(claim["holds"] for claim in found["claims"]), found["claims"]


def test_escape_refuses_a_norm_of_zero(tmp_path: Path) -> None:
    refused = meanfield("escape", "--norm", 0, "--out", tmp_path)
    assert refused.code == 2
    assert "norm is 0.0; it must be above 0" in refused.stderr


def test_escape_says_that_a_degenerate_saddle_has_no_rate(tmp_path: Path) -> None:
    sizes = ["--particles", "40", "--problem", "modular-arithmetic", "--problem.p", "5"]
    sizes += ["--problem.fraction", "1"]
    refused = meanfield("escape", *sizes, "--out", tmp_path / "run", "--quiet")
    assert refused.code == 2
    assert "has no negative eigenvalue: it is a minimum, or degenerate" in refused.stderr
    assert "name another one by --missing or --saddle" in refused.stderr
    assert not (tmp_path / "run").exists()


def test_a_spectrum_does_not_overwrite_the_run(saddle_run: Path) -> None:
    before = {path.name: path.read_bytes() for path in saddle_run.iterdir() if path.is_file()}
    refused = meanfield("spectrum", saddle_run, "--out", saddle_run)
    assert refused.code == 2
    assert "holds the results of `meanfield simulate`" in refused.sentence
    after = {path.name: path.read_bytes() for path in saddle_run.iterdir() if path.is_file()}
    assert after == before


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    refused = meanfield("spectrum", tmp_path, "--out", tmp_path / "s")
    assert refused.code == 2
    assert "which holds no run: no config.toml." in refused.sentence
    refused = meanfield("diagnose", tmp_path / "nowhere", "--out", tmp_path / "s")
    assert refused.code == 2
    assert "there is no such file or folder" in refused.sentence


def test_a_damaged_trajectory_is_named(saddle_run: Path, tmp_path: Path) -> None:
    shutil.copytree(saddle_run, tmp_path / "run")
    file = tmp_path / "run" / "trajectory.nc"
    file.write_bytes(file.read_bytes()[:100])
    refused = meanfield("diagnose", tmp_path / "run", "--out", tmp_path / "d")
    assert refused.code == 2
    assert "trajectory.nc cannot be read" in refused.sentence
    assert not (tmp_path / "d").exists()
