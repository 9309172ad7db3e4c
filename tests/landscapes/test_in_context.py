"""Predictions from prompts, and their error against prompt length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import attention, attention_matrix, close, cloud

from landscapes import Neuron
from landscapes.mlp_attention import in_context_error, predict_in_context

KEY, W = jax.random.key(3), attention_matrix()


@pytest.mark.parametrize("fast", [None, W], ids=["equilibrium", "given"])
def test_prediction_against_a_literal_loop(fast):
    landscape, mu = attention(ridge=0.1), cloud(weighted=True)
    rng = np.random.default_rng(0)
    xs, ys, query = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=3)

    def network(x):
        neurons = zip(mu.weights, mu.particles.a, mu.particles.w, strict=True)
        return sum(float(p) * np.asarray(a) * np.tanh(float(w @ x)) for p, a, w in neurons)

    h = np.stack([network(x) for x in np.asarray(landscape.x)])
    attends = np.linalg.inv(h.T @ h / len(h) + 0.1 * np.eye(2)) if fast is None else fast
    expected = sum(
        y * network(x) @ np.asarray(attends) @ network(query) for x, y in zip(xs, ys, strict=True)
    )
    predicted = predict_in_context(landscape, mu, *map(jnp.asarray, (xs, ys, query)), fast)
    close(predicted, expected / 4, scale=10)


def test_measured_error_is_the_expected_one():
    """In standard errors; on the training points and on others, for W at equilibrium and given."""
    landscape, fresh, mu = attention(ridge=0.1), attention(seed=9), cloud()
    mu = mu.with_particles(Neuron(5 * mu.particles.a, mu.particles.w))  # outputs of order one
    for options in ({}, {"test": fresh, "fast": W}):
        result = in_context_error(KEY, landscape, mu, [1, 16], prompts=16_000, **options)
        assert (abs(result.deviation) < 4).all()
        assert result.lengths.tolist() == [1, 16]
        test = options.get("test", landscape)
        assert result.zero == pytest.approx(0.5 * np.mean(np.sum(np.asarray(test.f) ** 2, axis=1)))
    assert np.ptp(result.expected) > 4 * result.standard_error.max()  # the length matters


def test_expected_error_is_the_risk_without_its_ridge():
    """At any length, whatever ridge and length the landscape was trained with."""
    trained, mu = attention(ridge=0.1, context_length=7), cloud()
    w = trained.solve_fast(trained.moments(mu))
    result = in_context_error(KEY, trained, mu, [5], prompts=2)
    close(result.expected[0], float(attention(context_length=5).value(mu, w)))


def test_keys_decide():
    landscape, mu = attention(ridge=0.1), cloud()
    one, same, other = (
        in_context_error(jax.random.key(k), landscape, mu, [3], prompts=64) for k in (0, 0, 1)
    )
    assert one.measured[0] == same.measured[0] != other.measured[0]
    assert one.expected[0] == other.expected[0]
