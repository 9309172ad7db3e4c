"""Hermite coefficients and inner products of neurons on Gaussian inputs, against quadrature."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
from numpy.polynomial.hermite_e import hermegauss, hermeval

from landscapes.networks import hermite_expansion
from particles import InvalidInput

SMOOTH = {"erf": scipy.special.erf, "quadratic": np.square, "cosine": np.cos}
NAMES = [*SMOOTH, "relu"]
NODES, WEIGHTS = hermegauss(120)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
W, V = np.array([0.9, -0.4]), np.array([0.3, 0.7])


def by_quadrature(name: str, k: int, r: float) -> float:
    """c_k(r) by its definition."""
    he = lambda z: hermeval(z, [0] * k + [1]) / math.factorial(k) ** 0.5  # noqa: E731
    if name in SMOOTH:
        return float(np.sum(WEIGHTS * SMOOTH[name](r * NODES) * he(NODES)))
    density = lambda z: r * z * he(z) * math.exp(-z * z / 2) / (2 * math.pi) ** 0.5  # noqa: E731
    return scipy.integrate.quad(density, 0, 14)[0]


def inner_by_quadrature(name: str, w: np.ndarray, v: np.ndarray) -> float:
    """E[σ(wᵀx)σ(vᵀx)] for two inputs by its definition; for ReLU the radius is integrated out."""
    if name in SMOOTH:
        x = np.stack(np.meshgrid(NODES, NODES, indexing="ij"), axis=-1)
        sigma = SMOOTH[name]
        return float(np.sum(np.outer(WEIGHTS, WEIGHTS) * sigma(x @ w) * sigma(x @ v)))
    around = lambda t: np.prod(np.maximum([w, v] @ np.array([np.cos(t), np.sin(t)]), 0))  # noqa: E731
    return scipy.integrate.quad(around, 0, 2 * np.pi, limit=200, epsabs=1e-12)[0] / np.pi


@pytest.mark.parametrize("name", NAMES)
def test_coefficients_are_those_of_the_definition(name):
    expansion = hermite_expansion(name)
    for r in (0.4, 1.3):
        found = [float(expansion.coefficient(k, r)) for k in range(8)]
        assert found == pytest.approx([by_quadrature(name, k, r) for k in range(8)], abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_inner_products_are_those_of_the_definition(name):
    inner = hermite_expansion(name).inner
    for left, right in ((W, V), (W, -V), (W, W), (W, -W), (np.array([1.0, 0]), np.array([0, 1.0]))):
        found = float(inner(jnp.asarray(left), jnp.asarray(right)))
        assert found == pytest.approx(inner_by_quadrature(name, left, right), abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_remainder_bounds_what_higher_degrees_hold(name):
    """It is the sum over them, which converges as fast as the activation is smooth."""
    expansion = hermite_expansion(name)
    squared = jnp.asarray(0.8)
    rest = [by_quadrature(name, k, 0.8**0.5) ** 2 for k in range(4, 40)]
    bound = float(expansion.remainder(range(4), squared))
    unsummed = {"relu": 2e-3}.get(name, 1e-9)
    assert sum(rest) - 1e-25 <= bound**2 <= sum(rest) + unsummed
    assert (bound == 0) == (name == "quadratic")


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_hold_for_parallel_orthogonal_and_dead_neurons(name):
    """∂∂' of the inner product is E[σ'σ' x xᵀ], and none is NaN where the formula is singular."""
    inner = hermite_expansion(name).inner
    mixed = jax.jit(jax.jacfwd(jax.grad(inner), argnums=1))
    slope, twice = jax.jit(jax.grad(inner)), jax.jit(jax.hessian(inner))
    w = jnp.array([0.6, 0.8])
    slopes = {
        "erf": lambda u: 2 / math.pi**0.5 * np.exp(-(u**2)),
        "quadratic": lambda u: 2 * u,
        "cosine": lambda u: -np.sin(u),
    }
    if name == "relu":  # half of the space, where xxᵀ has the same mean as in the other half
        expected = np.eye(2) / 2
    else:
        x = np.stack(np.meshgrid(NODES, NODES, indexing="ij"), axis=-1)
        s2 = np.outer(WEIGHTS, WEIGHTS) * slopes[name](x @ np.asarray(w)) ** 2
        expected = np.einsum("pq,pqi,pqj->ij", s2, x, x)
    assert np.asarray(mixed(w, w)) == pytest.approx(expected, abs=1e-7)
    for other in (w, -w, jnp.array([-0.8, 0.6]), jnp.zeros(2)):
        step = 1e-4 * jnp.array([0.3, 0.5])
        assert np.isfinite(twice(w, other)).all()
        moved = (slope(w + step, other) - slope(w - step, other)) / 2
        assert np.asarray(twice(w, other) @ step) == pytest.approx(np.asarray(moved), abs=2e-8)
    assert np.isfinite(slope(jnp.zeros(2), w)).all()


def test_an_activation_without_closed_form_is_named():
    with pytest.raises(InvalidInput, match=r"activation is 'tanh'.*'relu'.*draw samples"):
        hermite_expansion("tanh")
    with pytest.raises(InvalidInput, match="activation is 'sin'"):
        hermite_expansion(jnp.sin)
