"""Diffusion without noise: heat, Fokker–Planck and Barenblatt's profile."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from landscapes import BlobLandscape, Confinement, Sum
from landscapes.interactions import Barenblatt, heat_variance
from particles import Ensemble
from saddle_analysis.curves import fit_line

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import simulate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPREAD_LINE, SPREAD_PLANE = "Diffusion on a line", "Diffusion in the plane"
SOURCE, PROFILE = "CCP19; theory 11", "VAZ07; theory 11"
SIZES = (48, 96, 192)  # each divides the last
REACH = 6.0  # of the grid of a normal law, in standard deviations
WIDTHS = (0.4, 0.2)  # that are compared at the largest number of particles
HEAT_GAPS, POROUS_GAPS = 1.6, 2.4  # widths in gaps between particles, as their number grows
HEAT_TIME, PULL = 1.0, 2.0  # flow time of heat; λ of the potential
BIRTH, END = 1.0, 8.0  # of Barenblatt's profile
MODES = 3  # of the Hessian
PLANE_GAP, PLANE_WIDTHS, PLANE_END = 0.15, (0.4, 0.3), 4.0


def spread_line(progress: bool = False) -> Result:
    """Variance of heat and second moment of the porous medium, with orders in width and N."""
    result, largest = Result(SPREAD_LINE), SIZES[-1]
    heat, porous = _Heat(), _Porous(1)
    grown, spread = {}, {}
    for size in SIZES:
        grown[size] = heat.error(size, HEAT_GAPS * 2 * REACH / (size - 1), progress)
        gap = 2 * porous.law.radius(BIRTH) / size
        start = split(*even_profile(porous.law, gap))
        spread[size] = porous.error(*start, POROUS_GAPS * gap, END, progress)
    wide = {width: heat.error(largest, width, progress) for width in WIDTHS}
    settled = 1 + heat.growth(largest, WIDTHS[-1], PULL, progress)
    modes = mode_curvatures(largest, WIDTHS[-1])
    result.claim(
        Claim.below(
            f"variance of heat after t = {HEAT_TIME:g} from 1 is 1 + 2t: relative difference, "
            f"N = {largest}",
            SOURCE,
            bound=1e-3,
            measured=abs(grown[largest]) / (1 + 2 * HEAT_TIME),
        ),
        *(
            Claim.equal(
                f"what a width of {width:g} costs the variance, N = {largest}: that of a normal "
                "law (relative 5 %)",
                "theory 11",
                heat_law(width=width) - (1 + 2 * HEAT_TIME),
                wide[width],
                relative=0.05,
            )
            for width in WIDTHS
        ),
        Claim.equal(
            f"error of the variance, exponent in N at a width of {HEAT_GAPS:g} gaps, "
            f"N = {SIZES[0]} … {largest}",
            "theory 11",
            -4.0,
            order(grown),
            absolute=0.25,
        ),
        Claim.equal(
            f"variance in a potential λx²/2, λ = {PULL:g}, after t = {HEAT_TIME:g}, N = {largest}",
            SOURCE,
            heat_law(pull=PULL),
            settled,
            relative=1e-2,
        ),
        Claim.below(
            f"curvature at the equilibrium along the first {MODES} modes is λ, 2λ, 3λ: largest "
            f"relative difference, N = {largest}",
            "theory 11",
            bound=0.02,
            measured=float(np.abs(modes / np.arange(1, MODES + 1) - 1).max()),
        ),
        Claim.below(
            f"second moment of Barenblatt's profile (m = 2) from t = {BIRTH:g} to {END:g}: "
            f"relative difference, N = {largest}",
            PROFILE,
            bound=1e-2,
            measured=abs(spread[largest]) / porous.law.second_moment(END),
        ),
        Claim.equal(
            f"error of the second moment, exponent in N at a width of {POROUS_GAPS:g} gaps, "
            f"N = {SIZES[0]} … {largest}",
            "theory 11",
            -2.0,
            order(spread),
            absolute=0.25,
        ),
    )
    result.figure(
        "diffusion",
        "Barenblatt's profile from particles; errors of second moments against N.",
        functools.partial(draw_profile, porous=porous),
        functools.partial(draw_orders, heat=grown, porous=spread),
    )
    return result


def spread_plane(progress: bool = False) -> Result:
    """Barenblatt's profile in two dimensions."""
    result, porous = Result(SPREAD_PLANE), _Porous(2)
    points, weights = even_profile(porous.law, PLANE_GAP)
    errors = [porous.error(points, weights, w, PLANE_END, progress) for w in PLANE_WIDTHS]
    (wide, narrow), ratio = errors, PLANE_WIDTHS[0] / PLANE_WIDTHS[1]
    exact = porous.law.second_moment(PLANE_END)
    result.claim(
        Claim.equal(
            f"error of the second moment of Barenblatt's profile (m = 2), exponent in the width, "
            f"{len(points)} particles",
            "theory 11",
            2.0,
            float(np.log(wide / narrow) / np.log(ratio)),
            absolute=0.25,
        ),
        Claim.equal(
            f"second moment at t = {PLANE_END:g} from t = {BIRTH:g}, extrapolated to a width of 0",
            PROFILE,
            exact,
            exact + narrow + (narrow - wide) / (ratio**2 - 1),
            relative=1e-2,
        ),
    )
    result.figure(
        "diffusion_plane",
        "Barenblatt's profile in the plane from particles.",
        functools.partial(draw_profile, porous=porous),
    )
    return result


