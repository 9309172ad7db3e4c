"""Pair interactions: time per pair as N grows, against a dense table. Run with `make bench`."""

import jax
import jax.numpy as jnp
import pytest

from landscapes import Interaction
from particles import Ensemble, gaussian

DIM, DENSE_UP_TO = 2, 4_000


def kernel(x, y):
    return jnp.exp(-0.5 * jnp.sum((x - y) ** 2))


def dense_velocity(points):
    """From N × N tables, all held at once."""
    apart = points[:, None] - points
    table = jnp.exp(-0.5 * jnp.sum(apart**2, axis=-1))
    return jnp.mean(table[..., None] * apart, axis=1)


@pytest.mark.parametrize("size", [1_000, 4_000, 20_000, 100_000])
def test_velocity(benchmark, capsys, size: int) -> None:
    with jax.enable_x64(True):
        mu = gaussian(jax.random.key(0), size, jnp.zeros(DIM))
        landscape = Interaction(kernel)

        def tiled() -> jax.Array:
            return jax.block_until_ready(landscape.velocity(mu))

        found = tiled()  # compiles
        benchmark.pedantic(tiled, rounds=1 if size > 20_000 else 3)
        each = benchmark.stats.stats.min / size**2
        line = f"\nN = {size}: {1e9 * each:.2f} ns a pair in tiles of {landscape.chunk(mu)}"
        if size <= DENSE_UP_TO:
            line += f", against the table: {_dense(mu, found) / size**2 * 1e9:.2f} ns"
    with capsys.disabled():
        print(line)


def _dense(mu: Ensemble, expected: jax.Array) -> float:
    """Seconds of the dense velocity, the better of three."""
    import time

    compiled = jax.jit(dense_velocity)
    assert jnp.allclose(compiled(mu.particles), expected, atol=1e-12)
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        jax.block_until_ready(compiled(mu.particles))
        best = min(best, time.perf_counter() - begin)
    return best
