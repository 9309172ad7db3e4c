"""Figures: every function draws into the given axes, with the theory where theory has it."""

import itertools
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

import meanfield
from landscapes import Neuron
from landscapes.mlp_attention import InContextError
from meanfield import plots
from particles import Ensemble

TIME = np.linspace(0.0, 2.0, 41)


@pytest.fixture
def ax() -> Axes:
    return Figure().add_subplot()


def trajectory(**more) -> xarray.Dataset:
    """L = e^{−2t}, which loses energy at the rate 2e^{−2t}."""
    variables = {
        "loss": ("time", np.exp(-2 * TIME)),
        "dissipation_rate": ("time", 2 * np.exp(-2 * TIME)),
    }
    return xarray.Dataset(variables | more, {"time": TIME})


def lines(ax: Axes) -> dict[str, np.ndarray]:
    """Data of the labelled lines."""
    labelled = (line for line in ax.lines if not str(line.get_label()).startswith("_"))
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in labelled}


def rendered(ax: Axes) -> None:
    """Draw it: whatever matplotlib finds wrong with it, it says now."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()


def check_words(ax: Axes) -> None:
    """Both axes say what they show, and every labelled artist is in the legend."""
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert ax.get_title()
    legend = ax.get_legend()
    assert legend is not None
    shown = {text.get_text() for text in legend.get_texts()}
    assert shown == set(ax.get_legend_handles_labels()[1])
    rendered(ax)


def heights(ax: Axes) -> list[float]:
    """Where horizontal lines across the whole axes lie."""
    across = (line for line in ax.lines if list(np.asarray(line.get_xdata())) == [0, 1])
    return [float(line.get_ydata()[0]) for line in across]  # pyright: ignore


@pytest.mark.parametrize("log", [False, True])
def test_loss(ax: Axes, log: bool) -> None:
    levels = {"missing {2}": 0.5, "global minimum": 0.0}
    plots.plot_loss(ax, trajectory(), levels, log=log)
    check_words(ax)
    measured = lines(ax)["loss, measured"]
    np.testing.assert_array_equal(measured, np.stack([TIME, np.exp(-2 * TIME)], axis=1))
    assert heights(ax) == ([0.5] if log else [0.5, 0.0])
    assert [text.get_text() for text in ax.texts] == list(levels)[: len(heights(ax))]
    assert [text.xy[1] for text in ax.texts] == heights(ax)  # pyright: ignore
    assert ax.get_yscale() == ("log" if log else "linear")


def test_loss_of_many_seeds(ax: Axes) -> None:
    loss = np.exp(-np.outer(TIME, [1.0, 2.0, 3.0]))
    plots.plot_loss(ax, xarray.Dataset({"loss": (("time", "seed"), loss)}, {"time": TIME}))
    check_words(ax)
    assert list(lines(ax)) == ["loss, measured (3 seeds)"]
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines], loss.T)


def test_learned_features(ax: Axes) -> None:
    fractions = np.stack([1 - np.exp(-TIME), np.zeros_like(TIME)], axis=1)
    data = trajectory(learned_fraction=(("time", "feature"), fractions))
    plots.plot_learned(ax, data, [1.0, 0.25])
    check_words(ax)
    drawn = lines(ax)
    assert list(drawn) == ["feature 1 (λ = 1)", "feature 2 (λ = 0.25)"]
    for curve, column in zip(drawn.values(), fractions.T, strict=True):
        np.testing.assert_array_equal(curve[:, 1], column)
    assert heights(ax) == [0.5]


def test_energy_balance(ax: Axes) -> None:
    plots.plot_energy_balance(ax, trajectory())
    check_words(ax)
    theory, measured = lines(ax).values()
    np.testing.assert_allclose(theory[:, 1], 2 * np.exp(-2 * theory[:, 0]))
    np.testing.assert_allclose(measured[:, 0], (TIME[1:] + TIME[:-1]) / 2)
    np.testing.assert_allclose(measured[:, 1], 2 * np.exp(-2 * measured[:, 0]), rtol=1e-3)
    assert ax.get_yscale() == "log"


def test_energy_balance_of_a_run_that_hardly_began(ax: Axes) -> None:
    plots.plot_energy_balance(ax, trajectory().isel(time=slice(0, 1)))
    check_words(ax)


def test_spectrum(ax: Axes) -> None:
    values = [3.0, -2.0, 1e-9, -5.0, -1e-9]
    plots.plot_spectrum(ax, values, threshold=1e-6, index=2)
    check_words(ax)
    drawn = lines(ax)
    np.testing.assert_array_equal(drawn["negative: 2"], [[1, -5.0], [2, -2.0]])
    np.testing.assert_array_equal(drawn["others computed: 3"], [[3, -1e-9], [4, 1e-9], [5, 3.0]])
    assert drawn["predicted Morse index 2"][:, 0].tolist() == [2.5, 2.5]
    assert heights(ax) == [0.0]
    rendered(ax)
    assert all(tick == round(tick) for tick in ax.get_xticks())


def test_a_spectrum_over_decades_shows_its_smallest_and_its_largest(ax: Axes) -> None:
    plots.plot_spectrum(ax, [-500.0, -1e-2, 0.0, 0.3], threshold=1e-5)
    check_words(ax)
    assert ax.get_yscale() == "symlog"
    heights_shown = ax.transData.transform(np.array([[1, -500.0], [2, -1e-2], [3, 0.0]]))[:, 1]
    frame = ax.get_window_extent()
    assert np.all(np.abs(np.diff(heights_shown)) > 0.02 * frame.height)  # nothing is on top
    assert np.ptp(heights_shown) > 0.3 * frame.height


def clear_of_each_other(texts) -> bool:
    # Text's own extent: that of an annotation holds its line as well.
    boxes = [Text.get_window_extent(text) for text in texts if text.get_text()]
    boxes.sort(key=lambda box: box.y0)
    return all(low.y1 <= high.y0 for low, high in itertools.pairwise(boxes))


@pytest.mark.parametrize("values", [[-54.0, -7e-3], [-3e4, -2e-6, 1e-6, 3.0], [-500.0, -1e-2]])
def test_labels_of_a_spectrum_over_decades_are_clear_of_each_other(ax: Axes, values: list) -> None:
    plots.plot_spectrum(ax, values, threshold=1e-7)
    rendered(ax)
    low, high = ax.get_ylim()
    ticks = zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
    assert clear_of_each_other([label for at, label in ticks if low <= at <= high])


def test_names_of_close_predictions_are_clear_of_each_other(ax: Axes) -> None:
    rates = {"{1}": 15.0, "{2}": 15.2, "{1,2}": 14.9, "{1,2,3}": 15.1, "{3}": 54.0, "{2,3}": 53.5}
    plots.plot_predictions(ax, rates, rates, quantity="escape rate (1 / time)")
    check_words(ax)
    rendered(ax)
    assert {text.get_text(): text.xy[0] for text in ax.texts} == rates  # pyright: ignore[reportAttributeAccessIssue]
    assert clear_of_each_other(ax.texts)


def test_a_spectrum_of_zeros_is_drawn_at_its_threshold(ax: Axes) -> None:
    plots.plot_spectrum(ax, [0.0, 1e-12], threshold=1e-6)
    check_words(ax)
    assert ax.get_ylim() == pytest.approx((-3e-6, 3e-6), rel=0.3)


def test_legends_beside_the_data_leave_the_frame_free(ax: Axes) -> None:
    for place in ("below", "right"):
        ax.plot([0, 1], [0, 1], label="one")
        box = plots.legend(ax, place).get_window_extent()  # pyright: ignore[reportArgumentType]
        assert not ax.get_window_extent().overlaps(box)


def test_timescales_dash_what_is_named_as_a_limit(ax: Axes) -> None:
    run = trajectory()
    plots.plot_timescales(ax, {"limit of nothing": run, "ε = 1": run}, {"reduced flow": run})
    check_words(ax)
    styles = {str(line.get_label()): line.get_linestyle() for line in ax.lines}
    assert styles == {"limit of nothing": "-", "ε = 1": "-", "reduced flow": "--"}


def test_colours_are_those_of_the_theme() -> None:
    """No hex codes, cycle colours or colour maps by name outside the theme."""
    own = re.compile(r"[\"']#[0-9a-fA-F]{6}|[\"']C\d[\"']|colormaps\[|viridis")
    files = [
        path for path in Path(meanfield.__file__).parent.rglob("*.py") if path.stem != "_theme"
    ]
    assert [path.name for path in files if own.search(path.read_text("utf-8"))] == []


def test_growth(ax: Axes) -> None:
    time = np.linspace(0, 4, 81)
    amplitude = 1e-6 * np.exp(3 * time) / (1 + 1e-6 * np.exp(3 * time) / 0.05)
    plots.plot_growth(ax, time, -amplitude, rate=3.0, window=(0.5, 2.5), fitted=2.99)
    check_words(ax)
    drawn = lines(ax)
    measured, predicted = (drawn[name] for name in drawn)
    assert next(iter(drawn)) == "measured, rate 2.99 in the window"
    np.testing.assert_array_equal(measured[:, 1], amplitude)
    slope = np.diff(np.log(predicted[:, 1])) / np.diff(predicted[:, 0])
    np.testing.assert_allclose(slope, 3.0)
    inside = (predicted[:, 0] >= 0.5) & (predicted[:, 0] <= 2.5)
    np.testing.assert_allclose(predicted[inside, 1], 1e-6 * np.exp(3 * predicted[inside, 0]), 0.03)
    (window,) = ax.patches
    assert (window.get_x(), window.get_width()) == (0.5, 2.0)  # pyright: ignore


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_particles_keep_their_distances_in_the_plane(ax: Axes, dim: int) -> None:
    before = np.random.default_rng(0).normal(size=(30, dim))
    before[:, 2:] = 0
    after = before + 0.1
    after[:, 2:] = 0
    plots.plot_particles(ax, "w", before, after)
    check_words(ax)
    drawn = lines(ax)
    for name, points in (("before", before), ("after", after)):
        span = np.linalg.norm(drawn[name][:, None] - drawn[name][None], axis=-1)
        np.testing.assert_allclose(
            span, np.linalg.norm(points[:, None] - points[None], axis=-1), atol=1e-12
        )
    moved = np.linalg.norm(drawn["after"] - drawn["before"], axis=1)
    np.testing.assert_allclose(moved, 0.1 * min(dim, 2) ** 0.5)
    assert "w" in ax.get_xlabel()
    assert "100% of the variance" in ax.get_title()


def test_a_crowd_is_thinned(ax: Axes) -> None:
    plots.plot_particles(ax, "w", np.ones((900, 2)), np.zeros((900, 2)), most=50)
    assert len(lines(ax)["after"]) == 50


def test_one_panel_per_part_of_the_particles() -> None:
    start = Ensemble(Neuron(a=jnp.zeros((4, 2)), w=jnp.arange(12.0).reshape(4, 3)))
    end = start.with_particles(Neuron(a=start.particles.a + 1, w=start.particles.w))
    panels = plots.particle_panels(start, end)
    axes = Figure().subplots(1, 2)
    for panel, axis, name in zip(panels, axes, "aw", strict=True):
        panel(axis)
        check_words(axis)
        assert axis.get_title().startswith(f"Particles, {name} ")


def test_in_context(ax: Axes) -> None:
    lengths = np.array([4, 16, 64])
    errors = {
        name: InContextError(lengths, scale / lengths, 0.01 / lengths, 1.1 * scale / lengths, 0.9)
        for name, scale in (("before", 1.0), ("after", 0.5), ("later", 0.4), ("last", 0.3))
    }
    plots.plot_in_context(ax, errors)
    check_words(ax)
    drawn = lines(ax)
    for name, error in errors.items():
        expected = np.stack([error.lengths, error.expected], axis=1)
        np.testing.assert_array_equal(drawn[f"{name}, theory"], expected)
    bars = {str(c.get_label()): c for c in ax.containers}
    for name, error in errors.items():
        points, _, (whiskers,) = bars[f"{name}, fresh prompts (±2 s.e.)"]
        np.testing.assert_array_equal(points.get_ydata(), error.measured)
        for (low, high), middle, width in zip(
            (s[:, 1] for s in whiskers.get_segments()),
            error.measured,
            error.standard_error,
            strict=True,
        ):
            np.testing.assert_allclose([low, high], [middle - 2 * width, middle + 2 * width])
    assert heights(ax) == [0.9]
