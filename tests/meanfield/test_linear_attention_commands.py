"""The reproductions of ZSLS25 and MT25, small; their figures; their clocks."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from commands import meanfield
from matplotlib.figure import Figure

from landscapes import MergedLinearAttentionLandscape, SeparateLinearAttentionLandscape
from landscapes.linear_attention import PopulationMoments, PromptDistribution, head_start
from meanfield import every, plots
from meanfield.cli import Reproduce
from meanfield.reports import Report
from meanfield.reproductions import _zsls25_separate as separate
from meanfield.reproductions import crossing, extended, follow


@pytest.fixture
def ax():
    return Figure().add_subplot()


def test_courses_draw_data_theory_and_levels(ax):
    times = np.linspace(1, 10, 5)
    plots.plot_courses(
        ax,
        {"one": (times, times), "two": (times, -times)},
        {"one": (times, times)},
        levels={"$L_0$": 3.0},
        log_time=True,
    )
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {
        "one", "two", "theory", "predicted levels",
    }  # fmt: skip
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.texts] == ["$L_0$"]


def test_alignment_names_heads_and_directions(ax):
    plots.plot_alignment(ax, [[1.0, 0.0], [0.0, -0.3]], [0.7, 0.3])
    assert [text.get_text() for text in ax.texts] == ["1.00", "-0.30"]
    assert "0.7" in ax.get_xticklabels()[0].get_text()
    assert ax.get_ylabel() == "head"


def test_distance_table_shows_every_number(ax):
    plots.plot_distance_table(
        ax, [[0.0, 0.5], [0.25, 1e-9]], rows="r", columns="c", quantity="q", title="t"
    )
    assert [text.get_text() for text in ax.texts] == ["0", "0.5", "0.25", "1e-09"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("c", "r", "t")


def test_power_laws_show_fit_and_predicted_slope(ax):
    sizes = np.array([1.0, 10.0, 100.0])
    plots.plot_power_laws(
        ax, {"a": (sizes, 3 / sizes)}, exponent=-1.0, fitted={"a": -1.0},
        theory={"exact": (sizes, 3 / sizes)},
    )  # fmt: skip
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["a, slope -1.00", "exact", "predicted slope -1"]
    x, y = ax.get_lines()[-1].get_data()
    assert np.diff(np.log(y)) == pytest.approx(-np.diff(np.log(x)))


def test_crossing_interpolates():
    times, falling = np.arange(4.0), np.array([1.0, 0.8, 0.2, 0.0])
    assert crossing(times, falling, 0.5) == pytest.approx(1.5)
    assert crossing(times, -falling, -0.5) == pytest.approx(1.5)
    assert np.isnan(crossing(times, falling, -1.0))
    assert extended(times, falling)[1].tolist() == [1.0, 0.8, 0.2, 0.0, 0.0]


def test_the_clock_of_summed_heads_is_that_of_gradient_descent():
    """Doubling a head into two of 1/√2 the size changes neither the loss nor its times."""
    prompts = PopulationMoments(PromptDistribution([0.6, 0.4], 8))
    losses = []
    for heads in (1, 2):
        landscape = MergedLinearAttentionLandscape(prompts, heads=heads)
        one = head_start(jax.random.key(0), landscape, 1, scale=0.3)
        start = type(one)(
            jax.tree.map(lambda leaf: leaf.repeat(heads, 0) / heads**0.5, one.particles)  # noqa: B023
        )
        _, trajectory = follow(
            Reproduce(quiet=True),
            landscape,
            start,
            horizon=20.0,
            dt=0.1,
            record=lambda unit: every(2.0 * unit),
        )
        np.testing.assert_allclose(trajectory["time"], np.arange(0, 21, 2))
        losses.append(trajectory["loss"].values)
    assert losses[0][-1] < 0.9 * losses[0][0]
    np.testing.assert_allclose(*losses, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zsls25-merged", "mt25"])
def test_reproductions_hold(name: str, tmp_path: Path) -> None:
    sizes = ["--samples", "200", "--seeds", "4"]
    ran = meanfield("reproduce", name, *sizes, "--out", tmp_path, "--quiet", "--json")
    assert ran.code == 0, ran.stderr
    claims = json.loads(ran.stdout)["claims"]
    failing = [claim for claim in claims if not claim["holds"]]
    assert not failing, failing
    assert (tmp_path / name / "report.md").exists()


@pytest.mark.slow
def test_saddle_to_saddle_holds(tmp_path: Path) -> None:
    """The parts of zsls25-separate, of the ranks only the quick one."""
    options = Reproduce(quiet=True, samples=64)
    report = Report(tmp_path, "zsls25-separate", options)
    prompts = PopulationMoments(PromptDistribution(separate.EIGENVALUES, separate.LENGTH))
    landscape = SeparateLinearAttentionLandscape(prompts, 1, heads=separate.HEADS)
    separate.aligned_heads(options, landscape, report)
    trajectory, found = separate.random_start(options, landscape, report)
    separate.at_plateaus(options, landscape, trajectory, found, report)
    separate.ranks(options, report, chosen=[8])
    failing = [claim for claim in report.claims if not claim.holds]
    assert not failing, failing
