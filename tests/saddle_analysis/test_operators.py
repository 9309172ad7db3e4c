"""Curvature operators against Hessians formed another way."""

import functools

import equinox as eqx
import helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddle_analysis_spectra import (
    RankOneAttention,
    euclidean_hessian,
    heads,
    realisable,
    root_weights,
)

from landscapes import Neuron, NeuronLandscape
from landscapes.mlp_attention import saddle_ensemble
from particles import Ensemble, InvalidInput
from particles.internal import to_device
from saddle_analysis import Budget, HessianOperator, extreme_eigenpairs
from saddle_analysis.spectra import MatrixOperator, SymmetricOperator, interaction_spectrum

LANDSCAPES = {
    "attention": helpers.attention,
    "ridge": functools.partial(helpers.attention, ridge=0.1),
    "regression": helpers.regression,
}


def loss(
    particles: Neuron,
    weights: jax.Array,
    landscape: NeuronLandscape,
    fast: jax.Array | None = None,
) -> jax.Array:
    """The dense loss as `euclidean_hessian` calls it."""
    return helpers.dense_loss(landscape, particles, weights, fast)


def interaction_by_doubling(landscape: NeuronLandscape, ensemble: Ensemble) -> np.ndarray:
    """The interaction alone: mixed second derivatives in the two copies of every particle."""
    root = root_weights(ensemble)
    weights = to_device(np.tile(ensemble.probabilities, 2) / 2)
    mixed = mixed_by_copies(landscape, ensemble.particles, weights)
    return 4 * np.asarray(mixed) / root[:, None] / root[None, :]


@eqx.filter_jit
def mixed_by_copies(landscape: NeuronLandscape, particles: Neuron, weights: jax.Array) -> jax.Array:
    flat, unravel = jax.flatten_util.ravel_pytree(particles)

    def loss(u: jax.Array, v: jax.Array) -> jax.Array:
        both = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), unravel(u), unravel(v))
        return helpers.dense_loss(landscape, both, weights)

    return jax.jacfwd(jax.grad(loss, argnums=0), argnums=1)(flat, flat)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LANDSCAPES)
def test_the_full_operator_is_the_hessian_of_the_particle_energy(name: str, weighted: bool) -> None:
    landscape, mu = LANDSCAPES[name](), helpers.cloud(weighted=weighted)
    operator = HessianOperator(landscape, mu)
    helpers.close(np.asarray(operator.dense()), euclidean_hessian(loss, mu, landscape))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_frozen_attention_matrix(weighted: bool) -> None:
    landscape, mu = helpers.attention(), helpers.cloud(weighted=weighted)
    fast = helpers.attention_matrix()
    operator = HessianOperator(landscape, mu, fast)
    helpers.close(np.asarray(operator.dense()), euclidean_hessian(loss, mu, landscape, fast))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LANDSCAPES)
def test_the_interaction_operator(name: str, weighted: bool) -> None:
    landscape, mu = LANDSCAPES[name](), helpers.cloud(weighted=weighted)
    operator = HessianOperator(landscape, mu, part="interaction")
    helpers.close(np.asarray(operator.dense()), interaction_by_doubling(landscape, mu))


@pytest.mark.parametrize("part", ["full", "interaction"])
def test_symmetric_to_round_off_whatever_the_chunk(part: str) -> None:
    landscape, mu = helpers.attention(), helpers.cloud(weighted=True)
    matrices = [
        np.asarray(HessianOperator(landscape, mu, part=part, chunk=chunk).dense())
        for chunk in (1, 4, helpers.SIZE)
    ]
    for matrix in matrices:
        helpers.close(matrix, matrix.T)
        helpers.close(matrix, matrices[0])


def test_coordinates_are_an_isometry() -> None:
    mu = helpers.cloud(weighted=True)
    operator = HessianOperator(helpers.attention(), mu)
    field = helpers.cloud(seed=5).particles
    vector = operator.to_vector(field)
    helpers.close(float(vector @ vector), float(mu.inner(field, field)))
    helpers.close(operator.to_field(vector), field)
    image = operator.apply(field)
    helpers.close(np.asarray(operator.matvec(vector)), np.asarray(operator.to_vector(image)))
    linear = operator.as_linear_operator()
    helpers.close(linear.matvec(np.asarray(vector)), np.asarray(operator.matvec(vector)))
    helpers.close(jax.jit(lambda u: operator.apply(u))(field), image)


