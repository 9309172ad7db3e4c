"""Problems: equal seeds give equal problems, what theory predicts is so, mistakes are said."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flow_cases import assert_same_bits
from helpers import samples

from landscapes import MLPAttentionLandscape, RegressionLandscape, neuron_start
from landscapes.mlp_attention import missing_features, saddle_level
from meanfield import Config, Problem, load
from meanfield.problems import (
    PROBLEMS,
    Accelerated,
    Attention,
    DefaultStart,
    FileStart,
    GaussianStart,
    Gradient,
    LinearAttention,
    NeuronsStart,
    Regression,
    SaddleStart,
    SoftmaxAttention,
    SphereStart,
    UniformStart,
    build_problem,
    draw_start,
    load_data,
    problem_key,
)
from particles import InvalidInput, save_ensemble
from saddle_analysis import criticality_report

SMALL = {"dim": 3, "samples": 32, "teacher_neurons": 5, "spectrum": (1.0, 0.5)}


def config(problem: dict | None = None, start: Any = None, **rest) -> Config:
    return Config(
        particles=12,
        problem=Attention(**(SMALL | (problem or {}))),
        start=DefaultStart() if start is None else start,
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
    one, two, other = (load(config(seed=seed)) for seed in (3, 3, 4))
    assert_same_bits((one[0].landscape, one[1]), (two[0].landscape, two[1]))
    for a, b in zip(
        *(jax.tree.leaves((p.landscape.x, p.landscape.f, s)) for p, s, _ in (one, other)),
        strict=True,
    ):
        assert not np.array_equal(a, b)


def test_the_start_does_not_change_the_landscape() -> None:
    one, two = load(config()), load(config(start=GaussianStart()))
    assert_same_bits(one[0].landscape, two[0].landscape)


@pytest.mark.parametrize("kind", list(PROBLEMS))
def test_every_kind_builds_a_problem_that_starts(kind: str) -> None:
    problem = build_problem(PROBLEMS[kind](), 0)
    assert problem.name == kind
    start = draw_start(DefaultStart(), problem, 0, 6)
    problem.landscape.require_fit(start)
    loss = float(problem.landscape.value(start))
    assert np.isfinite(loss)
    for redraw in problem.redraws.values():
        assert np.isfinite(float(redraw(problem_key(1), 16).value(start)))
    if problem.fresh is not None:
        assert np.isfinite(float(problem.fresh().value(start)))


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (Attention(**SMALL), (1,)),
        (Attention(**SMALL), (0, 1)),
        (LinearAttention(eigenvalues=(1.0, 0.5)), (0, 1)),
        (LinearAttention(parameters="separate", eigenvalues=(1.0, 0.5, 0.25)), (0,)),
        (LinearAttention(parameters="separate", eigenvalues=(1.0, 0.5, 0.25)), (0, 2)),
        # The second direction carries most, so a head on the first turns towards it.
        (
            LinearAttention(
                parameters="separate", eigenvalues=(0.5, 1.0), task_eigenvalues=(4.0, 1.0)
            ),
            (1,),
        ),
    ],
)
def test_what_theory_predicts_of_saddles_is_so(options: Any, missing: tuple[int, ...]) -> None:
    problem = build_problem(options, 0)
    saddle = problem.require("saddle", "a test")(problem_key(5), 8, missing)
    predicted = problem.require("predicted", "a test")(saddle)
    found = criticality_report(
        problem.landscape, saddle, count=max(1, predicted.index), expected=max(1, predicted.index)
    )
    assert found.gradient_norm < 1e-10
    assert found.value == pytest.approx(predicted.level, rel=1e-9)
    assert found.index == predicted.index
    assert any(level == pytest.approx(predicted.level) for level in problem.levels.values()) or (
        isinstance(options, LinearAttention) and predicted.name != "origin"
    )


STARTS = [NeuronsStart, GaussianStart, SphereStart, UniformStart, SaddleStart]


@pytest.mark.parametrize("kind", STARTS)
def test_starts(kind: type) -> None:
    options = {
        NeuronsStart: {"scale_a": 2.0, "scale_w": 0.5},
        GaussianStart: {"scale": 2.0},
        SphereStart: {"radius": 2.0},
        UniformStart: {"scale": 2.0},
        SaddleStart: {"distance": 0.0},
    }
    problem, start, _ = load(config(start=kind(**options[kind])))
    a, w = map(np.asarray, start.particles)
    assert a.shape == (12, 2)
    assert w.shape == (12, 3)
    if kind is SphereStart:
        np.testing.assert_allclose(np.linalg.norm(a, axis=1), 2.0)
        np.testing.assert_allclose(np.linalg.norm(w, axis=1), 2.0)
    if kind is UniformStart:
        assert 1.0 < np.abs(a).max() <= 2.0
        assert 1.0 < np.abs(w).max() <= 2.0
    if kind is SaddleStart:
        assert missing_features(problem.landscape, start) == (1,)


def test_starts_on_evenly_spread_points() -> None:
    """Antithetic draws of every kind have mean zero, the problem's own law among them."""
    kinds = (NeuronsStart, GaussianStart, SphereStart, UniformStart, DefaultStart)
    for kind in kinds:
        a, w = map(np.asarray, load(config(start=kind(points="antithetic"))).start.particles)
        np.testing.assert_allclose([a.mean(), w.mean()], 0.0, atol=1e-15)
    assert not any(kind(points="sobol").independent for kind in kinds)


