"""`meanfield simulate`: config and data in, folder out; interruption, blow-up, and bad input."""

import json
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import xarray
from commands import meanfield
from faults.processes import Server, forked
from helpers import samples

from meanfield.problems import load_config
from particles import load_ensemble

CONFIG = """
seed = 3
particles = 64
[problem]
dim = 3
samples = 24
teacher_neurons = 5
spectrum = [1.0, 0.5]
[start]
kind = "neurons"
scale_a = 0.1
[run]
dt = 0.01
horizon = 0.2
[flow]
scheme = "heun"
"""
#: The same without what data takes the place of.
ON_DATA = CONFIG.replace(CONFIG[CONFIG.index("dim =") : CONFIG.index("[start]")], "")
FILES = ["claims.json", "config.toml", "ensemble.npz", "report.html", "report.md", "trajectory.nc"]
FIGURES = ["energy.png", "loss.png", "particles.png"]


@pytest.fixture
def config(tmp_path: Path):
    """Writes a configuration: the small one, with some values replaced or added."""

    def write(text: str = "", settled: str = CONFIG, **values) -> Path:
        for name, value in values.items():
            settled, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", settled)
            assert count == 1
        file = tmp_path / "config.toml"
        file.write_text(settled + text)
        return file

    return write


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x, f = samples()
    np.savez(tmp_path / "data.npz", x=x, f=f)
    return tmp_path / "data.npz"


def trajectory(out: Path) -> xarray.Dataset:
    with xarray.open_dataset(out / "trajectory.nc", engine="h5netcdf") as stored:
        return stored.load()


def claims(out: Path) -> dict[str, bool]:
    entries = json.loads((out / "claims.json").read_text("utf-8"))
    return {entry["statement"].split(":")[0]: entry["holds"] for entry in entries}


def test_a_config(config, tmp_path: Path) -> None:
    out = tmp_path / "run"
    file = config(horizon="0.2\nevery = 0.05\nsnapshots = [0.1]")
    ran = meanfield("simulate", file, "--out", out, "--json")
    assert ran.code == 0
    result = json.loads(ran.stdout)
    assert (result["command"], result["out"]) == ("simulate", str(out))
    assert result["outcome"] == "HORIZON"
    assert {path.name for path in out.iterdir()} == {*FILES, *FIGURES, "checkpoints"}
    assert load_config(out / "config.toml") == load_config(file)

    run = trajectory(out)
    np.testing.assert_allclose(run["time"], np.linspace(0, 0.2, 5), atol=1e-12)
    np.testing.assert_allclose(run["snapshot_time"], [0, 0.1, 0.2], atol=1e-12)
    assert np.all(np.diff(run["loss"]) < 0)
    assert run.attrs["timescale_ratio"] == "limit"
    end = load_ensemble(out / "ensemble.npz").particles
    np.testing.assert_array_equal(run["particles.a"][-1], end["a"])

    assert set(claims(out)) == {"energy balance", "final loss is ½Σ λ_j (1 − learned fraction_j)"}
    assert all(claims(out).values())
    features = result["features"]
    assert [feature["eigenvalue"] for feature in features] == pytest.approx([1.0, 0.5])
    fractions = run["learned_fraction"].values[-1]
    assert [feature["final_fraction"] for feature in features] == pytest.approx(fractions)
    report = (out / "report.md").read_text("utf-8")
    assert "The run reached the horizon at t = 0.2." in report
    assert "| feature | λ | made of | half learned at t | fraction at the end |" in report
    assert sorted(re.findall(r"\]\((\w+\.png)\)", report)) == FIGURES


def test_data_alone_and_options_before_the_config(config, data: Path, tmp_path: Path) -> None:
    small = ["--particles", 64, "--horizon", 0.1, "--dt", 0.02, "--quiet"]
    alone = ["--data", data, "--flow.scheme", "heun"]
    ran = meanfield("simulate", *alone, *small, "--out", tmp_path / "alone")
    assert (ran.code, ran.stdout) == (0, "")
    settled = load_config(tmp_path / "alone" / "config.toml")
    assert settled.problem.data == str(data.absolute())
    assert (settled.particles, settled.run.horizon, settled.run.dt) == (64, 0.1, 0.02)
    assert trajectory(tmp_path / "alone").sizes["particle"] == 64

    file = config(settled=ON_DATA)
    both = meanfield(
        "simulate", file, "--data", data, "--seed", 8, *small, "--out", tmp_path / "both"
    )
    assert both.code == 0
    settled = load_config(tmp_path / "both" / "config.toml")
    assert (settled.seed, settled.flow.scheme) == (8, "heun")
    assert trajectory(tmp_path / "both").sizes["feature"] == samples()[1].shape[1]


