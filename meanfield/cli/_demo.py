"""`meanfield demo`: prepare a saddle, detect it, leave it, reach the minimum."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import scipy.interpolate

from landscapes import MLPAttentionLandscape, Neuron
from landscapes.mlp_attention import (
    InContextError,
    benign_threshold,
    feature_spectrum,
    in_context_error,
    missing_features,
    missing_name,
    saddle_index,
    saddle_level,
    saddle_levels,
)
from particles import Ensemble, InvalidInput, save_ensemble
from saddle_analysis import (
    HessianOperator,
    along,
    displaced,
    extreme_eigenpairs,
    fit_growth,
    morse_index,
)

from .. import plots
from ..flows import GradientFlow, scheme_from
from ..problems import (
    Attention,
    Count,
    Feature,
    Positive,
    Range,
    Seed,
    build_problem,
    checked_missing,
    start_key,
    study_key,
)
from ..reports import Report, energy_balance
from ..results import Claim, Panel, Result
from ..runs import FlowFailed, Run, RunInterrupted, Schedule, component, simulate
from ._common import Common
from ._simulate import ConfigFile

if TYPE_CHECKING:
    import xarray

NEAR_MINIMUM = 0.05  # of ½λ_k: where the run counts as arrived, and ends


@dataclass(frozen=True)
class DemoOptions:
    """The saddle and the run."""

    missing: tuple[Feature, ...] = ()
    """Features that the saddle misses, numbered from 0; none for the weakest."""
    distance: Annotated[float, Range(0, 0.1, open_low=True)] = 1e-6
    """L²(μ) distance from the saddle at which the escape starts."""
    horizon: Positive = 60.0
    """Flow time after which the run ends at the latest."""
    prompts: Count = 2048
    """Fresh prompts for each prompt length."""


@dataclass(frozen=True)
class Demo(Common):
    """The main job in about a minute: saddle, detection, escape, global minimum, report."""

    command = "demo"

    config: ConfigFile = None
    """A configuration, such as the config.toml that any command wrote; every key is optional."""
    seed: Seed = 0
    """Of every random draw."""
    particles: Count = 1024
    """Number N of particles."""
    problem: Any = field(default_factory=Attention)
    options: DemoOptions = field(default_factory=DemoOptions)

    def __call__(self) -> int:
        """Run the demo; see `meanfield demo --help`."""
        out = self.folder()
        scene = prepare(self)
        with self.report(out, "Leaving a saddle of the attention landscape") as report:
            self._run(scene, report)
        report.finish()
        self.show(report)
        return 0

    def _run(self, scene: Scene, report: Report) -> None:
        """The whole job, its results written as they come."""
        self.say("1/4 looking at the curvature of the saddle")
        detection, result = detect(scene)
        require_time(self.options, detection)
        report.add(result)
        self.say("2/4 leaving the saddle and running to the minimum")
        try:
            run = leave(self, scene, detection)
        except (FlowFailed, RunInterrupted) as error:
            keep(error.run, report)
            report.finish()
            raise
        keep(run, report)
        self.say("3/4 reading growth rate, levels and learned features off the run")
        growth, result = read_growth(detection, run)
        report.add(result)
        levels, result = descend(scene, run)
        report.add(result)
        self.say("4/4 testing in context on fresh prompts")
        errors, result = in_context(self, scene, run)
        report.add(result)
        overview = Result("Overview")
        overview.figure(
            "overview",
            "The whole job: leaving the saddle at the predicted rate, descending to the global "
            "minimum, and learning in context.",
            growth,
            lambda ax: plots.plot_loss(ax, run.trajectory, levels),
            lambda ax: plots.plot_in_context(ax, errors),
        )
        report.add(overview)


class Scene(NamedTuple):
    """Where the demo takes place."""

    landscape: MLPAttentionLandscape
    fresh: MLPAttentionLandscape
    saddle: Ensemble
    spectrum: Sequence[float]
    missing: tuple[int, ...]


def prepare(demo: Demo) -> Scene:
    """A realisable landscape, the same task on fresh samples, and the exact saddle.

    Raises:
        InvalidInput: another kind of problem, given data, or no missing feature.
    """
    if not isinstance(demo.problem, Attention):
        raise InvalidInput("problem is of another kind; the demo is about 'attention'.")
    problem = build_problem(demo.problem, demo.seed)
    place = problem.require("saddle", "meanfield demo")
    missing = checked_missing(demo.options.missing, problem)
    saddle = place(start_key(demo.seed), demo.particles, missing)
    fresh = problem.require("fresh", "meanfield demo")()
    return Scene(problem.landscape, fresh, saddle, demo.problem.spectrum, missing)  # pyright: ignore


class Detection(NamedTuple):
    """What the curvature says at the saddle."""

    rate: float
    unstable: Neuron


def detect(scene: Scene) -> tuple[Detection, Result]:
    """Level, gradient norm, spectrum and Morse index, beside what theory predicts."""
    landscape, saddle, missing = scene.landscape, scene.saddle, scene.missing
    value, velocity = landscape.value_and_velocity(saddle)
    index = saddle_index(scene.spectrum, missing)
    operator = HessianOperator(landscape, saddle)
    pairs = extreme_eigenpairs(operator, min(index + 6, operator.size))
    threshold = 1e-6 * pairs.norm
    found = morse_index(operator, threshold=threshold, expected=index, known=pairs)
    result = Result("The saddle")
    result.claim(
        Claim.equal(
            f"loss at the saddle missing {missing_name(missing)} is ½Σλ of what is missing",
            "KS24; theory 2",
            saddle_level(scene.spectrum, missing),
            float(value),
            relative=1e-6,
        ),
        Claim.below(
            "gradient norm at the saddle vanishes",
            "theory 2",
            bound=1e-8,
            measured=float(saddle.norm(velocity)),
        ),
        Claim.equal(
            "number of features missing from span(h_μ)",
            "theory 2",
            len(missing),
            len(missing_features(landscape, saddle)),
        ),
        Claim.below(
            "smallest curvature is negative: a strict saddle",
            "KS24; theory 2",
            bound=0.0,
            measured=float(pairs.values[0] + pairs.residuals[0]),
        ),
        Claim.equal("Morse index", "theory 2", index, found.index),
    )
    result.figure(
        "spectrum",
        "Smallest eigenvalues of the Wasserstein Hessian at the saddle. Theory predicts how many "
        "are negative; the smallest sets the escape rate.",
        lambda ax: plots.plot_spectrum(ax, pairs.values, threshold=threshold, index=index),
    )
    return Detection(-float(pairs.values[0]), pairs.fields[0]), result


def require_time(options: DemoOptions, detection: Detection) -> None:
    """Refuse a horizon before the end of the escape.

    Raises:
        InvalidInput: names the horizon and what the escape takes.
    """
    time = escape_time(options.distance, detection.rate)
    if not time <= options.horizon:
        raise InvalidInput(
            f"horizon is {options.horizon:g}; the escape from distance {options.distance:g} alone "
            f"takes {time:.3g}: give at least that, or start farther away."
        )


def escape_time(distance: float, rate: float) -> float:
    """Flow time in which exponential growth leads from a distance to 1."""
    return float(np.log(1 / distance)) / rate


def leave(demo: Demo, scene: Scene, detection: Detection) -> Run:
    """Step off along the unstable eigenvector, and flow to the global minimum."""
    options = demo.options
    start = displaced(scene.saddle, along(scene.saddle, detection.unstable, options.distance))
    near_minimum = NEAR_MINIMUM * benign_threshold(scene.spectrum)
    return simulate(
        GradientFlow(scene.landscape, scheme=scheme_from("adaptive", rtol=1e-6, atol=1e-10)),
        start,
        horizon=options.horizon,
        dt=0.01 / detection.rate,
        record=_finely_then_coarsely(options.distance, detection.rate),
        statistics=[component("unstable_component", scene.saddle, detection.unstable)],
        stop=lambda latest: bool(latest["loss"] < near_minimum),
        progress=demo.shows_progress,
        label="escape",
    )


def keep(run: Run, report: Report) -> None:
    """Write down what a run left, also one that ended early."""
    result = Result("The run")
    result.trajectory(run.trajectory)
    result.summary |= {"outcome": run.outcome.name, "message": run.message}
    result.text(run.message[0].upper() + run.message[1:])
    save_ensemble(report.out / "ensemble.npz", run.ensemble)
    report.add(result)


def _finely_then_coarsely(distance: float, rate: float) -> Schedule:
    """Even records while the unstable component grows and saturates, then ever rarer ones."""
    saturation = escape_time(distance, rate)
    fine = saturation / 40  # every record ends a step: more of them cost more steps

    def times(start: float, end: float) -> np.ndarray:
        first = np.arange(start, min(1.5 * saturation, end) - 0.5 * fine, fine)
        rest = np.geomspace(1.5 * saturation, max(end, 2 * saturation), 100)
        return np.unique(np.concatenate([first, rest[rest <= end]]))

    return times


def read_growth(detection: Detection, run: Run) -> tuple[Panel, Result]:
    """The measured growth rate of the unstable component against |λ_min|."""
    time = run.trajectory["time"].values
    amplitude = np.abs(run.trajectory["unstable_component"].values)
    fit = fit_growth(time, amplitude)
    panel = functools.partial(
        plots.plot_growth,
        time=time,
        amplitude=amplitude,
        rate=detection.rate,
        window=fit.window,
        fitted=fit.rate,
    )
    result = Result("The escape")
    result.claim(
        Claim.equal(
            "growth rate of the unstable component is |λ_min|",
            "KS24; theory 2",
            detection.rate,
            fit.rate,
            relative=0.03,
        )
    )
    result.figure(
        "growth",
        f"Displacement along the unstable eigenvector; {fit.kind} growth by a factor of "
        f"{fit.factor:.3g} in the shaded window.",
        panel,
    )
    return panel, result


def descend(scene: Scene, run: Run) -> tuple[dict[str, float], Result]:
    """The descent to the minimum: levels, learned features, energy balance, particles."""
    trajectory = run.trajectory
    eigenvalues = np.asarray(feature_spectrum(scene.landscape))
    loss = trajectory["loss"].values
    result = Result("The descent")
    result.claim(
        Claim.below(
            "the run enters the benign region L < ½λ_k",
            "KS24; theory 2",
            bound=benign_threshold(eigenvalues),
            measured=float(loss[-1]),
        ),
        Claim.below(
            f"the run comes within {NEAR_MINIMUM:.0%} of ½λ_k of the global minimum 0",
            "KS24; theory 2",
            bound=NEAR_MINIMUM * benign_threshold(eigenvalues),
            measured=float(loss[-1]),
        ),
        energy_balance(trajectory, 1e-5),
        Claim.equal(
            "dissipation identity: largest deviation of −dL/dt from ∫‖∇δL/δμ‖² dμ, over its peak",
            "theory 1",
            0.0,
            dissipation_deviation(trajectory),
            absolute=0.01,
        ),
    )
    levels = {
        f"missing {missing_name(missing)}" if missing else "global minimum": level
        for missing, level in saddle_levels(eigenvalues).items()
        if level <= 1.5 * float(loss[0])
    }
    result.figure(
        "loss",
        "Loss along the run with the saddle levels of theory; which features are learned when.",
        lambda ax: plots.plot_loss(ax, trajectory, levels),
        lambda ax: plots.plot_learned(ax, trajectory, eigenvalues.tolist()),
    )
    result.figure(
        "energy",
        "The rate at which the loss falls equals the squared gradient norm over the measure.",
        lambda ax: plots.plot_energy_balance(ax, trajectory),
    )
    after = run.ensemble
    result.figure(
        "particles",
        "The particles at the saddle and at the end, in the principal coordinates of each part.",
        *plots.particle_panels(scene.saddle, after),
    )
    return levels, result


def dissipation_deviation(trajectory: xarray.Dataset) -> float:
    """Largest |−dL/dt − rate| over the largest rate, −dL/dt from a spline through the records."""
    time = trajectory["time"].values
    slope = scipy.interpolate.CubicSpline(time, trajectory["loss"].values)(time, 1)
    rate = trajectory["dissipation_rate"].values
    return float(np.max(np.abs(slope + rate)[1:-1]) / np.max(rate))


def in_context(demo: Demo, scene: Scene, run: Run) -> tuple[dict[str, InContextError], Result]:
    """In-context error on fresh prompts before and after, against its exact expectation."""
    key = study_key(demo.seed)
    lengths = [2**power for power in range(2, 11)]
    errors = {
        name: in_context_error(
            key,
            scene.landscape,
            ensemble,
            lengths,
            prompts=demo.options.prompts,
            test=scene.fresh,
        )
        for name, ensemble in (("at the saddle", scene.saddle), ("at the end", run.ensemble))
    }
    before, after = errors.values()
    result = Result("Learning in context")
    result.claim(
        Claim.below(
            f"in-context error at n = {lengths[-1]} falls from the saddle to the end",
            "KS24; theory 2",
            bound=float(before.measured[-1]),
            measured=float(after.measured[-1]),
        ),
        Claim.below(
            "error on fresh prompts agrees with its exact expectation: largest deviation in s.e.",
            "theory 2",
            bound=4.0,
            measured=float(max(np.max(np.abs(e.deviation)) for e in errors.values())),
        ),
    )
    result.figure(
        "in_context",
        "Error on fresh prompts (fresh tasks, examples and queries) against prompt length.",
        lambda ax: plots.plot_in_context(ax, errors),
    )
    return errors, result
