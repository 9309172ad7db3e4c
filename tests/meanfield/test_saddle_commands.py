"""`spectrum` and `escape` from the command line, at small sizes."""

import json
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
        [landscape]
        dim = 4
        samples = 96
        teacher_neurons = 8
        spectrum = [1.0, 0.5]
        [start]
        kind = "saddle"
        particles = 24
        missing = [1]
        distance = 0.0
        [flow]
        scheme = "euler"
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


def test_spectrum_away_from_critical_points_warns(saddle_run: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(saddle_run / "ensemble.npz"))
    arrays["w"] = arrays["w"] + 0.1
    np.savez(tmp_path / "off.npz", **arrays)
    options = ["--config", str(saddle_run / "config.toml"), "--probes", "0", "--json"]
    ran = meanfield("spectrum", tmp_path / "off.npz", "--out", tmp_path, *options)
    assert ran.code == 0
    assert "not at a critical point" in ran.stderr
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
    sizes = ["--particles", "24", "--samples", "96", "--dim", "4", "--seeds", "4"]
    ran = meanfield("escape", *sizes, "--out", tmp_path, "--quiet", "--json")
    found = json.loads(ran.stdout)
    assert len(found["claims"]) >= 7
    assert all(claim["holds"] for claim in found["claims"]), found["claims"]


def test_escape_refuses_a_norm_of_zero(tmp_path: Path) -> None:
    refused = meanfield("escape", "--norm", 0, "--out", tmp_path)
    assert refused.code == 2
    assert "must be positive" in refused.stderr
