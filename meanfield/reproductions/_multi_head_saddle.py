"""The best single head, and what its measures are among several heads."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, Float, Key

from landscapes import MultiHeadLandscape
from landscapes.softmax_attention import AttentionHead
from particles import Ensemble
from saddle_analysis import (
    HessianOperator,
    displaced,
    isotropic,
    unstable_eigenpairs,
)

from .. import plots
from ..flows import GradientFlow
from ..reports import growth_result
from ..results import Claim, Result
from ..runs import at, members, simulate
from ._seeds import over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ONE, AMONG = "One head", "One head's optimum among several"
SOURCE = "theory 6"
HEADS = 4  # among which one head's optimum is looked at
SMALL = 0.1  # μ and ω at the start of one head
PUSHES = {0: 0.05, 2: 1e-3}  # L² norms by the number of negative values
SETTLED = 20.0  # relaxation times of the slowest direction until a head is at rest
ESCAPED = 200.0  # flow time after which heads have left the saddle


def heads(value: Array | list[float], score: Array | list[float]) -> Ensemble:
    """Heads with these values and scores."""
    return Ensemble(AttentionHead(jnp.asarray(value, float), jnp.asarray(score, float)))


def one_head(landscape: MultiHeadLandscape, progress: bool = False) -> Result:
    """ω* = d^−½ and its level, by the flow and by Newton; e times the variance."""
    result, scale = Result(ONE), math.sqrt(float(landscape.dim))
    slowest = float(np.linalg.eigvalsh(_hessian(landscape, landscape.one_head()))[0])
    run = simulate(
        GradientFlow(landscape, scheme="adaptive"),
        heads([SMALL], [SMALL]),
        horizon=SETTLED / slowest,
        dt=1e-3,
        record=at(*np.geomspace(0.1, SETTLED / slowest, 200)),
        progress=progress,
        label="one head",
    )
    best = newton(landscape, heads([0.9 * landscape.best_answer * scale], [1.1 / scale]))
    for name, mu, close in (("the flow", run.ensemble, 1e-6), ("Newton's method", best, 1e-10)):
        head: AttentionHead = mu.particles
        result.claim(
            Claim.equal(
                f"ω √d of one head, by {name}",
                SOURCE,
                1.0,
                float(head.score[0]) * scale,
                relative=close,
            ),
            Claim.equal(
                f"answer μω of one head, by {name}: 1/(1 + eκ)",
                SOURCE,
                landscape.best_answer,
                float(head.value[0] * head.score[0]),
                relative=close,
            ),
            Claim.equal(
                f"loss of one head, by {name}",
                SOURCE,
                landscape.one_head_level,
                float(landscape.value(mu)),
                relative=close,
            ),
        )
    result.claim(
        Claim.equal(
            "variance of one head at the end of the flow over that of linear attention with the "
            "same answer: e",
            SOURCE,
            math.e,
            variance(landscape, run.ensemble) / kappa(landscape),
            relative=1e-5,
        )
    )
    result.figure(
        "one_head",
        "Loss at every score with the best value for it: a single head has a minimum, a pair of "
        "opposite heads goes down to linear attention as ω → 0.",
        functools.partial(draw_scores, landscape=landscape, found=run.ensemble),
    )
    return result


def newton(landscape: MultiHeadLandscape, mu: Ensemble, steps: int = 8) -> Ensemble:
    """One head after so many full Newton steps."""
    for _ in range(steps):
        velocity: AttentionHead = landscape.velocity(mu)
        slope = np.array([velocity.value[0], velocity.score[0]])
        value, score = np.linalg.solve(_hessian(landscape, mu), slope)
        mu = heads(mu.particles.value + value, mu.particles.score + score)
    return mu


def kappa(landscape: MultiHeadLandscape) -> float:
    """κ = (1 + σ²) d/n, the variance of linear attention over its squared answer."""
    return landscape.zero_level * float(landscape.dim / landscape.length)


def variance(landscape: MultiHeadLandscape, mu: Ensemble) -> float:
    """Of the answer, over its square."""
    seen = landscape.observables(landscape.moments(mu))
    return float(seen["variance"].value / seen["answer"].value ** 2)


def among(
    landscape: MultiHeadLandscape, keys: Key[Array, " seeds"], progress: bool = False
) -> Result:
    """A minimum while all values agree, otherwise a strict saddle; both by spectrum and by flow."""
    result = Result(AMONG)
    flow, spectra = GradientFlow(landscape, scheme="adaptive"), {}
    for negative in range(HEADS):
        mu, name = landscape.one_head(HEADS, negative=negative), f"{negative} of {HEADS} negative"
        spectra[negative] = np.linalg.eigvalsh(_hessian(landscape, mu))
        result.claim(
            Claim.equal(
                f"Morse index, {name}", SOURCE, negative, int(np.sum(spectra[negative] < -1e-8))
            ),
            Claim.equal(
                f"flat directions, {name}: N − 1",
                SOURCE,
                HEADS - 1,
                int(np.sum(np.abs(spectra[negative]) < 1e-8)),
            ),
        )
        if negative >= 2:
            result.claim(
                Claim.equal(
                    f"smallest eigenvalue, {name}: 2 (1 − m₁) √d times the negative value",
                    SOURCE,
                    float(mu.particles.value.min()) * landscape.value_curvature,
                    float(spectra[negative][0]),
                    relative=1e-8,
                )
            )
    courses, ends = {}, {}
    for negative, norm in PUSHES.items():
        mu = landscape.one_head(HEADS, negative=negative)
        run = simulate(
            flow,
            jax.vmap(lambda key, mu=mu, norm=norm: pushed(key, landscape, mu, norm))(keys),
            horizon=ESCAPED,
            dt=1e-3,
            record=at(*np.geomspace(0.01, ESCAPED, 200)),
            batch=True,
            progress=progress,
            label=f"{negative} of {HEADS} negative",
        )
        courses[negative] = run.trajectory
        ends[negative] = np.array([share(landscape, mu) for mu in members(run.ensemble)])
    back, back_said = over_seeds(np.abs(ends[0] - 1))
    gone, gone_said = over_seeds(ends[2])
    result.claim(
        Claim.below(
            f"equal heads pushed by {PUSHES[0]:g} come back to one head's level: distance, in "
            f"units of its distance from linear attention's ({back_said})",
            SOURCE,
            bound=1e-6,
            measured=back,
        ),
        Claim.below(
            "heads of both signs leave one head's level, and come nearer to linear attention's: "
            f"what is left of the distance ({gone_said})",
            SOURCE,
            bound=0.5,
            measured=gone,
        ),
    )
    result.figure(
        "among",
        "Heads that are together the best single head: those with negative values leave.",
        functools.partial(draw_spectra, spectra=spectra, landscape=landscape),
        functools.partial(draw_courses, courses=courses, landscape=landscape),
    )
    return result


def leaving(landscape: MultiHeadLandscape, progress: bool = False) -> Result:
    """The rate at which heads of both signs leave one head's optimum, against the curvature."""
    saddle = landscape.one_head(HEADS, negative=2)
    pairs = unstable_eigenpairs(HessianOperator(landscape, saddle), expected=2)
    flow, name = GradientFlow(landscape, scheme="adaptive"), f"2 of {HEADS} negative"
    return growth_result(flow, saddle, pairs, name=name, progress=progress)


