"""ZSLS25, separate key and query: from saddle to saddle, one eigen-direction after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from landscapes import SeparateLinearAttentionLandscape, rank_measures
from landscapes.linear_attention import (
    PopulationMoments,
    PromptDistribution,
    learned_heads,
    plateau_levels,
    transition_curve,
    transition_time,
)
from particles import InvalidInput
from particles.internal import stacked
from saddle_analysis import displaced, find_plateaus, isotropic
from saddle_analysis.curves import crossing

from .. import plots
from ..flows import AbstractFlow, FlowState
from ..problems import Count, Seed
from ..results import Claim, Figure, Result
from ..runs import Statistic, log_spaced
from ._base import Reproduction
from ._linear_attention_runs import (
    DESCENT_TIME,
    extended,
    follow,
    random_heads,
)
from ._seeds import over_seeds, seed_keys
from ._zsls25_plateaus import (
    AT_PLATEAUS,
    DIM,
    EIGENVALUES,
    HALF,
    HEADS,
    LENGTH,
    LEVELS,
    OPTIMUM,
    RANDOM_START,
    SOURCE,
    arrival,
    at_plateaus,
    level_names,
    random_starts,
    saddle_to_saddle,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DWELL = 10.0  # times longer than on the drops beside it: what counts as a distinct plateau
DWELLS = (3.0, 5.0, DWELL, 20.0)  # for which the number of plateaus is listed
WIDTH = 0.01  # of the band that counts as one level: half a drop of the smallest eigenvalue
RANK_START = 2e-3
TITLES = ("Aligned heads", RANDOM_START, AT_PLATEAUS, "Plateaus against rank")


@dataclass(frozen=True)
class ZSLS25SeparateOptions:
    """Options of `zsls25-separate`."""

    seed: Seed = 0
    """Of every random draw."""
    seeds: Count = 8
    """Random starts that claims are stated over."""
    prompts: Count = 512
    """Prompts on which predictions are compared with regression on principal components."""
    dim: Count = 8
    """Dimension D of the tokens in the study of ranks."""
    ranks: tuple[Count, ...] = (1, 2, 4, 8)
    """Ranks of key and query; each must divide `dim`."""

    def __post_init__(self) -> None:
        for rank in self.ranks:
            if rank < 1 or self.dim % rank:
                raise InvalidInput(f"ranks has {rank}; each must divide dim = {self.dim}.")


def aligned_heads(options: ZSLS25SeparateOptions, progress: bool = False) -> Result:
    """One small head on each direction, perturbed at random: every drop at the predicted time."""
    result = Result(TITLES[0])
    size, landscape = 0.02, rank_one_landscape()
    start = learned_heads(landscape, [], HEADS, aligned=range(DIM), scale=size)
    keys = seed_keys(jax.random.fold_in(jax.random.key(options.seed), 400), options.seeds)
    perturbed = [displaced(start, isotropic(key, landscape, start, 1e-4)) for key in keys]
    trajectory = follow(
        landscape,
        stacked(perturbed),
        horizon=2e4,
        dt=1.0,
        record=lambda unit: log_spaced(10 * unit, per_decade=400),
        stop_at=arrival(LEVELS),
        batch=True,
        progress=progress,
        label="aligned heads",
    )
    result.dataset("aligned", trajectory)
    times, loss = trajectory["time"].values, trajectory["loss"].values
    gain = np.square(EIGENVALUES) * OPTIMUM
    predicted = sum(EIGENVALUES) / 2 * np.ones_like(times)
    for direction in range(DIM):
        curve = transition_curve(times, EIGENVALUES, LENGTH, direction, size)
        predicted -= 0.5 * gain[direction] * (1 - (1 - curve**3 / OPTIMUM[direction]) ** 2)
        middle = 0.5 * (LEVELS[direction] + LEVELS[direction + 1])
        found, seeds = over_seeds([crossing(times, one, middle) for one in loss.T])
        result.claim(
            Claim.equal(
                f"time of drop {direction + 1} from aligned heads: scalar equation ({seeds})",
                SOURCE,
                transition_time(EIGENVALUES, LENGTH, direction, size, HALF),
                found,
                relative=0.05,
            )
        )
    result.body.append(aligned_figure(times[1:], loss[1:], predicted[1:]))
    return result


def aligned_figure(times: np.ndarray, loss: np.ndarray, predicted: np.ndarray) -> Figure:
    """Measured and predicted loss from aligned heads."""

    def draw(ax: Axes) -> None:
        plots.plot_courses(
            ax,
            {"loss, measured": (times, loss)},
            {"": (times, predicted)},
            levels=level_names(LEVELS),
            log_time=True,
            theory_label="theory, scalar equation",
        )
        ax.set(xlabel=DESCENT_TIME, ylabel="loss ½ E(y − ŷ)²", title="Aligned heads")

    caption = (
        "Heads aligned to one eigen-direction each; theory is the scalar equation of each "
        "transition, from the start alone."
    )
    return Figure("aligned", caption, (draw,))


class RankCourse(NamedTuple):
    """Courses of many random starts at one rank.

    Args:
        times: of the records.
        loss: shape `(times, seeds)`.
        directions: participation ratio of A, of the same shape.
    """

    times: np.ndarray
    loss: np.ndarray
    directions: np.ndarray

    def counts(self, levels: np.ndarray, dwell: float) -> list[int]:
        """Number of plateaus of every seed, where it must dwell that many times longer."""
        return [
            len(
                find_plateaus(
                    *extended(self.times, one), levels.tolist(), width=WIDTH, prominence=dwell
                ).plateaus
            )
            for one in self.loss.T
        ]


def ranks(options: ZSLS25SeparateOptions, progress: bool = False) -> Result:
    """Loss curves at several ranks: D/r + 1 distinct plateaus."""
    result = Result(TITLES[3])
    dim = options.dim
    values = np.arange(dim, 0, -1) / (dim * (dim + 1) / 2)
    levels = plateau_levels(values, LENGTH)
    courses = {rank: rank_course(options, values, rank, progress) for rank in options.ranks}
    rows = []
    for rank, course in courses.items():
        counts = {dwell: course.counts(levels, dwell) for dwell in DWELLS}
        number, seeds = over_seeds(counts[DWELL])
        result.claim(
            Claim.equal(
                f"distinct plateaus at rank {rank}, D = {dim}: D/r + 1 ({seeds}; the loss stays "
                f"there {DWELL:g} times longer than on the drops beside)",
                SOURCE,
                dim // rank + 1,
                number,
            )
        )
        cells = [counted(counts[dwell]) for dwell in DWELLS]
        rows.append(f"| {rank} | {dim // rank + 1} | {' | '.join(cells)} |")
    result.text(
        "Number of plateaus, and how many seeds have it, by how many times longer than on the "
        f"drops beside it the loss must stay:\n\n| rank | D/r + 1 | "
        f"{' | '.join(f'{dwell:g} times' for dwell in DWELLS)} |\n"
        f"|---|---|{'---|' * len(DWELLS)}\n" + "\n".join(rows)
    )
    result.body.append(ranks_figure(courses, levels))
    return result


def rank_course(
    options: ZSLS25SeparateOptions, values: np.ndarray, rank: int, progress: bool = False
) -> RankCourse:
    """All seeds at one rank, until the last has arrived at the minimum."""
    heads, levels = len(values) + 1, plateau_levels(values, LENGTH)
    prompts = PopulationMoments(PromptDistribution(values, LENGTH))
    landscape = SeparateLinearAttentionLandscape(prompts, rank, heads=heads)
    keys = seed_keys(jax.random.fold_in(jax.random.key(options.seed), 200 + rank), options.seeds)
    trajectory = follow(
        landscape,
        random_heads(keys, landscape, heads, RANK_START),
        horizon=1e7,
        dt=4.0,
        record=lambda unit: log_spaced(100 * unit, per_decade=150),
        stop_at=arrival(levels),
        statistics=[Statistic("read_out", _read_out, dims=("row", "column"))],
        batch=True,
        progress=progress,
        label=f"rank {rank}",
    )
    used = rank_measures(trajectory["read_out"].values).participation
    return RankCourse(trajectory["time"].values, trajectory["loss"].values, np.asarray(used))


def ranks_figure(courses: dict[int, RankCourse], levels: np.ndarray) -> Figure:
    """Losses, and how many directions are used, at every rank; first seed."""

    def losses(ax: Axes) -> None:
        curves = {f"rank {r}": (c.times[1:], c.loss[1:, 0]) for r, c in courses.items()}
        plots.plot_courses(ax, curves, levels=level_names(levels), log_time=True)
        title = f"D = {len(levels) - 1}"
        ax.set(xlabel=DESCENT_TIME, ylabel="loss ½ E(y − ŷ)²", title=title)

    def used(ax: Axes) -> None:
        curves = {f"rank {r}": (c.times[1:], c.directions[1:, 0]) for r, c in courses.items()}
        plots.plot_courses(ax, curves, log_time=True)
        ax.set(
            xlabel=DESCENT_TIME,
            ylabel="participation ratio of A (directions)",
            title="How many directions are used",
        )

    caption = "The higher the rank of key and query, the fewer the distinct plateaus (first seed)."
    return Figure("ranks", caption, (losses, used))


def _parts(options: ZSLS25SeparateOptions, progress: bool) -> Iterator[Result]:
    yield aligned_heads(options, progress)
    key, landscape = jax.random.key(options.seed), rank_one_landscape()
    courses = random_starts(seed_keys(key, options.seeds), landscape, progress=progress)
    yield saddle_to_saddle(courses)
    yield at_plateaus(jax.random.fold_in(key, 300), landscape, courses, options.prompts)
    yield ranks(options, progress)


ZSLS25_SEPARATE = Reproduction(
    "zsls25-separate",
    "linear attention, separate key and query",
    ZSLS25SeparateOptions,
    _parts,
    TITLES,
)


def rank_one_landscape() -> SeparateLinearAttentionLandscape:
    """Heads of rank one on the population of prompts."""
    prompts = PopulationMoments(PromptDistribution(EIGENVALUES, LENGTH))
    return SeparateLinearAttentionLandscape(prompts, 1, heads=HEADS)


def _read_out(flow: AbstractFlow, state: FlowState) -> jax.Array:
    return flow.landscape.moments(state.ensemble)


def counted(counts: list[int]) -> str:
    """Every count with how many seeds have it, such as `5 (7), 6 (1)`."""
    return ", ".join(f"{count} ({seeds})" for count, seeds in sorted(Counter(counts).items()))
