"""`meanfield demo`: prepare a saddle, detect it, leave it, reach the minimum."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
import scipy.interpolate

from landscapes import MLPAttentionLandscape, Neuron
from landscapes.mlp_attention import (
    InContextError,
    benign_threshold,
    feature_spectrum,
    in_context_error,
    missing_features,
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
from ..problems import realisable
from ..reports import Panel, Report
from ..results import Claim
from ..runs import FlowFailed, Outcome, Run, Schedule, component, simulate
from ._common import Common, constructed

if TYPE_CHECKING:
    import xarray

NEAR_MINIMUM = 0.05  # of ½λ_k: where the run counts as arrived, and ends


@dataclass(frozen=True)
class Demo(Common):
    """The main job in about a minute: saddle, detection, escape, global minimum, report."""

    seed: int = 0
    """Of every random draw."""
    particles: int = 1024
    """Number N of particles."""
    dim: int = 8
    """Input dimension d."""
    samples: int = 512
    """Number M of samples."""
    teacher_neurons: int = 12
    """Neurons the targets are made of."""
    spectrum: tuple[float, ...] = (1.0, 0.5, 0.2)
    """Eigenvalues of the targets' second moment."""
    missing: tuple[int, ...] = (2,)
    """Features that the saddle misses, numbered from 0 (figures and claims number from 1)."""
    distance: float = 1e-6
    """L²(μ) distance from the saddle at which the escape starts."""
    horizon: float = 60.0
    """Flow time after which the run ends at the latest."""
    prompts: int = 2048
    """Fresh prompts for each prompt length."""

    def __call__(self) -> int:
        """Run the demo; see `meanfield demo --help`."""
        if not self.missing:
            raise InvalidInput("missing is empty, which is the global minimum; name a feature.")
        if not 0 < self.distance < 1:
            raise InvalidInput(f"distance is {self.distance}; it must lie between 0 and 1.")
        report = Report(self.folder("demo"), "Leaving a saddle of the attention landscape", self)
        self.say("1/4 preparing the saddle")
        scene = prepare(self)
        detection = detect(self, scene, report)
        try:
            with constructed():
                run = leave(self, scene, detection)
        except FlowFailed as error:
            keep(error.run, report)
            raise
        keep(run, report)
        if run.outcome is Outcome.INTERRUPTED:
            raise KeyboardInterrupt
        growth = read_growth(detection, run, report)
        levels = descend(scene, run, report)
        errors = in_context(self, scene, run, report)
        report.figure(
            "overview",
            "The whole job: leaving the saddle at the predicted rate, descending to the global "
            "minimum, and learning in context.",
            growth,
            lambda ax: plots.plot_loss(ax, run.trajectory, levels),
            lambda ax: plots.plot_in_context(ax, errors),
        )
        report.finish()
        self.show(report, "demo")
        return 0


class Scene(NamedTuple):
    """Where the demo takes place."""

    landscape: MLPAttentionLandscape
    fresh: MLPAttentionLandscape
    saddle: Ensemble


def prepare(options: Demo) -> Scene:
    """A realisable landscape, the same task on fresh samples, and the exact saddle."""
    setting = realisable(
        options.seed,
        dim=options.dim,
        samples=options.samples,
        teacher_neurons=options.teacher_neurons,
        spectrum=options.spectrum,
    )
    saddle = setting.saddle(options.missing, options.particles)
    return Scene(setting.landscape, setting.fresh, saddle)


class Detection(NamedTuple):
    """What the curvature says at the saddle."""

    rate: float
    unstable: Neuron


