"""JKO steps on a stiff gas of charges: the energy falls at every step, whatever its size."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from landscapes import RieszGasLandscape
from landscapes.interactions import hermite_points
from particles import Ensemble, gaussian
from particles.internal import stacked
from saddle_analysis.curves import fit_power_law

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import Outcome, Statistic, every, simulate
from ._seeds import over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

JKO = "Implicit steps"
SOURCE = "JKO98; AGS08; theory 14"
STEPS = (0.1, 1.0, 10.0)  # dt; explicit Euler needs less than 2/(λN)
COLUMNS = ("loss", "mean", "dissipated")
MOVED = 1e-10  # ‖θ' − θ‖²/dt that rounding does not hide
COUNT = 8  # steps of each run
FINE = (0.2, 0.1, 0.05, 0.025)  # dt whose error is measured
OVER = 1.25  # Euler's step, over the largest stable one
PUSH = 1e-3  # of Euler's start


class Course(NamedTuple):
    """Times of all steps; energies, means and what was counted as dissipated there, by start."""

    times: np.ndarray
    losses: np.ndarray
    means: np.ndarray
    dissipated: np.ndarray


def implicit(size: int, keys: Key[Array, " seeds"], progress: bool = False) -> Result:
    """Steps far beyond what explicit schemes bear, and their order where they are small."""
    result, gas = Result(JKO), RieszGasLandscape(1)
    zeros = hermite_points(gas, size)
    best, largest = float(gas.value(zeros)), 2 / size
    shown: dict[float, Course] = {}
    starts = [ordered(gaussian(key, size, gas.particle)) for key in keys]
    away = np.array([zeros.norm(mu.particles - zeros.particles) ** 2 for mu in starts])
    many = stacked(starts)
    for dt in STEPS:
        found = shown[dt] = course(gas, many, dt, progress)
        lost, spent = -np.diff(found.losses, axis=0), np.diff(found.dissipated, axis=0)
        ratios = np.where(spent > MOVED, lost / (0.5 * np.maximum(spent, MOVED)), np.inf)
        bound = away / (2 * found.times[1:, None])
        exact = found.means[0] / (1 + dt) ** np.arange(len(found.times))[:, None]
        off = np.abs(found.means - exact).max(axis=0) / np.abs(found.means[0])
        _, said = over_seeds(ratios.min(axis=0))
        result.claim(
            Claim.above(
                f"dt = {dt:g}, {dt / largest:.3g} times the largest stable step of Euler: energy "
                f"lost over ‖θ' − θ‖²/(2dt), smallest of all steps of {len(keys)} starts ({said})",
                SOURCE,
                bound=1 - 1e-6,
                measured=float(ratios.min()),
            ),
            Claim.below(
                f"dt = {dt:g}: L − min L over ‖θ₀ − θ*‖²/(2t) after any number of steps, largest",
                SOURCE,
                bound=1.0,
                measured=float(((found.losses[1:] - best) / bound).max()),
            ),
            Claim.below(
                f"dt = {dt:g}: centre of mass falls by 1 + λdt a step, largest difference over its "
                "start",
                "theory 14",
                bound=1e-4,
                measured=float(off.max()),
            ),
        )
    result.claim(_euler(gas, zeros, OVER * largest), *_orders(gas, zeros, progress))
    result.figure(
        "implicit",
        "Energy of charges above its minimum by JKO steps of three sizes, and their bound.",
        functools.partial(draw_courses, shown=shown, best=best, distance=float(away[0])),
    )
    return result


def ordered(ensemble: Ensemble) -> Ensemble:
    """Charges from left to right."""
    return ensemble.with_particles(jnp.sort(ensemble.particles, axis=0))


def course(gas: RieszGasLandscape, starts: Ensemble, dt: float, progress: bool) -> Course:
    """Runs by JKO steps from several starts, looked at after each step."""
    run = simulate(
        GradientFlow(gas, scheme="jko"),
        starts,
        horizon=COUNT * dt,
        dt=dt,
        record=every(dt),
        statistics=[Statistic("mean", lambda flow, state: state.ensemble.particles.mean())],
        batch=True,
        progress=progress,
        label=f"JKO, dt = {dt:g}",
    )
    seen = run.trajectory
    values = (seen[name].transpose("time", "seed").to_numpy() for name in COLUMNS)
    return Course(seen["time"].to_numpy(), *values)


def _euler(gas: RieszGasLandscape, zeros: Ensemble, dt: float) -> Claim:
    """Explicit Euler from next to the minimum, just above its largest stable step."""
    push = PUSH * (-1.0) ** jnp.arange(zeros.size)[:, None]
    run = simulate(
        GradientFlow(gas, scheme="euler"),
        zeros.with_particles(zeros.particles + push),
        horizon=400 * dt,
        dt=dt,
        record=every(dt),
        throw=False,
    )
    return Claim.true(
        f"Euler from next to the minimum at {OVER:g} times its largest stable step gains energy",
        "theory 14",
        run.outcome is Outcome.UNSTABLE,
        detail=run.message.split(";")[0],
    )


def _orders(gas: RieszGasLandscape, zeros: Ensemble, progress: bool) -> list[Claim]:
    """Distance to the flow at time one against dt."""
    start = zeros.with_particles(2 * zeros.particles + 0.5)
    exact = simulate(GradientFlow(gas, scheme="adaptive"), start, horizon=1.0, dt=1e-3).ensemble
    flow, errors = GradientFlow(gas, scheme="jko"), []
    for dt in FINE:
        run = simulate(
            flow, start, horizon=1.0, dt=dt, progress=progress, label=f"JKO, dt = {dt:g}"
        )
        errors.append(float(exact.norm(run.ensemble.particles - exact.particles)))
    law = fit_power_law(np.array(FINE), np.array(errors))
    return [
        Claim.equal(
            f"order of JKO steps: exponent of the distance to the flow at t = 1 ({law})",
            "AGS08; theory 14",
            1.0,
            law.exponent,
            absolute=0.15,
        )
    ]


def draw_courses(ax: Axes, shown: dict[float, Course], best: float, distance: float) -> None:
    """Energies with their bounds."""
    for number, (dt, found) in enumerate(shown.items()):
        colour, gap = plots.SERIES[number], found.losses[:, 0] - best
        seen = gap > 1e-14
        ax.loglog(found.times[seen][1:], gap[seen][1:], "o-", color=colour, label=f"dt = {dt:g}")
    times = np.geomspace(min(shown), COUNT * max(shown), 50)
    ax.loglog(times, distance / (2 * times), color=plots.THEORY, ls="--", label="bound, d²/(2t)")
    ax.set(xlabel="flow time t", ylabel="L − min L", title="JKO steps")
    plots.legend(ax)
