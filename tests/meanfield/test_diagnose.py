"""`meanfield diagnose` and its figures: a saddle, an ensemble from elsewhere, refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import helpers
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from commands import meanfield
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscapes import (
    coordinate_directions,
    first_variation_field,
    interpolate,
    loss_lines,
    loss_plane,
    principal_directions,
)
from landscapes.mlp_attention import feature_space
from meanfield import GradientFlow, at, plots, simulate, snapshots
from particles import InvalidInput, save_ensemble

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG = """
[landscape]
kind = "{kind}"
dim = 4
samples = 64
teacher_neurons = 8
spectrum = [1.0, 0.5]
[start]
kind = "{start}"
particles = 16
missing = [1]
distance = 1e-3
[flow]
scheme = "euler"
dt = 1e-4
horizon = 1e-3
[record]
snapshots = [2e-4, 5e-4]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diagnose")
    (folder / "c.toml").write_text(CONFIG.format(kind="attention", start="saddle"))
    (folder / "r.toml").write_text(CONFIG.format(kind="regression", start="neurons"))
    return folder


@pytest.mark.slow
def test_a_run_beside_a_saddle(folder: Path) -> None:
    out = folder / "run"
    assert meanfield("simulate", folder / "c.toml", "--out", out, "--quiet").code == 0
    options = ("--replicates", 3, "--points", 11, "--out", folder / "d", "--json")
    ran = meanfield("diagnose", out, *options)
    found = json.loads(ran.stdout)
    assert [c["statement"] for c in found["claims"] if not c["holds"]] == []
    assert found["kind"] == "not critical"
    assert found["eigenvalues"][0] < 0
    assert found["missing"] == "2"
    assert set(found["barriers"]) == {"displacement", "mixture", "straight"}
    report = (folder / "d" / "report.md").read_text("utf-8")
    for heading in ("## Where am I?", "## What surrounds me?", "## Is it real?"):
        assert heading in report
    figures = ("spectrum", "features", "slices", "plane", "field", "paths", "samples", "parameters")
    for name in figures:
        assert f"({name}.png)" in report
        assert (folder / "d" / f"{name}.png").exists()
    with xarray.open_dataset(folder / "d" / "plane.nc", engine="h5netcdf") as plane:
        assert plane.sizes["time"] == 4
        assert plane.loss.attrs["units"] == "loss"
    with xarray.open_dataset(folder / "d" / "samples.nc", engine="h5netcdf") as seen:
        assert list(seen.draw.values) == ["bootstrap", "fresh samples", "quasi-Monte Carlo"]


@pytest.mark.slow
def test_an_ensemble_from_elsewhere_on_a_convex_risk(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name, size in (("one", 12), ("other", 9)):
        np.savez(folder / f"{name}.npz", a=rng.normal(size=(size, 2)), w=rng.normal(size=(size, 4)))
    options = ("--config", folder / "r.toml", "--other", folder / "other.npz", "--replicates", 2)
    more = ("--points", 9, "--out", folder / "e", "--json")
    found = json.loads(meanfield("diagnose", folder / "one.npz", *options, *more).stdout)
    assert [c["statement"] for c in found["claims"] if not c["holds"]] == []
    assert found["gap_is_bound"]
    assert found["barriers"]["mixture"] == pytest.approx(0.0, abs=1e-12)
    assert "no measure on the box" in (folder / "e" / "report.md").read_text("utf-8")


def test_bad_input_is_refused(folder: Path, tmp_path: Path) -> None:
    save_ensemble(tmp_path / "mu.npz", helpers.cloud())
    alone = meanfield("diagnose", tmp_path / "mu.npz", "--out", tmp_path / "o")
    assert alone.code == 2
    assert "--config" in alone.stderr
    config = ("--config", folder / "c.toml", "--out", tmp_path / "o")
    wrong = meanfield("diagnose", tmp_path / "mu.npz", *config)
    assert wrong.code == 2
    assert "holds particles of shapes" in wrong.sentence
    np.savez(tmp_path / "fits.npz", a=np.ones((3, 2)), w=np.ones((3, 4)))
    other = meanfield("diagnose", tmp_path / "fits.npz", *config, "--other", tmp_path / "mu.npz")
    assert other.code == 2
    assert "holds particles of shapes" in other.sentence
    few = meanfield("diagnose", tmp_path / "fits.npz", *config, "--points", 2)
    assert few.code == 2
    assert "points is 2" in few.sentence


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, EXAMPLES / "around_a_saddle.py", tmp_path],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg"},
    )
    assert "L = 0.250000" in ran.stdout
    assert "missing 2" in ran.stdout
    assert not ran.stderr
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "saddle.png",
        "samples.png",
        "way.png",
    }


@pytest.fixture(scope="module")
def landscape():
    return helpers.attention()


