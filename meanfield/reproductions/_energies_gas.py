"""Gases of charges: the semicircle law on a line, Girko's disc in the plane."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Array, Key

from landscapes import RieszGasLandscape
from landscapes.interactions import hermite_points
from particles import Ensemble, gaussian
from saddle_analysis import HessianOperator
from saddle_analysis.curves import fit_line

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import simulate
from ._seeds import over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE, PLANE = "Charges on a line", "Charges in the plane"
SOURCE = "SER15; theory 11"
SMALL = 16  # charges whose flow and whole Hessian are looked at
RELAXED = 12.0  # flow time: the slowest mode of the line has shrunk by e^−12
BINS = 24


def line(sizes: Sequence[int], keys: Key[Array, " seeds"], progress: bool = False) -> Result:
    """Random starts end at the zeros of a Hermite polynomial, which tend to the semicircle."""
    result, gas = Result(LINE), RieszGasLandscape(1)
    zeros = hermite_points(gas, SMALL)
    away = []
    for index, key in enumerate(keys, start=1):
        end = relaxed(gas, gaussian(key, SMALL, gas.particle), progress, f"start {index}")
        away.append(np.abs(np.sort(end.particles[:, 0]) - zeros.particles[:, 0]).max())
    spectrum = np.linalg.eigvalsh(HessianOperator(gas, zeros).dense())
    modes = np.arange(1, SMALL + 1)
    points = {size: np.asarray(hermite_points(gas, size).particles[:, 0]) for size in sizes}
    gaps = [gas.level - float(gas.value(hermite_points(gas, size))) for size in sizes]
    law = fit_line(np.log(sizes), np.array(sizes) * gaps)
    off = [semicircle_distance(x, gas.radius) for x in points.values()]
    spread = fit_line(np.log(sizes), np.log(off))
    result.claim(
        Claim.below(
            f"random starts of {SMALL} charges end at Hermite zeros: largest distance of a charge "
            f"({len(away)} starts)",
            "SZE75; theory 11",
            bound=1e-4,
            measured=max(away),
        ),
        Claim.below(
            f"Hessian at {SMALL} Hermite zeros is λ, 2λ, …, Nλ: largest relative difference",
            "theory 11",
            bound=1e-8,
            measured=float(np.max(np.abs(spectrum / modes - 1))),
        ),
        Claim.equal(
            f"L of N charges is min L − log N/(2N) + O(1/N): slope of N(min L − L) in log N, "
            f"N = {sizes[0]} … {sizes[-1]}",
            SOURCE,
            0.5,
            law.slope,
            absolute=0.01,
        ),
        Claim.equal(
            "distance of the distribution functions from the semicircle's, exponent in N",
            SOURCE,
            -1.0,
            spread.slope,
            absolute=0.05,
        ),
    )
    largest = points[sizes[-1]]
    result.figure(
        "line",
        "Charges on a line and the semicircle law; eigenvalues of the Hessian at equilibrium.",
        functools.partial(draw_semicircle, points=largest, radius=gas.radius),
        functools.partial(draw_modes, spectrum=spectrum),
    )
    return result


def plane(sizes: Sequence[int], keys: Key[Array, " seeds"], progress: bool = False) -> Result:
    """Random starts fill the disc evenly; the second moment obeys its exact law."""
    result, gas = Result(PLANE), RieszGasLandscape(2)
    ends: dict[int, list[Ensemble]] = {}
    laws = []
    for size in sizes:
        ends[size] = []
        for index, key in enumerate(keys, start=1):
            start = gaussian(key, size, gas.particle)
            label = f"N = {size}, start {index}"
            ends[size].append(relaxed(gas, start, progress, label))
            rest = gas.second_moment(size)
            predicted = rest + (second_moment(start) - rest) * np.exp(-2 * RELAXED)
            laws.append(abs(second_moment(ends[size][-1]) / predicted - 1))
    gaps = [np.median([gas.level - float(gas.value(e)) for e in ends[size]]) for size in sizes]
    law = fit_line(np.log(sizes), np.array(sizes) * gaps)
    last = [np.linalg.norm(end.particles, axis=1) for end in ends[sizes[-1]]]
    edge, said = over_seeds([radii.max() / gas.radius for radii in last])
    off = [np.median([disc_distance(end, gas.radius) for end in ends[size]]) for size in sizes]
    spread = fit_line(np.log(sizes), np.log(off))
    result.claim(
        Claim.below(
            f"second moment at t = {RELAXED:g} by m' = −2λm + (N − 1)/N: largest relative "
            "difference of all runs",
            "theory 11",
            bound=1e-3,
            measured=max(laws),
        ),
        Claim.equal(
            f"L of N charges is min L − log N/(4N) + O(1/N): slope of N(min L − L) in log N, "
            f"N = {sizes[0]} … {sizes[-1]}, medians over starts",
            SOURCE,
            0.25,
            law.slope,
            absolute=0.05,
        ),
        Claim.equal(
            f"radius of the outermost charge over that of the disc, N = {sizes[-1]} ({said})",
            SOURCE,
            1.0,
            edge,
            absolute=0.1,
        ),
        Claim.equal(
            "largest difference between the share of charges within r and (r/R)², exponent in N, "
            "medians over starts",
            SOURCE,
            -0.5,
            spread.slope,
            absolute=0.1,
        ),
    )
    result.figure(
        "plane",
        "Charges in the plane at rest and the disc of the equilibrium; energy against N.",
        functools.partial(draw_disc, points=ends[sizes[-1]][0].particles, radius=gas.radius),
        functools.partial(draw_gaps, sizes=np.array(sizes), gaps=np.array(gaps)),
    )
    return result


def relaxed(gas: RieszGasLandscape, start: Ensemble, progress: bool, label: str) -> Ensemble:
    """The flow's end."""
    flow = GradientFlow(gas, scheme="adaptive")
    run = simulate(flow, start, horizon=RELAXED, dt=1e-3, progress=progress, label=label)
    return run.ensemble


