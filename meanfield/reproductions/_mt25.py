"""MT25: exact dynamics of one head, its conservation law and stages; SGD on its way to the ODE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import xarray

from landscapes import MergedLinearAttentionLandscape, principal_angles, rank_measures
from landscapes.linear_attention import (
    ExactDynamics,
    MergedHead,
    PopulationMoments,
    PromptDistribution,
    exact_dynamics,
    exact_fixed_point,
    exact_timescales,
)
from particles import Ensemble

from .. import plots
from ..flows import FlowState, GradientFlow
from ..reports import Report
from ..results import Claim
from ..runs import Statistic, every, log_spaced, simulate
from ..studies import fit_exponent
from ._linear_attention_runs import crossing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..cli import Reproduce

EIGENVALUES, LENGTH, SOURCE = (0.5, 0.25, 0.15, 0.1), 8, "MT25; theory 5"
DIM = len(EIGENVALUES)
VALUE, QUERY = 0.3, 0.02  # start: p, and the diagonal of W_Q
HORIZON, END = 30.0, 1500.0  # of the comparison with SGD, and of the ODE alone
RATES, BATCHES = (0.04, 0.02, 0.01, 0.005), (4, 16, 64, 256)
RATE, BATCH = 0.01, 16  # where the other one varies
TIME = "time (learning rate × steps)"


def reproduce_mt25(options: Reproduce, report: Report) -> None:
    """The closed ODE, the landscape's flow, and SGD at several batch sizes and rates."""
    options.say("mt25 1/3: the exact dynamics")
    exact_course(options, report)
    options.say("mt25 2/3: SGD against batch size")
    batches = {size: sgd(options, RATE, size) for size in BATCHES}
    to_the_ode(report, batches)
    options.say("mt25 3/3: the conserved quantity against the learning rate")
    drift(options, report)
    measures(report, batches[BATCHES[-1]])


def exact_course(options: Reproduce, report: Report) -> None:
    """Conservation, fixed point, stages and last decay of the ODE; the landscape's own flow."""
    times = np.linspace(0, END, 6001)
    run = exact_dynamics(times, EIGENVALUES, LENGTH, VALUE, QUERY)
    invariant = VALUE**2 - DIM * QUERY**2
    p, u = exact_fixed_point(EIGENVALUES, LENGTH, invariant)
    scales = exact_timescales(EIGENVALUES, LENGTH, invariant)
    flow = GradientFlow(_landscape(), scheme="tsit5")
    followed = simulate(
        flow,
        _start(),
        horizon=200.0,
        dt=0.05,
        record=log_spaced(0.5, per_decade=40),
        statistics=[_WEIGHTS],
        progress=options.talks,
        label="flow of the landscape",
    ).trajectory
    report.trajectory(followed)
    exact = exact_dynamics(followed["time"].values, EIGENVALUES, LENGTH, VALUE, QUERY)
    halves = [crossing(times, run.read[:, d], 0.5 * p * u[d]) for d in range(DIM)]
    excess = run.loss - exact_dynamics([0.0, 4 * END], EIGENVALUES, LENGTH, p, u).loss[-1]
    tail = (excess < 1e-5) & (excess > 1e-9)
    rate = -np.polyfit(times[tail], np.log(excess[tail]), 1)[0]
    report.claim(
        Claim.equal(
            "p² − ‖W_Q‖² under the flow: largest change",
            SOURCE,
            0.0,
            float(np.max(np.abs(run.invariant - invariant))),
            absolute=1e-8,
        ),
        Claim.equal(
            "the flow of the one-head landscape solves the ODE: largest difference of a weight",
            SOURCE,
            0.0,
            float(np.max(np.abs(followed["weights"].values - _as_weights(exact)))),
            absolute=1e-6,
        ),
        *[
            Claim.equal(
                f"end of p u_{d + 1}, λ²/c (λ = {value:g})",
                SOURCE,
                p * u[d],
                run.read[-1, d],
                relative=1e-5,
            )
            for d, value in enumerate(EIGENVALUES)
        ],
        Claim.equal(
            "directions are learned in the order of their eigenvalues: half-times increase "
            f"({', '.join(f'{t:.3g}' for t in halves)}; 1 if so)",
            SOURCE,
            1.0,
            float(all(np.diff(halves) > 0)),
        ),
        Claim.equal(
            "rate of the last decay of the loss, twice the slowest relaxation rate",
            SOURCE,
            2 / scales.relaxation[-1],
            rate,
            relative=0.02,
        ),
    )
    report.text(
        f"Escape from the origin on a time {scales.escape:.3g}; learning of the directions at the "
        f"final p on {', '.join(f'{t:.3g}' for t in scales.learning)}."
    )
    clock = followed["time"].values[1:]
    shown = (times > 0) & (times < 300)

    def stages(ax: Axes) -> None:
        plots.plot_courses(
            ax,
            {
                f"closed ODE, λ = {value:g}": (times[shown], run.read[shown, d] / (p * u[d]))
                for d, value in enumerate(EIGENVALUES)
            },
            {str(d): (clock, _reads(followed)[1:, d] / (p * u[d])) for d in range(DIM)},
            levels={"fixed point": 1.0},
            log_time=True,
        )
        ax.get_lines()[DIM].set_label("flow of the landscape")
        ax.legend(fontsize=8)
        ax.set(xlabel=TIME, ylabel=r"$p\,u_d$, share of its fixed point", title="Staged learning")

    report.figure("stages", "The closed ODE: larger eigenvalues are learned first.", stages)