@pytest.fixture
def ax() -> Axes:
    return Figure().add_subplot()


def check_words(ax: Axes) -> list[str]:
    """Both axes say what they show; returns what the legend says."""
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert ax.get_title()
    legend = ax.get_legend()
    assert legend is not None
    shown = [text.get_text() for text in legend.get_texts()]
    assert set(shown) == set(ax.get_legend_handles_labels()[1])
    ax.figure.canvas.draw()
    return shown


def test_lines_carry_their_parabolas(ax: Axes, landscape) -> None:
    mu = helpers.cloud()
    lines = loss_lines(landscape, mu, {"u": mu.particles}, points=5)
    plots.plot_lines(ax, lines)
    assert check_words(ax)[0].startswith("u: curvature")
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), lines.loss[0])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), lines.prediction[0])


def test_plane_shows_the_trajectory(ax: Axes, landscape) -> None:
    mu = helpers.cloud()
    fields = {"u": mu.particles, "v": helpers.cloud(5).particles}
    path = np.array([[0.0, 0.1], [0.2, 0.0]])
    plots.plot_plane(ax, loss_plane(landscape, mu, fields, points=5), path)
    assert "trajectory" in check_words(ax)
    assert ax.get_xlabel().startswith("u")


@pytest.mark.parametrize("axes", [["a[0]"], ["a[0]", "w[1]"]])
def test_field_shows_the_particles(ax: Axes, landscape, axes: list[str]) -> None:
    mu = helpers.cloud()
    field = first_variation_field(landscape, mu, coordinate_directions(mu, axes), points=5)
    plots.plot_field(ax, field)
    assert any("particles" in word for word in check_words(ax))
    assert ax.get_xlabel() == "a[0] (particle units)"


def test_paths_and_their_convexity(ax: Axes, landscape) -> None:
    paths = interpolate(landscape, helpers.cloud(), helpers.cloud(4), points=5)
    plots.plot_interpolation(ax, paths, ("start", "end"))
    shown = check_words(ax)
    assert [word.split(":")[0] for word in shown[:3]] == ["displacement", "mixture", "straight"]
    assert "from start to end" in ax.get_xlabel()
    second = Figure().add_subplot()
    plots.plot_convexity(second, paths)
    assert "below: not convex" in check_words(second)


def test_samples_parameters_and_features(ax: Axes, landscape) -> None:
    rng = np.random.default_rng(0)
    dims = ("draw", "samples", "replicate")
    seen = xarray.Dataset(
        {name: (dims, rng.normal(size=(2, 3, 4)) - 5) for name in ("curvature", "value")},
        {"draw": ["bootstrap", "fresh"], "samples": [16, 32, 64], "replicate": range(4)},
    )
    plots.plot_sample_curvature(ax, seen, -5.0)
    assert "zero: no descent" in check_words(ax)
    second = Figure().add_subplot()
    plots.plot_sampling_error(second, seen)
    assert any("theory" in word for word in check_words(second))
    third = Figure().add_subplot()
    one = xarray.Dataset({"curvature": ("ridge", [-1.0, -0.5])}, {"ridge": [0.1, 1.0]})
    plots.plot_parameter_curvature(third, one, "ridge ρ", -1.0, {"limit": -0.3})
    assert "limit" in check_words(third)
    fourth = Figure().add_subplot()
    run = [helpers.cloud(seed) for seed in (1, 2)]
    plots.plot_feature_space(fourth, feature_space(landscape, run), [0.0, 1.0])
    assert any("nearest critical set" in word for word in check_words(fourth))


def test_snapshots_come_back_as_ensembles() -> None:
    landscape, mu = helpers.regression(), helpers.cloud(weighted=True)
    flow = GradientFlow(landscape, birth_death=1.0)
    run = simulate(flow, mu, horizon=0.2, dt=0.1, snapshots=at(0.0, 0.2))
    times, ensembles = snapshots(run.trajectory, landscape.particle)
    np.testing.assert_allclose(times, [0.0, 0.2])
    helpers.close(ensembles[0].particles, mu.particles)
    helpers.close(ensembles[-1].particles, run.ensemble.particles)
    helpers.close(ensembles[-1].probabilities, run.ensemble.probabilities)
    with pytest.raises(InvalidInput, match="has no snapshots"):
        snapshots(run.trajectory.drop_dims("snapshot_time"), landscape.particle)
    with pytest.raises(InvalidInput, match="the landscape needs"):
        snapshots(run.trajectory, landscape.particle._replace(a=jnp.zeros(1)))


def test_named_directions_are_drawn_with_their_names() -> None:
    mu = helpers.cloud()
    names = principal_directions(mu, mu.particles, name="velocity:")
    assert list(names) == ["velocity: direction 1", "velocity: direction 2"]
