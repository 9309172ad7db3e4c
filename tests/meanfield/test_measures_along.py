"""Measures along a run, against matrices whose singular values and angles are known."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from matplotlib.figure import Figure

from landscapes import Neuron, RegressionLandscape
from landscapes.modular_arithmetic import inverse_participation
from meanfield import GradientFlow, at, plots, simulate
from meanfield.problems import PROBLEMS, build_problem
from meanfield.studies import RunMeasures, measures_along
from particles import Ensemble, InvalidInput
from particles.internal import leaf_names
from saddle_analysis import HessianOperator
from saddle_analysis.spectra import Budget

LANDSCAPE = RegressionLandscape(jnp.eye(3), jnp.eye(3)[:, :1], "tanh")
TIMES = np.linspace(0.0, 1.0, 5)


def kept(weights: np.ndarray) -> xarray.Dataset:
    """A trajectory whose particles have the given weights w, shape (times, particles, 3)."""
    return xarray.Dataset(
        {
            "particles.a": (("snapshot_time", "particle", "one"), np.ones((*weights.shape[:2], 1))),
            "particles.w": (("snapshot_time", "particle", "input"), weights),
        },
        coords={"snapshot_time": np.linspace(0.0, 1.0, len(weights))},
    )


def weights_of(landscape: RegressionLandscape, ensemble: Ensemble) -> jax.Array:
    return ensemble.particles.w


def follow(weights: np.ndarray, directions: int = 1) -> RunMeasures:
    return measures_along(
        LANDSCAPE, kept(weights), {"w": weights_of}, directions=directions, curvature=False
    )


def test_rank_one_growth() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=4), rng.normal(size=3)
    start = rng.normal(size=(4, 3))
    found = follow(start + TIMES[:, None, None] * np.outer(left, right)).data.sel(matrix="w")
    for name in ("effective", "stable", "participation"):
        np.testing.assert_allclose(found[f"increment_{name}"], [0, 1, 1, 1, 1], atol=1e-10)
    for row, time in enumerate(TIMES):
        s = np.linalg.svd(start + time * np.outer(left, right), compute_uv=False)
        share = s / s.sum()
        effective = np.exp(-np.sum(share * np.log(share)))
        assert float(found["effective"][row]) == pytest.approx(effective)
        assert float(found["stable"][row]) == pytest.approx(np.sum(s**2) / s[0] ** 2)
        assert float(found["participation"][row]) == pytest.approx(np.sum(s**2) ** 2 / np.sum(s**4))
        assert float(found["gap"][row]) == pytest.approx((s[0] - s[1]) / s[0])


def test_a_subspace_turns_by_known_angles() -> None:
    turn = np.linspace(0.0, 1.2, 5)
    c, s = np.cos(turn), np.sin(turn)
    weights = np.zeros((5, 4, 3))
    weights[:, 0, 0], weights[:, 3, 0], weights[:, 1, 1] = 3 * c, 3 * s, 2.0
    found = follow(weights, directions=2).data.sel(matrix="w")
    np.testing.assert_allclose(found["angle_to_end"][:, 1], 1.2 - turn, atol=1e-7)
    np.testing.assert_allclose(found["angle_to_end"][:, 0], 0, atol=1e-7)
    np.testing.assert_allclose(found["angle_to_previous"][1:, 1], 0.3, atol=1e-7)
    assert np.isnan(found["angle_to_previous"][0]).all()


def test_leads_of_known_events() -> None:
    times = np.linspace(0, 10, 101)
    ranks = xarray.DataArray(np.clip(times / 2, 0, 1)[None], dims=("matrix", "time"))
    still = xarray.zeros_like(ranks)
    data = xarray.Dataset(
        {
            "loss": ("time", np.where(times < 6, 1.0, np.clip(1 - (times - 6) / 2, 0, 1))),
            "effective": ranks,
            "stable": -ranks,
            "participation": still,
            "increment_effective": xarray.where(ranks > 0, 2.0 + ranks, 0.0),
            "increment_stable": xarray.where(ranks > 0, 1.0, 0.0),
            "increment_participation": still,
            "angle_to_end": (
                ("matrix", "time", "angle"),
                (np.pi / 2 * np.clip(1 - times / 8, 0, 1))[None, :, None],
            ),
        },
        coords={"time": times, "matrix": ["w"]},
    )
    found = RunMeasures(data, 1).leads("w")
    assert float(found["loss"]) == pytest.approx(7.0)
    assert float(found["effective"]) == pytest.approx(6.0)
    assert float(found["stable"]) == pytest.approx(6.0)
    assert float(found["subspace"]) == pytest.approx(3.0)
    assert np.isnan(found["participation"])
    # The zero increment at the start is no rank to move from: 2 to 3 is half-way at t = 1.05.
    assert float(found["increment_effective"]) == pytest.approx(5.95)
    assert np.isnan(found["increment_stable"])
    assert np.isnan(found["increment_participation"])
    both = RunMeasures(xarray.concat([data, data.assign(loss=data["loss"])], "seed"), 1)
    assert both.leads("w")["subspace"].values == pytest.approx([3.0, 3.0])


def test_curvature_along_a_run_is_that_of_the_dense_hessian() -> None:
    a, w = (jax.random.normal(jax.random.key(k), (6, n)) for k, n in ((0, 1), (1, 3)))
    start = Ensemble(Neuron(a=0.3 * a, w=w))
    run = simulate(GradientFlow(LANDSCAPE), start, horizon=2.0, dt=0.1, snapshots=at(0.0, 1.0, 2.0))
    for budget in (None, Budget(dense_below=0)):  # dense, and iterated from the one before
        found = measures_along(LANDSCAPE, run, {"w": weights_of}, budget=budget).data
        for row, weights in enumerate(run.trajectory["particles.w"].values):
            ensemble = Ensemble(
                Neuron(
                    a=jnp.asarray(run.trajectory["particles.a"].values[row]), w=jnp.asarray(weights)
                )
            )
            values = np.linalg.eigvalsh(HessianOperator(LANDSCAPE, ensemble).dense())
            np.testing.assert_allclose(found["curvature"][row], values[[0, -1]], atol=1e-7)
            assert np.all(found["curvature_residual"][row] <= 1e-7 * np.abs(values).max())
            assert float(found["loss"][row]) == pytest.approx(float(LANDSCAPE.value(ensemble)))
    further = found.assign(share=found["loss"])
    panels = plots.measure_panels(further, "w", ranks={"one": 1.0})
    canvas = Figure()
    for index, panel in enumerate(panels):
        panel(canvas.add_subplot(1, 5, index + 1))
    assert [ax.get_title() for ax in canvas.axes] == [
        "Rank of w",
        "Subspace of w",
        "Curvature",
        "share",
        "Loss",
    ]
    assert len({ax.get_xlim() for ax in canvas.axes}) == 1
    said = canvas.axes[2].get_legend_handles_labels()[1]
    assert "zero: no descent" in said
    assert "predicted levels" not in said  # zero is no prediction


OPTIONS = {
    "attention": {"dim": 2, "samples": 8, "teacher_neurons": 4, "spectrum": (1.0, 0.5)},
    "regression": {"dim": 2, "samples": 8, "teacher_neurons": 4, "spectrum": (1.0, 0.5)},
    "linear-attention": {"eigenvalues": (0.6, 0.4)},
    "softmax-attention": {"features": 3, "prompts": 8},
    "multi-head-softmax": {},
    "modular-arithmetic": {"p": 3, "fraction": 1.0},
    "induction": {},
    "markov-induction": {"chains": 4, "length": 4},
    "riesz-gas": {},
    "energy-distance": {"samples": 8},
    "diffusion": {},
    "attraction-repulsion": {},
    "keller-segel": {},
    "tokens": {},
    "fourier-moments": {},
    "single-index": {"dimension": 8},
    "spikes": {},
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_every_problem_offers_its_matrices(kind: str) -> None:
    problem = build_problem(PROBLEMS[kind](**OPTIONS.get(kind, {})), 0)
    start = problem.start(jax.random.key(1), 4)
    parts = dict(zip(leaf_names(start.particles), jax.tree.leaves(start.particles), strict=True))
    records = {
        name if name == "particles" else f"particles.{name}": (
            ("snapshot_time", *(f"{name}_{i}" for i in range(leaf.ndim))),
            np.stack([leaf, 1.5 * np.asarray(leaf)]),
        )
        for name, leaf in parts.items()
    }
    saved = xarray.Dataset(records, coords={"snapshot_time": [0.0, 1.0]})
    found = measures_along(problem.landscape, saved, curvature=False).data
    assert set(parts) <= set(found["matrix"].values.tolist())
    for name, leaf in parts.items():
        singular = np.linalg.svd(np.asarray(leaf, float).reshape(4, -1), compute_uv=False)
        stable = np.sum(singular**2) / singular[0] ** 2
        one = found.sel(matrix=name)
        assert one["stable"].values == pytest.approx([stable, stable], rel=1e-4)
        assert float(one["increment_stable"][1]) == pytest.approx(stable, rel=1e-4)


def test_a_saved_run_and_further_numbers(tmp_path: Path) -> None:
    problem = build_problem(PROBLEMS["modular-arithmetic"](p=5, fraction=1.0), 0)
    run = simulate(
        GradientFlow(problem.landscape),
        problem.start(jax.random.key(1), 6),
        horizon=2.0,
        dt=0.5,
        snapshots=at(0.0, 1.0, 2.0),
    )
    run.trajectory.to_netcdf(tmp_path / "trajectory.nc", engine="h5netcdf")

    def ratio(landscape: object, ensemble: Ensemble) -> jax.Array:
        return jnp.mean(inverse_participation(ensemble.particles))

    found, again = (
        measures_along(
            problem.landscape, one, numbers={"inverse participation": ratio}, curvature=False
        ).data
        for one in (run, str(tmp_path))
    )
    xarray.testing.assert_allclose(found, again)
    assert "u" in found["matrix"]
    power = [
        np.abs(np.fft.fft(run.trajectory[f"particles.{name}"].values[1], axis=-1)) ** 2
        for name in ("u", "v", "w")
    ]
    known = np.mean([np.sum(x**2, -1) / np.sum(x, -1) ** 2 for x in power])
    assert float(found["inverse participation"][1]) == pytest.approx(known, rel=1e-4)
    with pytest.raises(InvalidInput, match=r"where no trajectory.nc can be read"):
        measures_along(problem.landscape, tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="numbers has 'loss', which is a measure already"):
        measures_along(problem.landscape, run, numbers={"loss": ratio})


@pytest.mark.parametrize(
    ("matrices", "directions", "said"),
    [
        ({}, 1, "matrices is empty"),
        ({"w": weights_of}, 4, "directions is 4 and matrix 'w' has shape"),
        ({"a": lambda landscape, mu: mu.particles.a[:, 0]}, 1, "it needs two axes"),
    ],
)
def test_bad_input(matrices: dict, directions: int, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        measures_along(LANDSCAPE, kept(np.ones((2, 4, 3))), matrices, directions=directions)
    with pytest.raises(InvalidInput, match="run has 1 snapshot"):
        measures_along(LANDSCAPE, kept(np.ones((1, 4, 3))), {"w": weights_of})
