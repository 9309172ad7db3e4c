"""`spectrum`, `escape` and `reproduce` from the command line, at small sizes."""

import json
from pathlib import Path

import numpy as np
import pytest

from meanfield.__main__ import main


def result(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


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
    assert main(["simulate", str(folder / "c.toml"), "--out", str(out), "--quiet"]) == 0
    return out


def test_spectrum_classifies_a_saved_saddle(
    saddle_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--out", str(tmp_path / "s"), "--probes", "2", "--json"]
    assert main(["spectrum", str(saddle_run), *options]) == 0
    found = result(capsys)
    assert found["kind"] == "strict saddle"
    assert found["index"] == 1
    assert all(claim["holds"] for claim in found["claims"])
    assert {"spectrum.png", "density.png", "report.md", "claims.json"} <= {
        path.name for path in (tmp_path / "s").iterdir()
    }


def test_spectrum_of_an_npz_needs_its_landscape(
    saddle_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    npz = saddle_run / "ensemble.npz"
    assert main(["spectrum", str(npz), "--out", str(tmp_path)]) == 2
    assert "--config" in capsys.readouterr().err
    options = ["--config", str(saddle_run / "config.toml"), "--probes", "0", "--json"]
    assert main(["spectrum", str(npz), "--out", str(tmp_path / "s"), *options]) == 0
    assert result(capsys)["kind"] == "strict saddle"


def test_spectrum_away_from_critical_points_warns(
    saddle_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = dict(np.load(saddle_run / "ensemble.npz"))
    arrays["w"] = arrays["w"] + 0.1
    np.savez(tmp_path / "off.npz", **arrays)
    options = ["--config", str(saddle_run / "config.toml"), "--probes", "0", "--json"]
    with pytest.warns(UserWarning, match="not at a critical point"):
        code = main(["spectrum", str(tmp_path / "off.npz"), "--out", str(tmp_path), *options])
    assert code == 0
    assert result(capsys)["kind"] == "not critical"


def test_spectrum_of_another_landscapes_ensemble_is_refused(
    saddle_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "other.npz", a=np.ones((3, 5)), w=np.ones((3, 4)))
    options = ["--config", str(saddle_run / "config.toml"), "--out", str(tmp_path / "s")]
    assert main(["spectrum", str(tmp_path / "other.npz"), *options]) == 2
    assert "holds particles of shapes" in capsys.readouterr().err


@pytest.mark.slow
def test_escape_measures_what_the_curvature_predicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--particles", "24", "--samples", "96", "--dim", "4", "--seeds", "6"]
    assert main(["escape", *sizes, "--out", str(tmp_path), "--quiet", "--json"]) == 0
    found = result(capsys)
    assert len(found["claims"]) >= 7
    assert all(claim["holds"] for claim in found["claims"]), found["claims"]


def test_escape_refuses_an_empty_missing_set_of_norm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["escape", "--norm", "0", "--out", str(tmp_path)]) == 2
    assert "must be positive" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ks24", "yks25"])
def test_reproductions_hold(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--particles", "36", "--samples", "128", "--seeds", "8"]
    assert main(["reproduce", name, *sizes, "--out", str(tmp_path), "--quiet", "--json"]) == 0
    claims = result(capsys)["claims"]
    failing = [claim for claim in claims if not claim["holds"]]
    assert not failing, failing
    assert (tmp_path / name / "report.md").exists()
