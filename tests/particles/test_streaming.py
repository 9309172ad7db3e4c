"""Chunks bound the memory and change nothing else; precision is the user's and stays it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import attention, close, cloud, dense_value_and_velocity, regression, samples

from landscapes import Landscape, MLPAttentionLandscape, neuron_start
from landscapes.networks import network_output
from particles import Ensemble, gaussian, sphere, uniform
from particles.internal import chunk_for, stream_map, stream_sum


@pytest.mark.parametrize(("chunk", "weighted"), [(1, True), (3, False), (4, True), (100, False)])
def test_any_chunk_gives_the_same(chunk, weighted):
    landscape, mu = attention(ridge=0.1), cloud(weighted=weighted)
    whole = landscape.moments(mu, chunk=7), landscape.value_and_velocity(mu, chunk=7)
    close(
        (landscape.moments(mu, chunk=chunk), landscape.value_and_velocity(mu, chunk=chunk)), whole
    )


def test_outputs_at_points_of_the_users_choice():
    landscape, mu = attention(), cloud(weighted=True)
    x, h = landscape.x[:5], landscape.moments(mu)[:5]
    close(landscape.output(mu, x, chunk=3), h)
    close(network_output(mu, x, jnp.tanh), h)


@pytest.mark.parametrize("chunk", [None, 1, 4, 10])
def test_stream_sum_counts_every_particle_once(chunk):
    """Whole numbers: any particle left out or counted twice shows exactly."""
    particles, weights = jnp.arange(1.0, 11.0), 2.0 ** jnp.arange(10)
    total = stream_sum(lambda part, w: {"sum": w @ part}, particles, weights, chunk)
    assert float(total["sum"]) == sum(n * 2 ** (n - 1) for n in range(1, 11))
    doubled = stream_map(lambda part: {"twice": 2 * part}, particles, chunk)
    np.testing.assert_array_equal(doubled["twice"], 2 * particles)


def test_the_matrix_products_equal_the_features():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=7))  # any, not only probabilities
    for landscape in (attention(), regression(activation="relu")):
        particles = cloud().particles
        by_features = Landscape.feature_sum(landscape, particles, weights)
        close(landscape.feature_sum(particles, weights), by_features)


@pytest.mark.parametrize(
    ("size", "each", "budget", "chunk"),
    [(1000, 1, 64, 64), (1000, 1, 127, 64), (10, 1, 64, 10), (1000, 64, 64, 16), (3, 10**9, 1, 3)],
)
def test_chunk_for(size, each, budget, chunk):
    assert chunk_for(size, each, budget) == chunk


def test_the_default_chunk_follows_the_samples():
    rng = np.random.default_rng(0)
    small, large = (
        MLPAttentionLandscape(rng.normal(size=(m, 1)), rng.normal(size=(m, 1)))
        for m in (2**8, 2**14)
    )
    mu = Ensemble(small.particle._replace(a=jnp.zeros((2**16, 1)), w=jnp.zeros((2**16, 1))))
    assert small.chunk(mu) == 64 * large.chunk(mu)
    assert small.chunk(mu, 5) == 5
    assert small.chunk(mu, 10**9) == mu.size


def test_float32_agrees_with_float64(precision):
    """The same numbers in either precision, each against float64 numpy arithmetic by hand."""
    x, f = samples()
    landscape = MLPAttentionLandscape(x, f, ridge=0.1)
    mu = cloud(weighted=True)
    value, velocity = landscape.value_and_velocity(mu, chunk=3)
    assert {leaf.dtype for leaf in jax.tree.leaves((value, velocity))} == {jnp.dtype(precision)}
    a, w = (np.asarray(leaf, "float64") for leaf in mu.particles)
    p = np.asarray(mu.weights, "float64")
    h = np.einsum("n,nk,nm->mk", p, a, np.tanh(w @ x.T))
    cross, gram = f.T @ h / len(x), h.T @ h / len(x) + 0.1 * np.eye(2)
    expected = 0.5 * np.trace(f.T @ f / len(x) - cross @ np.linalg.inv(gram) @ cross.T)
    close(value, np.asarray(expected))
    close(velocity, dense_value_and_velocity(landscape, mu)[1], scale=20)


def derivatives(landscape: MLPAttentionLandscape, mu: Ensemble):
    particle = jax.tree.map(lambda leaf: leaf[0], mu.particles)
    return (
        landscape.value_and_velocity(mu, chunk=3),
        landscape.value_and_velocity(mu),
        landscape.first_variation(mu)(particle),
        landscape.second_variation(mu)(particle, particle),
        landscape.solve_fast(landscape.moments(mu)),
        mu.probabilities,
        mu.norm(mu.particles),
    )


def types(tree) -> set:
    return {leaf.dtype for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")}


def test_everything_keeps_the_precision(precision):
    key, dtype = jax.random.key(0), jnp.dtype(precision)
    landscape = MLPAttentionLandscape(*samples(), ridge=0.1, context_length=4)

    @jax.eval_shape  # traced, not run: the types are all that is asked for
    def results():
        starts = [draw(key, 4, landscape.particle) for draw in (gaussian, uniform, sphere)]
        starts.append(neuron_start(key, landscape, 4))
        starts.append(Ensemble(starts[0].particles, np.ones(4)))
        return starts, derivatives(landscape, starts[0]), derivatives(landscape, starts[-1])

    assert types((results, landscape)) == {dtype}


def test_float32_data_stays_float32_in_float64_mode():
    x, f = (array.astype("float32") for array in samples())
    landscape = MLPAttentionLandscape(x, f, ridge=0.1)
    particles = jax.tree.map(lambda leaf: leaf.astype("float32"), cloud().particles)
    for weights in (None, jnp.ones(7)):
        mu = Ensemble(particles, weights)
        results = jax.eval_shape(lambda mu: derivatives(landscape, mu), mu)
        assert types(results) == {jnp.dtype("float32")}
