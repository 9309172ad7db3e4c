"""The first-variation field and the optimality gap: closed forms and known optima."""

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscapes import (
    MergedLinearAttentionLandscape,
    Neuron,
    RegressionLandscape,
    coordinate_directions,
    first_variation_field,
    optimality_gap,
    principal_directions,
)
from landscapes.linear_attention import (
    MergedHead,
    PopulationMoments,
    PromptDistribution,
    plateau_levels,
)
from particles import Ensemble, InvalidInput
from particles.internal import coordinates

KEY = jax.random.key(0)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_field_is_the_first_variation_and_its_slope(weighted: bool) -> None:
    landscape, mu = helpers.attention(), helpers.cloud(weighted=weighted)
    names = ["a[1]", "w[2]"]
    field = first_variation_field(landscape, mu, coordinate_directions(mu, names), points=5)
    centre = np.asarray(mu.probabilities) @ np.asarray(coordinates(mu))
    variation = landscape.first_variation(mu)

    def at(one: float, two: float) -> jax.Array:
        numbers = jnp.asarray(centre).at[1].add(one).at[4].add(two)
        return variation(Neuron(numbers[:2], numbers[2:]))

    for i, j in [(0, 0), (2, 2), (4, 1)]:
        place = float(field.first[i]), float(field.second[j])
        helpers.close(field.first_variation.values[i, j], at(*place))
        slope = jax.grad(at, argnums=(0, 1))(*place)
        helpers.close(field.velocity.values[:, i, j], -np.array(slope))
    values = jax.vmap(variation)(mu.particles)
    helpers.close(field.particle_first_variation.values, values)
    assert float(field.weight.values @ field.particle_first_variation.values) == pytest.approx(
        0.0, abs=1e-14
    )
    velocity = landscape.velocity(mu)
    helpers.close(field.particle_velocity.values, np.stack([velocity.a[:, 1], velocity.w[:, 2]]))
    off = np.delete(np.asarray(coordinates(mu)) - centre, [1, 4], axis=1)
    helpers.close(field.off_grid.values, np.linalg.norm(off, axis=1))


def test_the_field_does_not_depend_on_labels(precision: str) -> None:
    landscape, mu = helpers.regression(), helpers.cloud()
    turned = Ensemble(jax.tree.map(lambda leaf: leaf[::-1], mu.particles))
    axes = principal_directions(mu)
    one, other = (first_variation_field(landscape, e, axes, points=3) for e in (mu, turned))
    grids = (e.first_variation.values.astype(precision) for e in (one, other))
    helpers.close(*grids)
    values = (e.particle_first_variation.values.astype(precision) for e in (one, other))
    helpers.close(next(values)[::-1], next(values))


def test_principal_directions_of_a_cloud_and_of_a_field() -> None:
    mu = helpers.cloud(size=9, weighted=True)
    rows, p = np.asarray(coordinates(mu)), np.asarray(mu.probabilities)
    _, vectors = np.linalg.eigh(np.cov(rows.T, aweights=p, ddof=0))
    found = principal_directions(mu, count=2)
    for direction, wanted in zip(found.values(), vectors.T[::-1], strict=False):
        numbers = np.concatenate([np.asarray(direction.a), np.asarray(direction.w)])
        assert abs(numbers @ wanted) == pytest.approx(1.0)
    only_w = Neuron(jnp.zeros((9, 2)), jnp.outer(jnp.arange(9.0), jnp.array([0.0, 3.0, 4.0])))
    (direction,) = principal_directions(mu, only_w).values()
    helpers.close(np.abs(np.asarray(direction.w)), [0.0, 0.6, 0.8])


