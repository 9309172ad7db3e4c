"""Neurons with readouts of their own: when each degree is learned, over the ratio of timescales."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from scipy.integrate import solve_ivp

from landscapes.single_index import (
    IndexNeuron,
    SingleIndexLandscape,
    linear_time,
    plateau_levels,
)
from particles import Ensemble
from saddle_analysis.curves import fit_power_law

from .. import plots
from ..flows import GradientFlow, scheme_from
from ..results import Claim, Result
from ..runs import Run, log_spaced, simulate
from ._seeds import over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEGREES, EQUATIONS = "Degree by degree", "The flow and its equations"
TEACHER, ACTIVATION = (0.0, 1.0, 0.7, 0.5), (0.0, 1.0, 1.0, 1.0)
LEARNED = (1, 2, 3)
SOURCE = "BMZ24; GM26; theory 15"
MILD = 1e-4  # ε of the flow that is compared with its equations


class Course(NamedTuple):
    """One run at one ratio.

    Args:
        met: when half of each degree is learned.
        times: of the curve.
        risks: along it.
        resting: risk at the geometric mean of two successive times.
    """

    met: Float[np.ndarray, " degrees"]
    times: Float[np.ndarray, " times"]
    risks: Float[np.ndarray, " times"]
    resting: Float[np.ndarray, " plateaus"]


def split(y: Array) -> Ensemble:
    """Particles from readouts, then angles."""
    half = y.size // 2
    return Ensemble(IndexNeuron(y[:half], y[half:]))


@functools.cache
def velocity_and_slope() -> tuple[Callable[..., Array], Callable[..., Array]]:
    """The landscape's velocity of all particles, and its Jacobian, compiled for any ratio."""
    base = SingleIndexLandscape(TEACHER, ACTIVATION)

    def velocity(y: Array, ratio: Array) -> Array:
        return jnp.concatenate(base.replace(ratio=ratio).velocity(split(y)))

    return jax.jit(velocity), jax.jit(jax.jacfwd(velocity))


def course(a: Float[np.ndarray, " neurons"], ratio: float) -> Course:
    """The landscape's flow by scipy's stiff integrator, from s = 0 until degree 3 is learned."""
    velocity, slope = velocity_and_slope()
    landscape = SingleIndexLandscape(TEACHER, ACTIVATION, ratio)
    root = np.sqrt(ratio)

    def risk(y: np.ndarray) -> tuple[float, np.ndarray]:
        powers = np.sin(y[a.size :]) ** np.arange(len(TEACHER))[:, None]
        shares = np.asarray(ACTIVATION) * (powers @ y[: a.size]) / (root * a.size)
        return 0.5 * float(np.sum((np.asarray(TEACHER) - shares) ** 2)), shares

    def learned(degree: int) -> Callable[[float, np.ndarray], float]:
        def event(t: float, y: np.ndarray) -> float:
            return risk(y)[1][degree] - 0.5 * TEACHER[degree]

        return event

    events = [learned(degree) for degree in LEARNED]
    events[-1].terminal = True  # pyright: ignore[reportFunctionMemberAccess]
    events[-1].direction = 1  # pyright: ignore[reportFunctionMemberAccess]
    found = solve_ivp(
        lambda t, y: np.asarray(velocity(y, landscape.ratio)),
        (0.0, 30 * ratio ** (1 / 6)),
        np.concatenate([root * a, np.zeros(a.size)]),
        method="LSODA",
        jac=lambda t, y: np.asarray(slope(y, landscape.ratio)),
        events=events,
        rtol=1e-8,
        atol=1e-6 * root,
        dense_output=True,
    )
    met = np.array([event[0] if len(event) else np.nan for event in found.t_events])
    times = np.geomspace(0.1 * root, found.t[-1], 400)
    middle = np.sqrt(met[1:] * met[:-1])
    resting = [risk(found.sol(t))[0] if np.isfinite(t) else np.nan for t in middle]
    return Course(met, times, np.array([risk(y)[0] for y in found.sol(times).T]), np.array(resting))


