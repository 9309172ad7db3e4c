"""The diagnosis and its figures: a saddle, another ensemble, what to do next, refusals."""

import json
import runpy
import sys
from pathlib import Path

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from commands import meanfield
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from landscapes import (
    Confined,
    RegressionLandscape,
    coordinate_directions,
    first_variation_field,
    interpolate,
    loss_lines,
    loss_plane,
    principal_directions,
)
from landscapes.mlp_attention import feature_space
from meanfield import GradientFlow, at, diagnose, plots, simulate, snapshots
from meanfield.problems import Attention, Problem, critical_point
from meanfield.reports import (
    CriticalityOptions,
    DiagnosisOptions,
    Report,
    critical_point_claims,
    criticality_result,
    density_result,
    parameters_result,
    sensitivity_result,
    surroundings_result,
)
from meanfield.results import CriticalPoint, Result
from particles import Ensemble, InvalidInput, save_ensemble
from saddle_analysis import along, displaced

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG = """
[problem]
kind = "attention"
dim = 4
samples = 64
teacher_neurons = 8
spectrum = [1.0, 0.5]
"""
FEW = DiagnosisOptions(points=9, replicates=3)


def text(result: Result) -> str:
    return "\n\n".join(entry for entry in result.body if isinstance(entry, str))


def failing(result: Result) -> list[str]:
    return [claim.statement for claim in result.claims if not claim.holds]


@pytest.fixture(scope="module")
def problem() -> Problem:
    options = Attention(dim=4, samples=64, teacher_neurons=8, spectrum=(1.0, 0.5))
    return options.build(jax.random.key(0))


@pytest.fixture(scope="module")
def saddle(problem: Problem) -> Ensemble:
    assert problem.saddle is not None
    return problem.saddle(jax.random.key(1), 16, [1])


@pytest.fixture(scope="module")
def criticality(problem: Problem, saddle: Ensemble):
    return criticality_result(problem.landscape, saddle, FEW, predicted=problem.predicted)


def test_a_saddle_is_what_theory_says(problem: Problem, criticality) -> None:
    found, result = criticality
    assert failing(result) == []
    level, index = result.claims
    assert (level.predicted, index.predicted) == (pytest.approx(0.25), 1)
    assert "missing {2}" in level.statement
    assert found.kind == result.summary["kind"] == "strict saddle"
    assert found.sentence in text(result)
    for term in ("Wasserstein Hessian", "Morse index", "Canonical correlation"):
        assert f"*{term}*" in text(result)
    (figure,) = result.figures
    labels = figure.draw().axes[0].get_legend_handles_labels()[1]
    assert "predicted Morse index 1" in labels


def test_theory_is_asked_of_critical_points_only(problem: Problem) -> None:
    def refuse(ensemble: Ensemble) -> CriticalPoint:
        raise AssertionError("asked of an ensemble that is not critical")

    start = problem.start(jax.random.key(2), 16)
    found, result = criticality_result(problem.landscape, start, FEW, predicted=refuse)
    assert found.kind == "not critical"
    assert result.claims == []


def test_predictions_are_silent_where_theory_is(problem: Problem, saddle: Ensemble) -> None:
    predict = critical_point(problem.landscape.unwrapped)  # pyright: ignore
    point = predict(saddle)
    assert point is not None
    assert (point.name, point.index, point.source) == ("missing {2}", 1, "KS24; theory 2")
    assert point.level == pytest.approx(0.25)
    assert critical_point(helpers.attention(ridge=0.1))(helpers.cloud()) is None
    assert critical_point(helpers.attention(context_length=8))(helpers.cloud()) is None


def test_a_wrong_prediction_fails(criticality) -> None:
    found, _ = criticality
    wrong = CriticalPoint("another one", found.value + 0.1, 2, "nobody")
    assert [claim.holds for claim in critical_point_claims(wrong, found)] == [False, False]


def test_the_density_has_its_figure(problem: Problem, saddle: Ensemble, criticality) -> None:
    result = density_result(problem.landscape, saddle, criticality[0], probes=2)
    (figure,) = result.figures
    figure.draw().canvas.draw()


