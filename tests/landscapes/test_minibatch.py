"""Batches of fresh prompts: unbiased, and noisy as 1/B."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flow_cases import Springs
from helpers import attention, attention_matrix, cloud, regression

from landscapes import Confined, Landscape
from particles import InvalidInput

DRAWS = 2000

CASES = {
    "regression": (regression(), None),
    "confined": (Confined(regression(), 0.3), None),
    "attention": (attention(ridge=0.2), None),
    "finite prompts": (attention(ridge=0.2, context_length=4), None),
    "given W": (attention(ridge=0.2, context_length=4), attention_matrix()),
}


def draws(landscape: Landscape, fast, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses and velocities of many batches."""
    mu = cloud(size=5)

    @jax.jit
    def all_of_them(keys: jax.Array):
        one = lambda key: landscape.minibatch(key, size).value_and_velocity(mu, fast)  # noqa: E731
        return jax.lax.map(one, keys, batch_size=100)

    value, velocity = all_of_them(jax.random.split(jax.random.key(1), DRAWS))
    leaves = [np.asarray(leaf).reshape(DRAWS, -1) for leaf in jax.tree.leaves(velocity)]
    return np.asarray(value), np.concatenate(leaves, axis=1)


@pytest.mark.parametrize("case", CASES)
def test_unbiased_in_value_and_velocity(case: str) -> None:
    """Every coordinate within 5 standard errors; there are 25, and seeds are fixed."""
    landscape, fast = CASES[case]
    mu = cloud(size=5)
    value, velocity = draws(landscape, fast, 8)
    expected, field = landscape.value_and_velocity(mu, fast)
    field = np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(field)])
    for found, exact in ((value[:, None], np.array([expected])), (velocity, field)):
        error = found.std(axis=0, ddof=1) / math.sqrt(DRAWS)
        deviation = (found.mean(axis=0) - exact) / error
        assert np.abs(deviation).max() < 5
        assert error.max() < 0.1 * np.abs(exact).max() + 0.05  # the comparison means something


def test_noise_falls_as_one_over_the_batch() -> None:
    landscape, fast = CASES["finite prompts"]
    small, large = (draws(landscape, fast, size)[1].var(axis=0).sum() for size in (4, 16))
    assert small / large == pytest.approx(4, rel=0.2)


def test_a_landscape_without_data_says_so() -> None:
    with pytest.raises(InvalidInput, match="batch_size is 3, but Springs has no `minibatch`"):
        Springs().minibatch(jax.random.key(0), 3)


def test_confinement_adds_the_second_moment() -> None:
    inner, mu = regression(), cloud(weighted=True)
    landscape = Confined(inner, 0.7)
    square = jnp.sum(mu.particles.a**2, axis=1) + jnp.sum(mu.particles.w**2, axis=1)
    expected = inner.value(mu) + 0.35 * jnp.sum(mu.probabilities * square)
    assert float(landscape.value(mu)) == pytest.approx(float(expected), rel=1e-12)
    pulled = jax.tree.map(lambda v, p: v - 0.7 * p, inner.velocity(mu), mu.particles)
    np.testing.assert_allclose(landscape.velocity(mu).w, pulled.w, rtol=1e-10, atol=1e-12)
    generic = Landscape.feature_sum(landscape, mu.particles, mu.probabilities)
    fast = landscape.feature_sum(mu.particles, mu.probabilities)
    np.testing.assert_allclose(fast.inner, generic.inner, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(fast.energy, generic.energy, rtol=1e-12)
    with pytest.raises(InvalidInput, match="strength is -1"):
        Confined(inner, -1)
