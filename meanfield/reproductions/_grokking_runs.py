"""Runs of modular arithmetic on part of all pairs, and when they memorise and generalise."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
import xarray
from jaxtyping import Array, Key

from landscapes import Confined, ModularArithmeticLandscape
from landscapes.modular_arithmetic import modular_start

from ..flows import GradientFlow
from ..runs import every, simulate, whole
from ._seeds import seed_keys

MEMORISED, GENERALISED = 0.99, 0.9  # accuracy on the training pairs, and on the others


class Network(NamedTuple):
    """What is learned, from how much, by how many neurons.

    Args:
        p: modulus.
        fraction: share of the pairs that is trained on.
        particles: neurons N.
        dt: step; gradient descent at the rate N dt.
    """

    p: int
    fraction: float
    particles: int
    dt: float

    def landscape(self, key: Key[Array, ""]) -> ModularArithmeticLandscape:
        """The landscape on the pairs that the key draws."""
        return ModularArithmeticLandscape.of_fraction(self.p, self.fraction, key=key)


# By the exploratory table of the theory's settings; the step is well below the limit of stability.
SMALL = Network(23, 0.6, 200, 40.0)
LARGE = Network(31, 0.5, 300, 100.0)


def follow(
    network: Network,
    pairs: Key[Array, ""],
    start: Key[Array, ""],
    *,
    decay: float,
    horizon: float,
    progress: bool = False,
) -> xarray.Dataset:
    """The trajectory until it generalises, or to the horizon.

    Args:
        network: what is learned.
        pairs: draws the training pairs.
        start: draws the neurons.
        decay: strength λ of weight decay.
        horizon: flow time.
        progress: show a bar.
    """
    # Accuracies need no double precision, which would take twice the time.
    with jax.enable_x64(False):
        landscape = network.landscape(pairs)
        return whole(
            simulate(
                GradientFlow(Confined(landscape, decay), scheme="euler"),
                modular_start(start, landscape, network.particles),
                horizon=horizon,
                dt=network.dt,
                record=every(10 * network.dt),
                stop=lambda latest: bool(latest["test_accuracy"] >= GENERALISED),
                progress=progress,
                label=f"p = {network.p}, decay {decay:g}",
            )
        ).trajectory


def over_starts(
    key: Key[Array, ""],
    network: Network,
    seeds: int,
    *,
    decay: float,
    horizon: float,
    progress: bool = False,
) -> list[xarray.Dataset]:
    """One run a seed, each with training pairs and neurons of its own."""
    runs = []
    for own in seed_keys(key, seeds):
        pairs, start = jax.random.split(own)
        runs.append(follow(network, pairs, start, decay=decay, horizon=horizon, progress=progress))
    return runs


def times_of(run: xarray.Dataset) -> tuple[float, float]:
    """When it memorises and when it generalises: the first such record, `nan` if none is."""
    found = []
    for name, least in (("train_accuracy", MEMORISED), ("test_accuracy", GENERALISED)):
        reached = np.flatnonzero(run[name].values >= least)
        found.append(float(run["time"].values[reached[0]]) if reached.size else np.nan)
    return found[0], found[1]


def times_over(runs: list[xarray.Dataset]) -> np.ndarray:
    """Both times of every run, shape `(runs, 2)`."""
    return np.array([times_of(run) for run in runs])