def by_seed(data: xarray.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Times, and the losses with a row a seed."""
    return data["time"].values, data["loss"].transpose("seed", "time").values


def pushed(
    key: Key[Array, ""], landscape: MultiHeadLandscape, mu: Ensemble, norm: float
) -> Ensemble:
    """Every head moved by white noise."""
    return displaced(mu, isotropic(key, landscape, mu, norm))


def share(landscape: MultiHeadLandscape, mu: Ensemble) -> float:
    """What is left of the way from one head's level, 1, down to linear attention's, 0."""
    low, high = landscape.linear_level, landscape.one_head_level
    return (float(landscape.value(mu)) - low) / (high - low)


def _hessian(landscape: MultiHeadLandscape, mu: Ensemble) -> Float[np.ndarray, "n n"]:
    """Dense."""
    return np.asarray(HessianOperator(landscape, mu).dense())


def draw_levels(ax: Axes, landscape: MultiHeadLandscape) -> None:
    """The two exact levels."""
    ax.axhline(landscape.one_head_level, color=plots.THEORY, ls="--", label="one head")
    ax.axhline(landscape.linear_level, color=plots.THEORY, ls=":", label="linear attention")


def draw_scores(ax: Axes, landscape: MultiHeadLandscape, found: Ensemble) -> None:
    """Losses with the best value for every score."""
    x, base = np.linspace(0.05, 2.0, 200), landscape.zero_level
    load = kappa(landscape)
    ax.plot(x, base - 1 / (1 + load * np.exp(x**2) / x**2), color=plots.MEASURED, label="one")
    pair = base - 1 / (1 + load * np.sinh(x**2) / x**2)
    ax.plot(x, pair, color=plots.SECOND, label="two opposite heads")
    score = float(found.particles.score[0]) * math.sqrt(float(landscape.dim))
    ax.plot(score, float(landscape.value(found)), "o", color=plots.MEASURED, label="flow's end")
    draw_levels(ax, landscape)
    ax.set(xlabel="score ω √d", ylabel="loss L", title="One head and two", ylim=(None, 0.7 * base))
    plots.legend(ax)


def draw_spectra(ax: Axes, spectra: dict[int, np.ndarray], landscape: MultiHeadLandscape) -> None:
    """All eigenvalues, with the exact one of differences between negative heads."""
    for negative, values in spectra.items():
        label = "eigenvalues" if negative == 0 else None
        places = np.full(len(values), negative)
        ax.plot(places, values, "_", ms=14, color=plots.MEASURED, label=label)
    exact = -landscape.value_curvature * landscape.best_answer * math.sqrt(float(landscape.dim))
    ax.axhline(exact, color=plots.THEORY, ls="--", label="−2 (1 − m₁) m₁ d")
    ax.axhline(0, color=plots.QUIET, lw=0.8)
    ax.set(xlabel=f"negative values of {HEADS}", ylabel="eigenvalue (1 / time)", title="Spectra")
    ax.set_yscale("symlog", linthresh=1)
    ax.set_xticks(list(spectra))
    plots.legend(ax)


def draw_courses(
    ax: Axes, courses: dict[int, xarray.Dataset], landscape: MultiHeadLandscape
) -> None:
    """Loss in time, from equal heads and from heads of both signs."""
    for (negative, data), colour in zip(courses.items(), plots.SERIES, strict=False):
        times, loss = by_seed(data)
        for index, course in enumerate(loss):
            label = f"{negative} of {HEADS} negative" if index == 0 else None
            ax.semilogx(times, course, color=colour, lw=1, label=label)
    draw_levels(ax, landscape)
    ax.set(xlabel="flow time t", ylabel="loss L", title="After a push")
    plots.legend(ax)
