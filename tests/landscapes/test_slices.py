"""Slices and paths between ensembles: exact parabolas, brute force, relabelling, bad input."""

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscapes import Landscape, barrier, interpolate, loss_lines, loss_plane, principal_plane
from landscapes.sections import displacement_path
from particles import Coupling, Ensemble, InvalidInput, optimal_coupling


class Quadratic(Landscape):
    """L(μ) = ½ (m − t)ᵀ B (m − t), m the mean particle: a parabola along every line."""

    target: jax.Array
    matrix: jax.Array

    def features(self, particle):
        return particle

    def risk(self, moments, fast=None):
        return 0.5 * (moments - self.target) @ self.matrix @ (moments - self.target)


def quadratic() -> Quadratic:
    return Quadratic(jnp.array([1.0, -2.0]), jnp.array([[2.0, 0.5], [0.5, -1.0]]))


def points(seed: int, size: int, *, weighted: bool = False) -> Ensemble:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 1.0, size) if weighted else None
    return Ensemble(jnp.asarray(rng.normal(size=(size, 2))), weights)


def by_hand(landscape: Quadratic, mu: Ensemble) -> float:
    mean = np.asarray(mu.probabilities) @ np.asarray(mu.particles)
    off = mean - np.asarray(landscape.target)
    return float(0.5 * off @ np.asarray(landscape.matrix) @ off)


def permuted(mu: Ensemble, seed: int = 5) -> Ensemble:
    order = np.random.default_rng(seed).permutation(mu.size)
    weights = None if mu.weights is None else mu.weights[order]
    return Ensemble(jax.tree.map(lambda leaf: leaf[order], mu.particles), weights)


def test_slices_of_a_quadratic_are_its_parabolas(precision: str) -> None:
    landscape, mu = quadratic(), points(0, 5, weighted=True)
    field = jnp.asarray(np.random.default_rng(1).normal(size=(5, 2)))
    lines = loss_lines(landscape, mu, {"u": field, "minus": -field}, extent=(-1.0, 2.0), points=7)
    unit = field / mu.norm(field)
    expected = [
        by_hand(landscape, Ensemble(mu.particles + float(s) * unit, mu.weights))
        for s in lines.distance
    ]
    assert lines.loss.dtype == precision
    helpers.close(lines.loss.values[0], expected)
    np.testing.assert_allclose(lines.prediction[0], expected, atol=2e-5)
    mean = mu.probabilities @ unit
    np.testing.assert_allclose(lines.curvature[0], mean @ landscape.matrix @ mean, rtol=1e-4)
    np.testing.assert_allclose(lines.slope[0], -lines.slope[1], rtol=1e-4)


def test_a_plane_of_a_quadratic_is_its_own_prediction() -> None:
    landscape, mu = quadratic(), points(0, 5)
    rng = np.random.default_rng(2)
    fields = {name: jnp.asarray(rng.normal(size=(5, 2))) for name in ("u", "v")}
    plane = loss_plane(landscape, mu, fields, extent=(-1.0, 0.5), points=5)
    helpers.close(plane.loss.values, plane.prediction.values)
    assert plane.first.attrs["long_name"] == "u"
    # The second axis is made orthogonal to the first, so corners lie at Euclidean distances.
    u = fields["u"] / mu.norm(fields["u"])
    v = fields["v"] - mu.inner(fields["v"], u) * u
    corner = mu.particles + 0.5 * u - 1.0 * v / mu.norm(v)
    helpers.close(plane.loss.values[-1, 0], by_hand(landscape, Ensemble(corner)))


def test_the_default_reach_follows_the_curvature() -> None:
    landscape, mu = helpers.regression(), helpers.cloud()
    steep = loss_lines(landscape, mu, {"v": landscape.velocity(mu)}, points=5)
    reach = float(steep.distance[-1])
    largest = 0.2 * float(mu.norm(mu.particles))
    assert 0.02 * largest <= reach <= largest
    drop = abs(float(steep.slope[0])) * reach + 0.5 * abs(float(steep.curvature[0])) * reach**2
    assert drop < 6 * float(landscape.value(mu)) or reach == pytest.approx(0.02 * largest)


def test_a_trajectory_lies_in_its_principal_plane() -> None:
    mu = points(0, 4, weighted=True)
    rng = np.random.default_rng(3)
    u, v = (jnp.asarray(rng.normal(size=(4, 2))) for _ in range(2))
    times = np.linspace(0.0, 1.0, 6)
    run = [Ensemble(mu.particles + (t - 1) * u + (t - 1) ** 2 * v, mu.weights) for t in times]
    plane = principal_plane(run)
    assert plane.share.sum() == pytest.approx(1.0)
    for ensemble, place in zip(run, plane.path, strict=True):
        moved = mu.particles
        for c, field in zip(place, plane.fields.values(), strict=True):
            moved = moved + c * field
        helpers.close(moved, ensemble.particles)
    gram = [[float(mu.inner(a, b)) for a in plane.fields.values()] for b in plane.fields.values()]
    helpers.close(np.array(gram), np.eye(2))