def sgd(options: Reproduce, rate: float, batch: int | None) -> xarray.Dataset:
    """Seeds of SGD on fresh prompts, from the same start; without a batch, the population."""
    seeds = 1 if batch is None else max(4, min(16, options.seeds))
    starts = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (seeds, *leaf.shape)), _start())
    return simulate(
        GradientFlow(_landscape(), scheme="euler", batch_size=batch),
        starts,
        horizon=HORIZON,
        dt=rate,
        key=None if batch is None else jax.random.key(options.seed + batch),
        record=every(HORIZON / 60),
        statistics=[_WEIGHTS],
        batch=True,
        progress=options.talks,
        label=f"SGD, batch {batch}, rate {rate:g}",
    ).trajectory


def to_the_ode(report: Report, runs: dict[int, xarray.Dataset]) -> None:
    """Distance from the ODE against batch size."""
    times = next(iter(runs.values()))["time"].values
    exact = exact_dynamics(times, EIGENVALUES, LENGTH, VALUE, QUERY)
    squares = np.stack([_squares(run, exact) for run in runs.values()], axis=1)
    fit = fit_exponent(np.array(BATCHES), squares, power=0.5, correction=False)
    errors = np.sqrt(squares.mean(axis=0))
    report.claim(
        Claim.equal(
            f"exponent of the distance from the ODE in the batch size (rate {RATE:g}, "
            f"{len(squares)} seeds)",
            SOURCE,
            -0.5,
            fit.value,
            absolute=0.1,
        )
    )
    report.text(f"Distance of SGD from the ODE in batch size: {fit.statement}.")

    def courses(ax: Axes) -> None:
        for size, colour in zip(BATCHES, plots.shades(len(BATCHES)), strict=True):
            lines = ax.plot(times, runs[size]["loss"], lw=0.6, alpha=0.6, color=colour)
            lines[0].set_label(f"SGD, batch {size}, all seeds")
        ax.plot(times, exact.loss, "--", color="black", lw=1.5, label="closed ODE")
        ax.set(xlabel=TIME, ylabel="population loss ½ E(y − ŷ)²", title="SGD and the exact course")
        ax.legend(fontsize=8)

    def powers(ax: Axes) -> None:
        name = "root mean square over seeds and time"
        plots.plot_power_laws(
            ax, {name: (BATCHES, errors)}, exponent=-0.5, fitted={name: fit.value}
        )
        ax.set(
            xlabel="batch size (prompts)",
            ylabel="distance from the ODE (weights)",
            title=f"SGD → ODE, learning rate {RATE:g}",
        )

    report.figure(
        "sgd", "SGD on fresh prompts approaches the ODE as the batch grows.", courses, powers
    )


