"""Pair interactions: time per pair as N grows, against a dense table. Run with `make bench`."""

import time

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


@pytest.fixture(scope="module")
def smallest() -> dict[str, float]:
    """Seconds a pair of the smallest ensemble, once it is measured."""
    return {}


@pytest.mark.parametrize("size", [4_000, 20_000, 100_000])
def test_velocity(benchmark, measured, smallest: dict[str, float], size: int) -> None:
    with jax.enable_x64(True):
        mu = gaussian(jax.random.key(0), size, jnp.zeros(DIM))
        landscape = Interaction(kernel)

        compiled = jax.jit(landscape.velocity).lower(mu).compile()

        def tiled() -> jax.Array:
            return jax.block_until_ready(compiled(mu))

        found = benchmark.pedantic(tiled, rounds=1 if size > 20_000 else 3)
        each = benchmark.stats.stats.min / size**2
        measured(f"time a pair of a kernel's velocity, N = {size:,}", 1e9 * each, "ns")
        if size <= DENSE_UP_TO:
            smallest["each"], dense = each, _dense(mu, found)
            measured(
                f"velocity of a kernel at N = {size:,} in tiles, of that from an N × N table",
                each * size**2 / dense,
                tiles=each * size**2,
                table=dense,
            )
        else:
            measured(
                f"time a pair at N = {size:,}, of that at N = {DENSE_UP_TO:,}",
                each / smallest["each"],
                target="≤ 1.3",
            )


def _dense(mu: Ensemble, expected: jax.Array) -> float:
    """Seconds of the dense velocity, the better of three."""
    compiled = jax.jit(dense_velocity)
    assert jnp.allclose(compiled(mu.particles), expected, atol=1e-12)
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        jax.block_until_ready(compiled(mu.particles))
        best = min(best, time.perf_counter() - begin)
    return best
