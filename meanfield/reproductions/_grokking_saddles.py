"""Modular addition on all pairs: its constructed saddles, and how the flow leaves one of them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from landscapes import ModularArithmeticLandscape
from landscapes.modular_arithmetic import (
    ModularNeuron,
    constructed_measure,
    frequency_growth,
    frequency_level,
    neurons_needed,
)
from particles import Ensemble
from saddle_analysis import criticality_report, displaced, isotropic
from saddle_analysis.curves import PowerLaw, crossing

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import every, simulate
from ..studies import fit_exponent
from ._seeds import seed_keys

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

SADDLES, ESCAPE = "Constructed saddles", "Escape from a saddle"
SOURCE = "theory 10"
MODULI = (5, 7, 11)
CLASSIFIED = 5  # p whose saddles are classified, and left
SIZES = (0.16, 0.08, 0.04, 0.02)  # amplitudes of idle neurons, and norms of displacements


class Constructed(NamedTuple):
    """What was measured at every constructed measure of one p.

    Args:
        learned: the sets of frequencies.
        levels: loss there.
        predicted: loss by the formula.
        speeds: largest velocity of a coordinate.
        bare: the loss less the formula without the constant, largest over the sets.
        bare_speeds: speeds without the constant.
        zero: loss of the zero predictor.
    """

    learned: list[tuple[int, ...]]
    levels: np.ndarray
    predicted: np.ndarray
    speeds: np.ndarray
    bare: float
    bare_speeds: np.ndarray
    zero: float


def constructed(p: int) -> Constructed:
    """Levels and velocities at the measures of all sets of frequencies."""
    landscape = ModularArithmeticLandscape(p)
    count = (p - 1) // 2
    subsets = [k for m in range(count + 1) for k in itertools.combinations(range(1, count + 1), m)]
    size = neurons_needed(count)  # of all of them, so that one program serves them all

    def at(sets: Sequence[tuple[int, ...]], constant: bool) -> tuple[np.ndarray, ...]:
        rows = []
        for one in sets:
            mu = constructed_measure(landscape, one, size, constant=constant)
            value, velocity = landscape.value_and_velocity(mu)
            level = frequency_level(p, one, constant=constant)
            rows.append((float(value), level, max(float(jnp.abs(v).max()) for v in velocity)))
        return tuple(np.array(rows).T)

    levels, predicted, speeds = at(subsets, True)
    bare, level, bare_speeds = at(subsets[1:], False)
    zero = Ensemble(ModularNeuron(*jnp.zeros((3, size, p))))
    return Constructed(
        subsets,
        levels,
        predicted,
        speeds,
        float(np.abs(bare - level).max()),
        bare_speeds,
        float(landscape.value(zero)),
    )


def saddles(moduli: Sequence[int] = MODULI) -> Result:
    """Levels, criticality and kind of the constructed measures."""
    result = Result(SADDLES)
    found = {p: constructed(p) for p in moduli}
    sets = ", ".join(f"{len(one.learned)} (p = {p})" for p, one in found.items())
    gaps = [np.abs(one.levels - one.predicted).max() for one in found.values()]
    result.claim(
        Claim.equal(
            f"levels 2j/p² of the measures of all sets of frequencies, {sets}: largest difference",
            SOURCE,
            0.0,
            max(gaps),
            absolute=1e-12,
        ),
        Claim.equal(
            "all of them are critical: largest velocity of a coordinate",
            SOURCE,
            0.0,
            max(one.speeds.max() for one in found.values()),
            absolute=1e-12,
        ),
        Claim.equal(
            "without the constant the level is 1/p² higher: largest difference",
            SOURCE,
            0.0,
            max(one.bare for one in found.values()),
            absolute=1e-12,
        ),
        Claim.above(
            "without the constant no set of frequencies is critical: smallest of the largest "
            "velocities of a coordinate",
            SOURCE,
            bound=1e-6,
            measured=min(one.bare_speeds.min() for one in found.values()),
        ),
        Claim.equal(
            "the zero predictor has the loss 1/p: largest relative difference",
            SOURCE,
            0.0,
            max(abs(one.zero * p - 1) for p, one in found.items()),
            absolute=1e-12,
        ),
        *_kinds(result),
    )
    result.figure(
        "levels",
        "Loss at the constructed measure of every set of frequencies; the lines are 2j/p².",
        *[functools.partial(draw_levels, p=p, found=one) for p, one in found.items()],
        width=4.5,
    )
    return result


def _kinds(result: Result) -> list[Claim]:
    """Every constructed measure of the smallest p is degenerate, and the full one a minimum."""
    landscape, claims = ModularArithmeticLandscape(CLASSIFIED), []
    count = (CLASSIFIED - 1) // 2
    rows = ["| frequencies | kind | smallest eigenvalue | largest | descent at order |"]
    rows.append("|---|---|---|---|---|")
    for learned in [(), (1,), (1, 2)]:  # {2} is {1} with the residues renamed
        mu = constructed_measure(landscape, learned, neurons_needed(count))
        report = criticality_report(landscape, mu)
        name = f"p = {CLASSIFIED}, frequencies {{{', '.join(map(str, learned))}}}"
        kind = "local minimum" if len(learned) == count else "degenerate saddle"
        claims.append(
            Claim.true(f"{name}: a {kind}", SOURCE, report.kind == kind, detail=report.kind)
        )
        claims.append(Claim.equal(f"{name}: Morse index", SOURCE, 0, report.index))
        if len(learned) < count:
            order = report.descent_order
            claims.append(Claim.equal(f"{name}: order of descent", SOURCE, 3, order))
        rows.append(
            f"| {name} | {report.kind} | {report.smallest.values[0]:.1e} | "
            f"{report.largest.values[0]:.3g} | {report.descent_order or 'none'} |"
        )
    result.text(
        "No eigenvalue of the Wasserstein Hessian is negative at these saddles, so that there is "
        "no rate |λ_min| of escape: it is hyperbolic.\n\n" + "\n".join(rows)
    )
    return claims


def draw_levels(ax: Axes, p: int, found: Constructed) -> None:
    """Measured loss against the number of missing frequencies."""
    count = (p - 1) // 2
    missing = np.array([count - len(one) for one in found.learned])
    j = np.arange(count + 1)
    ax.plot(j, 2 * j / p**2, "--", color=plots.THEORY, lw=1.2, label="theory: 2j/p²")
    ax.plot(missing, found.levels, "o", color=plots.MEASURED, ms=5, label="constructed measures")
    ax.set_xticks(j)
    ax.set(
        xlabel="missing frequencies j",
        ylabel="loss L(μ)",
        title=f"p = {p}: {len(found.learned)} critical points",
    )
    plots.legend(ax)


def saddle_with_idle(amplitude: float) -> tuple[ModularArithmeticLandscape, Ensemble]:
    """A saddle of p = 5 that lacks frequency 2, half of its neurons idle, in phase with that.

    Args:
        amplitude: r_0 of the idle neurons.
    """
    landscape = ModularArithmeticLandscape(CLASSIFIED)
    working = constructed_measure(landscape, [1])
    waves = constructed_measure(landscape, [2], constant=False)
    size = float(jnp.abs(jnp.fft.fft(waves.particles.u[0]))[2]) * 2 / CLASSIFIED
    share = working.size / (working.size + waves.size)
    parts = [
        jnp.concatenate([one / np.cbrt(share), amplitude * idle / size])
        for one, idle in zip(working.particles, waves.particles, strict=True)
    ]
    return landscape, Ensemble(ModularNeuron(*parts))


def _leave(
    landscape: ModularArithmeticLandscape, start: Ensemble, horizon: float, progress: bool
) -> xarray.Dataset:
    """The run until frequency 2 is learned by half."""
    return simulate(
        GradientFlow(landscape, scheme="adaptive"),
        start,
        horizon=horizon,
        dt=1.0,
        record=every(horizon / 2000),
        stop=lambda latest: bool(latest["learned_fraction"][1] > 0.5),
        progress=progress,
        label="escape",
    ).trajectory


def _half(run: xarray.Dataset) -> float:
    return crossing(run["time"].values, run["learned_fraction"].values[:, 1], 0.5)


class Escapes(NamedTuple):
    """Times at which the missing frequency is learned by half.

    Args:
        amplitudes: r_0 of idle neurons, decreasing.
        in_phase: times of those.
        courses: time and cube root of the learned fraction of each of these runs.
        norms: L²(μ) norms of Gaussian displacements of all neurons.
        gaussian: times after those, shape `(seeds, norms)`.
        fit: of the latter against 1/norm.
    """

    amplitudes: np.ndarray
    in_phase: np.ndarray
    courses: list[tuple[np.ndarray, np.ndarray]]
    norms: np.ndarray
    gaussian: np.ndarray
    fit: PowerLaw


def escapes(
    key: Key[Array, ""],
    seeds: int,
    amplitudes: Sequence[float] = SIZES,
    norms: Sequence[float] = SIZES,
    *,
    progress: bool = False,
) -> Escapes:
    """Runs that leave the saddle of p = 5 that lacks frequency 2."""
    growth, times, courses = frequency_growth(CLASSIFIED, 2), [], []
    for amplitude in amplitudes:
        landscape, start = saddle_with_idle(amplitude)
        run = _leave(landscape, start, 1.5 * growth.blow_up(amplitude), progress)
        times.append(_half(run))
        courses.append((run["time"].values, np.cbrt(run["learned_fraction"].values[:, 1])))
    landscape = ModularArithmeticLandscape(CLASSIFIED)
    saddle = constructed_measure(landscape, [1], neurons_needed(2))
    rows = []
    for own in seed_keys(key, seeds):
        row = []
        for norm in norms:
            field = isotropic(own, landscape, saddle, norm)
            # A coordinate of the field has norm/√15; ten times the blow-up of such an amplitude.
            horizon = 10 * growth.blow_up(norm / np.sqrt(15))
            row.append(_half(_leave(landscape, displaced(saddle, field), horizon, progress)))
        rows.append(row)
    sizes, gaussian = np.array(norms), np.array(rows)
    return Escapes(
        np.array(amplitudes),
        np.array(times),
        courses,
        sizes,
        gaussian,
        fit_exponent(1 / sizes, gaussian),
    )


def escape(found: Escapes) -> Result:
    """Hyperbolic escape: its time against the size of the displacement."""
    result = Result(ESCAPE)
    growth, r0 = frequency_growth(CLASSIFIED, 2), float(found.amplitudes[-1])
    time, root = found.courses[-1]
    late = 0.9 * growth.blow_up(r0)
    grown = float(np.interp(late, time, root) / root[0])
    last = np.log([found.amplitudes[-2:], found.in_phase[-2:]])
    run, rise = np.diff(last, axis=1)[:, 0]
    fit = found.fit
    result.claim(
        Claim.equal(
            f"idle neurons in phase, r_0 = {r0}: growth until 9/10 of the blow-up time 1/(g r_0)",
            SOURCE,
            10.0,
            grown,
            relative=0.01,
        ),
        Claim.equal(
            "exponent of their escape time in r_0, over the two smallest",
            SOURCE,
            -1.0,
            rise / run,
            absolute=0.05,
        ),
        Claim.equal(
            "escape time after Gaussian displacements of all neurons: exponent in 1/norm "
            f"({fit.low:.3f} to {fit.high:.3f} at 95 %, {len(found.gaussian)} seeds)",
            SOURCE,
            1.0,
            fit.exponent,
            absolute=0.1,
        ),
    )
    result.text(
        f"Saddle of p = {CLASSIFIED} that has learned frequency 1 and lacks 2. Escape is "
        f"hyperbolic, r(t) = 1/(1/r_0 − g t) with g = 1/p³, not exponential. {fit.statement}."
    )
    result.figure(
        "escape",
        "Idle neurons grow to infinity in finite time, until they have learned the frequency; the "
        "time of escape is proportional to one over the displacement.",
        functools.partial(draw_growth, found=found),
        functools.partial(draw_times, found=found),
    )
    return result


def draw_growth(ax: Axes, found: Escapes) -> None:
    """Amplitude of the idle neurons over r_0 against g r_0 t, all runs on one hyperbola."""
    growth = frequency_growth(CLASSIFIED, 2)
    scaled = np.linspace(0, 0.99, 200)
    curves = {
        f"$r_0$ = {r0:g}": (time / growth.blow_up(r0), root / root[0])
        for r0, (time, root) in zip(found.amplitudes, found.courses, strict=True)
    }
    plots.plot_courses(
        ax,
        curves,
        {"hyperbola": (scaled, 1 / (1 - scaled))},
        theory_label=r"theory: $1/(1 - g r_0 t)$",
    )
    ax.set_yscale("log")
    ax.set(
        xlabel=r"flow time × $g r_0$",
        ylabel=r"amplitude / $r_0$",
        title="Idle neurons in phase with the missing frequency",
    )


def draw_times(ax: Axes, found: Escapes) -> None:
    """Escape times against the size of the displacement."""
    growth = frequency_growth(CLASSIFIED, 2)
    names = "Gaussian, all neurons (median)", "idle neurons in phase"
    plots.plot_power_laws(
        ax,
        {
            names[0]: (found.norms, np.median(found.gaussian, axis=0)),
            names[1]: (found.amplitudes, found.in_phase),
        },
        exponent=-1.0,
        fitted={names[0]: -found.fit.exponent},
        theory={r"$1/(g r_0)$": (found.amplitudes, 1 / (growth.rate * found.amplitudes))},
    )
    ax.set(
        xlabel=r"displacement ($L^2(\mu)$ norm, or amplitude $r_0$)",
        ylabel="flow time until half is learned",
        title="Time of escape",
    )