@pytest.mark.parametrize("ratio", ['"frozen"', "0.1"])
def test_ratios(ratio: str, config, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ran = meanfield("simulate", config(scheme=f'"heun"\nratio = {ratio}'), "--out", out, "--quiet")
    assert (ran.code, ran.stdout) == (0, "")
    found = trajectory(out)
    assert found.attrs["timescale_ratio"] == (np.inf if "frozen" in ratio else pytest.approx(0.1))
    assert claims(out) == {"energy balance": True}  # the limit's claim is not made off the limit
    assert found["loss"][-1] < found["loss"][0]


def test_regression(config, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    network = '[problem]\nkind = "regression"\nactivation = "relu"'
    file = config(settled=ON_DATA.replace("[problem]", network))
    ran = meanfield("simulate", file, "--data", data, "--out", out)
    assert ran.code == 0
    assert "energy balance" in ran.stdout
    assert f"report: {out / 'report.md'}" in ran.stdout
    assert claims(out) == {"energy balance": True}
    assert "Features learned" not in (out / "report.md").read_text("utf-8")


def test_single_precision(config, tmp_path: Path) -> None:
    file = config(seed='3\nprecision = "float32"')
    assert meanfield("simulate", file, "--out", tmp_path / "run", "--quiet").code == 0
    assert trajectory(tmp_path / "run")["loss"].dtype == np.float32
    assert all(claims(tmp_path / "run").values())


def test_a_step_too_large_blows_up_with_all_that_is_known(config, tmp_path: Path) -> None:
    out = tmp_path / "run"
    file = config(scheme='"euler"', dt="1e4", horizon="1e6")
    ran = meanfield("simulate", file, "--out", out, "--json", "--quiet")
    assert (ran.code, ran.stdout) == (1, "")
    assert re.fullmatch(
        r"meanfield: the run .*: at step \d+, t = \S+ with dt = 1e\+04; .+\. "
        r"Try dt = \S+, or the adaptive scheme\.",
        ran.sentence,
    )
    kept = trajectory(out)
    assert kept.sizes["time"] >= 1
    assert np.isfinite(kept["loss"]).all()
    assert kept.attrs["message"] in ran.sentence
    assert {path.name for path in out.iterdir()} >= {*FILES, *FIGURES}
    assert "with dt = 1e+04" in (out / "report.md").read_text("utf-8")
    advised = re.search(r"Try dt = ([^,]+),", ran.sentence)
    assert advised is not None
    assert 0 < float(advised[1]) < 1e4


@pytest.mark.slow
def test_an_interrupted_run_resumes_to_the_same_trajectory(
    config, server: Server, tmp_path: Path
) -> None:
    long = config(dt="0.001", horizon="3.0\nevery = 1.0\ncheckpoint_steps = 500")
    child = forked(server, tmp_path, ["simulate", long, "--out", tmp_path / "run"])
    began = time.monotonic()
    while not list((tmp_path / "run" / "checkpoints").glob("[0-9]*")):
        assert child.running
        assert time.monotonic() - began < 300
        time.sleep(0.02)
    child.signal(signal.SIGTERM)
    assert child.wait() == 143
    assert f"Go on with: meanfield simulate --resume {tmp_path / 'run'}" in child.errors
    half = trajectory(tmp_path / "run")
    assert half.attrs["outcome"] == "INTERRUPTED"
    assert 0 < half["time"][-1] < 3

    assert meanfield("simulate", "--resume", tmp_path / "run", "--quiet").code == 0
    assert meanfield("simulate", long, "--out", tmp_path / "whole", "--quiet").code == 0
    resumed, whole = trajectory(tmp_path / "run"), trajectory(tmp_path / "whole")
    assert resumed.attrs["outcome"] == "HORIZON"
    for name in ("time", "loss", "dissipated", "step", "particles.a", "particles.w"):
        np.testing.assert_array_equal(resumed[name], whole[name])


def test_a_finished_run_goes_on_to_a_later_horizon_and_is_not_mixed_up(
    config, tmp_path: Path
) -> None:
    out, file = tmp_path / "run", config()
    assert meanfield("simulate", file, "--out", out, "--quiet").code == 0
    before = (out / "config.toml").read_text()
    again = meanfield("simulate", config(seed=4), "--out", out, "--quiet")
    assert again.code == 2
    assert (
        f"out is {out}, which holds an earlier run; go on with that by --resume" in again.sentence
    )
    assert (out / "config.toml").read_text() == before
    for name, value, part in (
        ("seed", 4, "landscape"),
        ("dt", 0.1, "dt"),
        ("particles", 3, "start"),
        ("out", "x", "out is x, but --resume goes on with its folder"),
        ("problem.samples", 25, "landscape"),
    ):
        refused = meanfield("simulate", "--resume", out, f"--{name}", value, "--quiet")
        assert refused.code == 2
        assert part in refused.stderr
        assert (out / "config.toml").read_text() == before
    assert meanfield("simulate", "--resume", out, "--horizon", 0.3, "--quiet").code == 0
    assert float(trajectory(out)["time"][-1]) == pytest.approx(0.3)


X, F = samples()


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x": X}, "has the arrays ['x']; it must have x (samples × inputs) and f"),
        ({"x": X, "f": F[:, 0]}, "x has shape (24, 3) and f has shape (24,); they must be"),
        ({"x": X, "f": np.full_like(F, np.inf)}, "f[0, 0] is inf; all entries must be finite"),
        ({"x": X[:1], "f": F[:1]}, "f has k = 2 target features but only M = 1 samples"),
    ],
)
def test_bad_data(arrays: dict, sentence: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    ran = meanfield("simulate", "--data", tmp_path / "data.npz", "--out", tmp_path / "run")
    assert (ran.code, ran.stdout) == (2, "")
    assert sentence in ran.sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("", ["--data", "nowhere.npz"], "nowhere.npz: No such file or directory."),
        ("", ["--data", "."], ": Is a directory."),
        ("", ["--data", __file__], "is not an .npz file of plain named arrays."),
        ("", ["--particles", "0"], "particles is 0; it must be at least 1"),
        ("", ["--dt", "-0.1"], "dt is -0.1; it must be above 0"),
        ("", ["--dt", "nan"], "dt is nan; it must be above 0"),
        ("", ["--dt", "5"], "dt is 5, but horizon is 0.2"),
        ("", ["--horizon", "-1"], "horizon is -1.0; it must be above 0"),
        ("", ["--every", "-1"], "every is -1.0; it must be at least 0"),
        ("", ["--checkpoint-steps", "0"], "checkpoint_steps is 0; it must be at least 1"),
        ("", ["--snapshots", "0.1", "nan"], "snapshots is (0.1, nan); it must be at least 0"),
        ("chunk = -1", [], "flow.chunk is -1; it must be at least 0"),
        ("step = 1", [], "config has the unknown key flow.step; allowed there: ["),
        ("ratio = 0", [], "flow.ratio is 0.0; it must be above 0"),
    ],
)
def test_bad_input(text: str, options: list[str], sentence: str, config, tmp_path: Path) -> None:
    settled = ON_DATA if "--data" in options else CONFIG
    file = config(text, settled)
    ran = meanfield("simulate", file, *options, "--out", tmp_path / "run", "--json")
    assert (ran.code, ran.stdout) == (2, "")
    assert sentence in ran.sentence
    assert not (tmp_path / "run").exists()