def test_the_surroundings_of_a_saddle(problem: Problem, saddle: Ensemble, criticality) -> None:
    found, _ = criticality
    result = surroundings_result(problem.landscape, saddle, found, FEW, other=saddle)
    assert failing(result) == []
    assert list(result.data) == ["slices", "plane", "field", "paths"]
    lines, plane = result.data["slices"], result.data["plane"]
    assert float(plane["first"].max()) == pytest.approx(float(lines["distance"].max()))
    assert plane.sizes["first"] == lines.sizes["distance"]
    assert "*First variation" in text(result)
    for figure in result.figures:
        figure.draw().canvas.draw()


def test_a_curvature_on_other_samples(problem: Problem, saddle: Ensemble, criticality) -> None:
    found, _ = criticality
    key = jax.random.key(3)
    result = sensitivity_result(
        problem.landscape, saddle, found, FEW, redraws=problem.redraws, key=key
    )
    assert failing(result) == []
    assert result.summary["verdict"] in ("landscape", "undecided")
    assert len(result.summary["held_out_curvatures"]) == 2
    assert list(result.data["samples"]["draw"].values) == list(problem.redraws)
    assert list(result.data["samples"]["samples"].values) == [16, 32, 64]
    assert sensitivity_result(problem.landscape, saddle, found, FEW, redraws={}, key=key).body == []


def test_parameters_are_those_of_the_landscape(problem: Problem, saddle, criticality) -> None:
    found, _ = criticality
    result = parameters_result(problem.landscape, saddle, found)
    assert list(result.data) == ["by_ridge", "by_context_length", "by_ratio"]
    assert "singular at a saddle" in text(result)
    wrapped = parameters_result(Confined(problem.landscape, 0.01), saddle, found)
    assert list(wrapped.data) == list(result.data)
    assert parameters_result(helpers.regression(), helpers.cloud(), found).body == []


@pytest.fixture(scope="module")
def run(problem: Problem, saddle: Ensemble, criticality):
    """A run that leaves a saddle, diagnosed at its end into a folder named by a string."""
    start = displaced(saddle, along(saddle, criticality[0].smallest.fields[0], 1e-3))
    flow = GradientFlow(problem.landscape, scheme="euler")
    stops = at(0.0, 2e-4, 5e-4, 1e-3)
    return simulate(flow, start, horizon=1e-3, dt=1e-4, snapshots=stops)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_run_beside_a_saddle(problem: Problem, run, tmp_path: Path) -> None:
    history = snapshots(run.trajectory, problem.landscape.particle)
    result = diagnose(
        problem.landscape,
        run.ensemble,
        history=history,
        redraws=problem.redraws,
        theory=problem.predicted,
        options=FEW,
        out=str(tmp_path / "d"),
    )
    assert failing(result) == []
    found = result.summary
    assert found["kind"] == "not critical"
    assert found["eigenvalues"][0] < 0
    assert found["missing"] == "{2}"
    assert set(found["barriers"]) == {"displacement", "mixture", "straight"}
    report = (tmp_path / "d" / "report.md").read_text("utf-8")
    headings = ("Criticality", "Surroundings", "Dependence on the samples")
    for heading in (*headings, "Dependence on parameters", "What to do next"):
        assert f"## {heading}" in report
        assert f"## {heading}" in text(result)
    assert "Run on: the gradient norm is" in report
    assert "diagnose a snapshot" in report
    figures = ("spectrum", "features", "slices", "plane", "field", "paths", "samples", "parameters")
    assert sorted(figure.name for figure in result.figures) == sorted(figures)
    for name in figures:
        assert f"({name}.png)" in report
        assert (tmp_path / "d" / f"{name}.png").exists()
    claims = json.loads((tmp_path / "d" / "claims.json").read_text("utf-8"))
    assert len(claims) == len(result.claims)
    with xarray.open_dataset(tmp_path / "d" / "plane.nc", engine="h5netcdf") as plane:
        assert plane.sizes["time"] == 4
        assert plane.loss.attrs["units"] == "loss"
    with xarray.open_dataset(tmp_path / "d" / "samples.nc", engine="h5netcdf") as seen:
        assert list(seen.draw.values) == ["bootstrap", "fresh samples", "quasi-Monte Carlo"]


