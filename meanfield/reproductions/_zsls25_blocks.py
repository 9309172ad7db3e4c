"""ZSLS25: useful and full token blocks on the same finite data sets."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from landscapes.linear_attention import (
    EmpiricalMoments,
    LinearAttentionLandscape,
    MergedHead,
    PromptDistribution,
    data_moments,
    head_start,
)
from particles import Ensemble
from particles.internal import to_device
from saddle_analysis.curves import crossing

from .. import plots
from ..results import Claim, Panel, Result
from ..runs import every
from ._linear_attention_runs import follow
from ._seeds import over_seeds
from ._zsls25_training import (
    EIGENVALUES,
    HEADS,
    MERGED,
    PUBLISHED,
    SCALE,
    SEPARATE,
    SOURCE,
    TOKENS,
    Model,
    descend,
    merged,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FULL_BLOCKS = "Full token blocks on finite data sets"
USEFUL, FROM_ZERO, FROM_SMALL = (
    "useful blocks",
    "full blocks, extra weights from 0",
    f"full blocks, extra weights from {SCALE:g}",
)


class Descents(NamedTuple):
    """The same starts on the same data sets with other blocks.

    Args:
        steps: of the records.
        losses: of every kind of blocks, shape `(records, seeds)`.
        drops: steps at half of every drop, shape `(seeds, drops)`; `nan` where it is not reached.
        seconds: of one descent, compilation left out.
    """

    steps: np.ndarray
    losses: dict[str, np.ndarray]
    drops: dict[str, np.ndarray]
    seconds: float

    @property
    def shifts(self) -> np.ndarray:
        """The largest shift of a drop, useful to full blocks from zero, of every seed; steps.

        `nan` for a seed without a drop in both.
        """
        shifts = np.abs(self.drops[FROM_ZERO] - self.drops[USEFUL])
        largest = np.max(shifts, axis=1, where=~np.isnan(shifts), initial=-np.inf)
        return np.where(np.isfinite(largest), largest, np.nan)


def full_blocks(
    keys: Key[Array, " seeds"],
    sequences: int,
    *,
    models: tuple[Model, Model] = (MERGED, SEPARATE),
    progress: bool = False,
) -> Result:
    """The published setting: useful blocks alone, and full token blocks, on the same data sets."""
    result = Result(FULL_BLOCKS)
    useful, full = [], []
    for key in keys:
        x, y = PromptDistribution(EIGENVALUES, TOKENS - 1).draw(key, sequences)
        useful.append(data_moments(x, y, convention=PUBLISHED))
        full.append(data_moments(x, y, blocks="full", convention=PUBLISHED))
    descents = [_descents(model, keys, useful, full, progress=progress) for model in models]
    x, y = PromptDistribution(EIGENVALUES, TOKENS - 1).draw(keys[0], sequences)
    result.claim(
        Claim.equal(
            "descent on the moments follows descent on the data set by automatic differentiation: "
            "largest relative difference of the loss over 100 steps",
            SOURCE,
            0.0,
            distance_to_brute_force(keys[0], merged(full[0]), x, y),
            absolute=1e-12,
        ),
        *_block_claims(*descents),
    )
    panels = []
    for model, ran in zip(models, descents, strict=True):
        result.text(_drops_in_words(model, ran, sequences))
        panels.append(blocks_panel(model, ran))
    caption = "The same start on the same data set (first seed): full token blocks drop elsewhere."
    result.figure("blocks", caption, *panels, width=7.0)
    return result


def _descents(
    model: Model,
    keys: Array,
    useful: list[EmpiricalMoments],
    full: list[EmpiricalMoments],
    *,
    progress: bool,
) -> Descents:
    losses, drops, spent, steps = {}, {}, [], np.zeros(0)
    for name, data, extra in (
        (USEFUL, useful, 0.0),
        (FROM_ZERO, full, 0.0),
        (FROM_SMALL, full, SCALE),
    ):
        curves = []
        for key, own, moments in zip(keys, useful, data, strict=True):
            of_start, of_extra = jax.random.split(jax.random.fold_in(key, 1))
            start = head_start(of_start, model.build(own), HEADS, scale=SCALE)
            landscape = model.build(moments)
            began = time.perf_counter()
            trajectory = descend(
                landscape,
                start if data is useful else embedded(of_extra, landscape, start, extra),
                model,
                progress=progress,
                label=f"{model.name}, {name}",
            )
            spent.append(time.perf_counter() - began)
            curves.append(trajectory["loss"].values)
            steps = trajectory["time"].values / model.rate
        losses[name] = np.stack(curves, axis=1)
        middles = [0.5 * (high + low) for high, low in itertools.pairwise(model.levels)]
        drops[name] = np.array([[crossing(steps, c, level) for level in middles] for c in curves])
    return Descents(steps, losses, drops, float(np.median(spent)))


def _block_claims(whole: Descents, rank_one: Descents) -> list[Claim]:
    ends = whole.losses[FROM_ZERO][-1] / whole.losses[USEFUL][-1] - 1
    difference, seeds = over_seeds(np.abs(ends))
    shift, shift_seeds = over_seeds(whole.shifts)
    shifted, shifted_seeds = over_seeds(rank_one.shifts)
    return [
        Claim.below(
            "merged: full blocks end near the useful ones' final loss, relative difference "
            f"({seeds})",
            SOURCE,
            bound=0.02,
            measured=difference,
        ),
        Claim.below(
            "merged: the extra blocks pick up gradient from a zero start and shift the drop by "
            f"less than {MERGED.recorded} steps ({shift_seeds})",
            SOURCE,
            bound=MERGED.recorded,
            measured=shift,
        ),
        Claim.above(
            "separate, rank one: the extra blocks shift a drop by hundreds of steps, largest "
            f"shift of a seed's drops ({shifted_seeds})",
            SOURCE,
            bound=100,
            measured=shifted,
        ),
    ]


def _drops_in_words(model: Model, ran: Descents, sequences: int) -> str:
    lines = [
        f"{model.name}: {model.steps - 1} steps of full-batch descent at rate {model.rate:g} in "
        f"{ran.seconds:.2f} s ({sequences} sequences of {TOKENS} tokens, {HEADS} heads). Steps at "
        "half of each drop:"
    ]
    for name, drops in ran.drops.items():
        medians = (f"{number:.0f} ({words})" for number, words in map(over_seeds, drops.T))
        lines.append(f"- {name}: {'; '.join(medians)}")
    return "\n".join([lines[0], "", *lines[1:]])


def blocks_panel(model: Model, ran: Descents) -> Panel:
    """Training loss of the first seed, for every kind of blocks."""

    def draw(ax: Axes) -> None:
        curves = {name: (ran.steps, losses[:, 0]) for name, losses in ran.losses.items()}
        plots.plot_courses(ax, curves, levels=model.level_names)
        ax.set(
            xlabel=f"gradient descent step (learning rate {model.rate:g})",
            ylabel="training loss E(y − ŷ)²",
            title=f"Useful and full token blocks, {model.name}",
        )
        if len(model.levels) == 2:
            ax.set_xlim(0, 1000)

    return draw


def embedded(
    key: Key[Array, ""], landscape: LinearAttentionLandscape, heads: Ensemble, extra: float
) -> Ensemble:
    """Useful heads in the landscape's blocks, the other weights normal of size `extra`."""
    others = head_start(key, landscape, heads.size, scale=0.0, extra=extra).particles

    def fill(other: Array, useful: np.ndarray, leaf: Array) -> Array:
        filled = np.array(other)  # NumPy: nothing to compile
        filled[:, useful] = np.asarray(leaf).reshape(heads.size, -1)
        return to_device(filled)

    return heads.with_particles(jax.tree.map(fill, others, landscape.useful, heads.particles))


