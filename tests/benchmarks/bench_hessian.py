"""Hessian products against gradients, and eigenpairs in products needed (run by `make bench`)."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.timing import fastest

from landscapes import MLPAttentionLandscape, Neuron, canonical_form, draw_inputs, neuron_start
from landscapes.mlp_attention import saddle_ensemble
from saddle_analysis import HessianOperator, morse_index, smallest_eigenpair

INPUTS, OUTPUTS, SAMPLES = 20, 5, 4096
EIGENVALUES = (1.0, 0.8, 0.5, 0.3, 0.2)


def problem() -> tuple[MLPAttentionLandscape, jax.Array]:
    """The landscape of the measures, and forty neurons that span its targets."""
    x = draw_inputs(jax.random.key(0), SAMPLES, INPUTS)
    positions = jax.random.normal(jax.random.key(5), (40, INPUTS), x.dtype) / INPUTS**0.5
    f, _ = canonical_form(jnp.tanh(x @ positions.T)[:, :OUTPUTS], EIGENVALUES)
    return MLPAttentionLandscape(x, f), positions


def test_hessian_product_at_100_000_particles(measured) -> None:
    with jax.enable_x64(False):
        landscape, _ = problem()
        mu = neuron_start(jax.random.key(1), landscape, 100_000)
        operator = HessianOperator(landscape, mu)
        runs = {
            "gradient": lambda: landscape.velocity(mu),
            "product": lambda: operator.apply(mu.particles),
        }
        times = fastest(runs, rounds=3)
    measured(
        "a Hessian product at N = 100,000, M = 4,096, float32, of a gradient",
        times["product"] / times["gradient"],
        **times,
    )


def test_hessian_product_against_automatic_differentiation(measured) -> None:
    """In float64, N = M = 4096, where all N × M activations still fit in memory."""
    landscape, _ = problem()
    mu = neuron_start(jax.random.key(1), landscape, SAMPLES)
    operator = HessianOperator(landscape, mu)

    def loss(neurons: Neuron) -> jax.Array:
        h = jnp.tanh(landscape.x @ neurons.w.T) @ neurons.a / SAMPLES
        return landscape.energy(h)

    @jax.jit
    def derivative(field: Neuron) -> Neuron:
        product = jax.jvp(jax.grad(loss), (mu.particles,), (field,))[1]
        return jax.tree.map(lambda leaf: SAMPLES * leaf, product)

    expected, found = derivative(mu.particles), operator.apply(mu.particles)
    apart = mu.norm(jax.tree.map(jnp.subtract, found, expected)) / mu.norm(expected)
    assert float(apart) < 1e-9
    times = fastest(
        {
            "product": lambda: operator.apply(mu.particles),
            "derivative": lambda: derivative(mu.particles),
        },
        rounds=5,
    )
    measured(
        "jvp of grad, of a Hessian product at N = M = 4,096, float64",
        times["derivative"] / times["product"],
        target="≥ 2",
        **times,
    )


def test_memory_of_a_product_at_100_000_particles(benchmark, measured) -> None:
    """Peak memory beyond what the gradient needs, in a process of its own."""
    code = """
import resource, jax
from bench_hessian import problem
from landscapes import neuron_start
from saddle_analysis import HessianOperator
landscape, _ = problem()
mu = neuron_start(jax.random.key(1), landscape, 100_000)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
jax.block_until_ready(mu.particles)
before = peak()
operator = HessianOperator(landscape, mu)
jax.block_until_ready(operator.apply(mu.particles))
print(peak() - before)
"""
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, *filter(None, sys.path)])
    run = [sys.executable, "-c", code]
    extra = benchmark.pedantic(
        lambda: float(subprocess.check_output(run, env=os.environ | {"PYTHONPATH": path})),
        rounds=1,
    )
    measured("memory of a Hessian product at N = 100,000 beyond its operands", extra, "MB")
    assert extra < 500


@pytest.mark.parametrize("missing", [(4,), (1, 3, 4), ()])
def test_smallest_eigenpair_at_4096_particles(
    benchmark, measured, missing: tuple[int, ...]
) -> None:
    landscape, positions = problem()
    mu = saddle_ensemble(jax.random.key(1), landscape, positions, missing, 4096)
    operator = HessianOperator(landscape, mu)
    pairs = benchmark.pedantic(lambda: smallest_eigenpair(operator, residual=1e-6), rounds=1)
    measured(
        f"smallest eigenpair at N = {SAMPLES:,}, {len(missing)} of {OUTPUTS} directions missing",
        pairs.products,
        "products",
        whole=benchmark.stats.stats.min,
    )
    assert pairs.converged


def test_morse_index_at_1024_particles(benchmark, measured) -> None:
    landscape, positions = problem()
    mu = saddle_ensemble(jax.random.key(1), landscape, positions, (4,), 1024)
    operator = HessianOperator(landscape, mu)
    found = benchmark.pedantic(lambda: morse_index(operator, threshold=0.05), rounds=1)
    measured(
        f"Morse index at N = {mu.size:,}, to a chance of failing of {found.failure:.2g}",
        found.pairs.products,
        "products",
        whole=benchmark.stats.stats.min,
    )
    assert found.index == 1


def power_iteration(operator: HessianOperator, norm: float, limit: int = 3000) -> int:
    """Products that plain power iteration on ‖H‖ − H needs for a residual of 1e-6."""
    vector = jax.random.normal(jax.random.key(0), (operator.size,), operator.dtype)
    for products in range(1, limit + 1):
        vector = vector / jnp.linalg.norm(vector)
        image = operator.matvec(vector)
        value = vector @ image
        if float(jnp.linalg.norm(image - value * vector)) <= 1e-6:
            return products
        vector = norm * vector - image
    return limit


@pytest.mark.parametrize("missing", [(2,), (0, 2)])
def test_against_power_iteration_and_the_dense_solver(benchmark, measured, missing: tuple) -> None:
    rng = np.random.default_rng(0)
    x, positions = jnp.asarray(rng.normal(size=(512, 5))), jnp.asarray(rng.normal(size=(12, 5)))
    f, _ = canonical_form(jnp.tanh(x @ positions.T)[:, :3], [1.0, 0.5, 0.2])
    landscape = MLPAttentionLandscape(x, f)
    mu = saddle_ensemble(jax.random.key(1), landscape, positions, missing, 96)
    operator = HessianOperator(landscape, mu)
    dense = np.linalg.eigvalsh(np.asarray(operator.dense()))
    pairs = benchmark.pedantic(lambda: smallest_eigenpair(operator, residual=1e-6), rounds=1)
    others = {
        "power iteration": power_iteration(operator, float(np.abs(dense).max())),
        "the dense matrix": operator.size,
    }
    for name, products in others.items():
        measured(
            f"products of {name}, of the smallest eigenpair's, N = 96, {len(missing)} missing",
            products / pairs.products,
        )
    assert pairs.values[0] == pytest.approx(dense[0], abs=1e-8)
