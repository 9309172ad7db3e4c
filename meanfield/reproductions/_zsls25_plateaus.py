"""ZSLS25 at rank one from random starts: the plateaus, the drops, and the model at each plateau."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, Key

from landscapes import SeparateLinearAttentionLandscape
from landscapes.linear_attention import (
    PromptDistribution,
    SeparateHead,
    learned_heads,
    plateau_curvature,
    plateau_levels,
    principal_component_regression,
    transition_time,
)
from particles import Ensemble
from saddle_analysis import criticality_report, find_plateaus
from saddle_analysis.curves import Plateaus, crossing

from .. import plots
from ..flows import AbstractFlow, FlowState
from ..results import Claim, Figure, Panel, Result
from ..runs import Statistic, log_spaced
from ._linear_attention_runs import (
    DESCENT_TIME,
    extended,
    follow,
    random_heads,
)
from ._seeds import over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EIGENVALUES, LENGTH, HEADS, SOURCE = (0.4, 0.3, 0.2, 0.1), 32, 6, "ZSLS25; theory 4"
DIM = len(EIGENVALUES)
LEVELS = plateau_levels(EIGENVALUES, LENGTH)
OPTIMUM = np.square(EIGENVALUES) / plateau_curvature(EIGENVALUES, LENGTH)
SCALE = 0.01  # standard deviation of the coordinates of a start
ARRIVED = 1e-7  # of the whole drop: where a run stops
ALIGNED = 0.95  # cosine of key and query with a direction from which its drop is predicted
HALF = 1 - 0.5**0.5  # learned share of a direction at half of its drop in loss
RANDOM_START = "Random starts, from saddle to saddle"
AT_PLATEAUS = "What happens at the plateaus"


class Courses(NamedTuple):
    """Runs from random starts, all seeds at once.

    Args:
        trajectory: with shares and cosines of every head, and snapshots.
        plateaus: of every seed.
    """

    trajectory: xarray.Dataset
    plateaus: list[Plateaus]

    @property
    def times(self) -> np.ndarray:
        """Of the records."""
        return self.trajectory["time"].values

    def numbers(self, name: str, seed: int) -> np.ndarray:
        """A record of one seed."""
        return self.trajectory[name].isel(seed=seed).values

    def nearest(self, seed: int) -> dict[int, int]:
        """The record nearest to the critical point of each plateau: where the flow is slowest."""
        speeds, rows = self.numbers("gradient_norm", seed), {}
        for plateau in self.plateaus[seed].plateaus:
            if plateau.predicted is not None:
                inside = (self.times >= plateau.start) & (self.times <= plateau.end)
                order = int(np.argmin(np.abs(LEVELS - plateau.predicted)))
                rows[order] = int(np.argmin(np.where(inside, speeds, np.inf)))
        return rows


def random_starts(
    keys: Key[Array, " seeds"],
    landscape: SeparateLinearAttentionLandscape,
    *,
    per_decade: int = 400,
    progress: bool = False,
) -> Courses:
    """Flow from random starts until the last has arrived at the minimum."""
    trajectory = follow(
        landscape,
        random_heads(keys, landscape, HEADS, SCALE),
        horizon=1e6,
        dt=1.0,
        record=lambda unit: log_spaced(10 * unit, per_decade=per_decade),
        stop_at=arrival(LEVELS),
        statistics=[
            Statistic("share", _share, dims=("head", "feature")),
            Statistic("cosine", _cosine, dims=("head", "feature")),
        ],
        snapshots=lambda unit: log_spaced(10 * unit, per_decade=per_decade),
        batch=True,
        progress=progress,
        label="random starts",
    )
    times, losses = trajectory["time"].values, trajectory["loss"].values
    found = [find_plateaus(*extended(times, loss), LEVELS.tolist()) for loss in losses.T]
    return Courses(trajectory, found)


def saddle_to_saddle(courses: Courses) -> Result:
    """All plateau levels in the right order; each drop predicted from its head once aligned."""
    result = Result(RANDOM_START)
    result.trajectory(courses.trajectory)
    seeds = range(len(courses.plateaus))
    number, spread = over_seeds([len(found.plateaus) for found in courses.plateaus])
    halves = np.array([_half_times(courses, seed) for seed in seeds])
    ordered = np.mean(np.all(np.diff(halves, axis=1) > 0, axis=1))
    result.claim(
        Claim.equal(f"number of plateaus ({spread})", SOURCE, DIM + 1, number),
        Claim.above(
            "share of seeds that learn the directions in the order of their eigenvalues",
            SOURCE,
            bound=0.5,
            measured=float(ordered),
        ),
    )
    for order, predicted in enumerate(LEVELS):
        levels = [_level(found, predicted) for found in courses.plateaus]
        level, spread = over_seeds(levels)
        statement = f"level of plateau {order} ({spread})"
        result.claim(Claim.equal(statement, SOURCE, predicted, level, absolute=1e-3))
    waits = np.array([_wait_ratios(courses, seed) for seed in seeds])
    for direction in range(DIM):
        aligned = waits[~np.isnan(waits[:, direction]), direction]
        ratio, spread = over_seeds(aligned) if aligned.size else (np.nan, "none aligned")
        result.claim(
            Claim.equal(
                f"wait for drop {direction + 1} over its prediction by the scalar equation, from "
                f"when key and query of its head are aligned to direction {direction + 1} "
                f"({spread}; in the other {len(waits) - len(aligned)} the drop comes first)",
                SOURCE,
                1.0,
                ratio,
                relative=0.05,
            )
        )
    result.text(f"Plateaus of the first seed:\n\n```\n{courses.plateaus[0]}\n```")
    result.body.append(saddle_to_saddle_figure(courses))
    return result


def _half_times(courses: Courses, seed: int) -> list[float]:
    """When each direction is half learned."""
    fractions = courses.numbers("learned_fraction", seed)
    return [crossing(courses.times, fractions[:, d], 0.5) for d in range(DIM)]


def _level(found: Plateaus, predicted: float) -> float:
    """Of the plateau matched to a predicted level; `nan` without one."""
    levels = [p.level for p in found.plateaus if p.predicted == float(predicted)]
    return levels[0] if levels else float("nan")


def _wait_ratios(courses: Courses, seed: int) -> list[float]:
    """Measured over predicted time from alignment to drop; `nan` where the drop came before."""
    times, loss = courses.times, courses.numbers("loss", seed)
    shares, cosines = courses.numbers("share", seed), courses.numbers("cosine", seed)
    ratios, before = [], 0.0
    for direction in range(DIM):
        measured = crossing(times, loss, 0.5 * (LEVELS[direction] + LEVELS[direction + 1]))
        at = min(int(np.searchsorted(times, measured)), len(times) - 1)
        head = int(np.argmax(shares[at, :, direction]))
        aligned = (cosines[:, head, direction] > ALIGNED) & (times > before) & (times < measured)
        before = measured
        if not aligned.any():
            ratios.append(float("nan"))
            continue
        row = int(np.argmax(aligned))
        size = np.cbrt(shares[row, head, direction] * OPTIMUM[direction])
        wait = transition_time(EIGENVALUES, LENGTH, direction, float(size), HALF)
        ratios.append((measured - times[row]) / wait)
    return ratios


def saddle_to_saddle_figure(courses: Courses) -> Figure:
    """Losses of all seeds, and what the first has learned, against time."""
    times, losses = courses.times[1:], courses.trajectory["loss"].values[1:]
    fractions = courses.numbers("learned_fraction", 0)[1:]

    def fall(ax: Axes) -> None:
        first = {"loss, first seed": (times, losses[:, 0])}
        others = {"other seeds": (times, losses[:, 1:])}
        plots.plot_courses(ax, first, others=others, levels=level_names(LEVELS), log_time=True)
        ax.set(xlabel=DESCENT_TIME, ylabel="loss ½ E(y − ŷ)²", title="From saddle to saddle")

    def learned(ax: Axes) -> None:
        curves = {
            f"$e_{d + 1}$, λ = {value:g}": (times, fractions[:, d])
            for d, value in enumerate(EIGENVALUES)
        }
        plots.plot_courses(ax, curves, levels={"optimum": 1.0}, log_time=True)
        ax.set(
            xlabel=DESCENT_TIME,
            ylabel="learned share of each eigen-direction of Λ",
            title="One direction after the other, first seed",
        )

    caption = "Random starts at rank one visit saddle after saddle."
    return Figure("saddle_to_saddle", caption, (fall, learned))


def at_plateaus(
    key: Key[Array, ""],
    landscape: SeparateLinearAttentionLandscape,
    courses: Courses,
    prompts: int,
) -> Result:
    """Regression on m components, degenerate saddles, heads on eigen-directions."""
    result = Result(AT_PLATEAUS)
    x, y = PromptDistribution(EIGENVALUES, LENGTH).draw(key, prompts)
    tables = np.array(
        [regression_distances(landscape, courses, s, x, y) for s in range(len(courses.plateaus))]
    )
    for order in range(DIM + 1):
        distance, spread = over_seeds(tables[:, order, order])
        result.claim(
            Claim.below(
                f"plateau {order}: root mean square distance of the predictions from regression "
                f"on {order} principal components, in labels ({spread})",
                SOURCE,
                bound=0.02,
                measured=distance,
            )
        )
    _classified(result, landscape, courses)
    nearest = courses.nearest(0)
    shares = courses.numbers("share", 0)
    panels = [heads_panel(shares[nearest[m]], m) for m in sorted(nearest)[2::2]]
    if panels:
        caption = "Each head that has grown reads one eigen-direction of Λ (first seed)."
        result.figure("heads", caption, *panels)
    result.body.append(components_figure(np.nanmedian(tables, axis=0)))
    return result


def regression_distances(
    landscape: SeparateLinearAttentionLandscape, courses: Courses, seed: int, x: Array, y: Array
) -> np.ndarray:
    """Of the model at plateau i from regression on j components; `nan` rows without a plateau."""
    covariance = np.asarray(landscape.prompts.covariance)
    estimators = [principal_component_regression(x, y, covariance, m) for m in range(DIM + 1)]
    scale = float(np.sqrt(np.mean(np.asarray(y)[:, -1] ** 2)))
    distances = np.full((DIM + 1, DIM + 1), np.nan)
    for order, row in courses.nearest(seed).items():
        heads = _snapshot(courses.trajectory, float(courses.times[row]), seed)
        gap = np.asarray(landscape.predict(heads, x, y)) - np.stack(estimators)
        distances[order] = np.sqrt(np.mean(gap**2, axis=1)) / scale
    return distances


def _classified(
    result: Result, landscape: SeparateLinearAttentionLandscape, courses: Courses
) -> None:
    """What kind of critical point each plateau belongs to."""
    nearest, speeds = courses.nearest(0), courses.numbers("gradient_norm", 0) / HEADS
    for order in range(DIM + 1):
        point = learned_heads(landscape, range(order), HEADS)
        # Heads that are left over are zero; without a missing direction there is no way down.
        verdict = criticality_report(landscape, point)
        kind = "degenerate saddle" if order < DIM else "local minimum"
        result.claim(
            Claim.true(
                f"the critical point of plateau {order} is a {kind}",
                SOURCE,
                verdict.kind == kind,
                detail=str(verdict.kind),
            ),
            Claim.equal(
                f"order at which the loss descends there, plateau {order} (0 for a minimum)",
                SOURCE,
                3 if order < DIM else 0,
                verdict.descent_order,
            ),
        )
        passes = f"{speeds[nearest[order]]:.1e}" if order in nearest else "(not found)"
        result.text(
            f"- plateau {order}: {verdict.sentence} The first seed passes it at a gradient norm "
            f"of {passes}."
        )


def heads_panel(shares: np.ndarray, order: int) -> Panel:
    """Which direction each head reads at a plateau."""

    def draw(ax: Axes) -> None:
        plots.plot_alignment(ax, shares, EIGENVALUES)
        ax.set_title(f"Heads at plateau {order}")

    return draw


def components_figure(distances: np.ndarray) -> Figure:
    """Distance of every plateau's model from every regression."""

    def draw(ax: Axes) -> None:
        plots.plot_distance_table(
            ax,
            distances,
            rows="model at plateau",
            columns="regression on m principal components",
            quantity="r.m.s. distance of predictions / r.m.s. label",
            title="Principal component regression, median over seeds",
        )

    caption = "At plateau m the model is in-context regression on the first m principal components."
    return Figure("components", caption, (draw,), width=7.0)