@pytest.mark.slow
def test_an_ensemble_from_elsewhere_on_a_convex_risk(tmp_path: Path) -> None:
    landscape = helpers.regression()
    one, other = helpers.cloud(size=12), helpers.cloud(2, size=9)
    options = DiagnosisOptions(points=41, replicates=2, sizes=2)
    report = Report(tmp_path / "e", "Two clouds", "diagnose", options)
    result = diagnose(landscape, one, other=other, options=options, out=report)
    assert failing(result) == []
    assert result.data["samples"].sizes["samples"] == 2
    assert result.summary["gap_is_bound"]
    assert result.summary["barriers"]["mixture"] == pytest.approx(0.0, abs=1e-12)
    assert "no measure on the box" in text(result)
    assert not (tmp_path / "e" / "report.md").exists()  # it is still open
    report.finish()
    page = (tmp_path / "e" / "report.md").read_text("utf-8")
    assert page.count("## What to do next") == 1


def minimum() -> tuple[RegressionLandscape, Ensemble]:
    """Neurons that fit the targets exactly."""
    mu = helpers.cloud()
    x = jnp.asarray(helpers.samples()[0])
    f = jnp.tanh(x @ mu.particles.w.T) @ mu.particles.a / mu.size
    return RegressionLandscape(x, f), mu


@pytest.mark.slow
def test_what_to_do_next_at_every_kind_of_point(problem: Problem, saddle: Ensemble) -> None:
    few = DiagnosisOptions(points=5, replicates=2, sizes=1)
    result = diagnose(problem.landscape, saddle, options=few, redraws={})
    assert "The flow will leave it" in text(result)
    assert "Say how samples can be drawn anew" in text(result)
    assert "verdict" not in result.summary
    landscape, mu = minimum()
    result = diagnose(landscape, mu, options=few)
    assert result.summary["kind"] == "local minimum"
    assert "Elsewhere the loss can be lower by at most" in text(result)
    result = diagnose(landscape, helpers.cloud(4), options=few)
    assert result.summary["kind"] == "not critical"
    assert "Run on: the gradient norm is" in text(result)


def test_a_wrapped_network_is_still_a_network(problem: Problem, saddle: Ensemble) -> None:
    _, result = criticality_result(Confined(problem.landscape, 1e-3), saddle, FEW)
    assert result.summary["missing"] == "{2}"


@pytest.mark.parametrize("name", ["points", "replicates", "sizes", "count", "tolerance"])
def test_options_out_of_range_are_refused(name: str) -> None:
    landscape, mu = helpers.regression(), helpers.cloud()
    bad = -1
    with pytest.raises(InvalidInput, match=f"{name} is -1; it must be"):
        diagnose(landscape, mu, options=DiagnosisOptions(**{name: bad}))
    if name in ("count", "tolerance"):
        with pytest.raises(InvalidInput, match=f"{name} is -1; it must be"):
            criticality_result(landscape, mu, CriticalityOptions(**{name: bad}))


def test_other_ensembles_and_folders_are_refused(tmp_path: Path) -> None:
    landscape = helpers.regression()
    wrong = Ensemble(helpers.cloud().particles._replace(a=jnp.ones((7, 5))))
    for arguments in ((landscape, wrong), (landscape, helpers.cloud())):
        with pytest.raises(InvalidInput, match="holds particles of shapes"):
            diagnose(*arguments, other=wrong)
    with pytest.raises(InvalidInput, match="out is"):
        diagnose(landscape, helpers.cloud(), out="")
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="out is"):
        diagnose(landscape, helpers.cloud(), out=str(tmp_path / "file"))


def test_bad_input_is_refused_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG)
    save_ensemble(tmp_path / "mu.npz", helpers.cloud())
    alone = meanfield("diagnose", tmp_path / "mu.npz", "--out", tmp_path / "o")
    assert alone.code == 2
    assert "--config" in alone.stderr
    config = ("--config", tmp_path / "c.toml", "--out", tmp_path / "o")
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
def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["around_a_saddle.py", str(tmp_path)])
    runpy.run_path(str(EXAMPLES / "around_a_saddle.py"), run_name="__main__")
    said = capsys.readouterr()
    assert "L = 0.250000" in said.out
    assert "missing {2}" in said.out
    assert not said.err
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