def drift(options: Reproduce, report: Report) -> None:
    """Change of p² − ‖W_Q‖² over the horizon against the learning rate."""
    noisy, plain, squares = [], [], []
    for rate in RATES:
        run = sgd(options, rate, BATCH)
        noisy.append(_drift(run))
        exact = exact_dynamics(run["time"].values, EIGENVALUES, LENGTH, VALUE, QUERY)
        squares.append(_squares(run, exact))
        plain.append(float(_drift(sgd(options, rate, None))[0]))
    noisy, squares, rates = np.stack(noisy, axis=1), np.stack(squares, axis=1), np.array(RATES)
    sample = fit_exponent(rates, noisy, correction=False)
    slope = np.polyfit(np.log(rates), np.log(np.abs(plain)), 1)[0]
    near = fit_exponent(rates, squares, power=0.5, correction=False)
    times = np.linspace(0, HORIZON, 4001)
    run = exact_dynamics(times, EIGENVALUES, LENGTH, VALUE, QUERY)
    speed = np.gradient(run.p, times) ** 2 - np.sum(np.gradient(run.u, times, axis=0) ** 2, axis=1)
    constant = float(np.trapezoid(speed, times))
    report.claim(
        Claim.equal(
            f"drift of p² − ‖W_Q‖² under SGD: exponent in the learning rate (batch {BATCH})",
            SOURCE,
            1.0,
            sample.value,
            absolute=0.1,
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
            constant,
            plain[-1] / RATES[-1],
            relative=0.1,
        ),
        Claim.equal(
            f"exponent of the distance from the ODE in the learning rate (batch {BATCH})",
            SOURCE,
            0.5,
            near.value,
            absolute=0.1,
        ),
    )
    report.text(
        f"Drift under SGD in the learning rate: {sample.statement}. Distance from the ODE: "
        f"{near.statement}."
    )
    means = np.abs(noisy.mean(axis=0))

    def powers(ax: Axes) -> None:
        names = f"SGD, batch {BATCH}", "descent on the population"
        plots.plot_power_laws(
            ax,
            {names[0]: (rates, means), names[1]: (rates, np.abs(plain))},
            exponent=1.0,
            fitted={names[0]: sample.value, names[1]: float(slope)},
            theory={r"$\eta\,|\int(\dot p^2 - \|\dot W_Q\|^2)dt|$": (rates, rates * abs(constant))},
        )
        ax.set(
            xlabel="learning rate η",
            ylabel="|change of p² − ‖W_Q‖²| over the run",
            title="Drift of the conserved quantity",
        )

    report.figure("drift", "What the flow conserves drifts in proportion to the step.", powers)


def measures(report: Report, run: xarray.Dataset) -> None:
    """Ranks of W_Q and the stability of its subspaces, SGD beside the ODE."""
    times = run["time"].values
    exact = exact_dynamics(times, EIGENVALUES, LENGTH, VALUE, QUERY)
    trained = jnp.asarray(run["weights"].values[:, 0, 1:].reshape(-1, DIM, DIM))
    ideal = jnp.asarray(exact.u[:, :, None] * np.eye(DIM))
    ranks = {"measured": rank_measures(trained), "theory": rank_measures(ideal)}
    names = {
        "effective": "effective rank",
        "stable": "stable rank",
        "participation": "participation ratio",
    }
    angles = np.asarray(principal_angles(trained, trained[-1], 2))

    def of_rank(ax: Axes) -> None:
        plots.plot_courses(
            ax,
            {label: (times, getattr(ranks["measured"], name)) for name, label in names.items()},
            {label: (times, getattr(ranks["theory"], name)) for name, label in names.items()},
        )
        ax.set(xlabel=TIME, ylabel="directions", title=f"Rank of W_Q, SGD at batch {BATCHES[-1]}")

    def of_angle(ax: Axes) -> None:
        plots.plot_courses(
            ax, {f"principal angle {i + 1}": (times, np.degrees(angles[:, i])) for i in range(2)}
        )
        ax.set(
            xlabel=TIME,
            ylabel="angle to the final subspace (degrees)",
            title="Top two singular directions of W_Q",
        )

    report.figure("rank", "Spectral rank and subspace of W_Q along training.", of_rank, of_angle)


def _landscape() -> MergedLinearAttentionLandscape:
    return MergedLinearAttentionLandscape(
        PopulationMoments(PromptDistribution(EIGENVALUES, LENGTH))
    )


def _start() -> Ensemble:
    return Ensemble(MergedHead(v=jnp.full(1, VALUE), u=QUERY * jnp.eye(DIM)[None]))


def _flat(flow: GradientFlow, state: FlowState) -> jax.Array:
    """The weights p and W_Q in one vector."""
    v, u = state.ensemble.particles
    return jnp.concatenate([v, u.ravel()])


_WEIGHTS = Statistic("weights", _flat, dims=("weight",))


def _as_weights(exact: ExactDynamics) -> np.ndarray:
    full = exact.u[:, :, None] * np.eye(DIM)
    return np.column_stack([exact.p, full.reshape(len(exact.p), -1)])


def _reads(run: xarray.Dataset) -> np.ndarray:
    weights = run["weights"].values
    return weights[:, :1] * weights[:, 1 :: DIM + 1]


def _squares(run: xarray.Dataset, exact: ExactDynamics) -> np.ndarray:
    """Squared distance from the ODE, mean over time, of every seed."""
    gap = run["weights"].values - _as_weights(exact)[:, None]
    return np.mean(np.sum(gap**2, axis=2), axis=0)


def _drift(run: xarray.Dataset) -> np.ndarray:
    """Change of p² − ‖W_Q‖² from start to end, of every seed."""
    weights = run["weights"].values
    conserved = weights[..., 0] ** 2 - np.sum(weights[..., 1:] ** 2, axis=-1)
    return conserved[-1] - conserved[0]