def arrival(levels: np.ndarray) -> float:
    """The loss at which a run has arrived at the minimum."""
    return float(levels[-1] + ARRIVED * (levels[0] - levels[-1]))


def level_names(levels: np.ndarray) -> dict[str, float]:
    """The levels of theory by name."""
    return {f"$L_{m}$": float(level) for m, level in enumerate(levels)}


def _share(flow: AbstractFlow, state: FlowState) -> jax.Array:
    """What every head adds to A, v (k·e_d)(q·e_d), relative to the optimum of the direction."""
    v, k, q = state.ensemble.particles
    return v[:, None] * jnp.sum(k * q, axis=1) / OPTIMUM


def _cosine(flow: AbstractFlow, state: FlowState) -> jax.Array:
    """The smaller of the cosines of key and query with each eigen-direction."""
    _, k, q = state.ensemble.particles
    keys, queries = (w[:, 0] / jnp.linalg.norm(w[:, 0], axis=1, keepdims=True) for w in (k, q))
    return jnp.where(keys * queries > 0, jnp.minimum(jnp.abs(keys), jnp.abs(queries)), 0)


def _snapshot(trajectory: xarray.Dataset, time: float, seed: int) -> Ensemble:
    row = trajectory.isel(seed=seed).sel(snapshot_time=time, method="nearest")
    return Ensemble(SeparateHead(*(jnp.asarray(row[f"particles.{name}"].values) for name in "vkq")))
