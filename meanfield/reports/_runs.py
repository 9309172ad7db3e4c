"""One run as a result: claims, figures and tables that suit its problem and its flow."""

from __future__ import annotations

import numpy as np
import xarray

from particles import Ensemble

from .. import plots
from ..flows import AbstractFlow, free_energy
from ..problems import Features, Problem
from ..results import Claim, Result
from ..runs import Run

BALANCE = 0.01  # of the energy at the start: what a controlled step may miss the balance by


def run_result(
    problem: Problem, flow: AbstractFlow, start: Ensemble, end: Ensemble, run: Run
) -> Result:
    """What a run shows: its outcome, what theory says of it, and figures.

    Args:
        problem: that was run.
        flow: that ran.
        start: at the beginning, on one host.
        end: at the end, on one host.
        run: as `simulate` returns it.
    """
    result = Result("A Wasserstein gradient flow")
    trajectory = run.trajectory
    result.trajectory(trajectory)
    result.text(run.message[0].upper() + run.message[1:])
    result.summary |= {"outcome": run.outcome.name, "message": run.message}
    if trajectory.sizes["time"] == 0:
        return result
    temperature = flow.describe().get("temperature")
    if temperature is not None:
        _free_energy(result, flow, start, end, float(temperature))
    if flow.balance is not None:
        result.claim(energy_balance(trajectory, BALANCE))
    panels = []
    if problem.features is not None and problem.features.observable in trajectory:
        eigenvalues = problem.features.eigenvalues.tolist()
        panels.append(lambda ax: plots.plot_learned(ax, trajectory, eigenvalues))
        _feature_table(result, problem.features, trajectory)
    if problem.claims is not None:
        result.claim(*problem.claims(run))
    highest = 1.2 * float(np.nanmax(trajectory["loss"].values[:1]))
    levels = {name: level for name, level in problem.levels.items() if level <= highest}
    _where(result, problem, float(trajectory["loss"][-1]))
    result.figure(
        "loss",
        "Loss along the run, with the critical levels that theory knows.",
        lambda ax: plots.plot_loss(ax, trajectory, levels),
        *panels,
    )
    result.figure(
        "energy",
        "The rate at which the energy falls, and the dissipation theory equates it with.",
        lambda ax: plots.plot_energy_balance(ax, trajectory),
    )
    result.figure(
        "particles",
        "The particles at the start and at the end, in the principal coordinates of each part.",
        *plots.particle_panels(start, end),
    )
    return result


def energy_balance(trajectory: xarray.Dataset, tolerance: float) -> Claim:
    """A flow loses exactly the energy that it dissipates.

    Args:
        trajectory: of one run.
        tolerance: allowed imbalance, as a share of the energy at the start.
    """
    energy, spent = trajectory["energy"].values, trajectory["dissipated"].values
    imbalance = float(np.max(np.abs(energy[0] - energy - spent))) / (abs(float(energy[0])) or 1.0)
    return Claim.equal(
        "energy balance: largest |E(0) − E(t) − dissipated| over E(0)",
        "CB18; theory 1",
        0.0,
        imbalance,
        absolute=tolerance,
    )


def _free_energy(
    result: Result, flow: AbstractFlow, start: Ensemble, end: Ensemble, temperature: float
) -> None:
    """Langevin dynamics descends L − τ · entropy."""
    if any(e.weights is not None or e.size < 100 for e in (start, end)):
        result.text("The free energy is not estimated: that takes 100 particles of equal weight.")
        return
    before, after = (free_energy(flow.landscape, e, temperature) for e in (start, end))
    result.claim(
        Claim.below(
            "the free energy L − τ · entropy falls", "theory 1", bound=before, measured=after
        )
    )


def _where(result: Result, problem: Problem, loss: float) -> None:
    """Where the run ended, between which of the known levels."""
    values = sorted(problem.levels.items(), key=lambda item: item[1])
    below = [item for item in values if item[1] <= loss]
    above = [item for item in values if item[1] > loss]
    if not values:
        return
    said = [f"{loss - below[-1][1]:.3g} above the level `{below[-1][0]}`"] if below else []
    said += [f"{above[0][1] - loss:.3g} below the level `{above[0][0]}`"] if above else []
    result.text(f"The final loss {loss:.6g} lies {' and '.join(said)}.")


def _feature_table(result: Result, features: Features, trajectory: xarray.Dataset) -> None:
    """Which features have been learned when, and what they are made of."""
    time = trajectory["time"].values
    fractions = trajectory[features.observable].values
    made_of = features.composition or [""] * features.eigenvalues.size
    rows = [
        "| feature | λ | made of | half learned at t | fraction at the end |",
        "|---|---|---|---|---|",
    ]
    learned = []
    for j, value in enumerate(features.eigenvalues):
        from saddle_analysis.curves import crossing

        when = float(time[0]) if fractions[0, j] >= 0.5 else crossing(time, fractions[:, j], 0.5)
        said = "not yet" if np.isnan(when) else f"{when:.4g}"
        rows.append(f"| {j + 1} | {value:.4g} | {made_of[j]} | {said} | {fractions[-1, j]:.4f} |")
        learned.append(
            {
                "feature": j + 1,
                "eigenvalue": float(value),
                "half_learned_at": None if np.isnan(when) else float(when),
                "final_fraction": float(fractions[-1, j]),
            }
        )
    result.summary["features"] = learned
    result.text("## Features learned\n\n" + "\n".join(rows))
