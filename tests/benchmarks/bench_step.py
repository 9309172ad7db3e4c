"""One flow step's value and velocity against other ways to compute them. Run with `make bench`.

The dense gradient is what one writes first; the plain scan is what one writes when it no longer
fits in memory, at the best of some chunks; the bare products are what no way can do without. All
take turns, so that a busy machine slows them alike; the smallest time of each counts.
"""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import pytest
from benchmarks.timing import fastest

from landscapes import MLPAttentionLandscape, Neuron, neuron_start
from particles import Ensemble
from particles.internal import stream_map, stream_sum

PARTICLES, SAMPLES, INPUTS, OUTPUTS, ROUNDS = 65_536, 4_096, 20, 5, 3
CHUNKS = (128, 256, 512, 1024, 2048)


@pytest.fixture(autouse=True)
def single_precision() -> Iterator[None]:
    with jax.enable_x64(False):
        yield


def dense_step(landscape: MLPAttentionLandscape, mu: Ensemble):
    """What one would write first: the gradient of the loss over all particles and samples."""

    def loss(neurons: Neuron) -> jax.Array:
        h = jnp.tanh(landscape.x @ neurons.w.T) @ neurons.a / PARTICLES
        return landscape.energy(h)

    value, gradient = jax.value_and_grad(loss)(mu.particles)
    return value, jax.tree.map(lambda leaf: -PARTICLES * leaf, gradient)


def bare_products(landscape: MLPAttentionLandscape, mu: Ensemble):
    """The matrix products of the two passes, in the same chunks, with no activation."""
    x, dual, chunk = landscape.x, landscape.f, landscape.chunk(mu)
    forward = stream_sum(
        lambda n, p: (x @ n.w.T) @ (p[:, None] * n.a), mu.particles, mu.weights, chunk
    )
    backward = stream_map(
        lambda n: Neuron(a=(n.w @ x.T) @ dual, w=(n.a @ dual.T) @ x), mu.particles, chunk
    )
    return forward, backward


def activations(landscape: MLPAttentionLandscape, mu: Ensemble):
    """One activation of every neuron at every sample, summed on the spot."""
    first = landscape.x[:, 0]
    return stream_map(
        lambda n: jnp.sum(jnp.tanh(n.w[:, :1] * first), axis=1), mu.particles, landscape.chunk(mu)
    )


def plain_scan(landscape: MLPAttentionLandscape, mu: Ensemble, chunk: int):
    """Two scans over chunks of neurons: the network's outputs, then each neuron's gradient."""
    x = landscape.x
    chunks = jax.tree.map(lambda leaf: leaf.reshape(-1, chunk, *leaf.shape[1:]), mu.particles)

    def forward(total: jax.Array, n: Neuron):
        return total + jnp.tanh(x @ n.w.T) @ n.a, None

    total, _ = jax.lax.scan(forward, jnp.zeros((SAMPLES, OUTPUTS), x.dtype), chunks)
    value, dual = jax.value_and_grad(landscape.energy)(total / PARTICLES)

    def backward(_, n: Neuron):
        active = jnp.tanh(x @ n.w.T)
        slope = (1 - active**2) * (dual @ n.a.T)
        return None, Neuron(a=-active.T @ dual, w=-slope.T @ x)

    return value, jax.lax.scan(backward, None, chunks)[1]


def test_value_and_velocity(measured) -> None:
    key = jax.random.key(0)
    x = jax.random.normal(key, (SAMPLES, INPUTS))
    landscape = MLPAttentionLandscape(x, jnp.tanh(x[:, :OUTPUTS]), ridge=1e-3)
    mu = neuron_start(key, landscape, PARTICLES)
    value, velocity = landscape.value_and_velocity(mu)
    expected, field = jax.jit(dense_step)(landscape, mu)
    assert float(value) == pytest.approx(float(expected), rel=1e-4)
    assert float(mu.norm(jax.tree.map(jnp.subtract, velocity, field)) / mu.norm(field)) < 1e-3

    runs = {
        "library, default chunk": lambda: landscape.value_and_velocity(mu),
        "dense gradient": functools.partial(jax.jit(dense_step), landscape, mu),
        "products": functools.partial(jax.jit(bare_products), landscape, mu),
        "one activation pass": functools.partial(jax.jit(activations), landscape, mu),
    }
    scan = jax.jit(plain_scan, static_argnums=2)
    for chunk in CHUNKS:
        runs[f"library, {chunk}"] = functools.partial(landscape.value_and_velocity, mu, chunk=chunk)
        runs[f"plain scan, {chunk}"] = functools.partial(scan, landscape, mu, chunk)
    times = fastest(runs, ROUNDS)
    step = times["library, default chunk"]
    best, plain = (
        min(times[f"{name}, {chunk}"] for chunk in CHUNKS) for name in ("library", "plain scan")
    )
    bare = times["products"] + 2 * times["one activation pass"]
    size = f"a step at N = {PARTICLES:,}, M = {SAMPLES:,}, d = {INPUTS}, k = {OUTPUTS}, float32"
    measured(f"dense gradient, of {size}", times["dense gradient"] / step, target="≥ 2.2", **times)
    measured(f"{size}, at its best chunk, of a plain scan at its own", best / plain, target="≤ 1.0")
    measured(f"{size}, of the bare products and two activation passes", step / bare)
    measured(f"{size}, at its best chunk, of the same", best / bare, target="≤ 1.25")
