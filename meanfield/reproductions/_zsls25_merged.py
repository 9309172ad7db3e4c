"""ZSLS25, merged key and query: one abrupt drop, its logistic course, full blocks, in-weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from landscapes import MergedLinearAttentionLandscape
from landscapes.linear_attention import (
    MergedHead,
    PopulationMoments,
    PromptDistribution,
    merged_growth,
    plateau_levels,
)
from particles import Ensemble
from saddle_analysis import find_plateaus

from .. import plots
from ..problems import Count, Seed
from ..results import Claim, Figure, Result
from ..runs import every
from ._base import Reproduction
from ._linear_attention_runs import DESCENT_TIME, follow, random_heads
from ._seeds import over_seeds, seed_keys
from ._zsls25_blocks import FULL_BLOCKS, full_blocks
from ._zsls25_in_weight import IN_WEIGHT, in_weight

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EIGENVALUES, LENGTH, HEADS, SOURCE = (0.4, 0.3, 0.2, 0.1), 32, 8, "ZSLS25; theory 4"
WHITE = (0.25, 0.25, 0.25, 0.25)
SMALL = 1e-4  # standard deviation of the coordinates of a random start
TITLES = (
    "One abrupt drop",
    "The logistic course",
    FULL_BLOCKS,
    IN_WEIGHT,
)


@dataclass(frozen=True)
class ZSLS25MergedOptions:
    """Options of `zsls25-merged`."""

    seed: Seed = 0
    """Of every random draw."""
    seeds: Count = 8
    """Random starts, and data sets, that every claim is stated over."""
    sequences: Count = 5000
    """Sequences in a data set."""


def abrupt_drop(options: ZSLS25MergedOptions, progress: bool = False) -> Result:
    """From small random starts: start level, one drop, end level, for one head and for eight."""
    result = Result(TITLES[0])
    levels = plateau_levels(EIGENVALUES, LENGTH)
    curves = {}
    for heads in (1, HEADS):
        landscape = _landscape(EIGENVALUES, heads)
        starts = random_heads(
            seed_keys(jax.random.key(options.seed), options.seeds), landscape, heads, SMALL
        )
        trajectory = follow(
            landscape,
            starts,
            horizon=800.0,
            dt=0.25,
            record=lambda unit: every(2.0 * unit),
            batch=True,
            progress=progress,
            label=_heads(heads),
        )
        result.dataset(f"drop_{heads}", trajectory)
        times, loss = trajectory["time"].values, trajectory["loss"].values
        found = [find_plateaus(times, one, (levels[0], levels[-1])) for one in loss.T]
        drops, seeds = over_seeds([len(plateaus.drops) for plateaus in found])
        result.claim(
            _level(f"start level, {_heads(heads)}", levels[0], loss[0]),
            Claim.equal(f"number of drops, {_heads(heads)} ({seeds})", SOURCE, 1, drops),
            _level(f"end level, {_heads(heads)}", levels[-1], loss[-1]),
        )
        curves[_heads(heads)] = times, loss
    result.body.append(drop_figure(curves, {"origin": levels[0], "global minimum": levels[-1]}))
    return result


def drop_figure(
    curves: dict[str, tuple[np.ndarray, np.ndarray]], levels: dict[str, float]
) -> Figure:
    """Loss of every seed against time, with the two levels of theory."""

    def draw(ax: Axes) -> None:
        plots.plot_courses(ax, curves, levels=levels)
        ax.set(xlabel=DESCENT_TIME, ylabel="loss ½ E(y − ŷ)²", title="One abrupt drop, all seeds")
        ax.set_xlim(0, 250)

    caption = "From small random starts the loss falls once, to its minimum."
    return Figure("drop", caption, (draw,))


def logistic_course(options: ZSLS25MergedOptions, progress: bool = False) -> Result:
    """White covariance: the whole loss curve against the logistic, with no fitted number."""
    result = Result(TITLES[1])
    measured, theory = {}, {}
    for heads in (1, HEADS):
        landscape = _landscape(WHITE, heads)
        keys = seed_keys(jax.random.key(options.seed + heads), options.seeds)
        for kind, starts in (
            ("balanced", _balanced(heads)),
            ("random", random_heads(keys, landscape, heads, SMALL)),
        ):
            trajectory = follow(
                landscape,
                starts,
                horizon=200.0,
                dt=0.25,
                record=lambda unit: every(0.5 * unit),
                batch=True,
                progress=progress,
                label=f"{_heads(heads)}, {kind} start",
            )
            times, loss = trajectory["time"].values, trajectory["loss"].values
            courses = [
                merged_growth(times, WHITE[0], len(WHITE), LENGTH, start=float(sigma))[1]
                for sigma in _growing(starts)
            ]
            predicted = np.stack(courses, axis=1)
            share = np.max(np.abs(loss - predicted), axis=0) / (predicted[0] - predicted[-1])
            distance, seeds = over_seeds(share)
            name = f"{_heads(heads)}, {kind} start"
            measured[name], theory[name] = (times, loss[:, 0]), (times, predicted[:, 0])
            result.claim(
                Claim.below(
                    f"largest distance from the logistic course, share of the drop, {name} "
                    f"({seeds})",
                    SOURCE,
                    bound=0.01,
                    measured=distance,
                )
            )
    result.body.append(logistic_figure(measured, theory))
    return result


def logistic_figure(measured: dict[str, tuple], theory: dict[str, tuple]) -> Figure:
    """Measured losses over predicted ones."""

    def draw(ax: Axes) -> None:
        plots.plot_courses(ax, measured, theory)
        ax.set(xlabel=DESCENT_TIME, ylabel="loss ½ E(y − ŷ)²", title="White Λ: a logistic course")

    return Figure(
        "logistic",
        "The loss, and the logistic that theory computes from the start alone, nothing fitted.",
        (draw,),
    )


def _parts(options: ZSLS25MergedOptions, progress: bool) -> Iterator[Result]:
    yield abrupt_drop(options, progress)
    yield logistic_course(options, progress)
    for part, key in ((full_blocks, 100), (in_weight, 101)):
        keys = seed_keys(jax.random.fold_in(jax.random.key(options.seed), key), options.seeds)
        yield part(keys, options.sequences, progress=progress)


ZSLS25_MERGED = Reproduction(
    "zsls25-merged",
    "linear attention, merged key and query",
    ZSLS25MergedOptions,
    _parts,
    TITLES,
)


def _landscape(eigenvalues: tuple[float, ...], heads: int) -> MergedLinearAttentionLandscape:
    prompts = PopulationMoments(PromptDistribution(eigenvalues, LENGTH))
    return MergedLinearAttentionLandscape(prompts, heads=heads)


def _aligned() -> np.ndarray:
    """The direction of U that grows: vec(I)/√D."""
    return np.eye(len(WHITE)) / len(WHITE) ** 0.5


def _balanced(heads: int) -> Ensemble:
    """A batch of one start on the growing direction, ‖v‖ = ‖U‖ in every head."""
    size = 1e-3 * jnp.linspace(0.5, 1.5, heads)
    head = MergedHead(size, size[:, None, None] * _aligned())
    return jax.tree.map(lambda leaf: leaf[None], Ensemble(head))


def _growing(starts: Ensemble) -> np.ndarray:
    """σ at the start of every seed: what of v and U lies on the growing combination."""
    v, u = starts.particles
    growing = (v + jnp.einsum("snab,ab->sn", u, _aligned())) / 2
    return np.asarray(jnp.sum(growing**2, axis=1))


def _level(statement: str, predicted: float, losses: np.ndarray) -> Claim:
    found, seeds = over_seeds(losses)
    return Claim.equal(f"{statement} ({seeds})", SOURCE, predicted, found, absolute=1e-4)


def _heads(heads: int) -> str:
    return f"{heads} head{'s' * (heads > 1)}"