def test_the_gap_of_a_problem_with_a_known_optimum() -> None:
    """With |a| ≤ 1, |w| ≤ W and targets c tanh(Wx), c > 1, the best measure is δ at (1, W).

    Every neuron of the box is pointwise below that one where x > 0, so it is optimal and
    L* = ½ (c − 1)² E tanh²(Wx).
    """
    x = jnp.linspace(0.1, 2.0, 20)[:, None]
    size, reach = 1.5, 2.0
    landscape = RegressionLandscape(x, size * jnp.tanh(reach * x))
    best = 0.5 * (size - 1) ** 2 * float(jnp.mean(jnp.tanh(reach * x) ** 2))
    box = (Neuron(-jnp.ones(1), -reach * jnp.ones(1)), Neuron(jnp.ones(1), reach * jnp.ones(1)))
    there = Ensemble(Neuron(jnp.ones((1, 1)), reach * jnp.ones((1, 1))))
    at_optimum = optimality_gap(KEY, landscape, there, box=box, candidates=64, descents=8)
    assert at_optimum.value == pytest.approx(best)
    assert at_optimum.gap < 1e-12
    away = Ensemble(Neuron(jnp.array([[0.3], [-0.5]]), jnp.array([[1.0], [0.2]])))
    found = optimality_gap(KEY, landscape, away, box=box, candidates=64, descents=8)
    assert found.bound
    assert found.value - best <= found.gap
    assert found.lowest is not None
    assert found.lowest <= best
    signs = np.sign([found.particle.a[0], found.particle.w[0]])
    assert signs[0] == signs[1]  # (1, W) and (−1, −W) are one neuron
    helpers.close(np.abs(np.asarray(found.particle.a)), [1.0])
    helpers.close(np.abs(np.asarray(found.particle.w)), [reach], scale=1e6)
    # What is gained by moving mass there never exceeds the gap, and here it is gained wholly.
    assert 0 < found.value - found.value_after <= found.gap
    helpers.close(found.value_after, best, scale=1e6)


def test_the_gap_bounds_the_loss_above_the_optimum_of_linear_attention() -> None:
    eigenvalues, length = (0.3, 0.7), 8
    landscape = MergedLinearAttentionLandscape(
        PopulationMoments(PromptDistribution(eigenvalues, length))
    )
    best = plateau_levels(eigenvalues, length)[-1]
    rng = np.random.default_rng(0)
    mu = Ensemble(
        MergedHead(jnp.asarray(rng.normal(size=4)), jnp.asarray(rng.normal(size=(4, 2, 2))))
    )
    found = optimality_gap(KEY, landscape, mu, box=(-2.0, 2.0), candidates=128, descents=8)
    assert found.bound
    assert found.value - best <= found.gap
    optimum = jnp.linalg.inv(
        (1 + 1 / length) * jnp.diag(jnp.array(eigenvalues)) + jnp.eye(2) / length
    )
    there = Ensemble(MergedHead(jnp.ones(1), optimum[None]))
    assert optimality_gap(KEY, landscape, there, candidates=64, descents=4).gap < 1e-12


def test_the_gap_is_a_direction_where_the_risk_is_not_convex() -> None:
    landscape, mu = helpers.attention(), helpers.cloud()
    found = optimality_gap(KEY, landscape, mu, candidates=64, descents=4)
    assert not found.bound
    assert found.lowest is None
    assert "bounds nothing" in found.sentence
    variation = landscape.first_variation(mu)
    helpers.close(found.gap, -variation(found.particle), scale=10)
    assert found.gap >= -float(jnp.min(jax.vmap(variation)(mu.particles)))
    turned = Ensemble(jax.tree.map(lambda leaf: leaf[::-1], mu.particles))
    again = optimality_gap(KEY, landscape, turned, candidates=64, descents=4)
    assert again.gap == pytest.approx(found.gap, rel=1e-5)


def test_bad_input_is_refused() -> None:
    landscape, mu = helpers.regression(), helpers.cloud()
    with pytest.raises(InvalidInput, match=r"coordinate 'w\[3\]' does not exist"):
        coordinate_directions(mu, ["w[3]"])
    with pytest.raises(InvalidInput, match="one or two"):
        first_variation_field(landscape, mu, {})
    axes = coordinate_directions(mu, ["w[0]"])
    with pytest.raises(InvalidInput, match="points is 0"):
        first_variation_field(landscape, mu, axes, points=0)
    with pytest.raises(InvalidInput, match="again is a combination of"):
        first_variation_field(landscape, mu, axes | {"again": axes["w[0]"]})
    with pytest.raises(InvalidInput, match="holds 2 numbers"):
        first_variation_field(landscape, mu, {"short": jnp.ones(2)})
    with pytest.raises(InvalidInput, match="box has a side"):
        optimality_gap(KEY, landscape, mu, box=(1.0, -1.0))
    with pytest.raises(InvalidInput, match="descents is 0"):
        optimality_gap(KEY, landscape, mu, descents=0)
    other = Ensemble(Neuron(jnp.ones((3, 1)), jnp.ones((3, 3))))
    with pytest.raises(InvalidInput, match="holds particles of shapes"):
        optimality_gap(KEY, landscape, other)
    with pytest.raises(InvalidInput, match="no principal direction"):
        principal_directions(mu, jax.tree.map(jnp.zeros_like, mu.particles))
