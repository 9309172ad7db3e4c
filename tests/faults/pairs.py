"""One process of the stress test: pairs of equal simulations between other work."""

from __future__ import annotations

import json
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import variants

ALLOWED = 1e-9
SETTING: dict[str, Any] = {"horizon": 1.0, "dt": 0.02}


def pairs(seed: str, count: str, variant: str, history: str) -> int:
    """Run pairs; print one line of JSON for each."""
    jax.config.update("jax_enable_x64", True)
    seen = variants.use(variant)
    from meanfield import GradientFlow, simulate
    from particles import particle_mesh, placed

    at_once = variants.dispatched_at_once()
    rng = np.random.default_rng(int(seed))
    stop = threading.Event()
    load = [threading.Thread(target=_load, args=(stop, i), daemon=True) for i in range(1)]
    for thread in load:
        thread.start()
    mesh = particle_mesh(4)
    for number in range(int(count)):
        if history == "used":
            if rng.random() < 0.5:
                _chore(rng, mesh)
            if rng.random() < 0.1:
                jax.clear_caches()  # the first call again
        landscape, mu, chunk = _drawn(rng)
        flow = GradientFlow(landscape, scheme="adaptive", chunk=chunk)
        split = placed(mu, mesh)
        order = [mu, split] if rng.random() < 0.5 else [split, mu]
        ends = [simulate(flow, start, **SETTING) for start in order]
        one, two = (_numbers(run) for run in ends)
        difference = float(np.max(np.abs(one - two), initial=0.0))
        entry = {"pair": number, "difference": difference, "allowed": ALLOWED}
        entry |= {"seen": dict(seen), "at once": at_once}
        print(json.dumps(entry), flush=True)
        if not difference <= ALLOWED:
            told = {"seed": seed, "count": count, "variant": variant, "history": history}
            arrays = {"x": landscape.x, "f": landscape.f, "one": one, "two": two}
            arrays |= {"start": _flat(mu), "about": json.dumps(told | entry)}
            np.savez(f"wrong-{number}.npz", **{k: np.asarray(v) for k, v in arrays.items()})
    stop.set()
    return 0


def _drawn(rng: np.random.Generator) -> tuple[Any, Any, int]:
    """The setting of the failure; the shapes of now and then others, which compile anew."""
    from landscapes import MLPAttentionLandscape, neuron_start

    samples, particles, chunk = 20, 32, 3
    if rng.random() < 0.1:
        samples, particles, chunk = 21 + int(rng.integers(9)), 16, int(rng.integers(2, 6))
    x = jnp.asarray(rng.standard_normal((samples, 3)))
    f = jnp.asarray(rng.standard_normal((samples, 2)))
    landscape = MLPAttentionLandscape(x, f, "erf", ridge=0.02)
    return (
        landscape,
        neuron_start(jax.random.key(int(rng.integers(2**31))), landscape, particles),
        chunk,
    )


def _chore(rng: np.random.Generator, mesh: Any) -> None:
    """Other work that compiles, donates, reads, or runs over the mesh."""
    from landscapes import RegressionLandscape, neuron_start
    from meanfield import GradientFlow, simulate
    from meanfield.flows import Diffusion
    from particles import placed

    kind = int(rng.integers(4))
    size = 4 * int(rng.integers(1, 5))
    x = jnp.asarray(rng.standard_normal((int(rng.integers(4, 12)), 2)))
    landscape = RegressionLandscape(x, jnp.tanh(x[:, :1]))
    mu = neuron_start(jax.random.key(int(rng.integers(2**31))), landscape, size)
    if kind == 0:
        simulate(GradientFlow(landscape, scheme="euler"), mu, horizon=0.2, dt=0.05)
    elif kind == 1:
        flow = GradientFlow(landscape, scheme="heun", jumps=(Diffusion(0.1),))
        start = placed(mu, mesh)
        simulate(flow, start, horizon=0.2, dt=0.05, key=jax.random.key(0), keep_start=False)
    elif kind == 2:
        donating = jax.jit(lambda a: jnp.sin(a) + size, donate_argnums=0)
        a = jnp.ones((size, 1000))
        for _ in range(20):
            a = donating(a)
            np.array(a).sum()
    else:
        np.asarray(landscape.velocity(placed(mu, mesh)).w).sum()


def _load(stop: threading.Event, index: int) -> None:
    """The host and a single device at work."""
    rng = np.random.default_rng(index)
    a = rng.standard_normal((100, 100))
    while not stop.wait(0.01):
        a = np.tanh(a @ a.T / 100)
        np.asarray(jnp.asarray(a) + index).sum()


def _numbers(run: Any) -> np.ndarray:
    """The particles at the end, and the loss at every record on the way."""
    return np.concatenate([_flat(run.ensemble), run.trajectory.loss.values])


def _flat(ensemble: Any) -> np.ndarray:
    from particles import gathered

    leaves = jax.tree.leaves(gathered(ensemble).particles)
    return np.concatenate([np.array(leaf, copy=True).ravel() for leaf in leaves])
