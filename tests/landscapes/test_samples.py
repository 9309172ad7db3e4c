"""Drawn inputs and targets in canonical form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import close, cloud

from landscapes import Neuron, canonical_form, draw_inputs
from landscapes.mlp_attention import MLPAttentionLandscape, teach
from particles import Ensemble, InvalidInput

KEY = jax.random.key(0)


@pytest.mark.parametrize("distribution", ["normal", "uniform", "rademacher"])
def test_inputs_have_unit_variance_and_independent_columns(distribution):
    x = np.asarray(draw_inputs(KEY, 20_000, 2, distribution))
    fourth = {"normal": 3, "uniform": 1.8, "rademacher": 1}[distribution]
    spread = np.sqrt(max(fourth - 1, 0) / 20_000)
    assert (abs(np.mean(x**2, axis=0) - 1) <= 4 * spread + 1e-12).all()
    assert (abs(x.mean(axis=0)) < 4 / np.sqrt(20_000)).all()
    assert abs(np.mean(x[:, 0] * x[:, 1])) < 4 / np.sqrt(20_000)


@pytest.mark.parametrize("symmetric", [[2], [0, 2]])
def test_symmetric_samples_are_closed_under_the_flips(symmetric):
    x = np.asarray(draw_inputs(KEY, 16, 3, symmetric=symmetric))
    rows = {tuple(row) for row in x}
    assert len(rows) == 16
    for axis in range(3):
        flipped = {tuple(row) for row in x * np.where(np.arange(3) == axis, -1, 1)}
        assert (flipped == rows) == (axis in symmetric)


@pytest.mark.parametrize("distribution", ["normal", "uniform", "rademacher"])
@pytest.mark.parametrize("points", ["sobol", "stratified"])
def test_evenly_spread_inputs_have_their_law(points, distribution):
    x = np.asarray(draw_inputs(KEY, 4096, 3, distribution, points=points))
    fourth = {"normal": 3, "uniform": 1.8, "rademacher": 1}[distribution]
    np.testing.assert_allclose(np.mean(x**4, axis=0), fourth, rtol=0.02)  # random: 0.1
    np.testing.assert_allclose(x.T @ x / 4096, np.eye(3), atol=0.06)


@pytest.mark.parametrize("symmetric", [[], [1], [0, 2]])
@pytest.mark.parametrize("points", ["random", "sobol"])
def test_whitened_inputs(points, symmetric):
    """Mean zero, covariance one, and the sign flips of exact saddles hold to the last bit."""
    x = np.asarray(draw_inputs(KEY, 32, 3, symmetric=symmetric, points=points, whiten=True))
    close(x.mean(axis=0), np.zeros(3))
    close(x.T @ x / 32, np.eye(3))
    rows = {tuple(row) for row in x}
    for axis in symmetric:
        assert {tuple(row) for row in x * np.where(np.arange(3) == axis, -1, 1)} == rows


def test_inputs_that_cannot_be_drawn_so():
    with pytest.raises(InvalidInput, match="rows of ±1 would not stay so"):
        draw_inputs(KEY, 8, 2, "rademacher", whiten=True)
    with pytest.raises(InvalidInput, match="2 rows before sign flips do not span 2 dimensions"):
        draw_inputs(KEY, 4, 2, symmetric=[0], whiten=True)
    with pytest.raises(InvalidInput, match="distribution is a callable, which draws its own"):
        draw_inputs(KEY, 4, 2, jax.random.normal, points="sobol")


def test_a_distribution_of_the_users_own():
    x = draw_inputs(KEY, 5, 2, lambda key, shape, dtype: jnp.full(shape, 7, dtype))
    np.testing.assert_array_equal(x, np.full((5, 2), 7.0))


@pytest.mark.parametrize("spectrum", [None, [2.0, 0.5], [3.0]])
def test_canonical_form(spectrum):
    """Diagonal Σ°°, the asked or own eigenvalues, the span kept, signs fixed."""
    rng = np.random.default_rng(0)
    f = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 3))  # three columns of rank two
    g, transform = map(np.asarray, canonical_form(jnp.asarray(f), spectrum))
    own = np.linalg.eigvalsh(f.T @ f / 30)[:0:-1]
    close(g.T @ g / 30, np.diag(own if spectrum is None else spectrum), scale=10)
    close(f @ transform, g)
    inside = f @ np.linalg.lstsq(f, g, rcond=None)[0]
    close(inside, g, scale=10)
    assert (transform[np.abs(transform).argmax(axis=0), np.arange(g.shape[1])] > 0).all()
    np.testing.assert_array_equal(g, canonical_form(jnp.asarray(f), spectrum)[0])


def test_teachers_of_every_kind_agree():
    x, mu = draw_inputs(KEY, 9, 3), cloud()
    network = lambda point: jnp.tanh(mu.particles.w @ point) @ mu.particles.a / mu.size  # noqa: E731
    by_measure, by_function = teach(mu, x), teach(network, x)
    close(by_measure, by_function)
    close(teach(by_function, x), by_function)
    a, w = map(np.asarray, mu.particles)
    close(teach(mu, x, "relu"), np.maximum(np.asarray(x) @ w.T, 0) @ a / mu.size)


def test_attention_landscape_puts_the_pieces_together():
    teacher = Ensemble(Neuron(a=jnp.eye(2), w=jnp.array([[1.0, 0, 0], [0, 1, 0]])))
    landscape = MLPAttentionLandscape.from_teacher(
        KEY, teacher, samples=32, dim=3, activation="erf", spectrum=[1.0, 0.3], symmetric=[2],
        ridge=0.1, context_length=8, distribution="uniform",
    )  # fmt: skip
    np.testing.assert_array_equal(landscape.x, draw_inputs(KEY, 32, 3, "uniform", symmetric=[2]))
    close(landscape.target_moment, np.diag([1.0, 0.3]))
    raw = teach(teacher, landscape.x, "erf")
    close(landscape.f, canonical_form(raw, [1.0, 0.3])[0])
    assert (float(landscape.ridge), float(landscape.inverse_context)) == (0.1, 0.125)