def test_inputs_on_evenly_spread_points() -> None:
    landscape = load(config({"points": "sobol", "whiten": True})).problem.landscape
    np.testing.assert_allclose(landscape.x.T @ landscape.x / 32, np.eye(3), atol=1e-14)


def test_a_start_of_ones_own_without_points_says_so() -> None:
    landscape = RegressionLandscape(*samples())
    problem = Problem(landscape, lambda key, size: neuron_start(key, landscape, size))
    with pytest.raises(InvalidInput, match=r"start\.points is 'sobol', but the start of"):
        draw_start(DefaultStart(points="sobol"), problem, 0, 12)


def test_a_saddle_lies_at_its_level_and_its_distance() -> None:
    at, start, _ = load(config(start=SaddleStart(distance=0.0)))
    value = float(at.landscape.value(start))
    assert value == pytest.approx(saddle_level((1.0, 0.5), (1,)), rel=1e-9)
    near = load(config(start=SaddleStart(distance=1e-2))).start
    moved = jax.tree.map(np.subtract, near.particles, start.particles)
    assert float(start.norm(moved)) == pytest.approx(1e-2, rel=1e-6)
    assert float(at.landscape.value(near)) < value


def test_a_start_from_a_file(tmp_path: Path) -> None:
    start = load(config()).start
    file = str(save_ensemble(tmp_path / "mu.npz", start))
    assert_same_bits(load(config(start=FileStart(file))).start, start)
    with pytest.raises(InvalidInput, match=r"holds particles of shapes .* the landscape needs"):
        load(config({"dim": 4}, FileStart(file)))


def test_given_data_is_taken_as_it_is(data) -> None:
    x, f = samples()
    for kind, landscape in ((Attention, MLPAttentionLandscape), (Regression, RegressionLandscape)):
        problem, start, _ = load(Config(particles=12, problem=kind(data=data(), activation="relu")))
        assert isinstance(problem.landscape, landscape)
        np.testing.assert_array_equal(problem.landscape.x, x)
        np.testing.assert_array_equal(problem.landscape.f, f)
        assert problem.saddle is None
        assert list(problem.redraws) == ["bootstrap"]
        assert start.particles.w.shape == (12, x.shape[1])


def test_whole_numbers_and_truth_values_are_numbers(data) -> None:
    x, f = load_data(data(x=np.eye(4, dtype="uint8"), f=np.eye(4) > 0))
    assert x.dtype == f.dtype == np.float64
    np.testing.assert_array_equal(f, np.eye(4))


@pytest.mark.parametrize(("ratio", "expected"), [("limit", None), ("frozen", np.inf), (0.25, 0.25)])
def test_ratios(ratio, expected: float | None) -> None:
    assert load(config(flow=Gradient(ratio=ratio))).flow.ratio == expected


def test_flow_options() -> None:
    flow = load(config(flow=Gradient(rtol=1e-3, atol=1e-4, chunk=5))).flow
    assert (float(flow.scheme.rtol), float(flow.scheme.atol), flow.chunk) == (1e-3, 1e-4, 5)
    assert not load(config(flow=Gradient(scheme="euler"))).flow.scheme.adaptive


