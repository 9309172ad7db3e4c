"""Energies: charges at equilibrium, the energy distance of a sample, diffusion, attraction."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import jax
import numpy as np
from jaxtyping import Array, Key

from landscapes import EnergyDistanceLandscape
from particles import Ensemble, InvalidInput

from .. import plots
from ..flows import GradientFlow
from ..problems import Count, EnergyDistance, Range, Seed
from ..results import Claim, Result
from ..runs import simulate
from ._base import Reproduction
from ._energies_attraction import CELLS, SWARMS, cells, swarms
from ._energies_diffusion import SPREAD_LINE, SPREAD_PLANE, spread_line, spread_plane
from ._energies_gas import LINE, PLANE, line, plane
from ._energies_jko import JKO, implicit
from ._seeds import over_seeds, seed_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAMPLE = "Energy distance of a sample"
TITLES = (LINE, PLANE, SAMPLE, JKO, SPREAD_LINE, SPREAD_PLANE, SWARMS, CELLS)
TIME, STEP = 20.0, 0.02  # of the flow of the energy distance
Size = Annotated[int, Range(4, 10**5)]


@dataclass(frozen=True)
class EnergiesOptions:
    """Options of `energies`."""

    seed: Seed = 0
    """Of every random draw."""
    seeds: Count = 6
    """Starts that claims about random runs are stated over."""
    line: tuple[Size, ...] = (32, 64, 128, 256, 512)
    """Numbers of charges on a line, increasing; at least three."""
    plane: tuple[Size, ...] = (32, 64, 128, 256)
    """Numbers of charges in the plane, increasing; at least three."""
    draws: Annotated[int, Range(16, 10**6)] = 400
    """Samples whose energy distance to their law is averaged."""
    size: Size = 32
    """Points of such a sample, charges that implicit steps move, and particles of a swarm."""

    def __post_init__(self) -> None:
        for name in ("line", "plane"):
            sizes = getattr(self, name)
            if len(sizes) < 3 or list(sizes) != sorted(set(sizes)):
                raise InvalidInput(f"{name} is {sizes}; give at least three numbers, increasing.")


def _parts(options: EnergiesOptions, progress: bool) -> Iterator[Result]:
    keys = jax.random.split(jax.random.key(options.seed), 3)
    yield line(options.line, seed_keys(keys[0], options.seeds), progress)
    yield plane(options.plane, seed_keys(keys[1], options.seeds), progress)
    yield sample(keys[2], options.draws, options.size, options.seeds, progress)
    yield implicit(options.size, seed_keys(jax.random.fold_in(keys[0], 1), options.seeds), progress)
    yield spread_line(progress)
    yield spread_plane(progress)
    starts = jax.random.fold_in(jax.random.key(options.seed), 1)
    yield swarms(seed_keys(starts, options.seeds), options.size, progress)
    yield cells(progress)


def sample(
    key: Key[Array, ""], draws: int, size: int, seeds: int, progress: bool = False
) -> Result:
    """I.i.d. points of the target are E‖X − X'‖/(2N) away on average; the flow places them better.

    The force jumps where a particle meets a point of the target, so the step is fixed.
    """
    result = Result(SAMPLE)
    problem = EnergyDistance().build(key)
    landscape = problem.landscape
    assert isinstance(landscape, EnergyDistanceLandscape)
    found = distances(landscape, jax.random.fold_in(key, 1), draws, size)
    exact = landscape.sample_mean(size)
    error = float(np.std(found, ddof=1) / np.sqrt(draws))
    keys = seed_keys(jax.random.fold_in(key, 2), seeds)
    flow = GradientFlow(landscape, scheme="euler")
    ends = []
    for index, start_key in enumerate(keys, start=1):
        run = simulate(
            flow,
            problem.start(start_key, size),
            horizon=TIME,
            dt=STEP,
            progress=progress,
            label=f"energy distance, start {index}",
        )
        ends.append(float(landscape.value(run.ensemble)))
    ratio, said = over_seeds(np.array(ends) / exact)
    result.claim(
        Claim.equal(
            f"L of {size} i.i.d. points of the target, mean of {draws} draws (three standard "
            "errors)",
            "SR13; theory 11",
            exact,
            float(np.mean(found)),
            absolute=3 * error,
        ),
        Claim.below(
            f"L at the flow's end over that of i.i.d. points, N = {size} ({said})",
            "theory 11",
            bound=0.5,
            measured=ratio,
        ),
    )
    result.figure(
        "sample",
        "L of i.i.d. points of the target, and of as many particles that the flow has moved.",
        functools.partial(draw_sample, found=found, exact=exact, ends=np.array(ends)),
    )
    return result


def draw_sample(ax: Axes, found: np.ndarray, exact: float, ends: np.ndarray) -> None:
    """Energy distances of samples, and of the flow's ends."""
    bins = np.geomspace(min(found.min(), ends.min()) / 1.2, found.max() * 1.2, 40)
    ax.hist(found, bins, color="0.8", label="i.i.d. points")
    ax.hist(ends, bins, label="the flow's ends")
    ax.axvline(exact, color=plots.THEORY, ls="--", label="mean of i.i.d. points, E‖X − X′‖/(2N)")
    ax.set(xscale="log", xlabel="L = ½ D²", ylabel="samples", title="Energy distance to the target")
    plots.legend(ax)


def distances(
    landscape: EnergyDistanceLandscape, key: Key[Array, ""], draws: int, size: int
) -> np.ndarray:
    """L of i.i.d. points of the target, once a draw."""
    count = landscape.target.shape[0]

    def one(key: Key[Array, ""]) -> Array:
        chosen = jax.random.randint(key, (size,), 0, count)
        return landscape.value(Ensemble(landscape.target[chosen]))

    return np.asarray(jax.lax.map(one, jax.random.split(key, draws)))


ENERGIES = Reproduction(
    "energies",
    "energies: charges, energy distance, diffusion, attraction",
    EnergiesOptions,
    _parts,
    TITLES,
)