def second_moment(ensemble: Ensemble) -> float:
    """∫ ‖x‖² dμ."""
    return float(np.mean(np.sum(np.asarray(ensemble.particles) ** 2, axis=1)))


def semicircle_distance(points: np.ndarray, radius: float) -> float:
    """Largest difference of the distribution functions of points and semicircle."""
    x = np.clip(np.sort(points) / radius, -1, 1)
    return largest_difference(0.5 + (x * np.sqrt(1 - x**2) + np.arcsin(x)) / np.pi)


def disc_distance(ensemble: Ensemble, radius: float) -> float:
    """Largest difference of the share of particles within r and (r/R)²."""
    radii = np.sort(np.linalg.norm(ensemble.particles, axis=1))
    return largest_difference(np.minimum(radii / radius, 1) ** 2)


def largest_difference(exact: np.ndarray) -> float:
    """Of a distribution function at sorted points from that of the points themselves."""
    steps = np.arange(len(exact) + 1) / len(exact)
    return float(max(np.abs(exact - steps[:-1]).max(), np.abs(exact - steps[1:]).max()))


def draw_semicircle(ax: Axes, points: np.ndarray, radius: float) -> None:
    """Density of charges on a line."""
    ax.hist(points, BINS, density=True, color="0.8", label=f"{len(points)} charges at equilibrium")
    x = np.linspace(-radius, radius, 400)
    law = 2 / (np.pi * radius**2) * np.sqrt(radius**2 - x**2)
    ax.plot(x, law, color=plots.THEORY, ls="--", label="semicircle law")
    ax.set(xlabel="position x", ylabel="density (1 / position)", title="Equilibrium on a line")
    plots.legend(ax)


def draw_modes(ax: Axes, spectrum: np.ndarray) -> None:
    """Eigenvalues in order."""
    modes = np.arange(1, len(spectrum) + 1)
    ax.plot(modes, spectrum, "o", ms=4, label="Hessian, measured")
    ax.plot(modes, modes, color=plots.THEORY, ls="--", lw=1, label="k λ")
    ax.set(xlabel="mode k", ylabel="eigenvalue (1 / time)", title=f"N = {len(spectrum)} charges")
    plots.legend(ax)


def draw_disc(ax: Axes, points: Array, radius: float) -> None:
    """Charges in the plane."""
    angle = np.linspace(0, 2 * np.pi, 200)
    ax.plot(points[:, 0], points[:, 1], "o", ms=3, label=f"{len(points)} charges at rest")
    ax.plot(
        radius * np.cos(angle), radius * np.sin(angle), color=plots.THEORY, ls="--", label="disc"
    )
    ax.set(xlabel="$x_1$ (position)", ylabel="$x_2$ (position)", title="Equilibrium in the plane")
    ax.set_aspect("equal")
    plots.legend(ax, "below", columns=2)


def draw_gaps(ax: Axes, sizes: np.ndarray, gaps: np.ndarray) -> None:
    """N (min L − L) against N."""
    scaled = sizes * gaps
    ax.semilogx(sizes, scaled, "o", label="median over starts")
    middle = np.mean(scaled) - 0.25 * np.mean(np.log(sizes))
    theory = middle + 0.25 * np.log(sizes)
    ax.semilogx(sizes, theory, color=plots.THEORY, ls="--", label="slope ¼ in log N")
    ax.set(xlabel="charges N", ylabel="N (min L − L)", title="Energy of the missing pairs")
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.set_xticks([], minor=True)
    plots.legend(ax)
