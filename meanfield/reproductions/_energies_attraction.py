"""Attraction against repulsion and against diffusion: a line, a ring, cells that may collapse."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from landscapes import (
    AttractionRepulsionLandscape,
    BlobLandscape,
    ChemotaxisLandscape,
    PairLandscape,
    Sum,
)
from particles import Ensemble, gaussian

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import Run, simulate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SWARMS, CELLS = "Attraction and repulsion", "Chemotaxis"
LINE_TIME, RING_TIME = 2.0, 40.0
RING = (3.0, 2.0)  # exponents of attraction and repulsion
MASSES = (0.5, 1.0, 1.5)  # of the cells, over the critical one
GAP, REACH = 0.4, 4.0  # of their grid: between cells, and how far, in standard deviations
WIDTH, SOFTENING, CELL_TIME = 0.5, 0.2, 0.5


def swarms(keys: Key[Array, " seeds"], size: int, progress: bool = False) -> Result:
    """On a line every particle is where theory has it; in the plane they end on a ring."""
    result = Result(SWARMS)
    line, ring = AttractionRepulsionLandscape(1, 2.0, 1.0), AttractionRepulsionLandscape(2, *RING)
    away, widths, levels = [], [], []
    paths, ends = [], []
    for index, key in enumerate(keys, start=1):
        start = gaussian(key, size, line.particle)
        run = flowed(line, start, LINE_TIME, progress, f"line, start {index}")
        exact = line_positions(start, LINE_TIME)
        away.append(np.abs(np.sort(run.ensemble.particles[:, 0]) - exact).max())
        paths.append((start, run.ensemble))
        begin = gaussian(key, size, ring.particle)
        end = flowed(ring, begin, RING_TIME, progress, f"ring, start {index}").ensemble
        radii = np.linalg.norm(centred(end), axis=1)
        widths.append(np.abs(radii / ring.sphere_radius - 1).max())
        levels.append(abs(float(ring.value(end)) / ring.sphere_level - 1))
        ends.append(end)
    result.claim(
        Claim.below(
            f"quadratic attraction, Coulomb repulsion on a line: largest distance of a particle "
            f"from its exact place at t = {LINE_TIME:g} ({len(keys)} starts)",
            "theory 11",
            bound=1e-6,
            measured=float(max(away)),
        ),
        Claim.below(
            f"a = {RING[0]:g}, b = {RING[1]:g} in the plane, {size} particles: largest relative "
            f"distance of one from the ring, largest of {len(keys)} starts",
            "DLM21; theory 11",
            bound=0.02,
            measured=float(max(widths)),
        ),
        Claim.below(
            "L there: relative difference from the ring's, largest of all starts",
            "DLM21; theory 11",
            bound=1e-3,
            measured=max(levels),
        ),
    )
    result.figure(
        "swarms",
        "Particles that attract and repel: on a line they fill an interval, in the plane a ring.",
        functools.partial(draw_line, start=paths[0][0], end=paths[0][1]),
        functools.partial(draw_ring, end=ends[0], radius=ring.sphere_radius),
    )
    return result


def cells(progress: bool = False) -> Result:
    """The second moment changes at the rate 4(1 − χ/8π): cells spread, or collapse."""
    from scipy.special import exp1

    result, courses = Result(CELLS), {}
    mu = normal_grid()
    near = SOFTENING**2 / 4  # of a unit variance
    reached = 1 - near * np.exp(near) * exp1(near)  # of the attraction, by softened pairs
    heat = 1 - WIDTH**4 / (1 + WIDTH**2) ** 2
    for mass in MASSES:
        attraction = ChemotaxisLandscape(2, mass * 8 * np.pi, SOFTENING)
        landscape = Sum(attraction, BlobLandscape(2, WIDTH))
        speed = jnp.sum(landscape.velocity(mu) * mu.particles, axis=1)
        slope = 2 * float(jnp.sum(mu.probabilities * speed))
        run = flowed(landscape, mu, CELL_TIME, progress, f"cells, {mass:g} of the critical mass")
        times = np.asarray(run.trajectory["time"])
        courses[mass] = times, np.asarray(run.trajectory["second_moment"])
        change = courses[mass][1][-1] - courses[mass][1][0]
        result.claim(
            Claim.equal(
                f"rate of the second moment of a normal law at {mass:g} of the critical mass, "
                f"width {WIDTH:g}, softening {SOFTENING:g}",
                "theory 11",
                float(4 * (heat - mass * reached)),
                slope,
                absolute=0.02,
            ),
            Claim.equal(
                f"mean rate to t = {CELL_TIME:g}: 4(1 − {mass:g}) in the limit of no width",
                "BDP06; theory 11",
                4 * (1 - mass),
                float(change / times[-1]),
                absolute=0.1,
            ),
        )
    result.figure(
        "chemotaxis",
        "Second moment of cells below, at and above the critical mass.",
        functools.partial(draw_cells, courses=courses),
    )
    return result


def line_positions(start: Ensemble, time: float) -> np.ndarray:
    """Where particles on a line are: each goes straight to the place of its rank."""
    x = np.sort(np.asarray(start.particles[:, 0]))
    rest = x.mean() + (2 * np.arange(1, len(x) + 1) - len(x) - 1) / len(x)
    return rest + np.exp(-time) * (x - rest)


def normal_grid() -> Ensemble:
    """An even grid in the plane with the weights of a normal law."""
    line = GAP * np.arange(-round(REACH / GAP), round(REACH / GAP) + 1)
    points = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    square = np.sum(points**2, axis=1)
    inside = square <= REACH**2
    return Ensemble(jnp.asarray(points[inside]), jnp.asarray(np.exp(-0.5 * square[inside])))


def centred(ensemble: Ensemble) -> np.ndarray:
    """Particles seen from their mean."""
    x = np.asarray(ensemble.particles)
    return x - x.mean(axis=0)


def flowed(
    landscape: PairLandscape | Sum, start: Ensemble, time: float, progress: bool, label: str
) -> Run:
    """A run of the gradient flow."""
    flow = GradientFlow(landscape, scheme="adaptive")
    return simulate(flow, start, horizon=time, dt=1e-3, progress=progress, label=label)


def draw_line(ax: Axes, start: Ensemble, end: Ensemble) -> None:
    """Start and end of particles on a line."""
    x, y = np.sort(start.particles[:, 0]), np.sort(end.particles[:, 0])
    share = (np.arange(len(x)) + 0.5) / len(x)
    ax.plot(x, share, ".", color=plots.QUIET, label="start")
    ax.plot(y, share, "o", ms=4, color=plots.MEASURED, label=f"t = {LINE_TIME:g}")
    ax.plot(line_positions(start, LINE_TIME), share, color=plots.THEORY, lw=1, label="theory")
    rest = np.mean(x) + np.array([-1, 1])
    ax.plot(rest, [0, 1], color=plots.THEORY, ls="--", label="uniform on an interval")
    ax.set(xlabel="position x", ylabel="share of particles to the left", title="a = 2, b = 1")
    plots.legend(ax)


def draw_ring(ax: Axes, end: Ensemble, radius: float) -> None:
    """Particles and the ring of theory."""
    x, angle = centred(end), np.linspace(0, 2 * np.pi, 200)
    ax.plot(
        radius * np.cos(angle), radius * np.sin(angle), color=plots.THEORY, ls="--", label="ring"
    )
    ax.plot(*x.T, "o", ms=4, color=plots.MEASURED, label="particles")
    ax.set(xlabel="$x_1$ (position)", ylabel="$x_2$ (position)")
    ax.set(title=f"a = {RING[0]:g}, b = {RING[1]:g}", aspect="equal")
    plots.legend(ax, "below", columns=2)


def draw_cells(ax: Axes, courses: dict[float, tuple[np.ndarray, np.ndarray]]) -> None:
    """Second moments in time."""
    for number, (mass, (times, seen)) in enumerate(courses.items()):
        ax.plot(times, seen, color=f"C{number}", label=f"χ = {mass:g} · 8π")
        ax.plot(times, seen[0] + 4 * (1 - mass) * times, color=f"C{number}", ls="--", lw=1)
    ax.plot([], [], color=plots.QUIET, ls="--", label="4(1 − χ/8π) t")
    ax.set(xlabel="flow time t", ylabel="second moment (position²)", title="Cells in the plane")
    plots.legend(ax)
