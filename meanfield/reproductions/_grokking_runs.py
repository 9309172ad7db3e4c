"""Runs of modular arithmetic on part of all pairs, and when they memorise and generalise."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, Key

from landscapes import Confined, ModularArithmeticLandscape
from landscapes.modular_arithmetic import inverse_participation, modular_start

from ..flows import AbstractFlow, FlowState, GradientFlow
from ..runs import Statistic, every, simulate
from ._seeds import seed_keys

MEMORISED, GENERALISED = 0.99, 0.9  # accuracy on the training pairs, and on the others


class Network(NamedTuple):
    """What is learned, from how much, by how many neurons.

    Args:
        p: modulus.
        fraction: share of the pairs that is trained on.
        particles: neurons N.
        target: of the landscape.
        loss: of the landscape.
    """

    p: int
    fraction: float
    particles: int
    target: str = "addition"
    loss: str = "squared"

    @property
    def unit(self) -> float:
        """Time 1/g in which a frequency of amplitude one grows: p³, with one-hot residues.

        The first pull of the cross-entropy is p/2 times that of the squared error.
        """
        return float(self.p**3) if self.loss == "squared" else 2.0 * self.p**2

    @property
    def dt(self) -> float:
        """Step of plain gradient descent at the rate N dt; half of one that diverges later."""
        return self.unit / 300

    def landscape(self, key: Key[Array, ""]) -> ModularArithmeticLandscape:
        """The landscape on the pairs that the key draws."""
        return ModularArithmeticLandscape.of_fraction(
            self.p, self.fraction, key=key, target=self.target, loss=self.loss
        )


# The table of the theory's settings: at these fractions nothing generalises without decay.
SMALLEST = Network(13, 0.75, 100)
SMALL = Network(23, 0.5, 200)
LARGE = Network(31, 0.45, 200)
DECAY = 0.25  # λ in units of g: weak while a network memorises, which takes about 1/g
LONGEST = 5.0  # horizon in units of 1/λ


def _participation(flow: AbstractFlow, state: FlowState) -> Array:
    """Mean inverse participation ratio of the neurons."""
    return jnp.mean(inverse_participation(state.ensemble.particles))


def follow(
    network: Network,
    pairs: Key[Array, ""],
    start: Key[Array, ""],
    *,
    decay: float,
    horizon: float,
    progress: bool = False,
) -> xarray.Dataset:
    """The trajectory until it generalises, or to the horizon; with `ipr`, times in units of 1/g.

    Args:
        network: what is learned.
        pairs: draws the training pairs.
        start: draws the neurons.
        decay: strength λ of weight decay, in units of g.
        horizon: flow time, in units of 1/g.
        progress: show a bar.
    """
    # Accuracies need no double precision, which would take twice the time.
    with jax.enable_x64(False):
        landscape = network.landscape(pairs)
        records = every(20 * network.dt)
        run = simulate(
            GradientFlow(Confined(landscape, decay / network.unit), scheme="euler"),
            modular_start(start, landscape, network.particles),
            horizon=horizon * network.unit,
            dt=network.dt,
            record=records,
            statistics=[Statistic("ipr", _participation, records)],
            stop=lambda latest: bool(latest["test_accuracy"] >= GENERALISED),
            progress=progress,
            label=f"p = {network.p}, decay {decay:g}/p³",
        ).trajectory
    found = run.drop_vars(["ipr", "ipr_time"]).assign(ipr=("time", run["ipr"].values))
    return found.assign_coords(time=run["time"].values / network.unit)


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