def degrees(keys: Key[Array, " seeds"], neurons: int, ratios: tuple[float, ...]) -> Result:
    """Times of degrees 1, 2, 3 over ε, and the plateaus between them."""
    result = Result(DEGREES)
    starts = [np.asarray(jax.random.normal(key, (neurons,))) for key in keys]
    courses = [[course(a, ratio) for ratio in ratios] for a in starts]
    met = np.array([[one.met for one in row] for row in courses])
    spreads = [float(np.sqrt(np.mean(a**2))) for a in starts]
    exact = np.array(
        [
            [linear_time(TEACHER[1], ACTIVATION[1], ratio, spread=spread) for ratio in ratios]
            for spread in spreads
        ]
    )
    finest = int(np.argmin(ratios))
    middle, said = over_seeds(met[:, finest, 0] / exact[:, finest])
    result.claim(
        Claim.equal(
            f"time of degree 1 over its closed form, at the smallest ε ({said})",
            SOURCE,
            1.0,
            middle,
            relative=0.02,
        )
    )
    laws = np.sqrt(ratios) / exact  # one over the logarithm of the closed form
    for degree, wanted, tolerance in ((1, 1 / 2, 0.01), (2, 1 / 4, 0.015), (3, 1 / 6, 0.015)):
        times = met[:, :, degree - 1] * (laws if degree == 1 else 1.0)
        fitted = [exponent(np.asarray(ratios), row) for row in times]
        middle, said = over_seeds(fitted)
        name = "degree 1, its logarithm divided out" if degree == 1 else f"degree {degree}"
        result.claim(
            Claim.equal(
                f"exponent in ε of the time of {name}: 1/{2 * degree} ({said})",
                SOURCE,
                wanted,
                middle,
                absolute=tolerance,
            )
        )
    levels = plateau_levels(TEACHER)
    for degree in (1, 2):
        resting = [row[finest].resting[degree - 1] / levels[degree + 1] for row in courses]
        middle, said = over_seeds(resting)
        result.claim(
            Claim.equal(
                f"risk midway (in log t) between degrees {degree} and {degree + 1}, over "
                f"½ Σ of the φ_k² above {degree}, at the smallest ε ({said})",
                "BMZ24; theory 15",
                1.0,
                middle,
                relative=0.05,
            )
        )
    excess = [[1 - one.resting[1] / levels[3] for one in row] for row in courses]
    middle, said = over_seeds([exponent(np.asarray(ratios), np.array(row)) for row in excess])
    result.claim(
        Claim.equal(
            "the second plateau lies below its level by a power of ε, since neurons with as² of "
            f"order one have as³ of order s: exponent 1/6 ({said})",
            "theory 15",
            1 / 6,
            middle,
            absolute=0.03,
        )
    )
    result.text(
        "The levels are those of ε → 0. The second plateau approaches its level as slowly as "
        "ε^(1/6), the overlap of the neurons that carry degree 2; the claim on it within five per "
        "cent asks for an ε below those that are integrated here."
    )
    result.figure(
        "risk",
        "Risk over time from one start for several ratios ε, with the levels of the plateaus.",
        functools.partial(draw_risk, courses=courses[0], ratios=ratios),
    )
    result.figure(
        "times",
        "When half of each degree is learned, over ε: medians over starts, their range, and slopes "
        "1/(2l); for degree 1 its closed form.",
        functools.partial(draw_times, met=met, exact=exact, ratios=ratios),
    )
    return result


def exponent(x: Float[np.ndarray, " points"], y: Float[np.ndarray, " points"]) -> float:
    """Of a power law; `nan` where something never happened or there is none."""
    return fit_power_law(x, y).exponent if np.all(y > 0) else np.nan


