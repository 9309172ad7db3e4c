"""ZSLS25, merged key and query: one abrupt drop, its logistic course, full blocks, in-weight."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import xarray

from landscapes import MergedLinearAttentionLandscape, SeparateLinearAttentionLandscape
from landscapes.linear_attention import (
    Convention,
    EmpiricalMoments,
    LinearAttentionLandscape,
    MergedHead,
    PopulationMoments,
    PromptDistribution,
    data_moments,
    head_start,
    merged_growth,
    plateau_levels,
)
from particles import Ensemble
from saddle_analysis import find_plateaus

from .. import plots
from ..reports import Panel, Report
from ..results import Claim
from ..runs import every
from ._linear_attention_runs import DESCENT_TIME, crossing, follow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..cli import Reproduce

EIGENVALUES, LENGTH, SOURCE = (0.4, 0.3, 0.2, 0.1), 32, "ZSLS25; theory 4"
PUBLISHED = Convention(half=False, divide="none", query=True)  # with sequences of 32 tokens
RATE, STEPS, HEADS, TOKENS = 1e-3, 6001, 8, 32
SEPARATE_RATE, SEPARATE_STEPS = 1e-2, 16001  # its plateaus last longer
FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)


def reproduce_zsls25_merged(options: Reproduce, report: Report) -> None:
    """The merged landscape on the population, on a finite data set, and with a fixed task."""
    options.say("zsls25-merged 1/4: one abrupt drop")
    abrupt_drop(options, report)
    options.say("zsls25-merged 2/4: the logistic course")
    logistic_course(options, report)
    options.say("zsls25-merged 3/4: full token blocks on a finite data set")
    full_blocks(options, report)
    options.say("zsls25-merged 4/4: in-context against in-weight learning")
    in_weight(options, report)


def abrupt_drop(options: Reproduce, report: Report) -> None:
    """From a small random start: start level, one drop, end level, for one head and for eight."""
    levels = plateau_levels(EIGENVALUES, LENGTH)
    prompts = PopulationMoments(PromptDistribution(EIGENVALUES, LENGTH))
    curves = {}
    for heads in (1, HEADS):
        landscape = MergedLinearAttentionLandscape(prompts, heads=heads)
        start = head_start(jax.random.key(options.seed), landscape, heads, scale=1e-4)
        _, trajectory = follow(
            options,
            landscape,
            start,
            horizon=800.0,
            dt=0.1,
            record=lambda unit: every(2.0 * unit),
            label=f"{heads} heads",
        )
        if heads == 1:
            report.trajectory(trajectory)
        times, loss = trajectory["time"].values, trajectory["loss"].values
        found = find_plateaus(times, loss, (levels[0], levels[-1]))
        name = "1 head" if heads == 1 else f"{heads} heads"
        curves[name] = (times, loss)
        report.claim(
            Claim.equal(f"start level, {name}", SOURCE, levels[0], loss[0], absolute=1e-4),
            Claim.equal(f"number of drops, {name}", SOURCE, 1, len(found.drops)),
            Claim.equal(f"end level, {name}", SOURCE, levels[-1], loss[-1], absolute=1e-4),
        )
    named = {"origin": levels[0], "global minimum": levels[-1]}

    def draw(ax: Axes) -> None:
        plots.plot_courses(ax, curves, levels=named)
        ax.set(xlabel=DESCENT_TIME, ylabel="loss ½ E(y − ŷ)²", title="One abrupt drop")

    report.figure("drop", "From a small random start the loss falls once, to its minimum.", draw)


def logistic_course(options: Reproduce, report: Report) -> None:
    """White covariance: the whole loss curve against the logistic, with no fitted number."""
    dim, value = 4, 0.25
    prompts = PopulationMoments(PromptDistribution([value] * dim, LENGTH))
    aligned = np.eye(dim) / dim**0.5
    measured, theory = {}, {}
    for heads in (1, HEADS):
        landscape = MergedLinearAttentionLandscape(prompts, heads=heads)
        key = jax.random.fold_in(jax.random.key(options.seed), heads)
        for kind in ("balanced", "random"):
            if kind == "balanced":
                size = 1e-3 * jnp.linspace(0.5, 1.5, heads)
                start = Ensemble(MergedHead(size, size[:, None, None] * aligned))
            else:
                start = head_start(key, landscape, heads, scale=1e-4)
            v, u = start.particles
            growing = (v + jnp.einsum("nab,ab->n", u, aligned)) / 2
            sigma = float(jnp.sum(growing**2))
            _, trajectory = follow(
                options,
                landscape,
                start,
                horizon=200.0,
                dt=0.05,
                record=lambda unit: every(0.5 * unit),
                label="logistic",
            )
            times, loss = trajectory["time"].values, trajectory["loss"].values
            _, predicted = merged_growth(times, value, dim, LENGTH, start=sigma)
            name = f"{heads} head{'s' * (heads > 1)}, {kind} start"
            measured[name], theory[name] = (times, loss), (times, predicted)
            report.claim(
                Claim.equal(
                    f"largest distance from the logistic course, share of the drop, {name}",
                    SOURCE,
                    0.0,
                    np.max(np.abs(loss - predicted)) / (predicted[0] - predicted[-1]),
                    absolute=0.01,
                )
            )

    def draw(ax: Axes) -> None:
        plots.plot_courses(ax, measured, theory)
        ax.set(xlabel=DESCENT_TIME, ylabel="loss ½ E(y − ŷ)²", title="White Λ: a logistic course")

    report.figure(
        "logistic",
        "The loss and the logistic that theory computes from the start alone, nothing fitted.",
        draw,
    )


def full_blocks(options: Reproduce, report: Report) -> None:
    """The published setting: useful blocks alone, and full token blocks, on one data set."""
    x, y = PromptDistribution(EIGENVALUES, TOKENS - 1).draw(
        jax.random.key(options.seed + 1), _sequences(options)
    )
    useful = data_moments(x, y, convention=PUBLISHED)
    full = data_moments(x, y, blocks="full", convention=PUBLISHED)
    levels = 2 * plateau_levels(EIGENVALUES, TOKENS - 1)

    def merged(moments: EmpiricalMoments) -> LinearAttentionLandscape:
        return MergedLinearAttentionLandscape(moments, heads=HEADS)

    def separate(moments: EmpiricalMoments) -> LinearAttentionLandscape:
        return SeparateLinearAttentionLandscape(moments, 1, heads=HEADS)

    panels, curves, shifts = [], {}, []
    for kind, build, marks, setting in (
        ("merged", merged, levels[[0, -1]], (RATE, STEPS, 0.01)),
        ("separate, rank one", separate, levels, (SEPARATE_RATE, SEPARATE_STEPS, 0.01)),
    ):
        rate, steps, scale = setting
        start = head_start(jax.random.key(options.seed), build(useful), HEADS, scale=scale)
        drops: dict[str, list[float]] = {}
        for name, moments, extra in (
            ("useful blocks", useful, 0.0),
            ("full blocks, extra weights from 0", full, 0.0),
            (f"full blocks, extra weights from {scale:g}", full, scale),
        ):
            landscape = build(moments)
            heads = _embedded(jax.random.key(options.seed + 2), landscape, start, extra)
            _descend(options, landscape, heads, name, rate, steps)  # compiles
            began = time.perf_counter()
            trajectory = _descend(options, landscape, heads, name, rate, steps)
            spent = time.perf_counter() - began
            curve = _steps(trajectory, rate), trajectory["loss"].values
            curves[kind, name] = curve
            drops[name] = [
                crossing(*curve, 0.5 * (high + low)) for high, low in itertools.pairwise(marks)
            ]
            report.text(
                f"- {kind}, {name}: {steps - 1} steps of full-batch descent in {spent:.2f} s after "
                f"compilation ({len(x)} sequences of {TOKENS} tokens, {HEADS} heads); half of each "
                f"drop at steps {', '.join(f'{step:.0f}' for step in drops[name])}."
            )
        first, second, _ = drops.values()
        shifts += [b - a for a, b in zip(first, second, strict=True)]
        panels.append(
            _blocks_panel({n: c for (k, n), c in curves.items() if k == kind}, marks, kind, rate)
        )
    heads = head_start(jax.random.key(options.seed), merged(full), HEADS, scale=0.01, extra=0.01)
    ends = [float(curves["merged", name][1][-1]) for kind, name in curves if kind == "merged"]
    shift = float(np.nanmax(np.abs(shifts)))
    report.claim(
        Claim.equal(
            "descent on the moments follows descent on the data set by automatic differentiation: "
            "largest relative difference of the loss over 100 steps",
            SOURCE,
            0.0,
            _distance_to_brute_force(options, merged(full), heads, x, y),
            absolute=1e-12,
        ),
        Claim.equal(
            "full blocks end near the useful ones' final loss, merged",
            SOURCE,
            ends[0],
            ends[1],
            relative=0.02,
        ),
        Claim.equal(
            "the extra blocks pick up gradient from a zero start and shift a drop by hundreds of "
            f"steps (found {shift:.0f}; 1 if above 100)",
            SOURCE,
            1.0,
            float(shift > 100),
        ),
    )
    report.figure(
        "blocks",
        "The same start on the same data set: full token blocks drop at other steps.",
        *panels,
    )


def _blocks_panel(curves: dict, marks: np.ndarray, kind: str, rate: float) -> Panel:
    names = [f"$L_{m}$" for m in range(len(marks))] if len(marks) > 2 else ["origin", "minimum"]

    def draw(ax: Axes) -> None:
        plots.plot_courses(ax, curves, levels=dict(zip(names, marks, strict=True)))
        ax.set(
            xlabel=f"gradient descent step (learning rate {rate:g})",
            ylabel="training loss E(y − ŷ)²",
            title=f"Useful and full token blocks, {kind}",
        )

    return draw


def in_weight(options: Reproduce, report: Report) -> None:
    """Both test losses while a fraction of the sequences has one fixed task."""
    task = jax.random.normal(jax.random.key(options.seed + 3), (len(EIGENVALUES),))
    task = 2.0 * task / jnp.linalg.norm(task)
    keys = jax.random.split(jax.random.key(options.seed + 4), len(FRACTIONS) + 2)
    count = _sequences(options)

    def drawn(key: jax.Array, fraction: float, uninformative: bool) -> tuple:
        source = PromptDistribution(
            EIGENVALUES,
            TOKENS - 1,
            fixed_task=task,
            fraction=fraction,
            uninformative=uninformative,
        )
        return source.draw(key, count)

    def moments_of(data: tuple) -> EmpiricalMoments:
        return data_moments(*data, blocks="full", convention=PUBLISHED)

    tests = {
        "in_context": moments_of(drawn(keys[-1], 0.0, False)),
        "in_weight": moments_of(drawn(keys[-2], 1.0, True)),
    }
    finals: dict[str, list[float]] = {name: [] for name in tests}
    curves: dict[str, dict[str, tuple]] = {name: {} for name in tests}
    for key, fraction in zip(keys, FRACTIONS, strict=False):
        # As in the published code: with fixed tasks alone, labels of the context are noise.
        training = moments_of(drawn(key, fraction, uninformative=fraction == 1))
        landscape = MergedLinearAttentionLandscape(training, heads=HEADS, tests=tests)
        start = head_start(jax.random.key(options.seed), landscape, HEADS, scale=0.01, extra=0.0)
        trajectory = _descend(options, landscape, start, f"fraction {fraction:g}")
        for name in tests:
            finals[name].append(float(trajectory[name][-1]))
            curves[name][f"fraction {fraction:g}"] = _steps(trajectory), trajectory[name].values
    optimum = 2 * plateau_levels(EIGENVALUES, TOKENS - 1)[-1]
    zero = {name: float(test.risk(jnp.zeros((5, 5, 4)))) for name, test in tests.items()}
    report.claim(
        Claim.equal(
            "fresh tasks only: in-context test loss ends at the least-squares value",
            SOURCE,
            optimum,
            finals["in_context"][0],
            relative=0.1,
        ),
        Claim.below(
            "fixed task only: in-weight test loss falls below half of predicting zero",
            SOURCE,
            bound=0.5 * zero["in_weight"],
            measured=finals["in_weight"][-1],
        ),
        Claim.below(
            "fresh tasks only: the fixed task is not learned in weights; 95 % of the loss of "
            "predicting zero lies below its test loss",
            SOURCE,
            bound=finals["in_weight"][0],
            measured=0.95 * zero["in_weight"],
        ),
        Claim.below(
            "fixed task only: nothing is learned in context; 95 % of the loss of predicting zero "
            "lies below its test loss",
            SOURCE,
            bound=finals["in_context"][-1],
            measured=0.95 * zero["in_context"],
        ),
    )
    titles = {
        "in_context": "Fresh task, labels in context",
        "in_weight": "Fixed task, noise labels",
    }

    def panel(name: str) -> Panel:
        def draw(ax: Axes) -> None:
            plots.plot_courses(
                ax,
                curves[name],
                levels={"predicting zero": zero[name]}
                | ({"least squares": optimum} if name == "in_context" else {}),
            )
            ax.set(
                xlabel=f"gradient descent step (learning rate {RATE:g})",
                ylabel="test loss E(y − ŷ)²",
                title=titles[name],
            )

        return draw

    def ends(ax: Axes) -> None:
        plots.plot_courses(ax, {titles[name]: (FRACTIONS, finals[name]) for name in tests})
        ax.set(
            xlabel="fraction of training sequences with the fixed task",
            ylabel="final test loss E(y − ŷ)²",
            title="What was learned where",
        )

    report.figure(
        "in_weight",
        "In-context and in-weight test losses for fractions of training sequences with one fixed "
        "task, full token blocks.",
        panel("in_context"),
        panel("in_weight"),
        ends,
    )


def _sequences(options: Reproduce) -> int:
    return min(5000, 10 * options.samples)


def _descend(
    options: Reproduce,
    landscape: LinearAttentionLandscape,
    start: Ensemble,
    label: str,
    rate: float = RATE,
    steps: int = STEPS,
) -> xarray.Dataset:
    """Full-batch gradient descent as the published code does it."""
    _, trajectory = follow(
        options,
        landscape,
        start,
        horizon=steps * rate,
        dt=rate,
        record=lambda unit: every(20 * rate * unit),
        scheme="euler",
        label=label,
    )
    return trajectory


def _steps(trajectory: xarray.Dataset, rate: float = RATE) -> np.ndarray:
    return trajectory["time"].values / rate


def _embedded(
    key: jax.Array, landscape: LinearAttentionLandscape, heads: Ensemble, extra: float
) -> Ensemble:
    """Useful heads in the landscape's blocks, the other weights normal of size `extra`."""
    others = head_start(key, landscape, heads.size, scale=0.0, extra=extra).particles

    def fill(other: jax.Array, useful: np.ndarray, leaf: jax.Array) -> jax.Array:
        return other.at[:, useful].set(leaf.reshape(heads.size, -1))

    return heads.with_particles(jax.tree.map(fill, others, landscape.useful, heads.particles))


