"""Feature space: the nearest critical set by brute force, correlations, effective rank."""

import itertools

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from landscapes import Landscape, MLPAttentionLandscape
from landscapes.mlp_attention import (
    eigen_features,
    feature_correlations,
    feature_space,
    nearest_critical,
)
from particles import Ensemble, InvalidInput

SAMPLES, OUTPUTS = 30, 3
EIGENVALUES = np.array([1, 0.5, 0.2])


@pytest.fixture(scope="module")
def landscape() -> MLPAttentionLandscape:
    rng = np.random.default_rng(0)
    f = np.linalg.qr(rng.normal(size=(SAMPLES, OUTPUTS)))[0] * np.sqrt(
        SAMPLES * np.array([1, 0.5, 0.2])
    )
    return MLPAttentionLandscape(jnp.asarray(rng.normal(size=(SAMPLES, 2))), jnp.asarray(f))


def chordal(h: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(np.sin(scipy.linalg.subspace_angles(h, other))))


def critical_subspaces(landscape: MLPAttentionLandscape, h: np.ndarray):
    """For every missing set, the critical subspace that holds most of span(h)."""
    features = np.asarray(eigen_features(landscape)[1]) / SAMPLES**0.5
    basis = np.linalg.qr(h)[0]
    left = np.linalg.svd(basis - features @ (features.T @ basis))[0]
    for size in range(OUTPUTS + 1):
        for missing in itertools.combinations(range(OUTPUTS), size):
            learned = [j for j in range(OUTPUTS) if j not in missing]
            yield missing, np.concatenate([features[:, learned], left[:, :size]], axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_critical_set_is_the_nearest_of_all(landscape, seed: int) -> None:
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(SAMPLES, OUTPUTS)) + 3 * np.asarray(landscape.f) @ rng.normal(
        size=(OUTPUTS, OUTPUTS)
    )
    found = nearest_critical(landscape, jnp.asarray(h))
    distances = {missing: chordal(h, space) for missing, space in critical_subspaces(landscape, h)}
    assert found.missing == min(distances, key=distances.__getitem__)
    assert found.distance == pytest.approx(min(distances.values()), abs=1e-7)
    assert found.level == pytest.approx(EIGENVALUES[list(found.missing)].sum() / 2)
    # No other filler of the same missing set does better.
    features = np.asarray(eigen_features(landscape)[1])
    learned = [j for j in range(OUTPUTS) if j not in found.missing]
    for _ in range(20):
        filler = rng.normal(size=(SAMPLES, len(found.missing)))
        filler -= features @ (features.T @ filler) / SAMPLES
        assert chordal(h, np.concatenate([features[:, learned], filler], axis=1)) >= found.distance
    # Neither L nor the distance sees a change of basis of the outputs.
    turned = nearest_critical(landscape, jnp.asarray(h @ rng.normal(size=(OUTPUTS, OUTPUTS))))
    assert turned.missing == found.missing
    assert turned.distance == pytest.approx(found.distance, abs=1e-7)


def test_measures_of_ensembles(precision: str) -> None:
    landscape = helpers.attention()
    run = [helpers.cloud(1), helpers.cloud(2, 4), helpers.cloud(3, weighted=True)]
    data = feature_space(landscape, run)
    for row, mu in enumerate(run):
        h, f = np.asarray(landscape.moments(mu), float), np.asarray(landscape.f, float)
        cosines = np.cos(scipy.linalg.subspace_angles(h, f))[::-1]
        np.testing.assert_allclose(data.correlation[row], cosines, atol=2e-5)
        spread = np.linalg.eigvalsh(h.T @ h)
        share = spread / spread.sum()
        rank = np.exp(-np.sum(share * np.log(share)))
        assert float(data.effective_rank[row]) == pytest.approx(rank, rel=1e-4)
        level = float(landscape.value(mu)) - float(np.linalg.eigvalsh(f.T @ f / len(f))[0]) / 2
        assert float(data.benign_excess[row]) == pytest.approx(level, abs=1e-5)
    assert data.loss.dtype == precision


def test_feature_spaces_of_two_ensembles() -> None:
    landscape, mu, nu = helpers.regression(), helpers.cloud(1), helpers.cloud(2, 5)
    spans = [np.asarray(landscape.moments(e)) for e in (mu, nu)]
    expected = np.cos(scipy.linalg.subspace_angles(*spans))[::-1]
    helpers.close(feature_correlations(landscape, mu, nu), expected)
    mixed = Ensemble(mu.particles._replace(a=mu.particles.a @ jnp.array([[1.0, 2.0], [0.5, -1.0]])))
    helpers.close(feature_correlations(landscape, mu, mixed), np.ones(2))


def test_bad_input_is_refused() -> None:
    class Plain(Landscape):
        def features(self, particle):
            return particle

        def risk(self, moments, fast=None):
            return jnp.sum(moments)

    with pytest.raises(InvalidInput, match="landscape is a Plain"):
        feature_space(Plain(), [Ensemble(jnp.ones((2, 1)))])
    with pytest.raises(InvalidInput, match="ensembles is empty"):
        feature_space(helpers.attention(), [])
    other = jax.tree.map(lambda leaf: leaf[:, :1], helpers.cloud().particles)
    with pytest.raises(InvalidInput, match="holds particles of shapes"):
        feature_correlations(helpers.attention(), helpers.cloud(), Ensemble(other))
