"""Perturbed Wasserstein gradient flow: leave saddles, or say that there is no way down."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import jax
import numpy as np
from jaxtyping import Array, Key

from particles import Ensemble, InvalidInput
from saddle_analysis import Perturbation, displaced, hessian_guided

from ..flows import AbstractFlow, FlowState
from ..runs import Outcome, Run, simulate

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class Event:
    """One step of the method's history.

    Args:
        time: flow time.
        what: `perturbed`, `escaped`, or `stationary`.
        loss: at that time.
        gradient_norm: ‖∇δL/δμ‖ at that time.
        statement: the same in words.
    """

    time: float
    what: Literal["perturbed", "escaped", "stationary"]
    loss: float
    gradient_norm: float
    statement: str


@dataclass(frozen=True)
class PerturbedRun:
    """A run of the perturbed flow.

    Args:
        state: at the end; before the last perturbation where that led nowhere.
        trajectory: all accepted stretches, joined in time.
        events: perturbations and what became of them.
        outcome: `STOPPED` at an approximate second-order stationary point, else as for any run.
        message: the outcome in a sentence.
    """

    state: FlowState
    trajectory: xarray.Dataset
    events: list[Event]
    outcome: Outcome
    message: str

    @property
    def ensemble(self) -> Ensemble:
        """The particles at the end."""
        return self.state.ensemble


def simulate_perturbed(
    flow: AbstractFlow,
    start: Ensemble,
    *,
    key: Key[Array, ""],
    horizon: float,
    dt: float,
    tolerance: float = 1e-3,
    norm: float = 1e-2,
    perturbation: Perturbation = hessian_guided,
    window: float = 10.0,
    threshold: float = 1e-3,
    most: int = 20,
    records: int = 100,
    progress: bool = False,
) -> PerturbedRun:
    """Flow until nearly critical, perturb, flow on; keep the perturbation if the loss falls.

    Where ‖∇δL/δμ‖ ≤ `tolerance` the ensemble is pushed forward by id + ξ. If the loss falls by
    `threshold` within `window`, the run goes on from there; if not, the ensemble before it is
    an approximate second-order stationary point, and the run stops with that statement. (YKS25)

    Args:
        flow: the flow, in the two-timescale limit.
        start: N particles.
        key: random key of the perturbations.
        horizon: flow time to stop at in any case.
        dt: step size.
        tolerance: gradient norm that counts as nearly critical; particle units / time.
        norm: L²(μ) norm of a perturbation, in units of the particles.
        perturbation: such as those of `saddle_analysis.PERTURBATIONS`, or your own.
        window: flow time a perturbation is given.
        threshold: fall of the loss that counts as an escape.
        most: perturbations at most.
        records: records per window, which is how often the gradient norm is looked at.
        progress: show a bar.

    Raises:
        InvalidInput: a tolerance, norm, window or threshold that is not positive, or a flow off the
            two-timescale limit.
        FlowFailed: as `simulate`.
    """
    positive = {"tolerance": tolerance, "norm": norm, "window": window, "threshold": threshold}
    for name, value in positive.items():
        if not value > 0:
            raise InvalidInput(f"{name} is {value}; it must be positive.")
    if flow.ratio is not None:
        raise InvalidInput("flow has a timescale ratio; the perturbed flow works in the limit.")

    def stretch(state: FlowState, until: float, leave: float | None) -> Run:
        """Flow on until nearly critical (and, once perturbed, not before the loss has fallen)."""

        def done(latest: dict) -> bool:
            critical = float(latest["gradient_norm"]) <= tolerance
            return critical if leave is None else critical and float(latest["loss"]) <= leave

        spacing = window / records
        return simulate(
            flow,
            state,
            horizon=until,
            record=lambda start, end: _grid(start, end, spacing),
            stop=done,
            progress=progress,
            label="perturbed flow",
        )

    run = stretch(flow.start(start, dt), horizon, None)
    pieces, events = [run.trajectory], []
    message = run.message
    while run.outcome is Outcome.STOPPED:
        here = run.state
        loss, norm_here = _last(run, "loss"), _last(run, "gradient_norm")
        time = float(here.time)
        if len(events) >= 2 * most:
            message = f"the run stopped after {most} perturbations at t = {time:.6g}."
            break
        field = perturbation(
            jax.random.fold_in(key, len(events)),
            flow.landscape,
            here.ensemble,
            norm,
            chunk=flow.chunk,
        )
        events.append(
            Event(time, "perturbed", loss, norm_here, f"nearly critical at L = {loss:.6g}")
        )
        moved = flow.restarted(here, displaced(here.ensemble, field))
        trial = stretch(moved, min(time + window, horizon), loss - threshold)
        fallen = loss - _last(trial, "loss")
        if fallen < threshold:
            if trial.outcome is Outcome.HORIZON and time + window > horizon:
                message = f"the run reached the horizon {horizon:.6g} within the last window."
                run = trial
                pieces.append(trial.trajectory)
                break
            message = (
                f"approximate second-order stationary point at L = {loss:.6g}, gradient norm "
                f"{norm_here:.1e}: a perturbation of norm {norm:g} did not lower L by "
                f"{threshold:g} within {window:g}."
            )
            events.append(Event(time, "stationary", loss, norm_here, message))
            break
        pieces.append(trial.trajectory)
        events.append(
            Event(
                float(trial.state.time),
                "escaped",
                _last(trial, "loss"),
                _last(trial, "gradient_norm"),
                f"escaped: L fell by {fallen:.4g}",
            )
        )
        run = trial
        if trial.outcome is Outcome.HORIZON and float(trial.state.time) < horizon - dt:
            run = stretch(trial.state, horizon, None)
            pieces.append(run.trajectory)
        message = run.message
    outcome = Outcome.STOPPED if events and events[-1].what == "stationary" else run.outcome
    return PerturbedRun(run.state, _joined(pieces, events), events, outcome, message)


def _grid(start: float, end: float, spacing: float) -> np.ndarray:
    count = max(1, round((end - start) / spacing))
    return np.linspace(start, end, count + 1)


def _last(run: Run, name: str) -> float:
    return float(run.trajectory[name][-1])


def _joined(pieces: list[xarray.Dataset], events: list[Event]) -> xarray.Dataset:
    import json

    import xarray

    joined = xarray.concat(pieces, dim="time")
    joined.attrs["events"] = json.dumps([dataclasses.asdict(event) for event in events])
    return joined