def equations(key: Key[Array, ""], neurons: int) -> Result:
    """The library's flow against the source's equations in (a, s), and without degree 1."""
    result = Result(EQUATIONS)
    a = np.asarray(jax.random.normal(key, (neurons,)))
    horizon = 0.5
    run = flow(TEACHER, a, MILD, horizon)
    times = run.trajectory["time"].to_numpy()
    expected = source_coefficients(a, MILD, times)
    difference = np.abs(run.trajectory["coefficients"].to_numpy() - expected).max()
    result.claim(
        Claim.below(
            f"coefficients of the flow at ε = {MILD:g} against ε da/dt, ds/dt of the source by "
            "another integrator: largest difference at any time",
            "BMZ24; theory 15",
            bound=1e-5,
            measured=float(difference),
        ),
        Claim.above(
            "share of degree 3 that is learned by then (it saw all three)",
            "BMZ24",
            bound=0.5,
            measured=float(expected[-1, 3] / TEACHER[3]),
        ),
    )
    blind = flow((0.0, 0.0, *TEACHER[2:]), a, MILD, horizon)
    moved = float(jnp.abs(blind.ensemble.particles.angle).max())
    result.claim(
        Claim.equal(
            "without degree 1 in the target: largest overlap of any neuron at the end, exactly",
            "BMZ24; theory 15",
            0.0,
            moved,
        )
    )
    return result


def flow(teacher: tuple[float, ...], a: np.ndarray, ratio: float, horizon: float) -> Run:
    """The library's gradient flow from s = 0."""
    landscape = SingleIndexLandscape(teacher, ACTIVATION, ratio)
    root = float(np.sqrt(ratio))
    start = Ensemble(IndexNeuron(jnp.asarray(root * a), jnp.zeros(a.size)))
    return simulate(
        GradientFlow(landscape, scheme=scheme_from("adaptive", rtol=1e-9, atol=1e-11)),
        start,
        horizon=horizon,
        dt=1e-3 * root,
        record=log_spaced(root, 10),
    )


def source_coefficients(
    a: Float[np.ndarray, " neurons"], ratio: float, times: Float[np.ndarray, " times"]
) -> Float[np.ndarray, "times degrees"]:
    """σ_k ∫ a s^k of the source's equations in (a, s): no code is shared with the landscape."""
    phi, sigma, k = np.asarray(TEACHER), np.asarray(ACTIVATION), np.arange(len(TEACHER))[:, None]

    def seen(y: np.ndarray) -> np.ndarray:
        return sigma * (y[a.size :] ** k @ y[: a.size]) / a.size

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        left, s = sigma * (phi - seen(y)), y[a.size :]
        rising = (1 - s**2) * y[: a.size] * ((left[1:] * k[1:, 0]) @ s ** k[:-1])
        return np.concatenate([left @ s**k / ratio, rising])

    start = np.concatenate([a, np.zeros(a.size)])
    found = solve_ivp(
        slope, (0, times[-1]), start, method="LSODA", t_eval=times, rtol=1e-11, atol=1e-13
    )
    return np.array([seen(y) for y in found.y.T])


def draw_risk(ax: Axes, courses: list[Course], ratios: tuple[float, ...]) -> None:
    """Curves with levels."""
    for number, (one, ratio) in enumerate(zip(courses, ratios, strict=True)):
        ax.semilogx(one.times, one.risks, color=plots.SERIES[number], label=f"ε = {ratio:g}")
    for number, level in enumerate(plateau_levels(TEACHER)[1:-1]):
        label = "½ Σ φ_k² of missing degrees" if number == 0 else None
        ax.axhline(level, color=plots.THEORY, ls="--", lw=1, label=label)
    ax.set(xlabel="flow time t", ylabel="risk L", title="Degree by degree", ylim=(0, None))
    plots.legend(ax)


def draw_times(ax: Axes, met: np.ndarray, exact: np.ndarray, ratios: tuple[float, ...]) -> None:
    """Times with their laws."""
    x = np.asarray(ratios)
    for number, degree in enumerate(LEARNED):
        seen, colour = met[:, :, number], plots.SERIES[number]
        middle = np.median(seen, axis=0)
        spread = np.abs(np.stack([seen.min(axis=0), seen.max(axis=0)]) - middle)
        ax.errorbar(x, middle, spread, fmt="o", color=colour, label=f"degree {degree}")
        law = np.median(exact, axis=0) if degree == 1 else middle[0] * (x / x[0]) ** (0.5 / degree)
        ax.plot(x, law, color=colour, ls="--", lw=1)
    ax.plot([], [], color=plots.QUIET, ls="--", label="closed form; slopes 1/4, 1/6")
    ax.set(xlabel="ratio of timescales ε", ylabel="flow time t", title="When degrees are learned")
    ax.set(xscale="log", yscale="log")
    plots.legend(ax)
