"""Couplings and distances against brute force, closed forms and invariances."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particles import (
    Ensemble,
    InvalidInput,
    optimal_coupling,
    sinkhorn_divergence,
    sliced_wasserstein,
    wasserstein,
)
from particles.internal import coordinates


def points(seed: int, size: int, dim: int = 2, weighted: bool = False) -> Ensemble:
    rng = np.random.default_rng(seed)
    particles = {"a": jnp.asarray(rng.normal(size=(size, 1))), "w": rng.normal(size=(size, dim))}
    weights = jnp.asarray(rng.uniform(0.2, 1, size)) if weighted else None
    return Ensemble(particles, weights)


def by_permutations(mu: Ensemble, nu: Ensemble) -> float:
    x, y = np.asarray(coordinates(mu)), np.asarray(coordinates(nu))
    orders = itertools.permutations(range(len(y)))
    return min(np.mean(np.sum((x - y[list(order)]) ** 2, axis=1)) for order in orders)


def marginals(plan, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    left, right = np.zeros(rows), np.zeros(columns)
    np.add.at(left, plan.source, plan.mass)
    np.add.at(right, plan.target, plan.mass)
    return left, right


@pytest.mark.parametrize("seed", range(3))
def test_an_assignment_is_the_best_permutation(seed: int) -> None:
    mu, nu = points(seed, 6), points(seed + 10, 6)
    plan = optimal_coupling(mu, nu)
    assert plan.exact
    assert plan.cost == pytest.approx(by_permutations(mu, nu), rel=1e-12)
    assert wasserstein(mu, nu) == pytest.approx(math.sqrt(plan.cost))


def test_sizes_may_differ() -> None:
    """Particles split evenly: N = 2 against 6 is 6 against 6 with each of the two thrice."""
    mu, nu = points(0, 2), points(1, 6)
    thrice = Ensemble(jax.tree.map(lambda leaf: jnp.repeat(leaf, 3, axis=0), mu.particles))
    assert optimal_coupling(mu, nu).cost == pytest.approx(by_permutations(thrice, nu), rel=1e-12)


@pytest.mark.parametrize("sizes", [(5, 4), (4, 4)])
def test_a_program_has_the_marginals_and_is_optimal(sizes: tuple[int, int]) -> None:
    """Weights in twelfths: the program must equal the assignment of that many copies."""
    rng = np.random.default_rng(0)
    mu, nu = points(0, sizes[0]), points(1, sizes[1])
    shares = [rng.multinomial(12, np.full(size, 1 / size)) for size in sizes]
    shares = [np.where(share == 0, 1, share) for share in shares]
    weighted = [
        Ensemble(e.particles, jnp.asarray(s, float)) for e, s in zip((mu, nu), shares, strict=True)
    ]
    copies = [
        Ensemble(jax.tree.map(lambda leaf, s=s: jnp.repeat(leaf, s, axis=0), e.particles))
        for e, s in zip((mu, nu), shares, strict=True)
    ]
    plan = optimal_coupling(*weighted)
    assert plan.exact
    left, right = marginals(plan, *sizes)
    np.testing.assert_allclose(left, weighted[0].weights, atol=1e-12)
    np.testing.assert_allclose(right, weighted[1].weights, atol=1e-12)
    assert plan.cost == pytest.approx(optimal_coupling(*copies).cost, rel=1e-9)


def test_the_entropic_plan_approaches_the_exact_one() -> None:
    mu, nu = points(0, 24), points(1, 24)
    exact = optimal_coupling(mu, nu)
    gaps = []
    for epsilon in (3.0, 1.0, 0.3):
        plan = optimal_coupling(mu, nu, epsilon=epsilon)
        assert not plan.exact
        assert plan.mass.sum() == pytest.approx(1)
        gaps.append(plan.cost - exact.cost)
        # Entropies of plans differ by log N at most; moves left out carry a thousandth each.
        assert -0.01 * exact.cost < gaps[-1] < epsilon * math.log(24)
    assert gaps[0] > gaps[1] > gaps[2]


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 99), st.floats(-3, 3), st.floats(0.3, 3))
def test_w2_of_a_shift_and_a_stretch(seed: int, shift: float, stretch: float) -> None:
    """W2(μ, μ + c) = |c|, and distances scale with the particles."""
    mu = Ensemble(points(seed, 8).particles["w"])
    nu = Ensemble(points(seed + 1, 8).particles["w"])
    moved = mu.with_particles(mu.particles + shift)
    assert wasserstein(mu, moved) == pytest.approx(abs(shift) * math.sqrt(2), abs=1e-7)
    wide = [e.with_particles(stretch * e.particles) for e in (mu, nu)]
    assert wasserstein(*wide) == pytest.approx(stretch * wasserstein(mu, nu), rel=1e-9)


def test_sliced_distance_against_sorting() -> None:
    """In one dimension it is W2, by sorting; of a shift it is |shift| / √dim."""
    x, y = (np.random.default_rng(s).normal(size=50) for s in (0, 1))
    expected = math.sqrt(np.mean((np.sort(x) - np.sort(y)) ** 2))
    key = jax.random.key(0)
    one = sliced_wasserstein(key, Ensemble(jnp.asarray(x)), Ensemble(jnp.asarray(y)))
    assert one == pytest.approx(expected, rel=1e-9)
    mu = Ensemble(points(0, 20, 3).particles["w"])
    moved = mu.with_particles(mu.particles + jnp.array([2.0, 0, 0]))
    count = 2000
    found = sliced_wasserstein(key, mu, moved, projections=count) ** 2
    # ⟨u, c⟩² / |c|² is Beta(½, 1) on the sphere of R³: mean 1/3, variance 4/45.
    assert abs(found / 4 - 1 / 3) < 4 * math.sqrt(4 / 45 / count)


def test_sliced_distance_of_different_sizes() -> None:
    """By sorting, and by the library's transport on lines where weights are given."""
    mu, nu = (Ensemble(points(seed, size).particles["w"]) for seed, size in ((0, 5), (1, 15)))
    weighted = nu.with_weights(jnp.full(15, 1 / 15))
    key = jax.random.key(0)
    expected = sliced_wasserstein(key, mu, weighted, projections=7)
    for pair in ((mu, nu), (nu, mu)):
        assert sliced_wasserstein(key, *pair, projections=7) == pytest.approx(expected, rel=1e-9)


