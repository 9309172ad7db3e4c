"""Hessian products against gradients, and eigenpairs in products needed (run by `make bench`)."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscapes import MLPAttentionLandscape, canonical_form, draw_inputs, neuron_start
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


@pytest.mark.parametrize("what", ["gradient", "product"])
def test_hessian_product_at_100_000_particles(benchmark, what: str) -> None:
    with jax.enable_x64(False):
        landscape, _ = problem()
        mu = neuron_start(jax.random.key(1), landscape, 100_000)
        operator = HessianOperator(landscape, mu)
        run = {
            "gradient": lambda: landscape.velocity(mu),
            "product": lambda: operator.apply(mu.particles),
        }[what]
        benchmark.pedantic(lambda: jax.block_until_ready(run()), rounds=3, warmup_rounds=1)


def test_memory_of_a_product_at_100_000_particles(benchmark) -> None:
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
    benchmark.extra_info["megabytes"] = extra
    assert extra < 500


@pytest.mark.parametrize("missing", [(4,), (1, 3, 4), ()])
def test_smallest_eigenpair_at_4096_particles(benchmark, missing: tuple[int, ...]) -> None:
    landscape, positions = problem()
    mu = saddle_ensemble(jax.random.key(1), landscape, positions, missing, 4096)
    operator = HessianOperator(landscape, mu)
    pairs = benchmark.pedantic(lambda: smallest_eigenpair(operator, residual=1e-6), rounds=1)
    benchmark.extra_info |= {
        "products": pairs.products,
        "value": float(pairs.values[0]),
        "residual": float(pairs.residuals[0]),
    }
    assert pairs.converged


def test_morse_index_at_4096_particles(benchmark) -> None:
    landscape, positions = problem()
    mu = saddle_ensemble(jax.random.key(1), landscape, positions, (4,), 4096)
    operator = HessianOperator(landscape, mu)
    found = benchmark.pedantic(lambda: morse_index(operator, threshold=0.05), rounds=1)
    benchmark.extra_info |= {"products": found.pairs.products, "failure": found.failure}
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
def test_against_power_iteration_and_the_dense_solver(benchmark, missing: tuple) -> None:
    rng = np.random.default_rng(0)
    x, positions = jnp.asarray(rng.normal(size=(512, 5))), jnp.asarray(rng.normal(size=(12, 5)))
    f, _ = canonical_form(jnp.tanh(x @ positions.T)[:, :3], [1.0, 0.5, 0.2])
    landscape = MLPAttentionLandscape(x, f)
    mu = saddle_ensemble(jax.random.key(1), landscape, positions, missing, 96)
    operator = HessianOperator(landscape, mu)
    dense = np.linalg.eigvalsh(np.asarray(operator.dense()))
    pairs = benchmark.pedantic(lambda: smallest_eigenpair(operator, residual=1e-6), rounds=1)
    benchmark.extra_info |= {
        "products": pairs.products,
        "dense products": operator.size,
        "power iteration products": power_iteration(operator, float(np.abs(dense).max())),
    }
    assert pairs.values[0] == pytest.approx(dense[0], abs=1e-8)