HEAD = CONFIG[: CONFIG.index("[start]")]
SADDLE = HEAD + '[start]\nkind = "saddle"\nmissing = [5]\n'
FILE = HEAD + '[start]\nkind = "file"\n'


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"spectrum": "[1.0, 0.5, 0.2, 0.1, 0.1]", "samples": "4"}, "span only 4 dimensions on 4"),
        ({"spectrum": "[1.0]\nridge = -1e-3"}, "problem.ridge is -0.001; it must be at least 0"),
        ({"kind": '"saddle"'}, "config has the unknown key start.scale_a"),
        ({"kind": '"saddle"', "scale_a": "0\nmissing = [5]"}, "the unknown key start.scale_a"),
        ({"settled": SADDLE}, "missing is [5]; features run from"),
        ({"settled": FILE}, "start.file is empty, but start is 'file'"),
        ({"settled": FILE + 'file = "mu.npz"'}, "mu.npz: No such file or directory."),
    ],
)
def test_bad_values(values: dict, sentence: str, config, tmp_path: Path) -> None:
    ran = meanfield("simulate", config(**values), "--out", tmp_path / "run")
    assert (ran.code, ran.stdout) == (2, "")
    assert sentence in ran.sentence


def test_bad_files(config, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments, sentence in (
        (["nowhere.toml"], "nowhere.toml: No such file or directory."),
        (["--config", tmp_path], f"{tmp_path}: Is a directory."),
        (["--resume", "nowhere"], "resume is nowhere, which holds no run: no config.toml."),
        (
            [config(), "--out", tmp_path / "file" / "run"],
            "which cannot be written (Not a directory)",
        ),
        ([config(), "--out", tmp_path / "file"], "which cannot be written (File exists)"),
    ):
        ran = meanfield("simulate", *arguments, "--quiet")
        assert ran.code == 2
        assert sentence in ran.stderr