def distance_to_brute_force(
    key: Key[Array, ""],
    landscape: LinearAttentionLandscape,
    x: Array,
    y: Array,
    steps: int = 100,
) -> float:
    """Largest relative difference in loss from descent on the sequences, merged full blocks."""
    start = head_start(key, landscape, HEADS, scale=SCALE, extra=SCALE)
    tokens = jnp.concatenate([x, y.at[:, -1].set(0)[:, :, None]], axis=2)

    def brute(particles: MergedHead) -> Array:
        keys = jnp.einsum("pna,iad,pd->pni", tokens, particles.u, x[:, -1])
        values = jnp.einsum("pna,ia->pni", tokens, particles.v)
        return jnp.mean((y[:, -1] - jnp.sum(keys * values, axis=(1, 2))) ** 2)

    def step(particles: MergedHead, _: None) -> tuple:
        loss, slope = jax.value_and_grad(brute)(particles)
        return jax.tree.map(lambda w, g: w - MERGED.rate * g, particles, slope), loss

    _, expected = jax.lax.scan(step, start.particles, None, length=steps)
    trajectory = follow(
        landscape,
        start,
        horizon=steps * MERGED.rate,
        dt=MERGED.rate,
        record=lambda unit: every(MERGED.rate * unit),
        scheme="euler",
    )
    found = trajectory["loss"].values[:steps]
    return float(np.max(np.abs(found / np.asarray(expected) - 1)))
