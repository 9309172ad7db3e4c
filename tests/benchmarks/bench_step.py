"""One flow step's value and velocity against the plain dense gradient and the bare products.

Run with `make bench`. Every round times all three, so that a busy machine slows them alike; the
smallest time of each counts.
"""

import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import pytest

from landscapes import MLPAttentionLandscape, Neuron, neuron_start
from particles import Ensemble
from particles.internal import stream_map, stream_sum

PARTICLES, SAMPLES, INPUTS, OUTPUTS, ROUNDS = 65_536, 4_096, 20, 5, 5


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


def seconds(run: Callable) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def test_value_and_velocity(benchmark, capsys):
    key = jax.random.key(0)
    x = jax.random.normal(key, (SAMPLES, INPUTS))
    landscape = MLPAttentionLandscape(x, jnp.tanh(x[:, :OUTPUTS]), ridge=1e-3)
    mu = neuron_start(key, landscape, PARTICLES)
    compiled = {fn: jax.jit(fn) for fn in (dense_step, bare_products, activations)}

    def library_step():
        return jax.block_until_ready(landscape.value_and_velocity(mu))

    value, velocity = library_step()
    expected, field = compiled[dense_step](landscape, mu)
    assert float(value) == pytest.approx(float(expected), rel=1e-4)
    assert float(mu.norm(jax.tree.map(jnp.subtract, velocity, field)) / mu.norm(field)) < 1e-3

    times = {fn: [] for fn in compiled}

    def others():
        for fn, run in compiled.items():
            times[fn].append(seconds(lambda: run(landscape, mu)))  # noqa: B023

    others()  # compiles
    benchmark.pedantic(library_step, setup=others, rounds=ROUNDS)
    step = benchmark.stats.stats.min
    dense, products, activation = (min(times[fn][1:]) for fn in compiled)
    benchmark.extra_info |= {
        "times faster than the dense gradient": dense / step,
        "times the bare products and activations": step / (products + 2 * activation),
    }
    with capsys.disabled():
        print(
            f"\nstep {step:.3f} s, dense {dense:.3f} s, products {products:.3f} s, "
            f"one activation pass {activation:.3f} s\n"
            f"{dense / step:.2f} times faster than the dense gradient (target: at least 2.2)\n"
            f"{step / (products + 2 * activation):.2f} times the bare work (target: at most 1.3)"
        )
