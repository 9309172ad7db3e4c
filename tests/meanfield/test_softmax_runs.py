"""Runs on softmax attention: order, phases, scaling, fresh prompts, a learning rate too large."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from results import written

from landscapes import SoftmaxAttentionLandscape
from landscapes.softmax_attention import (
    BalancedSoftmax,
    feature_probabilities,
    softmax_head_start,
)
from meanfield import FlowFailed, GradientFlow, every, simulate
from meanfield.reproductions import _hcl23_balanced as balanced
from meanfield.reproductions import _hcl23_curvature as hcl23_curvature
from meanfield.reproductions import _hcl23_imbalanced as dominant
from meanfield.runs import stable_step
from meanfield.studies import softmax_growth_study, softmax_imbalance_study, softmax_tail_study
from particles import InvalidInput
from saddle_analysis.curves import find_stages

K = 8
PHASES = ["turning away", "turning point", "growth", "convergence"]


@pytest.fixture(scope="module")
def imbalanced() -> SoftmaxAttentionLandscape:
    probabilities = feature_probabilities(K, 0.5)
    return SoftmaxAttentionLandscape.of_length(probabilities, 60, prompts=64, key=jax.random.key(0))


def start(landscape: SoftmaxAttentionLandscape):
    return softmax_head_start(jax.random.key(1), landscape)


def test_order_and_phases_against_scipy() -> None:
    """In the limit the rows are three numbers each: A_k, B_k1 and the other B_km."""
    p = feature_probabilities(K, 0.5)
    landscape = SoftmaxAttentionLandscape.of_length(p)
    run = simulate(
        GradientFlow(landscape, scheme="adaptive"),
        start(landscape),
        horizon=4000.0,
        dt=0.1,
        record=every(5.0),
    )
    t = run.trajectory["time"].values

    def velocity(time: float, row: np.ndarray) -> np.ndarray:
        logits = np.array([row[1], row[0], *[row[2]] * (K - 2)])  # of query 2
        a = p * np.exp(logits) / np.sum(p * np.exp(logits))
        miss = a - np.eye(K)[1]
        slope = a * (miss - miss @ a)
        return -p[1] * slope[[1, 0, 2]]

    solved = scipy.integrate.solve_ivp(velocity, (0, t[-1]), np.zeros(3), "LSODA", t, rtol=1e-9)
    own, others = run.trajectory["A"].values, run.trajectory["B"].values
    np.testing.assert_allclose(own[:, 1], solved.y[0], atol=2e-5)
    np.testing.assert_allclose(others[:, 1, 0], solved.y[1], atol=2e-5)
    np.testing.assert_allclose(others[:, 1, 2], solved.y[2], atol=2e-5)
    dominant, *rest = find_stages(t, own, others, run.trajectory["query_loss"].values)
    assert [stage.name for stage in dominant.stages] == ["growth", "convergence"]
    for query in rest:
        assert [stage.name for stage in query.stages] == PHASES
        assert query.dominant == 0
        assert query.converges > 5 * dominant.converges
    # Where A_k's growth overtakes, by the velocities themselves.
    rates = np.array([velocity(0, row) for row in solved.y.T])
    overtakes = t[np.argmax(rates[:, 0] > -rates[:, 1])]
    rapid = t[np.argmax(rates[:, 0] > -2 * rates[:, 1])]
    assert rest[0].boundaries[:2] == pytest.approx([overtakes, rapid], abs=6)


def test_growth_study_follows_the_exact_times() -> None:
    study = softmax_growth_study([3, 4, 6], length=40, prompts=256, key=jax.random.key(3))
    assert [times.size for times in study.times] == [3, 4, 6]
    for times, exact in zip(study.times, study.predicted, strict=True):
        # Each query sees the same 256 prompts: a few percent of scatter, and a mean within it.
        scatter = np.std(times, ddof=1)
        assert scatter < 0.2 * exact
        assert abs(times.mean() - exact) < 4 * scatter / np.sqrt(times.size) + 0.02 * exact
    assert study.predicted == pytest.approx(
        [BalancedSoftmax(k, 40).growth_time() for k in (3, 4, 6)]
    )
    low, high = study.law.low, study.law.high
    assert low - 0.1 < study.predicted_law.exponent < high + 0.1


def test_tail_study_finds_the_law() -> None:
    study = softmax_tail_study([4, 6, 8], horizon=1e6)
    np.testing.assert_allclose(study.losses, study.predicted, rtol=1e-4)
    assert [law.exponent for law in study.time_laws] == pytest.approx([-1] * 3, abs=0.02)
    assert study.size_law.exponent == pytest.approx(1, abs=0.01)
    assert study.size_law.prefactor == pytest.approx(0.25, rel=0.02)


def test_imbalance_study() -> None:
    study = softmax_imbalance_study(K, [0.2, 0.5, 0.8])
    assert np.all(np.diff(study.other_times) > 0)
    assert np.all(study.dominant_times < study.other_times)
    assert study.phases.tolist() == [2, 4, 4]
    assert -2 < study.law.exponent < -1


def test_studies_refuse_bad_input() -> None:
    with pytest.raises(InvalidInput, match=r"^sizes is \[4, 4\]"):
        softmax_growth_study([4, 4])
    with pytest.raises(InvalidInput, match=r"^sizes is \[4\]"):
        softmax_tail_study([4])
    with pytest.raises(InvalidInput, match=r"^dominant is \[0.5\]"):
        softmax_imbalance_study(4, [0.5])


def test_fresh_prompts_train_like_the_expectation(imbalanced: SoftmaxAttentionLandscape) -> None:
    """SGD on fresh prompts scatters about exact gradient descent, less for larger batches."""
    probabilities = feature_probabilities(3, 0.5)
    landscape = SoftmaxAttentionLandscape.of_length(probabilities, 6)
    steps = {"horizon": 60.0, "dt": 0.5, "record": every(60.0)}
    descent = simulate(GradientFlow(landscape, scheme="euler"), start(landscape), **steps)
    away = []
    for batch in (4, 64):
        flow = GradientFlow(landscape, scheme="euler", batch_size=batch)
        starts = jax.tree.map(lambda leaf: jnp.stack([leaf] * 16), start(landscape))
        run = simulate(flow, starts, **steps, key=jax.random.key(4), batch=True)
        moved = run.ensemble.particles - descent.ensemble.particles
        away.append(float(jnp.sqrt(jnp.mean(moved**2))))
    size = float(jnp.sqrt(jnp.mean(descent.ensemble.particles**2)))
    assert away[1] < 0.2 * size
    # 1/√batch: a factor of 4, with 16 seeds known to about a fifth; nonlinearity adds to the first.
    assert 2.5 < away[0] / away[1] < 7


def test_a_learning_rate_above_stability_is_named(imbalanced: SoftmaxAttentionLandscape) -> None:
    stable = stable_step(GradientFlow(imbalanced), start(imbalanced))
    flow = GradientFlow(imbalanced, scheme="euler")
    rate = 40 * stable
    with pytest.raises(FlowFailed, match="so the step is too large") as failed:
        simulate(flow, start(imbalanced), horizon=100 * rate, dt=rate, record=every(rate))
    message = str(failed.value)
    assert f"dt = {rate:.3g}" in message
    remedy = float(message.split("Try dt = ")[1].split(",")[0])
    assert remedy == pytest.approx(stable, rel=0.1)
    simulate(flow, start(imbalanced), horizon=100 * remedy, dt=remedy, record=every(remedy))


SIZES = [4, 8, 16]
KEYS = jax.random.split(jax.random.key(0), 2)


@pytest.mark.slow
def test_balanced_features(tmp_path: Path) -> None:
    trained = written(balanced.training(KEYS[:1], 10, 96), tmp_path / "training")
    assert [figure.name for figure in trained.figures] == ["training", "attention"]
    written(balanced.growth(KEYS[:1], SIZES, 96), tmp_path / "growth")
    written(balanced.tail(SIZES), tmp_path / "tail")
    written(balanced.floors(), tmp_path / "floors")


def test_curvature_of_the_balanced_start(tmp_path: Path) -> None:
    found = written(hcl23_curvature.start_curvature(6), tmp_path)
    assert found.claims[-1].measured == 6
    assert found.title == balanced.TITLES[-1]
    assert found.figures[0].name == "spectrum"


@pytest.mark.slow
def test_one_dominant_feature(tmp_path: Path) -> None:
    trained = written(dominant.training(KEYS[:1], 10, 96), tmp_path / "training")
    assert [figure.name for figure in trained.figures] == ["training", "attention"]
    assert len(trained.figures[0].panels) == 2
    written(dominant.imbalance(10), tmp_path / "imbalance")
    found = written(hcl23_curvature.run_curvature(10), tmp_path / "curvature")
    assert len(found.figures[0].panels) == 3
    assert found.title == dominant.TITLES[2]


@pytest.mark.slow
def test_heads_with_one_dominant_feature(tmp_path: Path) -> None:
    written(dominant.several_heads(KEYS, 10), tmp_path / "several")
    written(dominant.many_heads(0, [8, 16, 32, 64]), tmp_path / "many")
