"""Mean-field Langevin dynamics sharply: the rate of the free energy, and what N particles cost."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from landscapes import Confined
from landscapes.moments import FourierLandscape, MeanLandscape, equilibrium
from particles import InvalidInput, gaussian
from particles.internal import stacked
from saddle_analysis.curves import fit_line

from .. import plots
from ..flows import Diffusion, GradientFlow, free_energy
from ..problems import Range, Seed
from ..results import Claim, Result
from ..runs import Statistic, at, every, simulate, snapshots
from ._base import Reproduction
from ._langevin_grid import Course, fokker_planck
from ._langevin_particles import (
    CONFINEMENT,
    FLUCTUATIONS,
    GAP,
    UNIFORM,
    Sampling,
    fluctuations,
    gap,
    standard_error,
    uniform,
)
from ._seeds import over_seeds, seed_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NORMAL, DECAY = "The rate is attained", "Decay of the free energy"
TITLES = (NORMAL, DECAY, FLUCTUATIONS, GAP, UNIFORM)
RATES = "NWS22; CHI22; theory 13"
STEP = 0.005
PULL, TEMPERATURE = 2.0, 0.5  # h of the first coordinate, and τ, of normal laws
COOL = 0.25  # τ of bounded features
Particles = Annotated[int, Range(64, 10**6)]


@dataclass(frozen=True)
class LangevinOptions:
    """Options of `langevin`."""

    seed: Seed = 0
    """Of every random draw."""
    seeds: Annotated[int, Range(2, 1000)] = 8
    """Runs that claims about random runs are stated over."""
    particles: Particles = 4096
    """Particles of a run that stands for the limit."""
    sizes: tuple[Annotated[int, Range(4, 10**5)], ...] = (16, 32, 64)
    """Numbers N of particles whose fluctuations are measured, increasing; at least two. The free
    energy is measured at the first two."""
    replicas: Annotated[int, Range(8, 10**5)] = 64
    """Independent ensembles of each N."""
    time: Annotated[float, Range(5, 10**5)] = 40.0
    """Flow time over which stationary fluctuations are averaged."""

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or list(self.sizes) != sorted(set(self.sizes)):
            raise InvalidInput(f"sizes is {self.sizes}; give at least two numbers, increasing.")


def _parts(options: LangevinOptions, progress: bool) -> Iterator[Result]:
    keys = jax.random.split(jax.random.key(options.seed), 5)
    sampling = Sampling(options.sizes, options.replicas, options.time, progress)
    yield normal(seed_keys(keys[0], options.seeds), options.particles, progress)
    yield decay(seed_keys(keys[1], options.seeds), 2 * options.particles, progress)
    yield fluctuations(keys[2], sampling)
    yield gap(keys[3], sampling)
    yield uniform(keys[4], sampling)


class Start(NamedTuple):
    """A normal start, and the asymptotic rate of its free energy.

    Args:
        mean: of both coordinates.
        variance: of both.
        rate: of the free energy's decay.
        horizon: time over which it is fitted.
    """

    mean: tuple[float, float]
    variance: float
    rate: float
    horizon: float


STATISTICS = (
    Statistic("mean", lambda flow, state: state.ensemble.particles.mean(0), None, ("coordinate",)),
    Statistic(
        "variance", lambda flow, state: state.ensemble.particles.var(0), None, ("coordinate",)
    ),
)


def starts() -> dict[str, Start]:
    """Off the equilibrium in one way each: only the first decays as slowly as the bound."""
    seen, still = PULL / (CONFINEMENT + PULL), TEMPERATURE / CONFINEMENT
    return {
        "the unseen coordinate displaced": Start((seen, 3.0), still, 2 * CONFINEMENT, 2.5),
        "the seen coordinate displaced": Start(
            (seen + 2.0, 0.0), still, 2 * (CONFINEMENT + PULL), 0.8
        ),
        "too narrow": Start((seen, 0.0), 0.25 * still, 4 * CONFINEMENT, 1.0),
    }


def normal_gap(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """F − F* of normal laws, from means and variances of the two coordinates."""
    stiffness = np.array([CONFINEMENT + PULL, CONFINEMENT])
    best = np.array([PULL / (CONFINEMENT + PULL), 0.0])
    share = variance * CONFINEMENT / TEMPERATURE
    spread = 0.5 * TEMPERATURE * (share - 1 - np.log(share))
    return np.sum(0.5 * stiffness * (mean - best) ** 2 + spread, axis=-1)


def normal(keys: Key[Array, " seeds"], size: int, progress: bool = False) -> Result:
    """One matched coordinate, one free: α = κ/τ, and F − F* of normal laws in closed form."""
    result = Result(NORMAL)
    landscape = Confined(MeanLandscape([1.0], [PULL], 2), CONFINEMENT)
    flow = GradientFlow(landscape, scheme="euler", jumps=(Diffusion(TEMPERATURE),))
    shown: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for index, (name, start) in enumerate(starts().items()):
        draws = [
            gaussian(
                jax.random.fold_in(key, index),
                size,
                landscape.particle,
                mean=jnp.array(start.mean),
                scale=start.variance**0.5,
            )
            for key in keys
        ]
        run = simulate(
            flow,
            stacked(draws),
            horizon=start.horizon,
            dt=STEP,
            key=jax.vmap(jax.random.fold_in, (0, None))(keys, len(starts()) + index),
            record=every(start.horizon / 10),
            statistics=STATISTICS,
            batch=True,
            progress=progress,
            label=name,
        )
        times = np.asarray(run.trajectory["time"])
        mean, variance = (
            run.trajectory[name].transpose("time", "seed", "coordinate").to_numpy()
            for name in ("mean", "variance")
        )
        gaps = normal_gap(mean, variance)
        shown[name] = times, gaps
        rates = np.array([-fit_line(times, np.log(g)).slope for g in gaps.T])
        exact = -fit_line(times, np.log(law(start, times))).slope
        median, said = over_seeds(rates)
        result.claim(
            Claim.equal(
                f"{name}: rate of F − F*, asymptotically {start.rate:g}, here by the law of "
                f"Euler's steps; three standard errors (mean of {len(keys)} seeds)",
                "theory 13",
                exact,
                float(rates.mean()),
                absolute=3 * standard_error(rates),
            )
        )
        if index:
            bound = 2 * CONFINEMENT
            result.claim(
                Claim.above(
                    f"{name}: faster than 2ατ ({said})", RATES, bound=bound, measured=median
                )
            )
    result.figure(
        "normal",
        "Free energy above its minimum from three normal starts: none decays slower than 2ατ, one "
        "exactly so.",
        functools.partial(draw_normal, shown=shown),
    )
    return result


def law(start: Start, times: np.ndarray) -> np.ndarray:
    """F − F* along Euler–Maruyama, exactly."""
    steps = np.rint(np.asarray(times) / STEP)[:, None]
    growth = 1 - STEP * np.array([CONFINEMENT + PULL, CONFINEMENT])
    best = np.array([PULL / (CONFINEMENT + PULL), 0.0])
    mean = best + growth**steps * (np.array(start.mean) - best)
    # Deviations from the mean feel the confinement alone, in both coordinates.
    own = (1 - STEP * CONFINEMENT) ** (2 * steps)
    still = 2 * TEMPERATURE * STEP / (1 - (1 - STEP * CONFINEMENT) ** 2)
    return normal_gap(mean, own * start.variance + (1 - own) * still + np.zeros(2))


def decay(keys: Key[Array, " seeds"], size: int, progress: bool = False) -> Result:
    """Bounded features: particles follow the Fokker–Planck equation, below the bound of α(t)."""
    result = Result(DECAY)
    landscape = Confined(FourierLandscape(1, 2, strength=0.5), CONFINEMENT)
    times = np.linspace(0, 4, 17)
    mean, spread = -1.0, 1.0
    course = fokker_planck(landscape, COOL, mean, spread, times)
    lowest = equilibrium(landscape, COOL).free_energy
    flow = GradientFlow(landscape, scheme="euler", jumps=(Diffusion(COOL),))
    gaps = []
    for index, key in enumerate(keys, start=1):
        begin, noise = jax.random.split(key)
        run = simulate(
            flow,
            gaussian(begin, size, landscape.particle, mean=mean, scale=spread),
            horizon=float(times[-1]),
            dt=STEP,
            key=noise,
            record=every(1.0),
            snapshots=at(*times),
            progress=progress,
            label=f"bounded features, seed {index}",
        )
        _, ensembles = snapshots(run)
        gaps.append([free_energy(landscape, mu, COOL) - lowest for mu in ensembles])
    measured, exact = np.array(gaps), course.free_energy - lowest
    bound = decay_bound(course, exact[0])
    clear = exact > 0.01 * exact[0]
    _, said = over_seeds(measured[:, 1])
    worst = float((np.median(measured, axis=0) / bound)[clear][1:].max())
    result.claim(
        Claim.below(
            "F − F* of particles (nearest neighbours) against the Fokker–Planck equation: largest "
            f"difference of means over {len(keys)} seeds, over F − F* at the start",
            "theory 13",
            bound=0.01,
            measured=float(np.abs(measured.mean(axis=0) - exact).max() / exact[0]),
        ),
        Claim.above(
            "smallest ατ along the way, by the convexity of V (positive: a rate is known)",
            "theory 13",
            bound=0.0,
            measured=float(course.convexity.min()),
        ),
        Claim.below(
            "F − F* over its bound, exp(−2∫ατ dt) times the start: largest after t = 0, median "
            f"over seeds, while above 1 % ({said} at t = {times[1]:g})",
            RATES,
            bound=1.0,
            measured=worst,
        ),
    )
    result.figure(
        "decay",
        "Free energy above its minimum with bounded features: particles, the Fokker–Planck "
        "equation, and the bound with α of the Gibbs measure at each time.",
        functools.partial(draw_decay, times=times, measured=measured, exact=exact, bound=bound),
    )
    return result


def decay_bound(course: Course, start: float) -> np.ndarray:
    """Its start times exp(−2 ∫ατ dt), by the trapezoid rule."""
    passed = np.diff(course.times) * 0.5 * (course.convexity[1:] + course.convexity[:-1])
    return start * np.exp(-2 * np.concatenate([[0.0], np.cumsum(passed)]))


def draw_normal(ax: Axes, shown: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Three decays with their laws, and the bound of the slowest."""
    for number, (name, (times, gaps)) in enumerate(shown.items()):
        colour = plots.SERIES[number]
        ax.semilogy(times, gaps, "o", ms=3, color=colour)
        ax.semilogy([], [], "o", color=colour, label=name)
        fine = np.arange(0, times[-1] + STEP / 2, STEP)
        exact = law(starts()[name], fine)
        ax.semilogy(fine, exact, color=colour, ls="--", lw=1)
    times, gaps = next(iter(shown.values()))
    slow = 1.3 * gaps[0].mean() * np.exp(-2 * CONFINEMENT * times)
    ax.semilogy(times, slow, color=plots.THEORY, label="slope 2ατ")
    ax.semilogy([], [], color=plots.QUIET, ls="--", label="exact law")
    ax.set(xlabel="flow time t", ylabel="F − F*", title="Normal laws")
    plots.legend(ax)


def draw_decay(
    ax: Axes, times: np.ndarray, measured: np.ndarray, exact: np.ndarray, bound: np.ndarray
) -> None:
    """Particles, equation, bound."""
    ax.semilogy(times, exact, color=plots.THEORY, ls="--", label="Fokker–Planck equation")
    ax.semilogy(times, bound, color=plots.QUIET, label="bound, exp(−2∫ατ dt)")
    for number, row in enumerate(measured):
        label = "particles, each seed" if number == 0 else None
        seen = row > 0
        ax.semilogy(times[seen], row[seen], "o", ms=3, color=plots.MEASURED, label=label)
    ax.set(xlabel="flow time t", ylabel="F − F*", title="Bounded features", ylim=(1e-5, None))
    plots.legend(ax)


LANGEVIN = Reproduction(
    "langevin",
    "mean-field Langevin dynamics: sharp rates, and the exact cost of N particles",
    LangevinOptions,
    _parts,
    TITLES,
)
