"""The chunk that a long run takes against the best of many, over sizes. Run with `make bench`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.timing import fastest

from landscapes import MLPAttentionLandscape, neuron_start
from meanfield import GradientFlow
from meanfield.costs import calibrated_chunk

FACTORS = (1 / 4, 1 / 2, 2, 4, 8)  # smaller ones have never been the best
LONG = 1e9  # steps: a run for which a trial pays


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("size", "samples"),
    [(1_000, 128), (1_000, 8192), (30_000, 1024), (100_000, 128), (10_000, 8192), (1_000_000, 128)],
)
def test_chosen_chunk(measured, monkeypatch, tmp_path, size: int, samples: int, double: bool):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing remembered
    monkeypatch.delenv("MEANFIELD_CHUNKS", raising=False)
    with jax.enable_x64(double):
        x = jax.random.normal(jax.random.key(0), (samples, 20))
        landscape = MLPAttentionLandscape(x, jnp.tanh(x[:, :5]), ridge=1e-3)
        mu = neuron_start(jax.random.key(1), landscape, size)
        default = min(landscape.chunk(mu), size)
        chosen = calibrated_chunk(GradientFlow(landscape), mu, LONG) or default
        sizes = {chosen, *(int(np.clip(default * factor, 1, size)) for factor in (1, *FACTORS))}
        runs = {
            str(chunk): functools.partial(landscape.velocity, mu, chunk=chunk) for chunk in sizes
        }
        times = fastest(runs, rounds=3)
    measured(
        f"step with the chosen chunk, N = {size:,}, M = {samples:,}, "
        f"float{64 if double else 32}, of one with the best of {len(sizes)}",
        times[str(chosen)] / min(times.values()),
        target="≤ 1.1",
        **times,
    )