def _distance_to_brute_force(
    options: Reproduce,
    landscape: LinearAttentionLandscape,
    start: Ensemble,
    x: jax.Array,
    y: jax.Array,
) -> float:
    """Largest relative difference in loss, over 100 steps, from descent on the sequences."""
    tokens = jnp.concatenate([x, y.at[:, -1].set(0)[:, :, None]], axis=2)

    def brute(particles: MergedHead) -> jax.Array:
        keys = jnp.einsum("pna,iad,pd->pni", tokens, particles.u, x[:, -1])
        values = jnp.einsum("pna,ia->pni", tokens, particles.v)
        return jnp.mean((y[:, -1] - jnp.sum(keys * values, axis=(1, 2))) ** 2)

    def step(particles: MergedHead, _: None) -> tuple:
        loss, slope = jax.value_and_grad(brute)(particles)
        return jax.tree.map(lambda w, g: w - RATE * g, particles, slope), loss

    _, expected = jax.lax.scan(step, start.particles, None, length=100)
    _, trajectory = follow(
        options,
        landscape,
        start,
        horizon=100 * RATE,
        dt=RATE,
        record=lambda unit: every(RATE * unit),
        scheme="euler",
    )
    found = trajectory["loss"].values[:100]
    return float(np.max(np.abs(found / np.asarray(expected) - 1)))
