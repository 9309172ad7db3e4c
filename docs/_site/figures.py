"""Draws the figures of the pages: `python docs/_site/figures.py`, half a minute."""

from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from landscapes import Landscape, SeparateLinearAttentionLandscape
from landscapes.linear_attention import (
    PopulationMoments,
    PromptDistribution,
    head_start,
    plateau_levels,
)
from meanfield import GradientFlow, every, simulate, snapshots
from meanfield.plots import MEASURED, QUIET, SECOND, THEORY
from particles import Ensemble

HORIZON = 90.0
FOLDER = Path(__file__).parents[1] / "figures"


class Gaussians(Landscape):
    """Match the mean of exp(−½(x − θ)²) on a grid."""

    grid: jax.Array
    target: jax.Array

    def features(self, particle):
        return jnp.exp(-0.5 * (self.grid - particle) ** 2)

    def risk(self, moments, fast=None):
        return 0.5 * jnp.mean((moments - self.target) ** 2)


def flow() -> None:
    """Fifty particles on a line find two bumps."""
    grid = jnp.linspace(-4, 4, 65)
    target = 0.5 * (jnp.exp(-0.5 * (grid - 1.5) ** 2) + jnp.exp(-0.5 * (grid + 1.5) ** 2))
    landscape = Gaussians(grid, target)
    start = Ensemble(jnp.linspace(-3, 3, 50))
    times = every(4.0)
    run = simulate(
        GradientFlow(landscape), start, horizon=800.0, dt=0.5, record=times, snapshots=times
    )
    when, ensembles = snapshots(run)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    paths = np.stack([np.asarray(mu.particles) for mu in ensembles])
    left.plot(when, paths, color=MEASURED, lw=0.7, alpha=0.7)
    left.plot([], [], color=MEASURED, label="particles")
    for place in (-1.5, 1.5):
        left.axhline(place, color=THEORY, ls="--", label="target" if place < 0 else None)
    left.set(xlabel="flow time $t$", ylabel=r"position $\theta$")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    points = jnp.linspace(-4, 4, 201)
    for ensemble, colour, name in (
        (start, SECOND, "at the start"),
        (run.ensemble, MEASURED, "at the end"),
    ):
        moments = landscape.moments(ensemble)
        slope = jax.grad(landscape.risk)(moments)
        potential = jax.vmap(lambda p, slope=slope: landscape.features(p) @ slope)(points)
        right.plot(points, potential, color=colour, label=name)
    right.axhline(0, color=QUIET, lw=0.8, zorder=0)
    right.set(xlabel=r"position $\theta$", ylabel=r"first variation $V(\theta)$")
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    figure.savefig(FOLDER / "flow.png", dpi=130)


def staircase() -> None:
    """Separate heads of linear attention visit one saddle after another."""
    eigenvalues = np.array([1.0, 0.7, 0.45, 0.25])
    prompts = PopulationMoments(PromptDistribution(eigenvalues, 31))
    landscape = SeparateLinearAttentionLandscape(prompts, 1, heads=8)
    start = head_start(jax.random.key(3), landscape, 8, scale=1e-2)
    flow = GradientFlow(landscape, scheme="adaptive")
    run = simulate(flow, start, horizon=HORIZON, dt=0.01, record=every(0.25))
    figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for number, level in enumerate(plateau_levels(eigenvalues, 31)):
        ax.axhline(
            level,
            color=THEORY,
            ls="--",
            lw=1,
            label=None if number else "levels of saddles (theory)",
        )
    ax.plot(run.trajectory.time, run.trajectory.loss, color=MEASURED, lw=2, label="loss of the run")
    ax.set(xlabel="flow time $t$", ylabel="loss $L$")
    ax.legend(loc="center right", bbox_to_anchor=(1.0, 0.7))
    figure.savefig(FOLDER / "staircase.png", dpi=130)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    flow()
    staircase()