def detect(options: Demo, scene: Scene, report: Report) -> Detection:
    """Level, gradient norm, spectrum and Morse index, beside what theory predicts."""
    options.say("2/4 looking at the curvature")
    landscape, saddle = scene.landscape, scene.saddle
    value, velocity = landscape.value_and_velocity(saddle)
    index = saddle_index(options.spectrum, options.missing)
    operator = HessianOperator(landscape, saddle)
    pairs = extreme_eigenpairs(operator, min(index + 6, operator.size))
    threshold = 1e-6 * pairs.norm
    found = morse_index(operator, threshold=threshold, expected=index)
    report.claim(
        Claim.equal(
            f"loss at the saddle missing {_names(options.missing)} is ½Σλ of what is missing",
            "KS24; theory 2",
            saddle_level(options.spectrum, options.missing),
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
            len(options.missing),
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
    report.text("## The saddle")
    report.figure(
        "spectrum",
        "Smallest eigenvalues of the Wasserstein Hessian at the saddle. Theory predicts how many "
        "are negative; the smallest sets the escape rate.",
        lambda ax: plots.plot_spectrum(ax, pairs.values, threshold=threshold, index=index),
    )
    return Detection(-float(pairs.values[0]), pairs.fields[0])


def leave(options: Demo, scene: Scene, detection: Detection) -> Run:
    """Step off along the unstable eigenvector, and flow to the global minimum."""
    options.say("3/4 leaving the saddle and running to the minimum")
    start = displaced(scene.saddle, along(scene.saddle, detection.unstable, options.distance))
    near_minimum = NEAR_MINIMUM * benign_threshold(options.spectrum)
    return simulate(
        GradientFlow(scene.landscape, scheme=scheme_from("adaptive", rtol=1e-6, atol=1e-10)),
        start,
        horizon=options.horizon,
        dt=0.01 / detection.rate,
        record=_finely_then_coarsely(options.distance, detection.rate),
        statistics=[component("unstable_component", scene.saddle, detection.unstable)],
        stop=lambda latest: bool(latest["loss"] < near_minimum),
        progress=options.talks,
        label="escape",
    )


def keep(run: Run, report: Report) -> None:
    """Write down what a run left, also one that ended early."""
    report.trajectory(run.trajectory)
    save_ensemble(report.out / "ensemble.npz", run.ensemble)
    report.summary |= {"outcome": run.outcome.name, "message": run.message}
    if run.outcome.failed or run.outcome is Outcome.INTERRUPTED:
        report.text(run.message[0].upper() + run.message[1:])
        report.finish()


def _finely_then_coarsely(distance: float, rate: float) -> Schedule:
    """Even records while the unstable component grows and saturates, then ever rarer ones."""
    saturation = np.log(1 / distance) / rate
    fine = saturation / 100

    def times(start: float, end: float) -> np.ndarray:
        first = np.arange(start, min(1.5 * saturation, end), fine)
        rest = np.geomspace(1.5 * saturation, max(end, 2 * saturation), 150)
        return np.unique(np.concatenate([first, rest[rest <= end]]))

    return times


def read_growth(detection: Detection, run: Run, report: Report) -> Panel:
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
    report.claim(
        Claim.equal(
            "growth rate of the unstable component is |λ_min|",
            "KS24; theory 2",
            detection.rate,
            fit.rate,
            relative=0.03,
        )
    )
    report.text("## The escape")
    report.figure(
        "growth",
        f"Displacement along the unstable eigenvector; {fit.kind} growth by a factor of "
        f"{fit.factor:.3g} in the shaded window.",
        panel,
    )
    return panel


def descend(scene: Scene, run: Run, report: Report) -> dict[str, float]:
    """The descent to the minimum: levels, learned features, energy balance, particles."""
    trajectory = run.trajectory
    eigenvalues = np.asarray(feature_spectrum(scene.landscape))
    loss, spent = trajectory["loss"].values, trajectory["dissipated"].values
    imbalance = float(np.max(np.abs(loss[0] - loss - spent))) / float(loss[0])
    report.claim(
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
        Claim.equal(
            "energy balance: largest |L(0) − L(t) − ∫∫‖∇δL/δμ‖² dμ dt| over L(0)",
            "theory 1",
            0.0,
            imbalance,
            absolute=1e-5,
        ),
        Claim.equal(
            "dissipation identity: largest deviation of −dL/dt from ∫‖∇δL/δμ‖² dμ, over its peak",
            "theory 1",
            0.0,
            dissipation_deviation(trajectory),
            absolute=0.01,
        ),
    )
    levels = {
        f"missing {_names(missing)}" if missing else "global minimum": level
        for missing, level in saddle_levels(eigenvalues).items()
        if level <= 1.5 * float(loss[0])
    }
    report.figure(
        "loss",
        "Loss along the run with the saddle levels of theory; which features are learned when.",
        lambda ax: plots.plot_loss(ax, trajectory, levels),
        lambda ax: plots.plot_learned(ax, trajectory, eigenvalues.tolist()),
    )
    report.figure(
        "energy",
        "The rate at which the loss falls equals the squared gradient norm over the measure.",
        lambda ax: plots.plot_energy_balance(ax, trajectory),
    )
    after = run.ensemble
    report.figure(
        "particles",
        "The particles at the saddle and at the end, in the principal coordinates of each part.",
        *plots.particle_panels(scene.saddle, after),
    )
    return levels


def dissipation_deviation(trajectory: xarray.Dataset) -> float:
    """Largest |−dL/dt − rate| over the largest rate, −dL/dt from a spline through the records."""
    time = trajectory["time"].values
    slope = scipy.interpolate.CubicSpline(time, trajectory["loss"].values)(time, 1)
    rate = trajectory["dissipation_rate"].values
    return float(np.max(np.abs(slope + rate)[1:-1]) / np.max(rate))


def in_context(options: Demo, scene: Scene, run: Run, report: Report) -> dict[str, InContextError]:
    """In-context error on fresh prompts before and after, against its exact expectation."""
    options.say("4/4 testing in context on fresh prompts")
    key = jax.random.fold_in(jax.random.key(options.seed), 5)
    lengths = [2**power for power in range(2, 11)]
    errors = {
        name: in_context_error(
            key,
            scene.landscape,
            ensemble,
            lengths,
            prompts=options.prompts,
            test=scene.fresh,
        )
        for name, ensemble in (("at the saddle", scene.saddle), ("at the end", run.ensemble))
    }
    before, after = errors.values()
    report.claim(
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
    report.text("## Learning in context")
    report.figure(
        "in_context",
        "Error on fresh prompts (fresh tasks, examples and queries) against prompt length.",
        lambda ax: plots.plot_in_context(ax, errors),
    )
    return errors


def _names(missing: tuple[int, ...]) -> str:
    return "{" + ", ".join(str(j + 1) for j in missing) + "}"