X, F = samples()
NAN = np.where(np.arange(F.size).reshape(F.shape) == 5, np.nan, F)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"f": NAN}, "f[2, 1] is nan; all entries must be finite"),
        ({"x": X[:-1]}, "x has shape (23, 3) and f has shape (24, 2); they must be samples × "),
        ({"x": X[:, 0]}, "x has shape (24,) and f has shape (24, 2)"),
        ({"x": X[:0], "f": F[:0]}, "the same, non-zero number of samples"),
        ({"x": X.astype(str)}, "x has dtype <U"),
        ({"f": F + 0j}, "f has dtype complex128; give real numbers."),
        ({"x": X.astype(object)}, "is not an .npz file of plain named arrays."),
        ({"x": X[:1], "f": F[:1]}, "f has k = 2 target features but only M = 1 samples"),
        ({"f": 0 * F}, "f is zero everywhere; there is nothing to learn."),
        ({"f": F * [1, 0]}, "column 1 of f (counting from 0) is zero everywhere; leave it out."),
        ({"f": F[:, [0, 0]]}, "two columns of f are equal; leave one out."),
    ],
)
def test_data_that_cannot_be_used(arrays: dict, sentence: str, data) -> None:
    with pytest.raises(InvalidInput) as error:
        load(Config(problem=Attention(data=data(**arrays))))
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
        (config({"samples": 3, "spectrum": (1.0,) * 5}), "the targets span only 3 dimensions"),
        (config({"teacher_neurons": 1}), "problem.teacher_neurons is 1; it must be at least the"),
        (config({"spectrum": ()}), "problem.spectrum is empty"),
        (config({"ridge": -1.0}), "problem.ridge is -1.0; it must be "),
        (config({"symmetric": (3,)}), "symmetric is [3]; coordinates run from 0 to 2"),
        (config({"data": "d.npz"}), "problem.dim is 3, but problem.data is given, where it does"),
        (config(start=SaddleStart(missing=(2,))), "missing is [2]; features run from 0"),
        (config(start=SaddleStart(missing=(1, 1))), "missing is [1, 1]; name each feature once."),
        (config({"ridge": 0.1}, SaddleStart()), "problem 'attention' has no `saddle`, which start"),
        (config(start=FileStart()), "start.file is empty, but start is 'file'; name an .npz."),
        (config(flow=Gradient(scheme="euler", rtol=1e-3)), "flow.rtol is 0.001, but flow.scheme"),
        (
            Config(problem=Regression(**SMALL), start=SaddleStart()),
            "give its Problem a function saddle(key, size, missing)",
        ),
        (
            Config(particles=4, problem=Regression(**SMALL), flow=Gradient(ratio=0.1)),
            "no fast variables",
        ),
        (
            Config(problem=LinearAttention(), start=NeuronsStart()),
            "start is 'neurons', but the particles of problem 'linear-attention' are no neurons",
        ),
        (
            Config(problem=LinearAttention(task_eigenvalues=(1.0, 2.0))),
            "problem.task_eigenvalues has 2 entries and problem.eigenvalues 4; give one for each",
        ),
        (
            Config(problem=LinearAttention(task_eigenvalues=(1.0, 2.0, 0.0, 1.0))),
            "problem.task_eigenvalues is (1.0, 2.0, 0.0, 1.0); it must be above 0",
        ),
        (Config(problem=LinearAttention(rank=2)), "problem.rank is 2, but problem.parameters is"),
        (
            Config(problem=SoftmaxAttention(length=np.inf)),
            "problem.prompts is 128, but problem.length is infinite",
        ),
        (
            Config(problem=LinearAttention(), start=SaddleStart(missing=(1,))),
            "with merged parameters the only saddle is the origin",
        ),
        (
            Config(particles=9 * 10**9, problem=Attention(**SMALL)),
            "particles is 9000000000: the ensemble, its velocity and one stage need ",
        ),
        (Config(precision="float32"), "precision is 'float32', but JAX computes in float64"),
    ],
)
def test_what_is_wrong_is_said(settings: Config, sentence: str) -> None:
    def run() -> None:
        start, flow = load(settings)[1:]
        flow.start(start, 0.1)

    with pytest.raises(InvalidInput) as error:
        run()
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_saddle_needs_the_teacher(data) -> None:
    with pytest.raises(InvalidInput, match="problem 'attention' has no `saddle`"):
        load(Config(problem=Attention(data=data()), start=SaddleStart()))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        load(Config(problem=Attention(data="nowhere.npz")))


def test_a_landscape_alone_is_a_problem() -> None:
    @dataclasses.dataclass(frozen=True)
    class Alone:
        def build(self, key):
            return build_problem(Attention(**SMALL), 0).landscape

    @dataclasses.dataclass(frozen=True)
    class Nothing:
        def build(self, key):
            return 3

    problem = build_problem(Alone(), 0)
    assert isinstance(problem, Problem)
    assert problem.start(problem_key(0), 4).size == 4
    with pytest.raises(InvalidInput, match="builds int; it must give a Problem or a Landscape"):
        build_problem(Nothing(), 0)


def test_the_accelerated_flow_is_a_kind() -> None:
    flow = load(config(flow=Accelerated(damping=2.0))).flow
    assert type(flow).__name__ == "AcceleratedFlow"
