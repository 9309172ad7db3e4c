"""Flow steps from a thousand to ten million particles: cost per particle, and memory; devices.

Run with `make bench`. The largest runs in a process of its own, so that its peak memory is its own.
"""

import itertools
import json
import subprocess
import sys

import pytest

RUN = """
import json, sys, time
import jax, jax.numpy as jnp
from landscapes import MLPAttentionLandscape, neuron_start
from meanfield import GradientFlow, simulate
from particles import drawn_on, particle_mesh, placed

samples, devices, *counts = map(int, sys.argv[1:])
jax.config.update("jax_num_cpu_devices", devices)
x = jax.random.normal(jax.random.key(1), (samples, 20))
landscape = MLPAttentionLandscape(x, jnp.tanh(x[:, :5]), ridge=1e-2)
flow = GradientFlow(landscape, scheme="euler")

def peak(anew=False):  # bytes in memory at most, since asked anew; counted by Linux alone
    if anew:
        open("/proc/self/clear_refs", "w").write("5")
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(l.split()[1]) for l in lines if l.startswith("VmHWM"))

def start(size):
    draw = lambda: neuron_start(jax.random.key(0), landscape, size)
    return drawn_on(particle_mesh(devices), draw) if devices > 1 else jax.jit(draw)()

def run(ensemble, count):
    never = lambda start, end: [start]
    options = dict(horizon=count * 1e-3, dt=1e-3, record=never, keep_start=False)
    begin = time.perf_counter()
    jax.block_until_ready(simulate(flow, ensemble, **options).state)
    return time.perf_counter() - begin

run(start(2000), 2)  # libraries, compiler and threads are in memory now

def measured(size, steps):
    before, ensemble = peak(), jax.block_until_ready(start(size))
    own = sum(leaf.nbytes for leaf in jax.tree.leaves(ensemble))
    time.sleep(2)  # the memory that drawing took is given back a moment later
    peak(anew=True)  # drawing takes memory too; what counts is the flow
    run(ensemble, 1)  # compiles
    beyond = peak() - before - 2 * own
    del ensemble
    few, many = (run(start(size), count) for count in (1, 1 + steps))  # both look once
    return {"seconds": (many - few) / steps, "bytes": own, "beyond": beyond}

print(json.dumps([measured(*one) for one in zip(counts[::2], counts[1::2])]))
"""


def flow_steps(counts: dict[int, int], devices: int = 1, samples: int = 256) -> dict[int, dict]:
    """Seconds a step by size, and bytes beyond the ensemble and its velocity; of so many steps."""
    numbers = (samples, devices, *itertools.chain(*counts.items()))
    asked = [sys.executable, "-c", RUN, *map(str, numbers)]
    found = json.loads(subprocess.check_output(asked, text=True, timeout=1800))
    return dict(zip(counts, found, strict=True))


@pytest.mark.parametrize("largest", [10_000_000])
def test_steps_against_size(benchmark, measured, largest):
    found = flow_steps({1_000: 4000, 10_000: 400, 100_000: 40, 1_000_000: 4})
    found |= benchmark.pedantic(flow_steps, args=({largest: 2},), rounds=1)
    cost = {size: one["seconds"] / size for size, one in found.items()}
    for size, each in cost.items():
        measured(f"a step of attention, M = 256, a particle of N = {size:,}", 1e9 * each, "ns")
    measured(
        f"time a particle at N = {largest:,}, of that at N = 100,000",
        cost[largest] / cost[100_000],
        target="≤ 1.3",
    )
    beyond = found[largest]["beyond"] / 1e6
    measured(
        f"memory beyond ensemble and velocity at N = {largest:,}", beyond, "MB", target="≤ 1000"
    )


@pytest.mark.parametrize("devices", [2])
def test_weak_scaling(benchmark, measured, devices):
    """Twice the particles on twice the devices; on shared cores the ideal ratio is not one."""
    size, steps = 100_000, 10
    one = flow_steps({size: steps})
    many = benchmark.pedantic(flow_steps, args=({size * devices: steps}, devices), rounds=1)
    ratio = many[size * devices]["seconds"] / one[size]["seconds"]
    measured(
        f"a step on {devices} devices that share the cores of one, with {devices} times the "
        f"particles, of a step on one ({devices} if nothing is lost)",
        ratio,
    )