def test_at_an_exact_saddle_the_full_operator_is_the_interaction() -> None:
    landscape, positions = realisable(64)
    mu = saddle_ensemble(jax.random.key(1), landscape, positions, (2,), 24)
    full, interaction = (
        np.asarray(HessianOperator(landscape, mu, part=part).dense())
        for part in ("full", "interaction")
    )
    np.testing.assert_allclose(full, interaction, atol=1e-9 * np.abs(full).max())


@pytest.mark.parametrize("weighted", [False, True])
def test_the_moment_route_gives_every_eigenvalue(weighted: bool) -> None:
    landscape = RankOneAttention(to_device([0.4, 0.3]), 32.0)
    weights = to_device([1.0, 2.0, 3.0, 4.0, 5.0]) if weighted else None
    mu = Ensemble(heads(0, 5, 2, 0.7).particles, weights)
    operator = HessianOperator(landscape, mu, part="interaction", chunk=2)
    spectrum = interaction_spectrum(operator)
    dense = np.linalg.eigvalsh(np.asarray(operator.dense()))
    everything = np.sort(np.concatenate([spectrum.values, np.zeros(spectrum.zeros)]))
    helpers.close(everything, dense)
    assert spectrum.values.size == 4
    field = spectrum.field(3)
    helpers.close(float(mu.norm(field)), 1.0)
    expected = jax.tree.map(lambda leaf: spectrum.values[3] * leaf, field)
    helpers.close(operator.apply(field), expected)
    for which, count in [("smallest", 13), ("largest", 6), ("both", 3)]:
        pairs = extreme_eigenpairs(operator, count, which=which)
        wanted = dense[:count] if which == "smallest" else dense[-count:]
        if which == "both":
            wanted = np.concatenate([dense[:count], dense[-count:]])
        helpers.close(pairs.values, wanted)
        assert pairs.residuals.max() < 1e-12
        gram = [[float(mu.inner(u, v)) for u in pairs.fields] for v in pairs.fields]
        helpers.close(np.array(gram), np.eye(len(wanted)))


def test_equal_particles_repeat_eigenvalues_exactly() -> None:
    one = helpers.cloud(size=1)
    mu = Ensemble(jax.tree.map(lambda leaf: to_device(np.repeat(leaf, 6, axis=0)), one.particles))
    operator = HessianOperator(helpers.regression(), mu)
    values = np.linalg.eigvalsh(np.asarray(operator.dense()))
    # Differences of copies feel ∇²(δL/δμ) alone, five times over.
    local = jax.jit(
        jax.hessian(lambda v: helpers.regression().first_variation(one)(Neuron(v[:2], v[2:])))
    )(np.concatenate([np.asarray(leaf)[0] for leaf in one.particles]))
    for value in np.linalg.eigvalsh(np.asarray(local)):
        assert np.sum(np.abs(values - value) < 1e-10) >= 5
    pairs = extreme_eigenpairs(operator, 7, budget=Budget(dense_below=0))
    np.testing.assert_allclose(pairs.values, values[:7], atol=1e-9)


def test_single_precision_agrees(precision: str) -> None:
    landscape, mu = helpers.regression(), helpers.cloud()
    operator = HessianOperator(landscape, mu)
    assert operator.dtype == precision
    helpers.close(np.asarray(operator.dense()), euclidean_hessian(loss, mu, landscape), scale=5)


def test_protocol() -> None:
    assert isinstance(HessianOperator(helpers.attention(), helpers.cloud()), SymmetricOperator)
    assert isinstance(MatrixOperator(to_device(np.ones(3))), SymmetricOperator)


def test_bad_input_is_refused() -> None:
    landscape, mu = helpers.attention(), helpers.cloud()
    empty = Ensemble(mu.particles, to_device(np.arange(7.0)))
    with pytest.raises(InvalidInput, match="zero weight"):
        HessianOperator(landscape, empty)
    broken = Ensemble(mu.particles._replace(a=mu.particles.a.at[2, 1].set(jnp.inf)))
    with pytest.raises(InvalidInput, match=r"ensemble\.a\[2, 1\] is inf"):
        HessianOperator(landscape, broken)
    with pytest.raises(InvalidInput, match="part 'full'"):
        interaction_spectrum(HessianOperator(landscape, mu))
    with pytest.raises(InvalidInput, match="max_moments = 3"):
        interaction_spectrum(HessianOperator(landscape, mu, part="interaction"), max_moments=3)
    with pytest.raises(InvalidInput, match="not symmetric"):
        MatrixOperator(to_device([[0.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(InvalidInput, match="square"):
        MatrixOperator(to_device(np.ones((2, 3))))