def test_sinkhorn_divergence() -> None:
    """Zero at equality, the squared shift for a shift, W2² for small ε, and never negative."""
    mu = Ensemble(points(0, 30).particles["w"])
    nu = Ensemble(points(1, 20).particles["w"])
    assert sinkhorn_divergence(mu, mu, 0.5) == pytest.approx(0, abs=1e-9)
    moved = mu.with_particles(mu.particles + 1.0)
    assert sinkhorn_divergence(mu, moved, 0.5) == pytest.approx(2, rel=1e-3)
    exact = wasserstein(mu, nu) ** 2
    gaps = [abs(sinkhorn_divergence(mu, nu, epsilon) - exact) for epsilon in (1.0, 0.1)]
    assert gaps[1] < gaps[0] < 1.0 * math.log(30)
    assert gaps[1] < 0.1 * math.log(30)
    assert sinkhorn_divergence(mu, nu, 100.0) >= 0


def test_refusals() -> None:
    mu, nu = points(0, 4), points(1, 4, dim=3)
    for distance in (
        lambda: optimal_coupling(mu, nu),
        lambda: sinkhorn_divergence(mu, nu, 1.0),
        lambda: sliced_wasserstein(jax.random.key(0), mu, nu),
    ):
        with pytest.raises(InvalidInput, match="mu holds particles of shapes"):
            distance()
    with pytest.raises(InvalidInput, match="epsilon is 0"):
        sinkhorn_divergence(mu, mu, 0)
    with pytest.raises(InvalidInput, match="epsilon is -1"):
        optimal_coupling(mu, mu, epsilon=-1)
    with pytest.raises(InvalidInput, match="projections is 0"):
        sliced_wasserstein(jax.random.key(0), mu, mu, projections=0)
    with pytest.raises(InvalidInput, match="too many for an exact"):
        wasserstein(Ensemble(jnp.zeros(4097)), Ensemble(jnp.zeros(4096)))
