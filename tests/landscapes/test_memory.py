"""Memory is bounded by the chunk: a million particles need little beyond themselves."""

import subprocess
import sys

import pytest

STEP = """
import resource
import jax, jax.numpy as jnp
from landscapes import MLPAttentionLandscape, Neuron
from particles import Ensemble

def peak():  # bytes; macOS counts bytes, Linux kibibytes
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def step(size):
    key = jax.random.key(0)
    mu = Ensemble(Neuron(a=jnp.ones((size, 5)), w=jax.random.normal(key, (size, 20))))
    result = landscape.value_and_velocity(mu)
    return jax.block_until_ready((mu, result))

import sys
x = jax.random.normal(jax.random.key(1), (1024, 20))
landscape = MLPAttentionLandscape(x, jnp.tanh(x[:, :5]), ridge=1e-2)
step(2000)  # libraries, compiler and threads are in memory now
before = peak()
kept = step(1_000_000)
print(peak() - before - sum(leaf.nbytes for leaf in jax.tree.leaves(kept)))
"""


@pytest.mark.optimized
@pytest.mark.slow
def test_a_million_particles_fit():
    """Peak resident memory beyond ensemble, velocity and samples: below 300 MB, in float32.

    All features at once would take 20 GB, the hidden layer 4 GB.
    """
    asked = [sys.executable, "-c", STEP]
    beyond = int(subprocess.check_output(asked, text=True, timeout=120))
    assert beyond < 300e6
