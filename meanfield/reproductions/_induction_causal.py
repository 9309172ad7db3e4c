"""The induction circuit under a causal mask: readout, match and previous token, in this order."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray

from landscapes import CausalInductionLandscape
from landscapes.induction import circuits
from saddle_analysis.curves import crossing

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import log_spaced, simulate
from ._induction_circuit import mark_sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CAUSAL, SOURCE = "Under a causal mask", "MPNSSH25; theory 9"
REACHED = 0.5  # by γ, β and α: when each counts as there
OTHERS = (1.0, 2.0)  # for which the text lists the times of β and α as well
NAMES = {
    "gamma": "γ, readout",
    "beta": "β, match in layer 2",
    "alpha": "α, previous token in layer 1",
}


def causal(pairs: Sequence[int], progress: bool = False) -> Result:
    """Order and times of the three parameters from zero, at every N."""
    result = Result(CAUSAL)
    curves = {count: trained(count, progress) for count in pairs}
    times = {
        name: np.array([reaches(curve, name, REACHED) for curve in curves.values()])
        for name in NAMES
    }
    for index, (count, curve) in enumerate(curves.items()):
        found = [float(times[name][index]) for name in NAMES]
        result.claim(
            Claim.true(
                f"γ, β, α reach {REACHED:g} in this order, N = {count}",
                SOURCE,
                bool(np.all(np.diff(found) > 0)),
                detail=", ".join(f"{time:.3g}" for time in found),
            ),
            Claim.equal(
                f"time of γ = ½ while attention is uniform, N = {count}",
                "theory 9",
                readout_time(count),
                found[0],
                relative=2e-3,
            ),
            Claim.equal(
                f"4N times the final loss: the first pair stays hard, N = {count}",
                "theory 9",
                1.0,
                4 * count * float(curve["loss"][-1]),
                relative=0.1,
            ),
        )
    sizes = np.array(pairs)
    last = np.log(times["gamma"][-1] / times["gamma"][-2]) / np.log(sizes[-1] / sizes[-2])
    result.claim(
        Claim.equal(
            f"γ takes a time Θ(N): exponent of the last doubling, N = {pairs[-2]} to {pairs[-1]}",
            SOURCE,
            1.0,
            float(last),
            absolute=0.05,
        )
    )
    result.text(_table(curves))
    result.dataset("causal", curves[pairs[-1]])
    result.figure(
        "causal",
        "From zero under a causal mask: the readout comes first, then the match, then the "
        "previous token.",
        functools.partial(draw_order, curve=curves[pairs[-1]], pairs=pairs[-1]),
        functools.partial(draw_times, pairs=sizes, times=times),
    )
    return result


def trained(pairs: int, progress: bool = False) -> xarray.Dataset:
    """The flow of one circuit from zero until little but the first pair's error is left."""
    run = simulate(
        GradientFlow(CausalInductionLandscape(pairs), scheme="adaptive"),
        circuits(1),
        horizon=2.5 * pairs**2 + 100.0 * pairs,
        dt=0.1,
        record=log_spaced(0.5, per_decade=100),
        progress=progress,
        label=f"causal, N = {pairs}",
    )
    return run.trajectory


def reaches(trajectory: xarray.Dataset, name: str, level: float) -> float:
    """When a parameter reaches a level."""
    return crossing(trajectory["time"].values, trajectory[name].values, level)


def readout_time(pairs: int) -> float:
    """When γ' = (1 − γ (n + 2)/n)/n from zero reaches ½: n²/(n + 2) · log(2n/(n − 2))."""
    n = 2 * pairs + 1
    return n**2 / (n + 2) * float(np.log(2 * n / (n - 2)))


def draw_order(ax: Axes, curve: xarray.Dataset, pairs: int) -> None:
    """The three parameters and the loss against time."""
    shown = {label: (curve["time"][1:], curve[name][1:]) for name, label in NAMES.items()}
    plots.plot_courses(ax, shown | {"loss": (curve["time"][1:], curve["loss"][1:])}, log_time=True)
    ax.axvline(readout_time(pairs), color=plots.THEORY, ls="--", lw=1, label="γ = ½, theory")
    ax.axhline(REACHED, color=plots.QUIET, lw=0.8, ls=":", label="counts as reached")
    ax.set(xlabel="flow time t", ylabel="parameter, loss", title=f"One circuit, N = {pairs}")
    plots.legend(ax)


def draw_times(ax: Axes, pairs: np.ndarray, times: Mapping[str, np.ndarray]) -> None:
    """When each parameter comes, against the number of pairs."""
    predicted = np.array([readout_time(count) for count in pairs.tolist()])
    plots.plot_power_laws(
        ax,
        {label: (pairs, times[name]) for name, label in NAMES.items()},
        exponent=1.0,
        fitted={},
        theory={"$n^2/(n+2)\\,\\log(2n/(n-2))$": (pairs, predicted)},
    )
    ax.set(
        xlabel="item–label pairs N",
        ylabel=f"flow time until {REACHED:g}",
        title="γ, then β, then α",
    )
    mark_sizes(ax, pairs)


def _table(curves: Mapping[int, xarray.Dataset]) -> str:
    levels = (REACHED, *OTHERS)
    rows = []
    for count, curve in curves.items():
        cells = [
            f"{reaches(curve, name, level):.4g}" for level in levels for name in ("beta", "alpha")
        ]
        half = crossing(curve["time"].values, curve["loss"].values, 0.25)
        rows.append(f"| {count} | {' | '.join(cells)} | {half:.4g} |")
    head = " | ".join(f"{name} = {level:g}" for level in levels for name in ("β", "α"))
    return (
        "Times at which β and α reach a level, and L a quarter. At low levels β is ahead of α; the "
        "higher the level, the closer they come, since both rise in the same drop.\n\n"
        f"| N | {head} | L = ¼ |\n|---|{'---|' * (2 * len(levels) + 1)}\n" + "\n".join(rows)
    )
