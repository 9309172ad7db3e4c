"""Figures about softmax attention: the data, the theory, and the words are all there."""

import dataclasses

import numpy as np
import pytest
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meanfield import plots
from meanfield.studies import SoftmaxGrowth, SoftmaxImbalance, SoftmaxTail
from saddle_analysis.curves import QueryStages, Stage, fit_power_law

T, K = np.concatenate([[0.0], np.geomspace(1, 100, 30)]), 3
STAGES = QueryStages(
    1, 0, [Stage("turning away", 0, 5), Stage("turning point", 5, 9), Stage("growth", 9, 100)]
)


@pytest.fixture
def ax() -> Axes:
    return Figure().add_subplot()


@pytest.fixture(scope="module")
def trajectory() -> xarray.Dataset:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(T.size, K, K))
    own = np.diagonal(logits, axis1=1, axis2=2)
    table = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return xarray.Dataset(
        {
            "A": (("time", "query"), own),
            "B": (("time", "query", "token"), logits * (1 - np.eye(K))),
            "query_loss": (("time", "query"), rng.uniform(0.1, 1, (T.size, K))),
            "attention": (("time", "query", "token"), table),
        },
        {"time": T},
    )


def drawn(ax: Axes) -> dict[str, np.ndarray]:
    """Heights of the labelled lines, once every artist with a label is in the legend."""
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert ax.get_title()
    legend = ax.get_legend()
    if legend is not None:
        shown = {text.get_text() for text in legend.get_texts()}
        assert shown == set(ax.get_legend_handles_labels()[1])
    ax.figure.canvas.draw()
    labelled = (line for line in ax.lines if not str(line.get_label()).startswith("_"))
    return {str(line.get_label()): np.asarray(line.get_ydata()) for line in labelled}


def test_query_losses(ax: Axes, trajectory: xarray.Dataset) -> None:
    plots.plot_query_losses(ax, trajectory, STAGES, {"floor": 0.2})
    lines = drawn(ax)
    losses = trajectory["query_loss"].values
    np.testing.assert_array_equal(lines["query 1, dominant"], losses[:, 0])
    np.testing.assert_array_equal(lines["2 under-represented queries"], losses[:, 1])
    np.testing.assert_array_equal(lines["floor"], 0.2)
    assert {"turning away (query 2)", "turning point (query 2)", "growth (query 2)"} <= set(
        ax.get_legend_handles_labels()[1]
    )


def test_logits(ax: Axes, trajectory: xarray.Dataset) -> None:
    plots.plot_logits(ax, trajectory, STAGES)
    lines = drawn(ax)
    np.testing.assert_array_equal(lines["$A_{2}$, to itself"], trajectory["A"].values[:, 1])
    fallen = lines["$B_{2,1}$, to the dominant token"]
    np.testing.assert_array_equal(fallen, trajectory["B"].values[:, 1, 0])
    balanced = dataclasses.replace(STAGES, dominant=None)
    other = Figure().add_subplot()
    plots.plot_logits(other, trajectory, balanced)
    predicted = drawn(other)["theory: mean of $B$ is $-A_k/(K-1)$"]
    np.testing.assert_allclose(predicted, -trajectory["A"].values[:, 1] / 2)


def test_attention_map(ax: Axes, trajectory: xarray.Dataset) -> None:
    plots.plot_attention_map(ax, trajectory, time=99.0)
    drawn(ax)
    shown = np.asarray(ax.images[0].get_array())
    np.testing.assert_array_equal(shown, trajectory["attention"].values[-1])


def test_studies(ax: Axes) -> None:
    sizes = np.array([4, 6, 8])
    law = fit_power_law(sizes.astype(float), sizes**2.0)
    growth = SoftmaxGrowth(sizes, [np.full(k, k**2.0) for k in sizes], sizes**2.0, law, law)
    plots.plot_softmax_growth(ax, {"n = 5": growth})
    lines = drawn(ax)
    np.testing.assert_array_equal(lines["n = 5: exponent 2.000"], sizes**2.0)
    np.testing.assert_allclose(lines["$K^2\\log K$ (HCL23)"], sizes**2 * np.log(sizes))

    times = np.concatenate([[0.0], np.geomspace(1, 1e4, 40)])
    losses = (sizes[:, None] - 1) / (4 * np.maximum(times, 1e-3))
    inverse = fit_power_law(times[1:], 1 / times[1:])
    tail = SoftmaxTail(sizes, times, losses, losses, (100.0, 1e4), [inverse] * 3, law)
    ax = Figure().add_subplot()
    plots.plot_softmax_tail(ax, tail)
    np.testing.assert_array_equal(drawn(ax)["K = 4: exponent -1.000"], losses[0, 1:])

    shares = np.array([0.2, 0.5, 0.8])
    rare = (1 - shares) / 3
    study = SoftmaxImbalance(
        4, shares, shares, rare**-1.2, np.full(3, 4), fit_power_law(rare, rare**-1.2)
    )
    ax = Figure().add_subplot()
    plots.plot_softmax_imbalance(ax, study)
    lines = drawn(ax)
    np.testing.assert_allclose(lines["fit $p_k^{-1.20}$"], lines["under-represented, measured"])

    ax = Figure().add_subplot()
    plots.plot_floors(ax, {5: (times[1:], losses[0, 1:], losses[1, 1:], 0.1)})
    lines = drawn(ax)
    np.testing.assert_array_equal(lines["n = 5, measured"], losses[0, 1:])
    np.testing.assert_array_equal(lines["exact theory"], losses[1, 1:])
    assert lines["floor, closed form"].tolist() == [0.1, 0.1]
