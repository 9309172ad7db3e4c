"""Points behind every draw: the right law, evenly spread, equal on one device and on many."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import kstest, qmc

from landscapes import Neuron
from particles import (
    InvalidInput,
    Points,
    UnbalancedWarning,
    drawn_on,
    gaussian,
    particle_mesh,
    sphere,
    uniform,
)
from particles._points import BITS, _directions
from particles.internal import normal_points as draw_normal
from particles.internal import require_points
from particles.internal import uniform_points as draw_uniform

#: Compiled whole: one program a shape instead of one an operation.
normal_points, uniform_points = (
    jax.jit(draw, static_argnums=(1, 2, 3, 4)) for draw in (draw_normal, draw_uniform)
)


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def both_points(key, size, dim, dtype, points):
    """Uniform and normal ones."""
    return (
        draw_uniform(key, size, dim, dtype, points),
        draw_normal(key, size, dim, dtype, points),
    )


EVEN: list[Points] = ["sobol", "stratified", "antithetic"]
KEY = jax.random.key(4)
LIKE = Neuron(a=jax.ShapeDtypeStruct((), "float64"), w=jax.ShapeDtypeStruct((2,), "float64"))


def test_direction_numbers_give_scipys_sequence():
    numbers = _directions(6, 7)
    points = np.zeros((128, 6), np.uint32)
    for column in range(7):
        points ^= (np.arange(128, dtype=np.uint32)[:, None] >> column & 1) * numbers[:, column]
    expected = qmc.Sobol(6, scramble=False).random(128)
    order = [np.lexsort(p.T) for p in (points, expected)]
    np.testing.assert_array_equal(points[order[0]] / 2.0**BITS, expected[order[1]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("points", EVEN[:2])
def test_each_coordinate_visits_each_interval_once(points, dtype):
    u, z = map(np.asarray, both_points(KEY, 512, 4, jnp.dtype(dtype), points))
    for sample in (u, ndtr(z.astype("float64"))):
        cells = np.sort(np.floor(sample * 512).astype(int), axis=0)
        np.testing.assert_array_equal(cells, np.repeat(np.arange(512)[:, None], 4, axis=1))


def test_sobol_points_are_as_even_as_scipys():
    u = np.asarray(uniform_points(KEY, 1024, 5, jnp.dtype("float64"), "sobol"))
    theirs = [qmc.discrepancy(qmc.Sobol(5, rng=seed).random(1024)) for seed in range(5)]
    independent = qmc.discrepancy(np.random.default_rng(0).random((1024, 5)))
    assert qmc.discrepancy(u) < 1.5 * max(theirs) < independent / 10


@pytest.mark.parametrize("points", EVEN)
def test_a_single_point_has_the_uniform_law(points):
    """The first and last point over many keys: scrambling makes each uniform by itself."""
    draw = jax.jit(jax.vmap(lambda key: uniform_points(key, 4, 2, jnp.dtype("float64"), points)))
    drawn = np.asarray(draw(jax.random.split(KEY, 400)))
    for sample in drawn[:, [0, -1]].reshape(400, -1).T:
        assert kstest(sample, "uniform").pvalue > 1e-3


def test_antithetic_points_are_mirrored():
    u, z = map(np.asarray, both_points(KEY, 6, 3, jnp.dtype("float64"), "antithetic"))
    np.testing.assert_array_equal(z[:3], -z[3:])
    np.testing.assert_allclose(u[:3] + u[3:], 1, rtol=1e-15)


def test_averages_err_less():
    """E[cos(w·x)] = exp(−|x|²/2): i.i.d. errors fall as N^(−1/2), Sobol's about as 1/N.

    A Latin hypercube is that good only where coordinates do not act together.
    """
    x = np.array([[0.6, -0.3, 0.4], [1.0, 0.2, -0.5], [1.0, 0, 0]])
    exact = np.exp(-0.5 * np.sum(x**2, axis=1))
    together, alone = [0, 1], [2]

    @functools.cache
    def errors(points: Points, size):
        def one(key):
            w = normal_points(key, size, 3, jnp.dtype("float64"), points)
            return jnp.mean(jnp.cos(w @ x.T), axis=0) - exact

        return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, 64)))

    def error(points: Points, size, where=together):
        return np.sqrt(np.mean(np.square(errors(points, size)[:, where])))

    fall = {points: error(points, 64) / error(points, 1024) for points in ("random", "sobol")}
    assert 3 < fall["random"] < 5.3
    assert fall["sobol"] > 10
    assert error("sobol", 1024) < error("random", 1024) / 15
    assert error("stratified", 1024, alone) < error("random", 1024, alone) / 50
    assert error("stratified", 1024) < error("random", 1024)


@pytest.mark.parametrize("points", EVEN)
@pytest.mark.parametrize("draw", [gaussian, uniform, sphere])
def test_starts_have_their_law(draw, points):
    """Second moments, and no correlation between the leaves of a particle."""
    mu = draw(KEY, 4096, LIKE, points=points)
    a, w = map(np.asarray, mu.particles)
    variance = {gaussian: (1, 1), uniform: (1 / 3, 1 / 3), sphere: (1, 1 / 2)}[draw]
    assert np.mean(a**2) == pytest.approx(variance[0], rel=0.1)
    np.testing.assert_allclose(w.T @ w / 4096, variance[1] * np.eye(2), atol=0.1)
    assert np.abs(a @ w / 4096).max() < 0.1
    assert a.shape == (4096,)
    assert w.shape == (4096, 2)


@pytest.mark.parametrize("points", EVEN)
def test_draws_over_devices_equal_those_of_one(points):
    def draw():
        return gaussian(KEY, 16, LIKE, points=points)

    there = drawn_on(particle_mesh(4), draw)
    for split, whole in zip(there.particles, draw().particles, strict=True):
        np.testing.assert_allclose(np.asarray(split), np.asarray(whole), rtol=1e-15)


def test_extreme_points_are_finite():
    for dtype in ("float32", "float64"):
        for points in EVEN:
            u, z = map(np.asarray, both_points(KEY, 2**16, 1, jnp.dtype(dtype), points))
            assert np.all(np.isfinite(z))
            assert z.dtype == dtype
            assert u.min() >= 0
            assert u.max() < 1
            assert u.dtype == dtype


def test_sizes_that_do_not_suit():
    with pytest.warns(UnbalancedWarning, match="size is 1000, no power of two.*512 or 1024"):
        gaussian(KEY, 1000, LIKE, points="sobol")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gaussian(KEY, 1024, LIKE, points="sobol")
    with pytest.raises(InvalidInput, match="size is 7; antithetic points come in pairs"):
        gaussian(KEY, 7, LIKE, points="antithetic")
    with pytest.raises(InvalidInput, match="points is 'halton'; choose one of"):
        require_points("halton", 8, 2)
    with pytest.raises(InvalidInput, match="a point has 30000 coordinates; Sobol points have at"):
        gaussian(KEY, 8, jax.ShapeDtypeStruct((30_000,), "float64"), points="sobol")
