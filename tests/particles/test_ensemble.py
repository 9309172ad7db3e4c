"""The empirical measure: means, norms, parts of it, and what leaves every functional alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import OUTPUTS, SIZE, attention, close, cloud
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import PyTree

from landscapes import Neuron
from particles import Ensemble, gaussian, restrict, sphere, uniform
from particles.internal import leaf_names, to_device

few = settings(max_examples=15, deadline=None)
LANDSCAPE = attention(ridge=0.1)


def take(mu: PyTree, order: np.ndarray) -> PyTree:
    return jax.tree.map(lambda leaf: to_device(np.asarray(leaf)[order]), mu)


@few
@given(order=st.permutations(range(SIZE)), seed=st.integers(0, 99))
def test_permuting_the_particles_permutes_the_velocity(order, seed):
    mu = cloud(seed, weighted=True)
    value, velocity = LANDSCAPE.value_and_velocity(mu)
    shuffled_value, shuffled = LANDSCAPE.value_and_velocity(take(mu, np.array(order)))
    close(shuffled_value, value, scale=10)
    close(shuffled, take(velocity, np.array(order)), scale=100)


@few
@given(seed=st.integers(0, 99), index=st.integers(0, SIZE - 1), share=st.floats(0.05, 0.95))
def test_splitting_a_particle_changes_nothing(seed, index, share):
    mu = cloud(seed, weighted=True)
    split = take(mu, np.append(np.arange(SIZE), index))
    weights = np.array(split.weights)
    weights[index] *= share
    weights[-1] *= 1 - share
    value, velocity = LANDSCAPE.value_and_velocity(mu)
    split_value, split_velocity = LANDSCAPE.value_and_velocity(
        Ensemble(split.particles, to_device(weights))
    )
    close(split_value, value, scale=10)
    close(split_velocity, take(velocity, np.append(np.arange(SIZE), index)), scale=100)


@few
@given(seed=st.integers(0, 99), entries=st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_the_attention_value_is_invariant_under_mixing_of_outputs(seed, entries):
    """L depends on the span of h_μ only (no ridge): h → Bh changes nothing."""
    landscape, mu = attention(), cloud(seed)
    mixing = np.array(entries).reshape(OUTPUTS, OUTPUTS) + 2.5 * np.eye(OUTPUTS)
    mixed = mu.with_particles(
        Neuron(to_device(np.asarray(mu.particles.a) @ mixing.T), mu.particles.w)
    )
    assert float(landscape.value(mixed)) == pytest.approx(float(landscape.value(mu)), rel=1e-9)


def test_weights_are_probabilities_and_none_is_equal_weights():
    mu = cloud()
    equal = Ensemble(mu.particles, to_device(np.full(SIZE, 3.0)))
    close(equal.weights, np.full(SIZE, 1 / SIZE))
    close(mu.probabilities, equal.probabilities)
    close(LANDSCAPE.value_and_velocity(mu), LANDSCAPE.value_and_velocity(equal))
    assert mu.weights is None
    close(Ensemble(mu.particles, np.arange(1, 8)).weights, np.arange(1, 8) / 28)


def test_mean_inner_product_and_norm_against_numpy():
    for mu in (cloud(), cloud(weighted=True)):
        a, w = map(np.asarray, mu.particles)
        p = np.asarray(mu.probabilities)
        for chunk in (None, 3):
            mean = mu.mean(lambda n: {"outer": jnp.outer(n.a, n.w), "norm": n.a @ n.a}, chunk=chunk)
            close(mean, {"outer": np.einsum("n,ni,nj", p, a, w), "norm": p @ np.sum(a**2, 1)})
        u, v = mu.particles, Neuron(to_device(2 * a - 1), to_device(w**2))
        product = p @ (np.sum(a * np.asarray(v.a), 1) + np.sum(w * np.asarray(v.w), 1))
        close(mu.inner(u, v), product)
        close(mu.norm(u), np.sqrt(p @ (np.sum(a**2, 1) + np.sum(w**2, 1))))


@few
@given(
    seed=st.integers(0, 99),
    weighted=st.booleans(),
    size=st.sampled_from([1, 7]),
    double=st.booleans(),
)
def test_tangent_coordinates_are_orthonormal(seed, weighted, size, double):
    with jax.enable_x64(double):
        rng = np.random.default_rng(seed)
        eps = np.finfo(np.float64 if double else np.float32).eps

        def field():
            shapes = {"a": (), "w": (2, 3), "b": (1,)}
            return {
                name: to_device(rng.normal(size=(size, *shape))) for name, shape in shapes.items()
            }

        mu = Ensemble(field(), rng.uniform(0.1, 1.0, size) if weighted else None)
        u, v = field(), field()
        x, y = mu.to_vector(u), mu.to_vector(v)
        assert x.shape == (size * 8,)
        scale = float(mu.norm(u)) * float(mu.norm(v))
        assert (
            abs(float(np.asarray(x) @ np.asarray(y)) - float(mu.inner(u, v))) <= 100 * eps * scale
        )
        back = mu.to_field(x)
        for name, leaf in u.items():
            assert back[name].dtype == leaf.dtype
            np.testing.assert_allclose(back[name], leaf, rtol=4 * eps, atol=0)
        np.testing.assert_allclose(x @ x, float(mu.norm(u)) ** 2, rtol=100 * eps)


def test_a_particle_of_zero_weight_has_no_tangent_coordinates():
    mu = Ensemble(jnp.ones((3, 2)), jnp.array([0.5, 0.0, 0.5]))
    vector = mu.to_vector(jnp.full((3, 2), 7.0))
    np.testing.assert_array_equal(vector[2:4], 0)
    close(jnp.sum(vector**2), mu.inner(jnp.full((3, 2), 7.0), jnp.full((3, 2), 7.0)))
    field = mu.to_field(jnp.ones(6))
    np.testing.assert_array_equal(field[1], 0)
    assert np.isfinite(field).all()


def test_particles_of_integers_have_a_mean():
    mu = Ensemble(jnp.array([1, 2, 6]))
    assert float(mu.mean(lambda n: n)) == pytest.approx(3)
    assert float(mu.mean(lambda n: n, chunk=2)) == pytest.approx(3)
    close(mu.probabilities, np.full(3, 1 / 3))


def test_one_particle_is_an_ensemble():
    mu = cloud(size=1)
    close(mu.mean(lambda n: n), jax.tree.map(lambda leaf: leaf[0], mu.particles))
    assert mu.size == 1
    assert np.isfinite(LANDSCAPE.value(mu))


def test_first_takes_the_head_and_renormalises():
    mu = cloud(weighted=True)
    head = mu.first(3)
    close(head.weights, np.asarray(mu.weights[:3]) / np.asarray(mu.weights[:3]).sum())
    np.testing.assert_array_equal(head.particles.w, mu.particles.w[:3])
    assert cloud().first(3).weights is None


def test_ensembles_are_pytrees_and_may_be_built_in_compiled_code():
    mu = cloud(weighted=True)
    built = jax.jit(Ensemble)(mu.particles, mu.weights)
    close(built, mu)
    assert leaf_names(mu) == ["particles.a", "particles.w", "weights"]
    assert leaf_names(jnp.zeros(2)) == ["particles"]


# --- starting measures -------------------------------------------------------------------------

LIKE = Neuron(a=jax.ShapeDtypeStruct((), "float64"), w=jax.ShapeDtypeStruct((2, 3), "float64"))
COUNT = 20_000


def in_standard_errors(sample: np.ndarray, mean: float) -> float:
    return abs(sample.mean() - mean) / (sample.std() / np.sqrt(sample.size))


def test_gaussian_start():
    mu = gaussian(jax.random.key(0), COUNT, LIKE, mean=Neuron(a=2.0, w=0.0), scale=0.5)
    a, w = map(np.asarray, mu.particles)
    assert w.shape == (COUNT, 2, 3)
    assert in_standard_errors(a, 2) < 4
    assert in_standard_errors(w, 0) < 4
    assert in_standard_errors((a - 2) ** 2, 0.25) < 4
    assert in_standard_errors(w**2, 0.25) < 4
    assert abs(np.corrcoef(a, w[:, 0, 0])[0, 1]) * np.sqrt(COUNT) < 4  # leaves are independent


def test_uniform_start():
    mu = uniform(jax.random.key(1), COUNT, LIKE, low=-1.0, high=Neuron(a=3.0, w=1.0))
    a, w = map(np.asarray, mu.particles)
    assert -1 <= a.min() < -0.99
    assert 2.99 < a.max() < 3
    assert in_standard_errors(a, 1) < 4
    assert in_standard_errors(w**2, 1 / 3) < 4


def test_sphere_start():
    mu = sphere(jax.random.key(2), COUNT, LIKE, radius=2.0)
    a, w = map(np.asarray, mu.particles)
    close(np.abs(a), np.full(COUNT, 2.0))
    close(np.linalg.norm(w.reshape(COUNT, -1), axis=1), np.full(COUNT, 2.0))
    assert in_standard_errors(w[:, 0, 0], 0) < 4
    assert in_standard_errors(w[:, 1, 2] ** 2, 4 / 6) < 4


def test_starts_depend_on_the_key_alone():
    one, same, other = (gaussian(jax.random.key(k), 4, LIKE) for k in (0, 0, 1))
    np.testing.assert_array_equal(one.particles.w, same.particles.w)
    assert not np.any(np.asarray(one.particles.w == other.particles.w))


def test_restrict_zeroes_coordinates_only():
    mu = cloud(weighted=True)
    kept = restrict(mu, Neuron(a=1, w=jnp.array([True, False, True])))
    np.testing.assert_array_equal(kept.particles.a, mu.particles.a)
    np.testing.assert_array_equal(kept.particles.w, mu.particles.w * jnp.array([1, 0, 1]))
    np.testing.assert_array_equal(kept.weights, mu.weights)
