"""The reproduction of tokens on the sphere, small; its counts and times against brute force."""

import jax
import numpy as np
import pytest
from results import written

from landscapes.interactions import merging_time, sphere_grid
from meanfield.reproductions import _tokens as tokens
from meanfield.reproductions import _tokens_runs as runs
from meanfield.reproductions._seeds import seed_keys
from meanfield.reproductions._tokens_normalised import normalised
from meanfield.reproductions._tokens_sphere import sphere
from particles import InvalidInput


def test_parts(tmp_path) -> None:
    with jax.enable_x64(True):
        results = [
            tokens.uniform([4.0]),
            sphere([3], 1),
            tokens.clusters([4.0], 48, seed_keys(jax.random.key(0), 2)),
            tokens.orthogonal([3]),
            tokens.merging([4.0, 6.0, 8.0]),
            normalised([4.0], [3], 48, seed_keys(jax.random.key(0), 2)),
        ]
        for result in results:
            written(result, tmp_path)


@pytest.mark.parametrize("dim", [2, 3, 4, 5])
def test_the_grid_integrates_polynomials_over_the_sphere(dim: int) -> None:
    """E x₁⁴ = 3/(d(d + 2)), E x₁²x_d² = 1/(d(d + 2)), and what is odd is zero."""
    mu = sphere_grid(dim, 3)
    x, p = np.asarray(mu.particles), np.asarray(mu.probabilities)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-12)
    assert p @ x[:, 0] ** 4 == pytest.approx(3 / (dim * (dim + 2)))
    assert p @ (x[:, 0] * x[:, -1]) ** 2 == pytest.approx(1 / (dim * (dim + 2)))
    assert p @ (x[:, 0] ** 2 * x[:, -1] ** 3) == pytest.approx(0, abs=1e-14)
    with pytest.raises(InvalidInput, match="dim is 1"):
        sphere_grid(1, 3)


def test_clusters_are_counted_around_the_circle() -> None:
    angles = np.concatenate([0.01 * np.arange(-3, 4), 2.0 + 0.01 * np.arange(5), [4.0]])
    assert runs.clusters_of(angles, 3) == 3
    assert runs.clusters_of(np.full(4, 1.0), 3) == 1
    assert runs.clusters_of(2 * np.pi * np.arange(64) / 64, 3) == 1


def test_merging_time_without_attention() -> None:
    """With β → 0, α' = −sin α: T = log tan(α₀/2) − log tan(α₁/2)."""
    expected = np.log(np.tan(1.0) / np.tan(0.05))
    assert merging_time(1e-12, 2.0, 0.1) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(InvalidInput, match="0 < end < start"):
        merging_time(1.0, 0.1, 2.0)


def test_options_are_refused() -> None:
    with pytest.raises(InvalidInput, match="merging is"):
        tokens.TokensOptions(merging=(1.0, 2.0))
    with pytest.raises(InvalidInput, match="at least one"):
        tokens.TokensOptions(orthogonal=())
    with pytest.raises(InvalidInput, match="at least one"):
        tokens.TokensOptions(dims=())