def test_arrows_of_a_field_stay_within_their_cells(ax: Axes, landscape) -> None:
    mu = helpers.cloud()
    axes = coordinate_directions(mu, ["a[0]", "w[1]"])
    plots.plot_field(ax, first_variation_field(landscape, mu, axes, points=41))
    (arrows,) = (artist for artist in ax.collections if isinstance(artist, Quiver))
    places = np.asarray(arrows.get_offsets())
    cell = [np.diff(np.unique(column)).min() for column in places.T]
    reach = np.hypot(np.asarray(arrows.U) / cell[0], np.asarray(arrows.V) / cell[1])
    assert reach.max() <= 1.0
    steps = [np.diff(np.unique(column)) for column in places.T]
    assert all(np.ptp(step) < 1e-9 * step.max() for step in steps)  # evenly spaced
    bar = ax.figure.axes[1].get_yticks()
    assert all(abs(tick * 10**6 - round(tick * 10**6)) < 1e-6 for tick in bar)


def test_the_prediction_of_a_plane_is_drawn_at_levels_of_the_loss(ax: Axes, landscape) -> None:
    mu = helpers.cloud()
    fields = {"u": mu.particles, "v": helpers.cloud(5).particles}
    plots.plot_plane(ax, loss_plane(landscape, mu, fields, points=9))
    words = check_words(ax)
    assert "quadratic prediction, same levels" in words
    assert "contours of the loss" in words
    _, loss, predicted = (a for a in ax.collections if isinstance(a, ContourSet))
    np.testing.assert_array_equal(np.asarray(loss.levels), np.asarray(predicted.levels))


def test_spreads_have_bars_and_every_way_its_law(ax: Axes) -> None:
    rng = np.random.default_rng(0)
    sizes = [16, 64, 256]
    scale = np.array([1.0, 0.1])[:, None, None] / np.sqrt(sizes)[:, None]
    draws = scale * rng.normal(size=(2, 3, 400))
    seen = xarray.Dataset(
        {"value": (("draw", "samples", "replicate"), draws)},
        {"draw": ["one", "two"], "samples": sizes},
    )
    plots.plot_sampling_error(ax, seen)
    assert check_words(ax)[0].startswith("theory of independent samples")
    for law, bars in zip(
        (line for line in ax.lines if line.get_linestyle() == "--"), ax.containers, strict=True
    ):
        _, _, (whiskers,) = bars
        low, high = np.array([segment[:, 1] for segment in whiskers.get_segments()]).T
        spread = 0.5 * (low + high)
        np.testing.assert_allclose((high - low) / 2 / spread, 1 / np.sqrt(2 * 399), rtol=0.3)
        theory = np.asarray(law.get_ydata())
        np.testing.assert_allclose(theory[:-1] / theory[1:], 2.0)
        assert np.all(np.abs(theory - spread) < 4 * (high - low) / 2)


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
    frame = fourth.get_window_extent()
    words = [text.get_window_extent() for text in fourth.texts]
    assert words
    assert all(frame.x0 <= box.x0 <= box.x1 <= frame.x1 for box in words)


def test_snapshots_come_back_as_ensembles() -> None:
    landscape, mu = helpers.regression(), helpers.cloud(weighted=True)
    flow = GradientFlow(landscape, birth_death=1.0)
    run = simulate(flow, mu, horizon=0.2, dt=0.1, snapshots=at(0.0, 0.2))
    times, ensembles = snapshots(run)
    np.testing.assert_allclose(times, [0.0, 0.2])
    helpers.close(ensembles[0].particles, mu.particles)
    helpers.close(ensembles[-1].particles, run.ensemble.particles)
    helpers.close(ensembles[-1].probabilities, run.ensemble.probabilities)
    with pytest.raises(InvalidInput, match="has no snapshots"):
        snapshots(run.trajectory.drop_dims("snapshot_time"), landscape.particle)
    with pytest.raises(InvalidInput, match="like is missing"):
        snapshots(run.trajectory)
    again = snapshots(run.trajectory, landscape.particle)[1]
    np.testing.assert_array_equal(again[-1].particles.a, ensembles[-1].particles.a)
    with pytest.raises(InvalidInput, match="the landscape needs"):
        snapshots(run.trajectory, landscape.particle._replace(a=jnp.zeros(1)))


def test_named_directions_are_drawn_with_their_names() -> None:
    mu = helpers.cloud()
    names = principal_directions(mu, mu.particles, name="velocity:")
    assert list(names) == ["velocity: direction 1", "velocity: direction 2"]
