"""Both streaming passes in one program: they share what they can, and agree with each alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscapes import MLPAttentionLandscape, Neuron
from particles import Ensemble

X = jax.random.normal(jax.random.key(0), (24, 3))
LANDSCAPE = MLPAttentionLandscape(X, jnp.tanh(X[:, :2]), ridge=1e-2)
POINTS = jax.random.normal(jax.random.key(1), (2, 16, 3))
MU = Ensemble(Neuron(a=POINTS[0, :, :2], w=POINTS[1])).with_weights(
    jnp.arange(16.0) / 120  # one of them zero
)


@pytest.mark.parametrize("chunk", [16, 5])
def test_the_moments_beside_a_gradient_are_those_of_the_first_pass(chunk: int) -> None:
    found = LANDSCAPE.first_order(MU, chunk=chunk)
    hidden = np.tanh(np.asarray(X) @ np.asarray(MU.particles.w).T)
    expected = hidden @ (np.asarray(MU.weights)[:, None] * np.asarray(MU.particles.a))
    np.testing.assert_allclose(found.moments, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.optimized
@pytest.mark.parametrize(("chunk", "times"), [(16, 1), (5, 2)])
def test_features_are_evaluated_once_in_one_chunk_of_double_precision(
    chunk: int, times: int
) -> None:
    step = jax.jit(lambda mu: LANDSCAPE.first_order(mu, chunk=chunk).gradient)
    program = step.lower(MU).compile().as_text()
    assert program is not None
    assert program.count(" tanh(") == times
