"""Perturbations: equal norms, the right covariance, functions of their key alone."""

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddle_analysis_spectra import Polynomial

from particles import Ensemble, InvalidInput
from saddle_analysis import (
    PERTURBATIONS,
    HessianOperator,
    along,
    displaced,
    eigenvector,
    extreme_eigenpairs,
    hessian_guided,
    isotropic,
)


@pytest.mark.parametrize("weighted", [False, True])
def test_all_kinds_have_the_asked_norm(weighted: bool) -> None:
    mu = helpers.cloud(weighted=weighted)
    operator = HessianOperator(helpers.attention(), mu, part="interaction")
    key = jax.random.key(0)
    fields = [
        along(mu, extreme_eigenpairs(operator).fields[0], 1e-3),
        isotropic(key, helpers.regression(), mu, 1e-3),
        hessian_guided(key, helpers.attention(), mu, 1e-3),
    ]
    for field in fields:
        assert float(mu.norm(field)) == pytest.approx(1e-3, rel=1e-10)
    moved = displaced(mu, fields[0])
    helpers.close(moved.particles.a - mu.particles.a, fields[0].a)
    helpers.close(along(mu, fields[0], -1e-3).a, -fields[0].a)


def test_guided_noise_has_the_covariance_of_the_squared_operator() -> None:
    mu = Ensemble(jnp.ones((3, 2)), jnp.array([1.0, 2.0, 3.0]))
    operator = HessianOperator(Polynomial(lambda m: m[0] ** 2 - 2 * m[1] ** 2), mu)
    keys = jax.random.split(jax.random.key(0), 4000)
    draw = jax.vmap(
        lambda key: operator.to_vector(hessian_guided(key, operator.landscape, mu, 1.0))
    )
    samples = np.asarray(draw(keys))
    values, vectors = np.linalg.eigh(np.asarray(operator.dense()))
    shares = np.mean((samples @ vectors) ** 2, axis=0)
    # Normalised draws: E[λ_i² z_i² / Σ λ_j² z_j²], by the same average over plain normals.
    normals = np.random.default_rng(0).normal(size=(200_000, values.size)) ** 2 * values**2
    expected = np.mean(normals / normals.sum(axis=1, keepdims=True), axis=0)
    np.testing.assert_allclose(shares, expected, atol=5 * 0.5 / 4000**0.5)
    assert shares[np.abs(values) < 1e-12].max() < 1e-20


def test_isotropic_noise_is_white_in_the_tangent_space() -> None:
    mu = helpers.cloud(size=3, weighted=True)
    operator = HessianOperator(helpers.regression(), mu)
    keys = jax.random.split(jax.random.key(0), 4000)
    samples = np.asarray(
        jax.vmap(lambda k: operator.to_vector(isotropic(k, operator.landscape, mu, 1.0)))(keys)
    )
    size = operator.size
    np.testing.assert_allclose(samples.T @ samples / 4000, np.eye(size) / size, atol=0.015)


def test_the_key_decides() -> None:
    mu, key = helpers.cloud(), jax.random.key(3)
    np.testing.assert_array_equal(
        isotropic(key, helpers.regression(), mu, 0.1).a,
        isotropic(key, helpers.regression(), mu, 0.1).a,
    )
    other = isotropic(jax.random.fold_in(key, 1), helpers.regression(), mu, 0.1)
    assert not np.array_equal(isotropic(key, helpers.regression(), mu, 0.1).a, other.a)


def test_nowhere_to_go_is_refused() -> None:
    mu = helpers.cloud()
    with pytest.raises(InvalidInput, match="field is zero"):
        along(mu, jax.tree.map(jnp.zeros_like, mu.particles), 1.0)
    flat = mu.with_particles(jax.tree.map(jnp.zeros_like, mu.particles))
    with pytest.raises(InvalidInput, match="the interaction operator is zero"):
        hessian_guided(jax.random.key(0), helpers.regression(), flat, 1.0)


def test_the_eigenvector_has_either_sign() -> None:
    mu = helpers.cloud()
    drawn = [eigenvector(jax.random.key(k), helpers.regression(), mu, 0.1).a for k in range(8)]
    assert any(np.allclose(drawn[0], -other, atol=1e-8) for other in drawn)
    assert list(PERTURBATIONS) == ["none", "isotropic", "hessian-guided", "eigenvector"]


def test_displacements_lost_to_round_off_are_refused(precision: str) -> None:
    mu = helpers.cloud()
    field = isotropic(jax.random.key(0), helpers.regression(), mu, 1.0)
    eps = float(jnp.finfo(precision).eps)
    displaced(mu, along(mu, field, 100 * eps))
    with pytest.raises(InvalidInput, match=f"{precision} does not resolve"):
        displaced(mu, along(mu, field, eps / 10))
    displaced(mu, along(mu, field, 0.0))
