"""The induction circuit: its exact saddle, the rate at which it leaves, and when it emerges."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.integrate
import xarray

from landscapes import InductionLandscape
from landscapes.induction import circuits, escape_curvature, plateau_level, plateau_readout
from saddle_analysis import HessianOperator, criticality_report, unstable_eigenpairs
from saddle_analysis.curves import crossing, fit_line

from .. import plots
from ..flows import GradientFlow
from ..reports import growth_result
from ..results import Claim, Result
from ..runs import every, simulate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SADDLE, EMERGENCE = "The plateau is a saddle", "Emergence of the circuit"
CIRCUITS = 3  # equal ones at the saddle
OFFSET = 1e-3  # of α and β from the saddle, where emergence is timed from
SOURCE, LIMIT = "theory 9", "blow-up of the limit equations"


def saddle(pairs: Sequence[int], progress: bool = False) -> Result:
    """Level, velocity, index, curvature and measured rate of the saddle at every N."""
    result = Result(SADDLE)
    measured = []
    for count in pairs:
        landscape, name = InductionLandscape(count), f"N = {count}"
        flow, point = GradientFlow(landscape, scheme="adaptive"), landscape.saddle(CIRCUITS)
        velocity = landscape.velocity(point)
        found = criticality_report(landscape, point, expected=CIRCUITS, count=CIRCUITS)
        eigenpairs = unstable_eigenpairs(HessianOperator(landscape, point), expected=CIRCUITS)
        (grown,) = growth_result(flow, point, eigenpairs, name=name, progress=progress).claims
        measured.append(grown.measured)
        h = escape_curvature(count)
        result.claim(
            Claim.equal(
                f"level of the plateau, {name}",
                "MPNSSH25; theory 9",
                plateau_level(count),
                found.value,
                relative=1e-12,
            ),
            Claim.below(
                f"velocity at the saddle, {name}: largest of a parameter",
                SOURCE,
                bound=1e-11,
                measured=max(float(np.max(np.abs(leaf))) for leaf in velocity),
            ),
            Claim.true(
                f"the plateau is a strict saddle, {name}",
                SOURCE,
                found.kind == "strict saddle",
                detail=found.kind,
            ),
            Claim.equal(
                f"Morse index of {CIRCUITS} equal circuits, {name}", SOURCE, CIRCUITS, found.index
            ),
            Claim.equal(
                f"smallest curvature h, {name}",
                SOURCE,
                h,
                float(found.smallest.values[0]),
                relative=1e-6,
            ),
            replace(grown, source="KS24; theory 9"),
        )
    result.figure(
        "rates",
        "Rate at which the flow leaves the plateau, measured and |h|.",
        functools.partial(draw_rates, pairs=np.array(pairs), measured=np.array(measured)),
    )
    return result


def draw_rates(ax: Axes, pairs: np.ndarray, measured: np.ndarray) -> None:
    """Escape rates against the number of pairs."""
    exact = np.array([-escape_curvature(count) for count in pairs.tolist()])
    name = "growth of the unstable component"
    theory = {"$|h| = (n+1)/(n(n+2)^2)$": (pairs, exact)}
    plots.plot_power_laws(ax, {name: (pairs, measured)}, exponent=-2.0, fitted={}, theory=theory)
    ax.set(xlabel="item–label pairs N", ylabel="escape rate (1 / time)", title="Leaving the saddle")
    mark_sizes(ax, pairs)


def emergence(pairs: Sequence[int], progress: bool = False) -> Result:
    """When the circuit emerges at every N, in units of 1/|h|: one number for all."""
    result = Result(EMERGENCE)
    curves = {count: emerging(count, progress) for count in pairs}
    limit, sizes = blow_up_time(OFFSET), np.array(pairs)
    rates = np.array([-escape_curvature(count) for count in pairs])
    times = np.array([half_time(curve) for curve in curves.values()])
    for count, scaled in zip(pairs, times * rates, strict=True):
        statement = f"time at which the loss has fallen by half, times |h|, N = {count}: {LIMIT}"
        result.claim(Claim.equal(statement, SOURCE, limit, scaled, relative=0.02))
    law = fit_line(-np.log(rates), np.log(times))
    last = float(np.log(times[-1] / times[-2]) / np.log(sizes[-1] / sizes[-2]))
    result.claim(
        Claim.equal(
            f"emergence time ∝ 1/|h| over N = {sizes[0]} … {sizes[-1]}: exponent",
            SOURCE,
            1.0,
            law.slope,
            absolute=0.02,
        ),
        Claim.equal(
            f"emergence time Θ(N²): exponent of the last doubling, N = {sizes[-2]} to {sizes[-1]}",
            "MPNSSH25; theory 9",
            2.0,
            last,
            absolute=0.1,
        ),
        *[
            Claim.below(
                f"the circuit solves the task, N = {count}: final loss over the plateau's",
                SOURCE,
                bound=0.01,
                measured=float(curve["loss"][-1]) / plateau_level(count),
            )
            for count, curve in curves.items()
        ],
    )
    result.text(
        "Exponents of the emergence time in N between successive sizes: "
        + ", ".join(
            f"{np.log(t / s) / np.log(b / a):.3f}"
            for (a, s), (b, t) in itertools.pairwise(zip(sizes, times, strict=True))
        )
        + f"; 1/|h| is 4N²(1 + O(1/N)). The {LIMIT} gives T |h| = {limit:.5g} from "
        f"α = β = {OFFSET:g}."
    )
    result.dataset("emergence", curves[pairs[-1]])
    result.figure(
        "emergence",
        "Loss curves of all N fall together in the time of the saddle; the time itself is of "
        "order N².",
        functools.partial(draw_collapsed, curves=curves, limit=limit),
        functools.partial(draw_times, pairs=sizes, times=times, predicted=limit / rates),
    )
    return result


def emerging(pairs: int, progress: bool = False) -> xarray.Dataset:
    """The flow of one circuit from α = β = `OFFSET` beside the saddle, until 8/|h|."""
    unit = -1 / escape_curvature(pairs)
    run = simulate(
        GradientFlow(InductionLandscape(pairs), scheme="adaptive"),
        circuits(1, OFFSET, OFFSET, plateau_readout(pairs)),
        horizon=8 * unit,
        dt=0.01 * unit,
        record=every(0.02 * unit),
        progress=progress,
        label=f"N = {pairs}",
    )
    return run.trajectory


def half_time(trajectory: xarray.Dataset) -> float:
    """When the loss has fallen by half of its start."""
    loss = trajectory["loss"].values
    return crossing(trajectory["time"].values, loss, 0.5 * loss[0])


def blow_up_time(offset: float) -> float:
    """When α' = β e^α, β' = e^α − 1 from α = β = offset reach infinity.

    These are the equations of the flow for N → ∞ in units of 1/|h|. They conserve
    α + e^−α − ½β², so the time is ∫ e^−α/β dα. (theory.md, section 9)
    """
    # e^−α + α − 1 without cancellation near zero.
    start = np.expm1(-offset) + offset - 0.5 * offset**2

    def slowness(alpha: float) -> float:
        return np.exp(-alpha) / np.sqrt(2 * (np.expm1(-alpha) + alpha - start))

    found = scipy.integrate.quad(slowness, offset, 60.0, points=[0.01, 0.1, 1.0], limit=200)
    return float(found[0])


def draw_collapsed(ax: Axes, curves: Mapping[int, xarray.Dataset], limit: float) -> None:
    """Losses in units of the plateau's against time in units of 1/|h|."""
    plots.plot_courses(
        ax,
        {
            f"N = {count}": (
                curve["time"].values * -escape_curvature(count),
                curve["loss"].values / plateau_level(count),
            )
            for count, curve in curves.items()
        },
    )
    ax.axvline(limit, color=plots.THEORY, ls="--", lw=1, label=f"{LIMIT}, {limit:.4g}")
    ax.set(xlabel="time × |h|", ylabel="loss / plateau's level", title="One course for all N")
    plots.legend(ax)


def draw_times(ax: Axes, pairs: np.ndarray, times: np.ndarray, predicted: np.ndarray) -> None:
    """Emergence times against the number of pairs."""
    name = "the loss has fallen by half"
    plots.plot_power_laws(
        ax,
        {name: (pairs, times)},
        exponent=2.0,
        fitted={},
        theory={f"{LIMIT} / |h|": (pairs, predicted)},
    )
    ax.set(xlabel="item–label pairs N", ylabel="flow time", title="Emergence: order N²")
    mark_sizes(ax, pairs)


def mark_sizes(ax: Axes, pairs: np.ndarray) -> None:
    """Ticks at the numbers of pairs, and nowhere else."""
    ax.set_xticks(pairs, [str(count) for count in pairs])
    ax.set_xticks([], minor=True)
