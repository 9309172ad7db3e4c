"""MT25: SGD on its way to the closed equations, and the drift of what they conserve."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, Key

from landscapes.linear_attention import ExactDynamics
from saddle_analysis.curves import PowerLaw, fit_line

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import every, simulate
from ..studies import fit_exponent
from ._mt25_model import SOURCE, TIME, WEIGHTS, as_weights, landscape, solution, start

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HORIZON = 30.0  # of the comparison with the closed equations
RATES, BATCHES = (0.04, 0.02, 0.01, 0.005), (4, 16, 64, 256)
RATE, BATCH = 0.01, 16  # where the other one varies
TO_THE_ODE = "SGD against batch size"
DRIFT = "The conserved quantity against the learning rate"


def sgd(
    key: Key[Array, ""], rate: float, batch: int | None, seeds: int, progress: bool = False
) -> xarray.Dataset:
    """Seeds of SGD on fresh prompts, from the same start; without a batch, the population."""
    count = 1 if batch is None else seeds
    starts = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), start())
    own = jax.random.fold_in(jax.random.fold_in(key, batch or 0), round(1 / rate))
    return simulate(
        GradientFlow(landscape(), scheme="euler", batch_size=batch),
        starts,
        horizon=HORIZON,
        dt=rate,
        key=None if batch is None else own,
        record=every(HORIZON / 60),
        statistics=[WEIGHTS],
        batch=True,
        progress=progress,
        label=f"SGD, batch {batch}, rate {rate:g}",
    ).trajectory


def to_the_ode(runs: Mapping[int, xarray.Dataset]) -> Result:
    """Distance from the ODE against batch size.

    Args:
        runs: batch size to all seeds of SGD.
    """
    result = Result(TO_THE_ODE)
    times = next(iter(runs.values()))["time"].values
    exact, sizes = solution(times), np.array(list(runs))
    squares = np.stack([_squares(run, exact) for run in runs.values()], axis=1)
    fit = fit_exponent(sizes, squares, power=0.5, correction=False)
    result.claim(
        exponent_claim(f"distance from the ODE in the batch size (rate {RATE:g})", fit),
    )
    result.text(f"Distance of SGD from the ODE in batch size: {fit.statement}.")
    result.figure(
        "sgd",
        "SGD on fresh prompts approaches the ODE as the batch grows.",
        functools.partial(draw_sgd, runs=runs, exact=exact),
        functools.partial(
            draw_distances, sizes=sizes, errors=np.sqrt(squares.mean(axis=0)), fit=fit
        ),
    )
    return result


def draw_sgd(ax: Axes, runs: Mapping[int, xarray.Dataset], exact: ExactDynamics) -> None:
    """Losses of all seeds at every batch size around the ODE."""
    times = next(iter(runs.values()))["time"].values
    plots.plot_courses(
        ax,
        {f"SGD, batch {size}": (times, run["loss"].values) for size, run in runs.items()},
        {"ODE": (times, exact.loss)},
        theory_label="closed ODE",
    )
    ax.set(xlabel=TIME, ylabel="population loss ½ E(y − ŷ)²", title="SGD and the ODE, all seeds")


def draw_distances(ax: Axes, sizes: np.ndarray, errors: np.ndarray, fit: PowerLaw) -> None:
    """Distance from the ODE against batch size."""
    name = "root mean square over seeds and time"
    plots.plot_power_laws(ax, {name: (sizes, errors)}, exponent=-0.5, fitted={name: fit.exponent})
    ax.set(
        xlabel="batch size (prompts)",
        ylabel="distance from the ODE (weights)",
        title=f"SGD → ODE, learning rate {RATE:g}",
    )


class Drifts(NamedTuple):
    """Change of p² − ‖W_Q‖² over the horizon, at several learning rates.

    Args:
        rates: learning rates.
        noisy: of SGD, shape `(seeds, rates)`.
        plain: of descent on the population, one a rate.
        squares: squared distance of SGD from the ODE, as `noisy`.
    """

    rates: np.ndarray
    noisy: np.ndarray
    plain: np.ndarray
    squares: np.ndarray


def drifts(
    key: Key[Array, ""],
    seeds: int,
    rates: Sequence[float] = RATES,
    *,
    progress: bool = False,
) -> Drifts:
    """SGD and descent on the population at every learning rate."""
    noisy, plain, squares = [], [], []
    for rate in rates:
        run = sgd(key, rate, BATCH, seeds, progress)
        noisy.append(_drift(run))
        squares.append(_squares(run, solution(run["time"].values)))
        plain.append(float(_drift(sgd(key, rate, None, 1, progress))[0]))
    return Drifts(np.array(rates), np.stack(noisy, 1), np.array(plain), np.stack(squares, 1))


def drift(found: Drifts) -> Result:
    """Change of p² − ‖W_Q‖² over the horizon against the learning rate."""
    result = Result(DRIFT)
    sample = fit_exponent(found.rates, found.noisy, correction=False)
    near = fit_exponent(found.rates, found.squares, power=0.5, correction=False)
    slope = fit_line(np.log(found.rates), np.log(np.abs(found.plain))).slope
    result.claim(
        exponent_claim(
            f"drift of p² − ‖W_Q‖² under SGD in the learning rate (batch {BATCH})", sample, 1
        ),
        Claim.equal(
            "drift under descent on the population: exponent in the learning rate",
            SOURCE,
            1.0,
            slope,
            absolute=0.1,
        ),
        Claim.equal(
            "drift under descent on the population, per learning rate: ∫ (ṗ² − ‖Ẇ_Q‖²) dt",
            SOURCE,
            _constant(),
            found.plain[-1] / found.rates[-1],
            relative=0.1,
        ),
        exponent_claim(f"distance from the ODE in the learning rate (batch {BATCH})", near, 0.5),
    )
    result.text(
        f"Drift under SGD in the learning rate: {sample.statement}. Distance from the ODE: "
        f"{near.statement}."
    )
    result.figure(
        "drift",
        "What the flow conserves drifts in proportion to the step.",
        functools.partial(draw_drift, found=found, slopes=(sample.exponent, slope)),
    )
    return result


def draw_drift(ax: Axes, found: Drifts, slopes: tuple[float, float]) -> None:
    """Mean drift against the learning rate, and its first order by the ODE."""
    names = f"SGD, batch {BATCH}, mean over seeds", "descent on the population"
    values = np.abs(found.noisy.mean(axis=0)), np.abs(found.plain)
    first = found.rates * abs(_constant())
    plots.plot_power_laws(
        ax,
        {name: (found.rates, value) for name, value in zip(names, values, strict=True)},
        exponent=1.0,
        fitted=dict(zip(names, slopes, strict=True)),
        theory={r"$\eta\,|\int(\dot p^2 - \|\dot W_Q\|^2)dt|$": (found.rates, first)},
        place="below",
    )
    ax.set(
        xlabel="learning rate η",
        ylabel=r"|change of $p^2 - \|W_Q\|_F^2$| over the run",
        title="Drift of the conserved quantity",
    )


def exponent_claim(statement: str, fit: PowerLaw, predicted: float = -0.5) -> Claim:
    """A fitted exponent against the predicted one, with its interval over seeds."""
    interval = f"{fit.low:.3f} to {fit.high:.3f} at 95 %, {fit.freedom + 1} seeds"
    statement = f"exponent of the {statement} ({interval})"
    return Claim.equal(statement, SOURCE, predicted, fit.exponent, absolute=0.1)


def _constant() -> float:
    """First order of the drift per learning rate, ∫ (ṗ² − ‖Ẇ_Q‖²) dt along the ODE."""
    times = np.linspace(0, HORIZON, 4001)
    run = solution(times)
    speed = np.gradient(run.p, times) ** 2 - np.sum(np.gradient(run.u, times, axis=0) ** 2, axis=1)
    return float(np.trapezoid(speed, times))


def _squares(run: xarray.Dataset, exact: ExactDynamics) -> np.ndarray:
    """Squared distance from the ODE, mean over time, of every seed."""
    gap = run["weights"].values - as_weights(exact)[:, None]
    return np.mean(np.sum(gap**2, axis=2), axis=0)


def _drift(run: xarray.Dataset) -> np.ndarray:
    """Change of p² − ‖W_Q‖² from start to end, of every seed."""
    weights = run["weights"].values
    conserved = weights[..., 0] ** 2 - np.sum(weights[..., 1:] ** 2, axis=-1)
    return conserved[-1] - conserved[0]
