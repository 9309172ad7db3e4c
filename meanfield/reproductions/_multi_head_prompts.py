"""The formula against drawn prompts, and softmax against linear attention as prompts grow."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
import scipy.stats
from jaxtyping import Array, Float, Key

from landscapes import Landscape, MultiHeadLandscape
from landscapes.softmax_attention import AttentionHead
from particles import Ensemble
from saddle_analysis.curves import fit_line

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import at, simulate
from ._multi_head_saddle import heads, kappa
from ._seeds import over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PROMPTS, LONG = "Drawn prompts", "Softmax and linear attention as prompts grow"
SOURCE = "theory 6"
PROPORTIONAL = ((20, 400), (40, 800), (80, 1600))  # d and n at one ratio
FIXED = (20, 3200)  # d and n where the first order in 1/n is looked at
NAMES: Sequence[str] = ("one head", "two opposite heads")
OPPOSITE = 0.3  # ω √d of a pair of opposite heads
LENGTHS = (400, 3200, 25600, 204800)  # along which training is followed
TRAINED = 10.0  # flow time of that
CHUNK = 64  # prompts at a time


def prompts(landscape: MultiHeadLandscape, keys: Key[Array, " seeds"], count: int) -> Result:
    """Softmax over drawn tokens: the same numbers in the limit, and how fast."""
    result, noise = Result(PROMPTS), float(landscape.noise)
    result.claim(*whole_prompts(landscape, keys, count))
    sizes, found = np.array([n for _, n in PROPORTIONAL]), []
    for d, n in PROPORTIONAL:
        base = MultiHeadLandscape(d, n, noise)
        formula = [float(base.value(mu)) for mu in both(base)]
        found.append([given_scores(key, base, both(base), count) - formula for key in keys])
    # Sizes in rows, seeds in columns.
    gaps = {name: np.array(found)[:, :, index] for index, name in enumerate(NAMES)}
    for name, values in gaps.items():
        logs = np.log(np.maximum(values, 1e-300)).T
        order, said = over_seeds([fit_line(np.log(sizes), line).slope for line in logs])
        result.claim(
            Claim.equal(
                f"{name}: order in n of the loss on drawn prompts less the formula, at fixed d/n "
                f"({said})",
                SOURCE,
                -1.0,
                order,
                absolute=0.15,
            )
        )
    d, n = FIXED
    base = MultiHeadLandscape(d, n, noise)
    mu = heads([math.sqrt(d)], [1 / math.sqrt(d)])  # answers without bias
    scaled = [n * (given_scores(key, base, [mu], count)[0] - noise**2) for key in keys]
    middle, said = over_seeds(np.array(scaled) - base.zero_level * d * math.e)
    result.claim(
        Claim.equal(
            f"n (L − σ²) of drawn prompts less that of the formula, d = {d}, n = {n}: what the "
            f"formula lacks at this d ({said})",
            SOURCE,
            first_order(d, noise) - base.zero_level * d * math.e,
            middle,
            relative=0.1,
        )
    )
    result.figure(
        "prompts",
        "Loss of softmax heads on drawn prompts less the formula, d and n growing together; a "
        "point for each set of prompts.",
        functools.partial(draw_gaps, sizes=sizes, gaps=gaps),
    )
    return result


def whole_prompts(
    landscape: MultiHeadLandscape, keys: Key[Array, " seeds"], count: int
) -> list[Claim]:
    """Everything drawn, against the averages given scores; two heads do better than one."""
    at, places = f"d = {landscape.dim:g}, n = {landscape.length:g}", both(landscape)
    drawn = np.array([squared_errors(key, landscape, places, count) for key in keys])
    averaged = np.array([given_scores(key, landscape, places, count) for key in keys])
    claims = []
    for index, name in enumerate(NAMES):
        errors, means = drawn[:, index], averaged[:, index]
        spread = math.sqrt(errors.var() / errors.size + means.var() / means.size)
        claims.append(
            Claim.below(
                f"{name}, {at}: mean square of errors on drawn prompts, tasks and labels against "
                "its average given the scores, in standard errors",
                SOURCE,
                bound=4.0,
                measured=abs(errors.mean() - means.mean()) / spread,
            )
        )
    better, said = over_seeds((drawn[:, 0] - drawn[:, 1]).mean(axis=1))
    claims.append(
        Claim.above(
            f"one head's error on drawn prompts less that of two opposite heads ({said})",
            "HPCY25; theory 6",
            bound=0.0,
            measured=better,
        )
    )
    return claims


def both(landscape: MultiHeadLandscape) -> tuple[Ensemble, Ensemble]:
    """The best single head; two opposite heads with a small score and the best value for it."""
    score = OPPOSITE / math.sqrt(float(landscape.dim))
    value = 1 / (1 + kappa(landscape) * math.sinh(OPPOSITE**2) / OPPOSITE**2) / score
    return landscape.one_head(), heads([value, -value], [score, -score])


def first_order(d: float, noise: float) -> float:
    """Limit of n (L − σ²) of a head with μ = √d and ω = d^−½ at this d.

    (theory.md, section 6)
    """
    t = 1 / d
    return d * ((1 + noise**2) * (1 - 2 * t) ** (-d / 2) + t * (1 - 2 * t) ** (-d / 2 - 1))


def squared_errors(
    key: Key[Array, ""], landscape: MultiHeadLandscape, places: Sequence[Ensemble], count: int
) -> Float[np.ndarray, "places prompts"]:
    """Errors (y_q − ŷ)² on drawn tokens, tasks, labels and queries; shares no code with L."""
    d, n, noise = int(landscape.dim), int(landscape.length), float(landscape.noise)
    rng, found = _generator(key), []
    for size in _chunks(count):
        x = rng.normal(size=(size, n + 1, d))  # the last token is the query
        task = rng.normal(size=(size, d, 1)) / math.sqrt(d)
        labels = (x @ task)[..., 0] + noise * rng.normal(size=(size, n + 1))
        scores = np.einsum("pnd,pd->pn", x[:, :-1], x[:, -1])
        answers = [np.sum(attention(mu, scores) * labels[:, :-1], axis=1) for mu in places]
        found.append((labels[:, -1] - np.array(answers)) ** 2)
    return np.concatenate(found, axis=1)


def given_scores(
    key: Key[Array, ""], landscape: MultiHeadLandscape, places: Sequence[Ensemble], count: int
) -> Float[np.ndarray, " places"]:
    """E(y_q − ŷ)² over prompts: the average over all else given ‖x_q‖ and the scores ⟨x_i, x_q⟩.

    With ŷ = Σ c_i y_i the part of Σ c_i x_i along the query is known, and every other coordinate is
    normal with the variance Σ c_i². Lengths of queries are stratified.
    """
    d, n, noise = float(landscape.dim), int(landscape.length), float(landscape.noise)
    rng, total, start = _generator(key), np.zeros(len(places)), 0
    for size in _chunks(count):
        strata = (start + np.arange(size) + rng.random(size)) / count
        radius, start = np.sqrt(scipy.stats.chi2.ppf(strata, d))[:, None], start + size
        along = rng.normal(size=(size, n))  # parts of the tokens along the query
        for index, mu in enumerate(places):
            c = attention(mu, radius * along)
            power, bias = np.sum(c**2, axis=1), np.sum(c * along, axis=1) - radius[:, 0]
            total[index] += np.sum(noise**2 * (1 + power) + (bias**2 + (d - 1) * power) / d)
    return total / count


def attention(
    mu: Ensemble, scores: Float[np.ndarray, "prompts tokens"]
) -> Float[np.ndarray, "prompts tokens"]:
    """What the heads, averaged, multiply every label by."""
    total = np.zeros_like(scores)
    for value, score in zip(*(np.asarray(leaf) for leaf in mu.particles), strict=True):
        rise = np.exp(score * scores)
        total += value / mu.size * rise / rise.sum(axis=1, keepdims=True)
    return total


def _generator(key: Key[Array, ""]) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def _chunks(count: int) -> list[int]:
    """Numbers of prompts at a time."""
    return [min(CHUNK, count - start) for start in range(0, count, CHUNK)]


class LinearHeads(Landscape):
    """Linear attention with the same heads: of all moments m₁ alone has a variance."""

    full: MultiHeadLandscape

    def features(self, particle: AttentionHead) -> Float[Array, ""]:
        """μω, the answer."""
        return particle.value * particle.score

    def risk(self, moments: Float[Array, ""], fast: None = None) -> Float[Array, ""]:
        """Σ² + (1 − m₁)² + (1 + σ²) (d/n) m₁²."""
        full = self.full
        load = (1 + full.noise**2) * full.dim / full.length
        return full.noise**2 + (1 - moments) ** 2 + load * moments**2


def long_prompts(dim: int, noise: float, progress: bool = False) -> Result:
    """One softmax head trained beside one of linear attention: a gap of order 1/n at all times."""
    result, gaps = Result(LONG), {}
    start, times = heads([math.sqrt(dim)], [0.0]), np.array([])
    for length in LENGTHS:
        full, losses = MultiHeadLandscape(dim, length, noise), []
        for landscape in (full, LinearHeads(full)):
            run = simulate(
                GradientFlow(landscape, scheme="tsit5"),
                start,
                horizon=TRAINED,
                dt=TRAINED / 1000,
                record=at(*np.geomspace(0.01, TRAINED, 100)),
                progress=progress,
                label=f"n = {length}",
            )
            losses.append(run.trajectory["loss"].values)
        times = run.trajectory["time"].values
        gaps[length] = losses[0] - losses[1]
    sizes = np.array(LENGTHS)
    largest = np.array([np.abs(gap).max() for gap in gaps.values()])
    limit = trained_gap(dim, noise)
    result.claim(
        Claim.equal(
            "largest gap between softmax and linear attention along training: order in n",
            "BB25; theory 6",
            -1.0,
            fit_line(np.log(sizes), np.log(largest)).slope,
            absolute=0.05,
        ),
        Claim.equal(
            f"n times the gap at the end, n = {LENGTHS[-1]}: first order at the end of infinite "
            "prompts",
            SOURCE,
            limit,
            float(LENGTHS[-1] * gaps[LENGTHS[-1]][-1]),
            relative=0.02,
        ),
    )
    result.figure(
        "long_prompts",
        "One softmax head and one head of linear attention, trained from the same start.",
        functools.partial(draw_training, times=times, gaps=gaps),
        functools.partial(draw_largest, sizes=sizes, largest=largest, limit=limit),
    )
    return result


def trained_gap(dim: float, noise: float) -> float:
    """N times the first order in 1/n of the gap where the flow at n = ∞ from (√d, 0) ends.

    It conserves μ² − ω² = d and ends at μω = 1; then (1 + σ²)(μ² e^x − d) with x = d ω².
    """
    square = (dim + math.sqrt(dim**2 + 4)) / 2
    return (1 + noise**2) * (square * math.exp(dim / square) - dim)


def draw_gaps(ax: Axes, sizes: np.ndarray, gaps: Mapping[str, np.ndarray]) -> None:
    """Gaps of every set of prompts, and the order −1."""
    for index, (name, values) in enumerate(gaps.items()):
        colour, middle = plots.SERIES[index], np.median(values, axis=1)
        places = np.repeat(sizes, values.shape[1])
        ax.loglog(places, values.ravel(), "o", ms=3, color=colour, alpha=0.5)
        slope = fit_line(np.log(sizes), np.log(middle)).slope
        ax.loglog(sizes, middle, "-", color=colour, label=f"{name}, slope {slope:.2f}")
        label = "slope −1" if index == 0 else None
        line = middle[0] * sizes[0] / sizes
        ax.loglog(sizes, line, "--", color=plots.THEORY, lw=1, label=label)
    ax.set(xlabel="labelled tokens n (d = n/20)", ylabel="loss less formula", title=PROMPTS)
    _ticks(ax, sizes)
    plots.legend(ax)


def draw_training(ax: Axes, times: np.ndarray, gaps: Mapping[int, np.ndarray]) -> None:
    """Gaps in time."""
    for (length, gap), colour in zip(gaps.items(), plots.shades(len(gaps)), strict=True):
        ax.loglog(times, np.abs(gap), color=colour, label=f"n = {length}")
    ax.set(xlabel="flow time t", ylabel="|L softmax − L linear|", title="Along training")
    plots.legend(ax)


def draw_largest(ax: Axes, sizes: np.ndarray, largest: np.ndarray, limit: float) -> None:
    """The largest gap against the length of prompts."""
    ax.loglog(sizes, largest, "o", color=plots.MEASURED, label="largest in time")
    ax.loglog(sizes, limit / sizes, "--", color=plots.THEORY, label="end of training, order 1/n")
    ax.set(xlabel="labelled tokens n", ylabel="gap in the loss", title="As prompts grow")
    _ticks(ax, sizes)
    plots.legend(ax)


def _ticks(ax: Axes, sizes: np.ndarray) -> None:
    """At the sizes, and nowhere else."""
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.set_xticks([], minor=True)
