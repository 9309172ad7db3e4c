"""Many softmax heads on regression: against a dense formula, drawn prompts, and exact spectra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscapes import MultiHeadLandscape
from landscapes.softmax_attention import AttentionHead, attention_head_start
from particles import Ensemble, InvalidInput
from saddle_analysis import HessianOperator

LANDSCAPE = MultiHeadLandscape(dim=6, length=90, noise=0.4)


def dense(value: np.ndarray, score: np.ndarray, p: np.ndarray) -> float:
    """L with all powers, as a double sum over heads."""
    answer = p @ (value * score)
    pairs = np.exp(6 * np.outer(score, score)) * np.outer(p * value, p * value)
    return float(0.16 + (1 - answer) ** 2 + 1.16 / 90 * pairs.sum())


def test_value_and_velocity_against_all_powers() -> None:
    rng = np.random.default_rng(0)
    value, score, p = rng.normal(size=4), 0.4 * rng.normal(size=4), rng.uniform(0.2, 1, 4)
    p /= p.sum()
    mu = Ensemble(AttentionHead(jnp.asarray(value), jnp.asarray(score)), jnp.asarray(p))
    assert float(LANDSCAPE.value(mu)) == pytest.approx(dense(value, score, p), abs=1e-12)
    velocity, step = LANDSCAPE.velocity(mu), 1e-5
    for i, unit in enumerate(step * np.eye(4)):
        slopes = (
            (dense(value + unit, score, p) - dense(value - unit, score, p)) / (2 * step),
            (dense(value, score + unit, p) - dense(value, score - unit, p)) / (2 * step),
        )
        found = float(velocity.value[i]), float(velocity.score[i])
        assert found == pytest.approx(tuple(-slope / p[i] for slope in slopes), rel=1e-6, abs=1e-8)
    # What higher degrees hold is below its bound, and of its size.
    low = MultiHeadLandscape(6, 90, 0.4, degree=2)
    missed = dense(value, score, p) - float(low.value(mu))
    assert 0 < missed < low.truncation(mu)
    assert low.truncation(mu) < 100 * missed


def test_drawn_prompts_approach_the_formula() -> None:
    """Softmax over drawn tokens: the same loss in the limit of many dimensions and long prompts."""
    dim, length, prompts, noise = 40, 800, 1000, 0.3
    rng = np.random.default_rng(1)
    value, score = np.array([9.0, -6.0]), np.array([0.12, -0.1])
    errors = np.empty(prompts)
    for index in range(prompts):
        x, query = rng.normal(size=(length, dim)), rng.normal(size=dim)
        task = rng.normal(size=dim) / np.sqrt(dim)
        labels = x @ task + noise * rng.normal(size=length)
        attention = np.exp(np.outer(score, x @ query))
        attention /= attention.sum(axis=1, keepdims=True)
        answer = np.mean(value * (attention @ labels))
        errors[index] = (task @ query + noise * rng.normal() - answer) ** 2
    landscape = MultiHeadLandscape(dim, length, noise)
    mu = Ensemble(AttentionHead(jnp.asarray(value), jnp.asarray(score)))
    within = 4 * errors.std() / np.sqrt(prompts)
    assert float(landscape.value(mu)) == pytest.approx(errors.mean(), abs=within)
    assert within < 0.25 * errors.mean()


@pytest.mark.parametrize(("size", "negative"), [(4, 0), (4, 1), (4, 3)])
def test_one_head_among_several(size: int, negative: int) -> None:
    mu = LANDSCAPE.one_head(size, negative=negative)
    assert float(LANDSCAPE.value(mu)) == pytest.approx(LANDSCAPE.one_head_level, abs=1e-12)
    velocity = LANDSCAPE.velocity(mu)
    assert max(float(jnp.abs(leaf).max()) for leaf in velocity) < 1e-11
    values = np.linalg.eigvalsh(np.asarray(HessianOperator(LANDSCAPE, mu).dense()))
    assert int(np.sum(values < -1e-6)) == negative
    assert int(np.sum(np.abs(values) < 1e-6)) == size - 1
    if negative >= 2:
        smallest = float(mu.particles.value.min()) * LANDSCAPE.value_curvature
        assert values[0] == pytest.approx(smallest, rel=1e-9)


def test_a_pair_comes_as_near_linear_attention_as_one_likes() -> None:
    for score in (0.03, 0.003):
        answer = 1 / (1 + 1.16 / 90 * np.sinh(6 * score**2) / score**2)
        head = AttentionHead(jnp.array([1.0, -1.0]) * answer / score, jnp.array([1, -1]) * score)
        above = float(LANDSCAPE.value(Ensemble(head))) - LANDSCAPE.linear_level
        kappa = 1.16 * 6 / 90
        assert above == pytest.approx(kappa * 36 / 6 / (1 + kappa) ** 2 * score**4, rel=1e-2)


def test_heads_of_zeros_are_a_saddle() -> None:
    mu = Ensemble(AttentionHead(jnp.zeros(4), jnp.zeros(4)))
    values = np.linalg.eigvalsh(np.asarray(HessianOperator(LANDSCAPE, mu).dense()))
    mean = 1.16 / 90 + np.array([-1, 1]) * np.hypot(2, 1.16 / 90)
    np.testing.assert_allclose(values, np.sort([-2, -2, -2, 2, 2, 2, *mean]), atol=1e-9)
    assert float(LANDSCAPE.value(mu)) == pytest.approx(LANDSCAPE.zero_level)
    assert LANDSCAPE.truncation(mu) == 0


def test_refusals() -> None:
    for name, value, allowed in (
        ("dim", 0.0, "positive"),
        ("length", np.inf, "positive"),
        ("noise", -1.0, "at least 0"),
    ):
        with pytest.raises(
            InvalidInput, match=f"{name} is {value:g}; it must be {allowed} and finite"
        ):
            MultiHeadLandscape(**{name: value})
    with pytest.raises(InvalidInput, match="degree is 0"):
        MultiHeadLandscape(degree=0)
    with pytest.raises(InvalidInput, match="negative is 2 and size 2"):
        LANDSCAPE.one_head(2, negative=2)
    with pytest.raises(InvalidInput, match="size"):
        attention_head_start(jax.random.key(0), LANDSCAPE, 0)
