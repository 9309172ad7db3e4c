"""From a configuration to a run: equal seeds, every start, and one sentence per mistake."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from flow_cases import assert_same_bits
from helpers import samples

from landscapes import MLPAttentionLandscape, RegressionLandscape
from landscapes.mlp_attention import missing_features, saddle_level
from meanfield.problems import Config, FlowConfig, LandscapeConfig, StartConfig, build, load_data
from particles import InvalidInput, save_ensemble

SMALL = LandscapeConfig(dim=3, samples=32, teacher_neurons=5, spectrum=(1.0, 0.5))
FEW = StartConfig(particles=12, missing=(1,))


def config(landscape: dict | None = None, start: dict | None = None, **rest) -> Config:
    return Config(
        landscape=dataclasses.replace(SMALL, **(landscape or {})),
        start=dataclasses.replace(FEW, **(start or {})),
        **rest,
    )


@pytest.fixture
def data(tmp_path: Path):
    """Writes arrays to a file, by default good ones."""

    def write(**arrays) -> str:
        x, f = samples()
        np.savez(tmp_path / "data.npz", **({"x": x, "f": f} | arrays))
        return str(tmp_path / "data.npz")

    return write


def test_equal_seeds_equal_draws() -> None:
    one, two, other = build(config(seed=3)), build(config(seed=3)), build(config(seed=4))
    assert_same_bits((one[0].landscape, one[1]), (two[0].landscape, two[1]))
    for a, b in zip(
        *(jax.tree.leaves((p.landscape.x, p.landscape.f, s)) for p, s, _ in (one, other)),
        strict=True,
    ):
        assert not np.array_equal(a, b)


def test_the_start_does_not_change_the_landscape() -> None:
    one, two = build(config()), build(config(start={"kind": "gaussian", "particles": 5}))
    assert_same_bits(one[0].landscape, two[0].landscape)


@pytest.mark.parametrize("kind", ["neurons", "gaussian", "sphere", "uniform", "saddle"])
def test_starts(kind: str) -> None:
    problem, start, _ = build(
        config(start={"kind": kind, "scale_a": 2.0, "scale_w": 0.5, "distance": 0.0})
    )
    a, w = map(np.asarray, start.particles)
    assert a.shape == (12, 2)
    assert w.shape == (12, 3)
    if kind == "sphere":
        np.testing.assert_allclose(np.linalg.norm(a, axis=1), 2.0)
        np.testing.assert_allclose(np.linalg.norm(w, axis=1), 0.5)
    if kind == "uniform":
        assert 1.0 < np.abs(a).max() <= 2.0
        assert np.abs(w).max() <= 0.5 / 3**0.5
    if kind == "saddle":
        assert missing_features(problem.landscape, start) == (1,)


def test_a_saddle_lies_at_its_level_and_its_distance() -> None:
    at, start, _ = build(config(start={"kind": "saddle", "distance": 0.0}))
    value = float(at.landscape.value(start))
    assert value == pytest.approx(saddle_level((1.0, 0.5), (1,)), rel=1e-9)
    near = build(config(start={"kind": "saddle", "distance": 1e-2}))[1]
    moved = jax.tree.map(np.subtract, near.particles, start.particles)
    assert float(start.norm(moved)) == pytest.approx(1e-2, rel=1e-6)
    assert float(at.landscape.value(near)) < value


def test_a_start_from_a_file(tmp_path: Path) -> None:
    start = build(config())[1]
    file = save_ensemble(tmp_path / "mu.npz", start)
    assert_same_bits(build(config(start={"kind": "file", "file": str(file)}))[1], start)
    with pytest.raises(InvalidInput, match=r"holds particles of shapes .* the landscape needs"):
        build(config({"dim": 4}, {"kind": "file", "file": str(file)}))


def test_given_data_is_taken_as_it_is(data) -> None:
    x, f = samples()
    for kind, landscape in (
        ("attention", MLPAttentionLandscape),
        ("regression", RegressionLandscape),
    ):
        problem, start, _ = build(config({"data": data(), "kind": kind, "activation": "relu"}))
        assert isinstance(problem.landscape, landscape)
        np.testing.assert_array_equal(problem.landscape.x, x)
        np.testing.assert_array_equal(problem.landscape.f, f)
        assert problem.positions is None
        assert start.particles.w.shape == (12, x.shape[1])


def test_whole_numbers_and_truth_values_are_numbers(data) -> None:
    x, f = load_data(data(x=np.eye(4, dtype="uint8"), f=np.eye(4) > 0))
    assert x.dtype == f.dtype == np.float64
    np.testing.assert_array_equal(f, np.eye(4))


@pytest.mark.parametrize(
    ("ratio", "expected"), [("limit", None), ("frozen", np.inf), (0.25, 0.25), (np.inf, np.inf)]
)
def test_ratios(ratio, expected: float | None) -> None:
    assert build(config(flow=FlowConfig(ratio=ratio)))[2].ratio == expected


def test_flow_options() -> None:
    flow = build(config(flow=FlowConfig(scheme="adaptive", rtol=1e-3, atol=1e-4, chunk=5)))[2]
    assert (float(flow.scheme.rtol), float(flow.scheme.atol), flow.chunk) == (1e-3, 1e-4, 5)
    assert not build(config(flow=FlowConfig(scheme="euler")))[2].scheme.adaptive


X, F = samples()
NAN = np.where(np.arange(F.size).reshape(F.shape) == 5, np.nan, F)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"f": NAN}, "f[2, 1] is nan; all entries must be finite"),
        ({"x": X[:-1]}, "x has shape (23, 3) and f has shape (24, 2); they must be (samples, "),
        ({"x": X[:, 0]}, "x has shape (24,) and f has shape (24, 2)"),
        ({"x": X[:0], "f": F[:0]}, "the same, non-zero number of samples"),
        ({"x": X.astype(str)}, "x has dtype <U"),
        ({"f": F + 0j}, "f has dtype complex128; give real numbers."),
        ({"x": X.astype(object)}, "is not an .npz file of plain named arrays."),
        ({"x": X[:1], "f": F[:1]}, "f has k = 2 target features but only M = 1 samples"),
    ],
)
def test_data_that_cannot_be_used(arrays: dict, sentence: str, data) -> None:
    with pytest.raises(InvalidInput) as error:
        build(config({"data": data(**arrays)}))
    assert sentence in str(error.value)


def test_data_without_a_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", X=X, y=F)
    with pytest.raises(
        InvalidInput, match=r"has the arrays \['X', 'y'\]; it must have x \(samples"
    ):
        load_data(tmp_path / "data.npz")


@pytest.mark.parametrize("content", [b"", b"x,f\n1,2\n", b"PK\x03\x04 broken", "npy", "cut"])
def test_data_that_is_no_npz(content: bytes | str, tmp_path: Path) -> None:
    file = tmp_path / "data.npz"
    if content == "npy":
        with file.open("wb") as stream:
            np.save(stream, X)
    elif content == "cut":
        np.savez(file, x=X, f=F)
        file.write_bytes(file.read_bytes()[:-40])
    else:
        file.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"data\.npz is not an \.npz file of plain named arrays"):
        load_data(file)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (config(start={"particles": 0}), "start.particles is 0; an ensemble needs at least one."),
        (config({"samples": 0}), "samples is 0 and dim is 3; both must be positive."),
        (config({"dim": -1}), "dim is -1; both must be positive."),
        (config({"samples": 3, "spectrum": (1.0,) * 5}), "the targets span only 3 dimensions"),
        (config({"teacher_neurons": 1}), "landscape.teacher_neurons is 1; it must be at least the"),
        (config({"spectrum": (1.0, -0.5)}), "spectrum is [1.0, -0.5]; its entries must be posit"),
        (config({"ridge": -1.0}), "ridge is -1.0; it must be finite and not negative."),
        (config({"context_length": 0.5}), "context_length is 0.5; it must be at least 1."),
        (config({"symmetric": (3,)}), "symmetric is [3]; coordinates run from 0 to 2"),
        (config(start={"kind": "saddle", "missing": (2,)}), "missing is [2]; features run from 0"),
        (config({"ridge": 0.1}, {"kind": "saddle"}), "needs ridge 0 and infinite context_length"),
        (config({"kind": "regression"}, {"kind": "saddle"}), "start.kind is 'saddle', which needs"),
        (config(flow=FlowConfig(ratio=-1.0)), "ratio is -1.0; it must be positive"),
        (config(flow=FlowConfig(rtol=0.0)), "rtol is 0.0 and atol is 1e-08; both must be positive"),
        (
            config({"kind": "regression"}, flow=FlowConfig(ratio=0.1)),
            "flow.ratio is 0.1, but the regression landscape has no fast variables",
        ),
    ],
)
def test_what_is_wrong_is_said(settings: Config, sentence: str) -> None:
    with pytest.raises(InvalidInput) as error:
        build(settings)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_saddle_needs_the_teacher(data) -> None:
    with pytest.raises(
        InvalidInput, match=r"start\.kind is 'saddle', which needs .* drawn samples"
    ):
        build(config({"data": data()}, {"kind": "saddle"}))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        build(config({"data": "nowhere.npz"}))