class _Heat:
    """Heat on a line from a standard normal law."""

    def error(self, size: int, width: float, progress: bool) -> float:
        """Of the growth of the variance."""
        return self.growth(size, width, 0.0, progress) - 2 * HEAT_TIME

    def growth(self, size: int, width: float, pull: float, progress: bool) -> float:
        """Of the variance; the potential may have no strength, so that all compiles once."""
        landscape, mu = Sum(BlobLandscape(1, width), Confinement(pull)), even_normal(size)
        return second_moment(moved(landscape, mu, HEAT_TIME, progress)) - second_moment(mu)


class _Porous:
    """The porous medium, m = 2, from Barenblatt's profile; keeps where the last run ended."""

    last: Ensemble
    width: float
    end: float

    def __init__(self, dim: int):
        self.law = Barenblatt(dim)

    def error(
        self, points: np.ndarray, weights: np.ndarray, width: float, end: float, progress: bool
    ) -> float:
        """Of the second moment at the end."""
        landscape, mu = BlobLandscape(self.law.dim, width, 2.0), weighted(points, weights)
        self.last, self.width, self.end = moved(landscape, mu, end - BIRTH, progress), width, end
        return second_moment(self.last) - self.law.second_moment(end)


def even_normal(size: int) -> Ensemble:
    """An even grid on a line with the weights of a standard normal law."""
    points = np.linspace(-REACH, REACH, size)[:, None]
    return weighted(*split(points, np.exp(-0.5 * points[:, 0] ** 2)))


def even_profile(law: Barenblatt, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """An even grid within Barenblatt's profile at its start, and its densities there."""
    radius = law.radius(BIRTH)
    count = int(np.ceil(radius / gap - 1e-9))
    line = (np.arange(-count, count) + 0.5) * gap
    points = np.stack(np.meshgrid(*[line] * law.dim), axis=-1).reshape(-1, law.dim)
    points = points[np.sum(points**2, axis=1) < radius**2]
    return points, law.density(points, BIRTH)


def split(points: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every particle as several that share its weight: they move as one, and all compiles once."""
    times = SIZES[-1] // len(points)
    return np.repeat(points, times, axis=0), np.repeat(weights / times, times)


def mode_curvatures(size: int, width: float) -> np.ndarray:
    """⟨u, Hu⟩/⟨u, u⟩ of heat in ½x² at a normal law, u the derivatives of Hermite polynomials."""
    mu = even_normal(size)
    x = mu.particles
    curvature = Sum(BlobLandscape(1, width), Confinement(1.0)).curvature(mu)
    fields = (jnp.ones_like(x), x, x**2 - 1)
    square = lambda u, v: float(jnp.sum(mu.probabilities[:, None] * u * v))  # noqa: E731
    return np.array([square(u, curvature(u)) / square(u, u) for u in fields])


def moved(landscape: BlobLandscape | Sum, mu: Ensemble, time: float, progress: bool) -> Ensemble:
    """The flow's end."""
    flow = GradientFlow(landscape, scheme="adaptive")
    label = f"{type(landscape).__name__}, N = {mu.size}"
    return simulate(flow, mu, horizon=time, dt=1e-3, progress=progress, label=label).ensemble


def weighted(points: np.ndarray, weights: np.ndarray) -> Ensemble:
    """Particles with weights."""
    return Ensemble(jnp.asarray(points), jnp.asarray(weights))


def heat_law(**options: float) -> float:
    """Variance of a normal law, 1 at the start, at the end."""
    return float(heat_variance(np.array([0.0, HEAT_TIME]), **options)[-1])


def second_moment(ensemble: Ensemble) -> float:
    """∫ ‖x‖² dμ."""
    square = jnp.sum(ensemble.particles**2, axis=1)
    return float(jnp.sum(ensemble.probabilities * square))


def order(errors: dict[int, float]) -> float:
    """Exponent in N."""
    return fit_line(np.log(list(errors)), np.log(np.abs(list(errors.values())))).slope


def draw_profile(ax: Axes, porous: _Porous) -> None:
    """Density of the particles at the end, and of Barenblatt's profile at the start and the end."""
    dim, run = porous.law.dim, porous.last
    with jax.enable_x64(True):
        density = np.asarray(BlobLandscape(dim, porous.width, 2.0).density(run, run))
    x = np.asarray(run.particles)
    along = x[:, 0] if dim == 1 else np.linalg.norm(x, axis=1)
    reach = 1.05 * porous.law.radius(porous.end)
    line = np.linspace(-reach if dim == 1 else 0, reach, 400)
    places = np.stack([line, *[0 * line] * (dim - 1)], axis=-1)
    label = f"particles, t = {porous.end:g}"
    ax.plot(along, density, ".", ms=4, color=plots.MEASURED, label=label)
    first, last = (porous.law.density(places, time) for time in (BIRTH, porous.end))
    ax.plot(line, last, color=plots.THEORY, ls="--", label="Barenblatt")
    ax.plot(line, first, color=plots.QUIET, ls=":", label=f"start, t = {BIRTH:g}")
    name = "position x" if dim == 1 else "distance from the centre (position)"
    unit = "1 / position" if dim == 1 else "1 / position²"
    ax.set(xlabel=name, ylabel=f"density ({unit})", title="Porous medium, m = 2")
    plots.legend(ax)


def draw_orders(ax: Axes, heat: dict[int, float], porous: dict[int, float]) -> None:
    """Errors against N."""
    sizes = np.array(list(heat))
    cases = (("heat", heat, -4), ("porous medium", porous, -2))
    for number, (name, errors, slope) in enumerate(cases):
        found = np.abs(list(errors.values()))
        ax.loglog(sizes, found, "o", color=f"C{number}", label=name)
        law = found[-1] * (sizes / sizes[-1]) ** float(slope)
        ax.loglog(sizes, law, color=f"C{number}", ls="--", label=f"∝ $N^{{{slope}}}$")
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="particles N", ylabel="error of the second moment (position²)", title="Orders")
    plots.legend(ax)
