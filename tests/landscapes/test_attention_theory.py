"""Levels, indices and learned features, and the exact saddles that realise them (theory.md, 2)."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from helpers import close, dense_loss
from jax.flatten_util import ravel_pytree

from landscapes import MLPAttentionLandscape, Neuron
from landscapes.mlp_attention import (
    DependentFeaturesWarning,
    benign_threshold,
    canonical_correlations,
    eigen_features,
    feature_spectrum,
    learned_fractions,
    missing_features,
    output_signal,
    saddle_ensemble,
    saddle_index,
    saddle_level,
    saddle_levels,
)
from particles import gaussian, restrict

SPECTRUM = (1.0, 0.5, 0.2)
MISSING = [s for r in range(4) for s in itertools.combinations(range(3), r)]
INDEX = {(): 0, (2,): 1, (1,): 2, (0,): 3, (1, 2): 4, (0, 2): 5, (0, 1): 6, (0, 1, 2): 9}
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def teacher() -> jax.Array:
    """Input weights of eight neurons, the ones the targets are made of."""
    return jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)))


@pytest.fixture(scope="module")
def landscape(teacher) -> MLPAttentionLandscape:
    rng = np.random.default_rng(1)
    mix = jnp.asarray(rng.normal(size=(8, 3)))
    return MLPAttentionLandscape.from_teacher(
        KEY, lambda x: jnp.tanh(teacher @ x) @ mix, samples=128, dim=4, spectrum=SPECTRUM
    )


@pytest.mark.parametrize("missing", [(), (2,), (0, 1, 2)])
def test_a_constructed_saddle_raises_no_concern(landscape, teacher, missing) -> None:
    """Few copies of each neuron: its outputs are small beside the spread, as those of a draw."""
    saddle = saddle_ensemble(KEY, landscape, teacher, missing, 16)
    assert output_signal(landscape, saddle) < 2
    assert landscape.concerns(saddle) == []
    moved = saddle.with_particles(jax.tree.map(lambda leaf: leaf + 1e-3, saddle.particles))
    assert landscape.concerns(moved) == []


def test_levels_and_threshold():
    levels = saddle_levels(SPECTRUM)
    assert len(levels) == 2**3
    assert list(levels.values()) == sorted(levels.values())
    for missing in MISSING:
        expected = sum(SPECTRUM[j] for j in missing) / 2
        assert levels[missing] == saddle_level(SPECTRUM, missing) == pytest.approx(expected)
    assert benign_threshold(SPECTRUM) == min(level for s, level in levels.items() if s)
    assert saddle_levels([0.2, 1.0, 0.0]) == saddle_levels(np.array([1.0, 0.2]))  # order, zeros


@pytest.mark.parametrize("missing", MISSING)
def test_index_counts_the_rotations_that_improve(missing):
    assert saddle_index(SPECTRUM, missing) == INDEX[missing]


@eqx.filter_jit
def euclidean_hessian(landscape, mu):
    flat, unravel = ravel_pytree(mu.particles)
    p = mu.probabilities
    return mu.size * jax.hessian(lambda z: dense_loss(landscape, unravel(z), p))(flat)


@pytest.mark.parametrize("missing", MISSING)
def test_exact_saddles(missing, landscape, teacher):
    """Level, stillness, missing set, Morse index by the dense Hessian N·∇²F; 17 = 8 + 8 + 1."""
    mu = saddle_ensemble(KEY, landscape, teacher, missing, 17)
    value, velocity = landscape.value_and_velocity(mu)
    close(value, saddle_level(SPECTRUM, missing))
    assert float(mu.norm(velocity)) < 1e-10
    assert missing_features(landscape, mu) == missing
    fractions = learned_fractions(landscape, landscape.moments(mu))
    close(fractions, [float(j not in missing) for j in range(3)], scale=100)
    curvature = np.linalg.eigvalsh(np.asarray(euclidean_hessian(landscape, mu)))
    scale = np.abs(curvature).max()
    assert np.sum(curvature < -1e-9 * scale) == saddle_index(SPECTRUM, missing)
    assert not np.any((curvature < -1e-11 * scale) & (curvature > -1e-9 * scale))  # a clear gap


def test_spread_and_filler_scale_move_the_saddle_not_its_level(landscape, teacher):
    plain = saddle_ensemble(KEY, landscape, teacher, [2], 16, spread=0.0, filler_scale=0.1)
    wide = saddle_ensemble(KEY, landscape, teacher, [2], 16, spread=3.0, filler_scale=2.0)
    for mu in (plain, wide):
        close(landscape.value(mu), 0.1, scale=10)
    a = np.asarray(plain.particles.a).reshape(2, 8, 3)
    np.testing.assert_array_equal(a[0], a[1])  # without spread all copies of a neuron are equal
    assert not np.allclose(*np.asarray(wide.particles.a).reshape(2, 8, 3))


def test_eigen_features_are_orthonormal_and_carry_the_kernel(landscape):
    values, features = map(np.asarray, eigen_features(landscape))
    close(values, SPECTRUM)
    close(feature_spectrum(landscape), values)
    close(features.T @ features / 128, np.eye(3))
    f = np.asarray(landscape.f)
    close((features * values) @ features.T, f @ f.T, scale=10)  # K° = Σ_j f_j ⊗ f_j


def test_dependent_targets_have_zero_features():
    rng = np.random.default_rng(0)
    x, f = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    with pytest.warns(DependentFeaturesWarning, match="only 2 are linearly"):
        landscape = MLPAttentionLandscape(x, np.concatenate([f, f[:, :1] - f[:, 1:]], axis=1))
    values, features = map(np.asarray, eigen_features(landscape))
    assert values[2] == 0
    assert not features[:, 2].any()
    assert (values[:2] > 0).all()


def test_canonical_correlations_are_cosines_of_subspace_angles(landscape):
    h = np.random.default_rng(2).normal(size=(128, 3)) + 2 * np.asarray(landscape.f)
    angles = scipy.linalg.subspace_angles(h, np.asarray(landscape.f))
    close(canonical_correlations(landscape, jnp.asarray(h)), np.cos(angles[::-1]))
    close(
        canonical_correlations(landscape, landscape.f @ jnp.ones((3, 3)) + landscape.f), np.ones(3)
    )


def test_sign_symmetric_samples_keep_the_subspace_invariant():
    """w_3 = 0 and samples closed under x_3 → −x_3: no velocity along w_3; else there is one."""
    targets = lambda x: jnp.stack([jnp.tanh(x[0]), jnp.sin(x[1]), jnp.tanh(x[2])])  # noqa: E731
    mask = Neuron(a=1, w=jnp.array([1, 1, 0]))
    pushed = {}
    for symmetric in ((2,), ()):
        landscape = MLPAttentionLandscape.from_teacher(
            KEY, targets, samples=64, dim=3, spectrum=SPECTRUM, symmetric=symmetric
        )
        mu = restrict(gaussian(KEY, 9, landscape.particle), mask)
        velocity = np.asarray(landscape.velocity(mu).w)
        pushed[symmetric] = np.abs(velocity[:, 2]).max() / np.abs(velocity).max()
        if symmetric:  # the odd feature cannot be learned there
            fractions = learned_fractions(landscape, landscape.moments(mu))
            close(jnp.min(fractions), 0.0)
    assert pushed[(2,)] < 1e-13
    assert pushed[()] > 1e-3
