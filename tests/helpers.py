"""Small problems shared by the tests, and the losses written out by hand to judge them by."""

import functools
import itertools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landscapes import (
    AbstractLandscape,
    MLPAttentionLandscape,
    Neuron,
    NeuronLandscape,
    RegressionLandscape,
)
from particles import Ensemble
from particles.internal import to_device

SAMPLES, INPUTS, OUTPUTS, SIZE = 24, 3, 2, 7


def samples(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs x and smooth targets f of two features."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(SAMPLES, INPUTS))
    f = np.stack([np.sin(x[:, 0]) + 0.3 * x[:, 1], 0.7 * np.tanh(x[:, 1] - x[:, 2])], axis=1)
    return x, f


def attention(seed: int = 0, **options) -> MLPAttentionLandscape:
    return MLPAttentionLandscape(*map(to_device, samples(seed)), **options)


def regression(seed: int = 0, **options) -> RegressionLandscape:
    return RegressionLandscape(*map(to_device, samples(seed)), **options)


def cloud(seed: int = 1, size: int = SIZE, *, weighted: bool = False) -> Ensemble:
    """Random neurons that fit the small problems."""
    rng = np.random.default_rng(seed)
    neurons = Neuron(
        a=to_device(rng.normal(size=(size, OUTPUTS))),
        w=to_device(rng.normal(size=(size, INPUTS))),
    )
    weights = to_device(rng.uniform(0.2, 1.0, size=size)) if weighted else None
    return Ensemble(neurons, weights)


def attention_matrix(seed: int = 2) -> jax.Array:
    return to_device(np.random.default_rng(seed).normal(size=(OUTPUTS, OUTPUTS)))


@eqx.filter_jit
def dense_loss(
    landscape: NeuronLandscape,
    neurons: Neuron,
    weights: jax.Array,
    fast: jax.Array | None = None,
) -> jax.Array:
    """L by its textbook formula (theory.md, section 2), all particles and samples at once.

    Without `fast` that is the closed form of the limit, known at infinite prompt length only.
    """
    x, f = landscape.x, landscape.f
    hidden = landscape.activation(jnp.einsum("nd,md->nm", neurons.w, x))
    h = jnp.einsum("n,nk,nm->mk", weights, neurons.a, hidden)
    if isinstance(landscape, RegressionLandscape):
        return 0.5 * jnp.mean(jnp.sum((f - h) ** 2, axis=1))
    mean = functools.partial(jnp.mean, axis=0)
    outer = jax.vmap(jnp.outer)
    cross, gram, target = mean(outer(f, h)), mean(outer(h, h)), mean(outer(f, f))
    gram = gram + landscape.ridge * jnp.eye(h.shape[1])
    if fast is None:
        return 0.5 * jnp.trace(target - cross @ jnp.linalg.inv(gram) @ cross.T)
    energy = mean(jnp.sum(f**2, axis=1)[:, None, None] * outer(h, h))
    spread = energy - cross.T @ cross
    infinite = 0.5 * jnp.trace(
        target - 2 * cross @ fast @ cross.T + cross @ fast @ gram @ fast.T @ cross.T
    )
    if landscape.inverse_context is None:
        return infinite
    return infinite + 0.5 * landscape.inverse_context * jnp.trace(fast @ gram @ fast.T @ spread)


@eqx.filter_jit
def dense_value_and_velocity(
    landscape: NeuronLandscape, mu: Ensemble, fast: jax.Array | None = None
) -> tuple[jax.Array, Neuron]:
    """L and −∇_θi L / p_i."""
    p = mu.probabilities
    loss, slope = jax.value_and_grad(dense_loss, argnums=1)(landscape, mu.particles, p, fast)
    return loss, jax.tree.map(lambda leaf: -leaf / p[:, None], slope)


@eqx.filter_jit
def along_particles(variation: Callable, inside: jax.Array, outside: jax.Array) -> tuple:
    """A first variation at some particles; its potential and the slope of that at others."""
    slope = jax.grad(variation.potential)
    return (
        jax.vmap(variation)(inside),
        jax.vmap(variation.potential)(outside),
        jax.vmap(slope)(outside),
    )


@eqx.filter_jit
def readings(
    landscape: AbstractLandscape, ensemble: Ensemble, elsewhere: Ensemble, chunk: int | None
) -> tuple:
    """Value and derivatives of a landscape of points, here and elsewhere, in one program."""
    particles, variation = ensemble.particles, landscape.first_variation(ensemble, chunk=chunk)
    return (
        landscape.first_order(ensemble, potential=True, chunk=chunk),
        landscape.value(ensemble, chunk=chunk),
        along_particles(variation, particles, elsewhere.particles),
        variation.potential_and_gradient(elsewhere, chunk=chunk),
        landscape.second_variation(ensemble, chunk=chunk)(particles[0], particles[3]),
    )


@eqx.filter_jit
def mixed_derivatives(pair: Callable, particles: jax.Array) -> jax.Array:
    """∇_x ∇_y of a function of two particles, at every pair of them."""
    mixed = jax.jacfwd(jax.grad(pair), argnums=1)
    return jax.vmap(lambda x: jax.vmap(lambda y: mixed(x, y))(particles))(particles)


def prompt_losses(
    f: np.ndarray, h: np.ndarray, fast: np.ndarray, rows: np.ndarray, query: np.ndarray
) -> np.ndarray:
    """½ E_v (y − ŷ)² for each prompt of sample numbers `rows` and query number `query`."""
    read = np.einsum("pik,pil->pkl", f[rows], h[rows]) / rows.shape[1]
    error = f[query] - np.einsum("pkl,lm,pm->pk", read, fast, h[query])
    return 0.5 * np.sum(error**2, axis=1)


def all_prompts(samples: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Every prompt of the given length with every query."""
    every = np.array(list(itertools.product(range(samples), repeat=length + 1)))
    return every[:, :-1], every[:, -1]


def close(actual, expected, scale: float = 1.0) -> None:
    """Equality up to round-off in the actual value's precision, relative to the largest entry."""
    jax.tree.map(functools.partial(_close, scale=scale), actual, expected)


def _close(actual, expected, scale: float) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    tolerance = 200 * scale * np.finfo(actual.dtype).eps * max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)