@pytest.mark.parametrize("sizes", [(4, 6), (5, 5)])
def test_paths_of_a_quadratic_are_parabolas_between_the_ends(sizes: tuple[int, int]) -> None:
    landscape = quadratic()
    mu, nu = points(0, sizes[0], weighted=True), points(1, sizes[1])
    paths = interpolate(landscape, mu, nu, points=9)
    assert list(paths.kind.values) == ["displacement", "mixture"]  # weights differ: no straight
    means = [np.asarray(e.probabilities) @ np.asarray(e.particles) for e in (mu, nu)]
    for row in range(2):
        for t, loss in zip(paths.fraction.values, paths.loss.values[row], strict=True):
            mean = Ensemble(jnp.asarray(((1 - t) * means[0] + t * means[1])[None]))
            assert loss == pytest.approx(by_hand(landscape, mean), abs=1e-12)
    bent = (means[1] - means[0]) @ np.asarray(landscape.matrix) @ (means[1] - means[0])
    np.testing.assert_allclose(paths.curvature, bent)
    np.testing.assert_allclose(paths.second_difference[:, 1:-1], bent, rtol=1e-9)
    assert float(paths.length[0]) == pytest.approx(optimal_coupling(mu, nu).cost ** 0.5)


def test_displacement_undoes_a_relabelling_and_the_straight_path_does_not() -> None:
    landscape, mu = helpers.attention(), helpers.cloud(size=6)
    nu = permuted(mu)
    paths = interpolate(landscape, mu, nu, points=5).sel(kind=["displacement", "straight"])
    displaced, straight = paths.loss.values
    helpers.close(displaced, np.full(5, float(landscape.value(mu))))
    middle = Ensemble(jax.tree.map(lambda a, b: (a + b) / 2, mu.particles, nu.particles))
    dense = helpers.dense_loss(landscape, middle.particles, middle.probabilities)
    helpers.close(straight[2], dense)
    assert float(paths.barrier[0]) < 1e-12 < 1e-3 < float(paths.barrier[1])
    assert float(paths.barrier_at[1]) in paths.fraction.values[1:-1]


def test_convex_risks_have_convex_mixtures() -> None:
    landscape = helpers.regression()
    paths = interpolate(
        landscape, helpers.cloud(), helpers.cloud(2, 4), kinds=["mixture"], points=5
    )
    assert landscape.convex
    assert float(paths.smallest_curvature[0]) > 0
    assert float(paths.barrier[0]) == 0.0
    both = [helpers.cloud(), helpers.cloud(2, 4)]
    together = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *(e.particles for e in both))
    weights = jnp.concatenate([0.75 * both[0].probabilities, 0.25 * both[1].probabilities])
    helpers.close(paths.loss.values[0, 1], helpers.dense_loss(landscape, together, weights))


def test_moves_of_a_plan_become_particles() -> None:
    mu, nu = points(0, 2), points(1, 2)
    plan = Coupling(
        np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0.25, 0.25, 0.5]), 0.0, True
    )
    start = displacement_path(mu, nu, plan).at(jnp.zeros(1))
    helpers.close(start.probabilities @ start.particles, mu.probabilities @ mu.particles)
    assert start.size == 3


def test_barrier_of_a_curve() -> None:
    t = np.linspace(0, 1, 11)
    assert barrier(t, t * (1 - t) + t) == (pytest.approx(0.25), pytest.approx(0.5))
    assert barrier(t, t**2).height == 0.0


def test_bad_input_is_refused() -> None:
    landscape, mu = helpers.regression(), helpers.cloud()
    with pytest.raises(InvalidInput, match="fields is empty"):
        loss_lines(landscape, mu, {})
    with pytest.raises(InvalidInput, match="odd has leaves"):
        loss_lines(landscape, mu, {"odd": jnp.zeros(3)})
    with pytest.raises(InvalidInput, match="still is zero"):
        loss_lines(landscape, mu, {"still": jax.tree.map(jnp.zeros_like, mu.particles)})
    with pytest.raises(InvalidInput, match="points is 2"):
        loss_lines(landscape, mu, {"u": mu.particles}, extent=1.0, points=2)
    with pytest.raises(InvalidInput, match="extent is 0"):
        loss_lines(landscape, mu, {"u": mu.particles}, extent=0.0)
    with pytest.raises(InvalidInput, match="a plane has two"):
        loss_plane(landscape, mu, {"u": mu.particles})
    with pytest.raises(InvalidInput, match="v is a combination"):
        loss_plane(landscape, mu, {"u": mu.particles, "v": mu.particles})
    with pytest.raises(InvalidInput, match="shapes"):
        interpolate(landscape, mu, points(0, 7))
    with pytest.raises(InvalidInput, match="straight path"):
        interpolate(landscape, mu, helpers.cloud(2, 4), kinds=["straight"])
    with pytest.raises(InvalidInput, match="do not differ"):
        principal_plane([mu, mu])
    with pytest.raises(InvalidInput, match="at least two"):
        principal_plane([mu])
