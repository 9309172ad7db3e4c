"""What a landscape derives from its two functions, against losses written out by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    attention,
    attention_matrix,
    close,
    cloud,
    dense_loss,
    dense_value_and_velocity,
    regression,
)

from landscapes import Landscape, Neuron
from particles import Ensemble
from particles.internal import to_device

W = attention_matrix()
CASES = {
    "regression": (regression(), None),
    "attention": (attention(), None),
    "attention, ridge": (attention(ridge=0.1), None),
    "attention, W given": (attention(ridge=0.1), W),
    "attention, W given, prompts of 3": (attention(ridge=0.1, context_length=3), W),
}
every_case = pytest.mark.parametrize(("landscape", "fast"), CASES.values(), ids=CASES)
SOME = ("regression", "attention, ridge", "attention, W given, prompts of 3")
some_cases = pytest.mark.parametrize(("landscape", "fast"), [CASES[n] for n in SOME], ids=SOME)
weighted_or_not = pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])


def mixture(ensemble: Ensemble, *extra: Neuron) -> tuple[Neuron, np.ndarray]:
    """The particles with others of zero weight appended."""
    rows = [jax.tree.map(lambda leaf: np.asarray(leaf)[None], neuron) for neuron in extra]
    particles = jax.tree.map(lambda *leaves: np.concatenate(leaves), ensemble.particles, *rows)
    return particles, np.concatenate([ensemble.probabilities, np.zeros(len(extra))])


@every_case
@weighted_or_not
def test_value_and_velocity_against_the_dense_loss(landscape, fast, weighted):
    mu = cloud(weighted=weighted)
    expected = dense_value_and_velocity(landscape, mu, fast)
    close(landscape.value_and_velocity(mu, fast), expected, scale=20)
    close(landscape.value(mu, fast), expected[0])


@some_cases
def test_velocity_against_finite_differences(landscape, fast):
    mu, step = cloud(), 1e-5
    weights, direction = np.asarray(mu.probabilities), cloud(seed=5).particles

    def moved(t):
        neurons = jax.tree.map(
            lambda x, u: np.asarray(x) + t * np.asarray(u), mu.particles, direction
        )
        return float(dense_loss(landscape, neurons, weights, fast))

    slope = (moved(step) - moved(-step)) / (2 * step)
    rate = -float(mu.inner(landscape.velocity(mu, fast), direction))
    assert rate == pytest.approx(slope, rel=1e-7, abs=1e-8)


@some_cases
@weighted_or_not
def test_first_variation_is_the_derivative_along_mixtures(landscape, fast, weighted):
    mu, theta = (
        cloud(weighted=weighted),
        Neuron(to_device([0.4, -1.1]), to_device([0.3, 0.8, -0.5])),
    )
    particles, weights = mixture(mu, theta)
    point = np.eye(weights.size)[-1]

    def mixed(t):
        return float(dense_loss(landscape, particles, (1 - t) * weights + t * point, fast))

    variation = landscape.first_variation(mu, fast)
    step = 1e-5
    slope = (mixed(step) - mixed(-step)) / (2 * step)
    assert float(variation(theta)) == pytest.approx(slope, rel=1e-6, abs=1e-8)
    assert float(mu.mean(variation)) == pytest.approx(0, abs=1e-12)


@some_cases
def test_second_variation_is_the_mixed_difference(landscape, fast):
    mu = cloud()
    one = Neuron(to_device([0.4, -1.1]), to_device([0.3, 0.8, -0.5]))
    two = Neuron(to_device([-0.7, 0.2]), to_device([-0.1, 0.4, 0.9]))
    particles, weights = mixture(mu, one, two)

    def added(s, t):
        moved = np.concatenate([weights[:-2], [s, t]])
        return float(dense_loss(landscape, particles, moved, fast))

    h = 1e-3
    mixed = (added(h, h) - added(h, -h) - added(-h, h) + added(-h, -h)) / (4 * h**2)
    second = landscape.second_variation(mu, fast)
    # The difference has an error of order h² ~ 1e-6 times fourth derivatives, and eps/h² ~ 1e-10.
    assert float(second(one, two)) == pytest.approx(mixed, rel=1e-3, abs=1e-5)
    close(second(one, two), second(two, one))


@eqx.filter_jit
def fast_slope(landscape, mu, fast):
    return jax.grad(dense_loss, argnums=3)(landscape, mu.particles, mu.probabilities, fast)


@eqx.filter_jit
def solve_fast(landscape, moments):
    return landscape.solve_fast(moments)


@pytest.mark.parametrize("context_length", [1, 3, np.inf])
def test_fast_velocity_vanishes_at_the_solution_and_nowhere_else(context_length):
    landscape = attention(ridge=0.05, context_length=context_length)
    mu = cloud()
    moments = landscape.moments(mu)
    solution = solve_fast(landscape, moments)
    close(landscape.fast_velocity(moments, solution), np.zeros(W.shape))
    slope = np.asarray(fast_slope(landscape, mu, W))
    close(landscape.fast_velocity(moments, W), -slope)
    assert np.linalg.norm(slope) > 0.01


@pytest.mark.parametrize("context_length", [1, 3, np.inf])
def test_envelope_theorem(context_length):
    """The reduced velocity is the velocity at the frozen solution; the reduced value is minimal."""
    landscape, mu = attention(ridge=0.05, context_length=context_length), cloud()
    solution = solve_fast(landscape, landscape.moments(mu))
    close(landscape.value_and_velocity(mu), landscape.value_and_velocity(mu, solution), scale=10)
    # R is quadratic in W: one Newton step of the dense loss from anywhere finds its minimum.
    units = np.eye(W.size).reshape(-1, *W.shape)
    slope = lambda fast: np.ravel(fast_slope(landscape, mu, to_device(fast)))  # noqa: E731
    start = slope(W)
    curvature = np.stack([slope(np.asarray(W) + e) - start for e in units])
    newton = np.ravel(W) - np.linalg.solve(curvature, start)
    close(np.ravel(solution), newton, scale=100)
    assert np.linalg.eigvalsh(curvature)[0] > 0


class Blobs(Landscape):
    """A landscape of its own kind: dictionary particles, two moments, a scalar fast variable."""

    target: jax.Array

    def features(self, particle):
        kernel = jnp.exp(-((self.target - particle["centre"]) ** 2))
        return {"field": particle["height"] * kernel, "cost": jnp.sum(particle["height"] ** 2)}

    def risk(self, moments, fast=None):
        fast = self.solve_fast(moments) if fast is None else fast
        return (
            jnp.mean((jnp.cos(self.target) - fast * moments["field"]) ** 2) + moments["cost"] ** 2
        )

    def solve_fast(self, moments):
        field = moments["field"]
        return jnp.vdot(field, jnp.cos(self.target)) / jnp.vdot(field, field)


@weighted_or_not
@pytest.mark.parametrize("fast", [None, 0.7])
def test_a_landscape_of_the_users_own(fast, weighted):
    landscape, rng = Blobs(to_device(np.linspace(-2, 2, 9))), np.random.default_rng(0)
    particles = {name: to_device(rng.uniform(0.5, 1, 5)) for name in ("height", "centre")}
    mu = Ensemble(particles, to_device(np.arange(1.0, 6.0)) if weighted else None)
    p = np.asarray(mu.probabilities)
    fast = fast if fast is None else to_device(fast)

    def dense(particles):
        z, height = landscape.target, particles["height"]
        field = (p * height) @ jnp.exp(-((z - particles["centre"][:, None]) ** 2))
        scale = (field @ jnp.cos(z)) / (field @ field) if fast is None else fast
        return jnp.mean((jnp.cos(z) - scale * field) ** 2) + (p @ height**2) ** 2

    value, slope = jax.jit(jax.value_and_grad(dense))(particles)
    expected = value, jax.tree.map(lambda g: -np.asarray(g) / p, slope)
    for chunk in (None, 1, 2):
        close(landscape.value_and_velocity(mu, fast, chunk=chunk), expected)


def test_pairing_is_the_transpose_of_the_features():
    """By default and with the products reordered."""
    mu, dual = cloud(), to_device(np.random.default_rng(3).normal(size=(24, 2)))
    landscape = regression()

    @jax.jit
    def three(particles, dual):
        each = jax.vmap(lambda neuron: jnp.sum(dual * landscape.features(neuron)))(particles)
        default = Landscape.pairing(landscape, particles, dual)
        return each, landscape.pairing(particles, dual), default

    each, own, default = three(mu.particles, dual)
    close(own, each)
    close(default, each)


def test_one_vmap_over_ensembles_is_a_loop():
    landscape = attention(ridge=0.1)
    batch = [cloud(seed, weighted=True) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: to_device(np.stack(leaves)), *batch)
    together = eqx.filter_vmap(lambda mu: landscape.value_and_velocity(mu, chunk=2))(stacked)
    for index, mu in enumerate(batch):
        alone = landscape.value_and_velocity(mu, chunk=2)
        close(jax.tree.map(lambda leaf: np.asarray(leaf)[index], together), alone)  # noqa: B023


@pytest.mark.parametrize(
    "name", ["tanh", "sigmoid", "relu", "erf", "quadratic", "cosine", "the user's own"]
)
def test_activations(name):
    """The named ones against numpy and scipy, and a callable, through value and velocity."""
    import scipy.special

    own = {"the user's own": lambda z: z * jnp.exp(-(z**2))}
    by_hand = {
        "tanh": np.tanh,
        "sigmoid": scipy.special.expit,
        "relu": lambda z: np.maximum(z, 0),
        "erf": scipy.special.erf,
        "quadratic": np.square,
        "cosine": np.cos,
        "the user's own": lambda z: z * np.exp(-(z**2)),
    }[name]
    landscape, mu = regression(activation=own.get(name, name)), cloud()
    a, w = map(np.asarray, mu.particles)
    h = by_hand(np.asarray(landscape.x) @ w.T) @ a / mu.size
    value, velocity = landscape.value_and_velocity(mu)
    close(landscape.moments(mu), h)
    close(value, 0.5 * np.mean(np.sum((np.asarray(landscape.f) - h) ** 2, axis=1)))
    close(velocity, dense_value_and_velocity(landscape, mu)[1])
