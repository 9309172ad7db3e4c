"""Closed forms of softmax attention against the landscape, enumeration and quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from helpers import close

from landscapes.softmax_attention import (
    BalancedSoftmax,
    SoftmaxAttentionLandscape,
    every_prompt,
    feature_probabilities,
    query_floor,
    query_hessian,
    softmax_head_start,
    starting_velocity,
)
from particles import Ensemble, InvalidInput
from saddle_analysis import HessianOperator

K = 4
UNEVEN = np.array([0.5, 0.25, 0.15, 0.1])


@pytest.mark.parametrize("length", [1, 2, 6, np.inf])
def test_starting_velocity(length: float) -> None:
    landscape = SoftmaxAttentionLandscape.of_length(UNEVEN, length)
    velocity = landscape.velocity(softmax_head_start(jax.random.key(0), landscape))[0]
    close(velocity, starting_velocity(UNEVEN, length))


@pytest.mark.parametrize("length", [1, 3, 8])
def test_floor_by_enumeration(length: int) -> None:
    counts, chances = every_prompt(UNEVEN, length)
    for k, floor in enumerate(query_floor(UNEVEN, length)):
        lacks = counts[:, k] == 0
        left = 0.5 * chances[lacks] @ (1 + np.sum((counts[lacks] / length) ** 2, axis=1))
        assert floor == pytest.approx(left, rel=1e-12)
    assert query_floor(UNEVEN, np.inf).tolist() == [0, 0, 0, 0]


def balanced_head(gap: float) -> Ensemble:
    """A_k − B_km = gap, rows summing to zero."""
    return Ensemble(gap * (jnp.eye(K) - 1 / K)[None])


@pytest.mark.parametrize("length", [1, 5, np.inf])
@pytest.mark.parametrize("gap", [0.0, 0.7, 3.0])
def test_balanced_loss_and_velocity(length: float, gap: float) -> None:
    theory = BalancedSoftmax(K, length)
    landscape = SoftmaxAttentionLandscape.of_length(feature_probabilities(K), length)
    value, velocity = landscape.value_and_velocity(balanced_head(gap))
    assert float(value) == pytest.approx(theory.loss(gap), rel=1e-12)
    opening = -theory.slope(gap) / (K - 1)  # dδ/dt
    close(velocity, opening * (jnp.eye(K) - 1 / K)[None])


@pytest.mark.parametrize(("length", "gap"), [(5, 0.0), (5, 1.5), (np.inf, 0.0)])
def test_balanced_curvature_is_an_eigenvalue_for_each_query(length: float, gap: float) -> None:
    landscape = SoftmaxAttentionLandscape.of_length(feature_probabilities(K), length)
    spectrum = np.linalg.eigvalsh(HessianOperator(landscape, balanced_head(gap)).dense())
    predicted = BalancedSoftmax(K, length).curvature(gap)
    assert np.sum(np.abs(spectrum - predicted) < 1e-12) == K


@pytest.mark.parametrize("length", [6, np.inf])
def test_balanced_training(length: float) -> None:
    """The one-number equation against the flow of all logits, integrated by scipy."""
    theory = BalancedSoftmax(K, length)
    landscape = SoftmaxAttentionLandscape.of_length(feature_probabilities(K), length)
    start = softmax_head_start(jax.random.key(0), landscape)
    times = np.array([5.0, theory.growth_time(), 200.0, 2000.0])

    def velocity(t: float, logits: np.ndarray) -> np.ndarray:
        moved = start.with_particles(jnp.asarray(logits.reshape(1, K, K)))
        return np.asarray(landscape.velocity(moved)).ravel()

    solved = scipy.integrate.solve_ivp(
        velocity, (0, times[-1]), np.zeros(K * K), "LSODA", times, rtol=1e-9, atol=1e-12
    )
    logits = solved.y.T.reshape(-1, K, K)
    np.testing.assert_allclose(logits[:, 0, 0] - logits[:, 0, 1], theory.gaps(times), rtol=1e-6)
    values = [float(landscape.value(Ensemble(jnp.asarray(q)[None]))) for q in logits]
    np.testing.assert_allclose(values, theory.losses(times), rtol=1e-6)
    excess = (values[1] - theory.floor) / (theory.loss(0.0) - theory.floor)
    assert excess == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize("length", [12, np.inf])
def test_balanced_tail(length: float) -> None:
    """(L − floor) t tends to (K − 1)/4; the correction falls like t^(−1/2)."""
    theory = BalancedSoftmax(K, length)
    times = np.array([1e6, 4e6, 16e6])
    ratio = (theory.losses(times) - theory.floor) / (theory.tail(times) - theory.floor) - 1
    assert np.all(np.abs(ratio) < 0.02)
    np.testing.assert_allclose(ratio[:-1] / ratio[1:], 2, rtol=0.1)


def test_growth_time_of_long_prompts_by_hand() -> None:
    """∫ dx / (x²(1 − x)³) from 1/K to the x where the loss is a quarter of its start."""
    for features in (5, 20, 100):
        end = 0.5 * (1 + 1 / features)

        def primitive(x: float) -> float:
            return -1 / x + 3 * np.log(x / (1 - x)) + 2 / (1 - x) + 0.5 / (1 - x) ** 2

        time = (features - 1) ** 2 / features * (primitive(end) - primitive(1 / features))
        assert BalancedSoftmax(features).growth_time() == pytest.approx(time, rel=1e-8)


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"^share is 1"):
        BalancedSoftmax(K).growth_time(1.0)
    with pytest.raises(InvalidInput, match=r"^length is 0"):
        BalancedSoftmax(K, 0)
    with pytest.raises(InvalidInput, match=r"^features is 1"):
        BalancedSoftmax(1)


def test_query_hessian_by_automatic_differentiation() -> None:
    landscape, rng = SoftmaxAttentionLandscape.of_length(UNEVEN), np.random.default_rng(1)
    logits = rng.normal(size=(K, K))
    head = Ensemble(jnp.asarray(logits)[None])
    attention = np.asarray(landscape.moments(head).attention[:, 0])
    blocks = HessianOperator(landscape, head).dense().reshape(K, K, K, K)
    for k in range(K):
        close(blocks[k, :, k], UNEVEN[k] * query_hessian(attention[k], k))
        for other in range(k):
            close(blocks[k, :, other], np.zeros((K, K)))
    with pytest.raises(InvalidInput, match=r"^query is 4"):
        query_hessian(attention[0], 4)
