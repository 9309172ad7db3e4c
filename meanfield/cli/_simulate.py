"""`meanfield simulate CONFIG.toml`: one flow, on drawn samples or on the user's own data."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
import xarray

from landscapes import MLPAttentionLandscape, NeuronLandscape
from landscapes.mlp_attention import (
    benign_threshold,
    feature_loadings,
    feature_spectrum,
    saddle_level,
    saddle_levels,
)
from particles import Ensemble, InvalidInput, gathered, save_ensemble

from .. import plots
from ..flows import GradientFlow, free_energy
from ..problems import Config, build, load_config, run_key
from ..reports import Report
from ..results import Claim
from ..runs import Checkpoints, FlowFailed, Outcome, Run, at, every, join, simulate, speaks
from ._common import Common, File, Folder, constructed, first_time


@dataclass(frozen=True)
class Simulate(Common):
    """One flow from a config file; with --data, the attention landscape on your own arrays."""

    config: Annotated[
        Path | None,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[CONFIG.toml]", help_behavior_hint=""),
    ] = None
    """Every key is optional (README lists them); without a file, all defaults."""
    data: File = None
    """An .npz with arrays x (samples × inputs) and f (samples × features)."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Overrides the config's seed."""
    particles: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Overrides the config's start.particles."""
    horizon: Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")] = None
    """Overrides the config's flow.horizon."""
    dt: Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")] = None
    """Overrides the config's flow.dt."""
    devices: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Devices to split the particles over, 0 for all; may change when resuming."""
    distributed: str = ""
    """Join other hosts: 'auto' under SLURM, else ADDRESS:PORT/COUNT/INDEX; needs --out."""
    resume: Folder = None
    """Go on with the earlier run in this folder, perhaps to a later --horizon."""

    def __call__(self) -> int:
        """Run the flow; see `meanfield simulate --help`."""
        config = self.settled()
        jax.config.update("jax_enable_x64", config.float64)
        if self.distributed:
            if self.out is None and self.resume is None:
                raise InvalidInput("out is missing; all hosts of a run need the same --out.")
            join(self.distributed)
        out = self.resume if self.resume is not None else self.folder("simulate")
        checkpoints = Checkpoints(out / "checkpoints", config.record.checkpoint_steps)
        if self.resume is None and checkpoints.latest() is not None:
            raise InvalidInput(
                f"out is {out}, which holds an earlier run; go on with that by --resume {out}, or "
                "choose another folder."
            )
        problem, start, flow = build(config)
        # One host writes results; checkpoints are written by all, each its own particles.
        written = out if speaks() else Path(tempfile.mkdtemp())
        report = Report(written, "A Wasserstein gradient flow", config)
        horizon = config.flow.horizon
        failure = None
        concerns = constructed if config.start.kind == "saddle" else contextlib.nullcontext
        try:
            with concerns():
                run = simulate(
                    flow,
                    start,
                    horizon=horizon,
                    dt=config.flow.dt,
                    key=run_key(config.seed) if flow.random else None,
                    record=every(config.record.every) if config.record.every else None,
                    snapshots=at(0.0, *config.record.snapshots, horizon),
                    checkpoints=checkpoints,
                    resume=self.resume is not None,
                    progress=self.talks,
                    label="simulate",
                )
        except FlowFailed as error:
            run, failure = error.run, error
        try:
            write(problem.landscape, flow, start, run, report)
        except OSError as error:  # the same full disk, perhaps: what failed first is what to say
            failure = failure or error
        if failure is not None:
            raise failure
        if run.outcome is Outcome.INTERRUPTED:
            self.say(f"{run.message} Go on with: meanfield simulate --resume {out}")
        if speaks():
            self.show(report, "simulate")
        return 0

    def settled(self) -> Config:
        """The configuration after files and options.

        Raises:
            InvalidInput: an option that would change the run to resume.
        """
        if self.resume is not None:
            for name in ("config", "data", "seed", "particles", "dt", "out"):
                if (value := getattr(self, name)) is not None:
                    raise InvalidInput(
                        f"{name} is {value}, but --resume goes on with its folder and config; only "
                        "--horizon and --devices can change."
                    )
            config = load_config(self.resume / "config.toml")
        else:
            config = load_config(self.config) if self.config is not None else Config()
        data = self.data if self.data is not None else config.landscape.data
        parts: dict[str, Any] = {
            # Absolute, so that the run can be repeated from anywhere.
            "landscape": {"data": str(Path(data).absolute()) if data else None},
            "start": {"particles": self.particles},
            "flow": {"horizon": self.horizon, "dt": self.dt},
        }
        changed = {
            part: dataclasses.replace(
                getattr(config, part), **{k: v for k, v in options.items() if v is not None}
            )
            for part, options in parts.items()
        }
        seed = config.seed if self.seed is None else self.seed
        devices = config.devices if self.devices is None else self.devices
        return dataclasses.replace(config, seed=seed, devices=devices, **changed)


def write(
    landscape: NeuronLandscape, flow: GradientFlow, start: Ensemble, run: Run, report: Report
) -> None:
    """The trajectory, the last ensemble, and the report on them."""
    report.trajectory(run.trajectory)
    start, end = gathered(start), gathered(run.ensemble)
    save_ensemble(report.out / "ensemble.npz", end)
    report.text(run.message[0].upper() + run.message[1:])
    report.summary |= {"outcome": run.outcome.name, "message": run.message}
    describe(landscape, flow, start, end, run, report)
    report.finish()


def describe(
    landscape: Any, flow: GradientFlow, start: Ensemble, end: Ensemble, run: Run, report: Report
) -> None:
    """Claims, figures and a table that suit the landscape and the flow."""
    trajectory = run.trajectory
    if flow.temperature is not None:
        free_energy_claim(flow, start, end, report)
    if not flow.random:
        energy_claims(trajectory, report)
    levels: dict[str, float] = {}
    panels = []
    if isinstance(landscape, MLPAttentionLandscape):
        eigenvalues = np.asarray(feature_spectrum(landscape))
        eigenvalues = eigenvalues[eigenvalues > 0]
        levels = drawn_levels(eigenvalues, float(trajectory["loss"][0]))
        panels.append(lambda ax: plots.plot_learned(ax, trajectory, eigenvalues.tolist()))
        plain = flow.landscape is landscape  # not confined
        if plain and float(landscape.inverse_context) == 0 and run.state.fast is None:
            attention_claims(landscape, eigenvalues, run, report)
        feature_table(landscape, eigenvalues, trajectory, report)
    report.figure(
        "loss",
        "Loss along the run, with the critical levels of the data's own spectrum.",
        lambda ax: plots.plot_loss(ax, trajectory, levels),
        *panels,
    )
    report.figure(
        "energy",
        "The rate at which the loss falls, and the dissipation theory equates it with.",
        lambda ax: plots.plot_energy_balance(ax, trajectory),
    )
    report.figure(
        "particles",
        "The particles at the start and at the end, in the principal coordinates of each part.",
        *plots.particle_panels(start, end),
    )


def energy_claims(trajectory: xarray.Dataset, report: Report) -> None:
    """A gradient flow loses exactly what it dissipates."""
    loss, spent = trajectory["loss"].values, trajectory["dissipated"].values
    imbalance = float(np.max(np.abs(loss[0] - loss - spent))) / (abs(float(loss[0])) or 1.0)
    report.claim(
        Claim.equal(
            "energy balance: largest |L(0) − L(t) − dissipated| over L(0)",
            "theory 1",
            0.0,
            imbalance,
            absolute=0.01,
        )
    )


def free_energy_claim(flow: GradientFlow, start: Ensemble, end: Ensemble, report: Report) -> None:
    """Langevin dynamics descends L − τ · entropy."""
    temperature = float(flow.temperature)  # pyright: ignore[reportArgumentType]
    if any(e.weights is not None or e.size < 100 for e in (start, end)):
        report.text("The free energy is not estimated: that takes 100 particles of equal weight.")
        return
    before, after = (free_energy(flow.landscape, e, temperature) for e in (start, end))
    report.claim(
        Claim.below(
            "the free energy L − τ · entropy falls",
            "theory 1; mean-field Langevin dynamics",
            bound=before,
            measured=after,
        )
    )


def attention_claims(
    landscape: MLPAttentionLandscape, eigenvalues: np.ndarray, run: Run, report: Report
) -> None:
    """In the two-timescale limit the loss is what the missing features carry."""
    missing = 1 - run.trajectory["learned_fraction"].values[-1][: eigenvalues.size]
    loss = float(run.trajectory["loss"][-1])
    report.claim(
        Claim.equal(
            "final loss is ½Σ λ_j (1 − learned fraction_j)",
            "KS24; theory 2",
            0.5 * float(eigenvalues @ missing),
            loss,
            relative=1e-6 if landscape.x.dtype == np.float64 else 1e-3,
            absolute=1e-9,
        )
    )
    threshold = benign_threshold(eigenvalues)
    where = "inside" if loss < threshold else "outside"
    report.text(
        f"The final loss {loss:.6g} lies {where} the benign region L < ½λ_k = {threshold:.6g}, "
        "where no critical point but the global minimum exists (KS24)."
    )


def drawn_levels(eigenvalues: np.ndarray, start: float) -> dict[str, float]:
    """All levels where features are few, else those that miss only the smallest features."""
    if eigenvalues.size <= 4:
        chosen = saddle_levels(eigenvalues)
    else:
        count = eigenvalues.size
        tails = [tuple(range(first, count)) for first in range(count + 1)]
        chosen = {missing: saddle_level(eigenvalues, missing) for missing in tails}
    return {
        "missing {" + ", ".join(str(j + 1) for j in missing) + "}" if missing else "minimum": level
        for missing, level in chosen.items()
        if level <= 1.2 * start
    }


def feature_table(
    landscape: MLPAttentionLandscape,
    eigenvalues: np.ndarray,
    trajectory: xarray.Dataset,
    report: Report,
) -> None:
    """Which features have been learned when, and what they are made of."""
    time = trajectory["time"].values
    fractions = trajectory["learned_fraction"].values
    loadings = np.asarray(feature_loadings(landscape))
    rows = [
        "| feature | λ | made of | half learned at t | fraction at the end |",
        "|---|---|---|---|---|",
    ]
    learned = []
    for j, value in enumerate(eigenvalues):
        when = first_time(time, fractions[:, j] >= 0.5)
        largest = np.argsort(-np.abs(loadings[:, j]))[:3]
        parts = " ".join(f"{loadings[i, j]:+.2f}·f{i + 1}" for i in largest)
        said = "not yet" if when is None else f"{when:.4g}"
        rows.append(f"| {j + 1} | {value:.4g} | {parts} | {said} | {fractions[-1, j]:.4f} |")
        learned.append(
            {
                "feature": j + 1,
                "eigenvalue": float(value),
                "half_learned_at": when,
                "final_fraction": float(fractions[-1, j]),
            }
        )
    report.summary["features"] = learned
    report.text("## Features learned\n\n" + "\n".join(rows))
