"""ZSLS25: learning in context against learning in weights, on mixtures of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from landscapes.linear_attention import (
    EmpiricalMoments,
    PromptDistribution,
    data_moments,
    head_start,
)

from .. import plots
from ..results import Claim, Panel, Result
from ._seeds import over_seeds
from ._zsls25_training import (
    EIGENVALUES,
    HEADS,
    LEVELS,
    MERGED,
    PUBLISHED,
    SCALE,
    SOURCE,
    TOKENS,
    Model,
    descend,
    merged,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IN_WEIGHT = "In-context against in-weight learning"
FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
NAMES = {"in_context": "Fresh task, labels in context", "in_weight": "Fixed task, noise labels"}


class Mixture(NamedTuple):
    """Test losses of one seed along training on mixtures of tasks.

    Args:
        steps: of the records.
        losses: of each test, shape `(fractions, records)`.
        zero: of each test, the loss of predicting zero.
    """

    steps: np.ndarray
    losses: dict[str, np.ndarray]
    zero: dict[str, float]


def in_weight(
    keys: Key[Array, " seeds"],
    sequences: int,
    *,
    model: Model = MERGED,
    progress: bool = False,
) -> Result:
    """Both test losses while a fraction of the sequences has one fixed task."""
    result = Result(IN_WEIGHT)
    ran = [mixture(key, sequences, model=model, progress=progress) for key in keys]
    ends = {
        test: np.array([one.losses[test][:, -1] / one.zero[test] for one in ran]) for test in NAMES
    }  # in units of predicting zero, shape (seeds, fractions)
    least = over_seeds([one.losses["in_context"][0, -1] for one in ran])
    found = {
        name: over_seeds(values)
        for name, values in (
            ("learned", ends["in_weight"][:, -1]),
            ("not in weights", ends["in_weight"][:, 0]),
            ("not in context", ends["in_context"][:, -1]),
        )
    }
    result.claim(
        Claim.equal(
            f"fresh tasks only: in-context test loss ends at the least-squares value ({least[1]})",
            SOURCE,
            float(LEVELS[-1]),
            least[0],
            relative=0.1,
        ),
        Claim.below(
            "fixed task only: the in-weight test loss falls, share of the loss of predicting zero "
            f"({found['learned'][1]})",
            SOURCE,
            bound=0.5,
            measured=found["learned"][0],
        ),
        Claim.above(
            "fresh tasks only: the fixed task is not learned in weights, share of the loss of "
            f"predicting zero ({found['not in weights'][1]})",
            SOURCE,
            bound=0.95,
            measured=found["not in weights"][0],
        ),
        Claim.above(
            "fixed task only: nothing is learned in context, share of the loss of predicting zero "
            f"({found['not in context'][1]})",
            SOURCE,
            bound=0.95,
            measured=found["not in context"][0],
        ),
    )
    result.figure(
        "in_weight",
        "In-context and in-weight test losses for fractions of training sequences with one fixed "
        "task, full token blocks; courses of the first seed, ends of all.",
        *[loss_panel(test, ran[0]) for test in NAMES],
        ends_panel(ends),
    )
    return result


def mixture(
    key: Key[Array, ""], sequences: int, *, model: Model = MERGED, progress: bool = False
) -> Mixture:
    """Full-batch descent of merged heads at every fraction, with both test losses."""
    of_task, of_start, *of_data = jax.random.split(key, 4 + len(FRACTIONS))
    task = jax.random.normal(of_task, (len(EIGENVALUES),))
    task = 2.0 * task / jnp.linalg.norm(task)

    def moments(key: Array, fraction: float, uninformative: bool) -> EmpiricalMoments:
        source = PromptDistribution(
            EIGENVALUES,
            TOKENS - 1,
            fixed_task=task,
            fraction=fraction,
            uninformative=uninformative,
        )
        return data_moments(*source.draw(key, sequences), blocks="full", convention=PUBLISHED)

    tests = {
        "in_context": moments(of_data[-1], 0.0, False),
        "in_weight": moments(of_data[-2], 1.0, True),
    }
    ran = []
    for own, fraction in zip(of_data, FRACTIONS, strict=False):
        # As in the published code: with fixed tasks alone, labels of the context are noise.
        landscape = merged(moments(own, fraction, fraction == 1), **tests)
        start = head_start(of_start, landscape, HEADS, scale=SCALE, extra=0.0)
        label = f"fraction {fraction:g}"
        ran.append(descend(landscape, start, model, progress=progress, label=label))
    return Mixture(
        ran[0]["time"].values / model.rate,
        {name: np.stack([one[name].values for one in ran]) for name in tests},
        {name: float(test.risk(jnp.zeros((5, 5, 4)))) for name, test in tests.items()},
    )


def loss_panel(test: str, ran: Mixture) -> Panel:
    """One test loss along training, a curve a fraction."""

    def draw(ax: Axes) -> None:
        levels = {"predicting zero": ran.zero[test]}
        if test == "in_context":
            levels["least squares"] = float(LEVELS[-1])
        curves = {
            f"fraction {fraction:g}": (ran.steps, losses)
            for fraction, losses in zip(FRACTIONS, ran.losses[test], strict=True)
        }
        plots.plot_courses(ax, curves, levels=levels)
        ax.set(
            xlabel=f"gradient descent step (learning rate {MERGED.rate:g})",
            ylabel="test loss E(y − ŷ)²",
            title=NAMES[test],
        )

    return draw


def ends_panel(ends: Mapping[str, np.ndarray]) -> Panel:
    """Final test losses against the fraction, all seeds and their median."""

    def draw(ax: Axes) -> None:
        curves = {NAMES[test]: (FRACTIONS, np.asarray(values).T) for test, values in ends.items()}
        plots.plot_courses(ax, curves, levels={"predicting zero": 1.0})
        ax.set(
            xlabel="fraction of training sequences with the fixed task",
            ylabel="final test loss / loss of predicting zero",
            title="What was learned where",
        )

    return draw
