"""Statistical induction heads on Markov chains: the unigram plateau and the drop to bigrams."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import xarray
from jaxtyping import Array, Key

from landscapes import MarkovInductionLandscape
from landscapes.induction import MarkovHead, draw_chains, markov_head_start

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import log_spaced, simulate
from ._seeds import over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKOV, SOURCE = "Markov chains: unigrams, then bigrams", "EEGMT24; theory 9"
STATES = 2
HORIZON = 1e4


class Learned(NamedTuple):
    """One set of chains, and the flow of one head on it.

    Args:
        trajectory: of the flow from EEGMT24's start.
        levels: `uniform`, `unigram`, `bigram`, and `uniform attention`, the best loss with v = 0.
        plateau: record at which the loss falls slowest in log time, between its two drops.
    """

    trajectory: xarray.Dataset
    levels: dict[str, float]
    plateau: int

    @property
    def at_plateau(self) -> float:
        """The loss there."""
        return float(self.trajectory["loss"][self.plateau])

    @property
    def end(self) -> float:
        """The last loss."""
        return float(self.trajectory["loss"][-1])


def learn(
    key: Key[Array, ""], chains: int, length: int, *, progress: bool = False, label: str = "chains"
) -> Learned:
    """Draw chains, and follow one head on them."""
    landscape = draw_chains(key, chains, length, STATES)
    run = simulate(
        GradientFlow(landscape, scheme="adaptive"),
        markov_head_start(key, landscape, 1, scale=0.0),  # the source's; nothing random
        horizon=HORIZON,
        dt=0.1,
        record=log_spaced(1.0, per_decade=40),
        progress=progress,
        label=label,
    )
    trajectory = run.trajectory
    levels = {
        "uniform": landscape.levels()["uniform"],
        **landscape.head_levels(),
        "uniform attention": uniform_attention_level(landscape),
    }
    return Learned(trajectory, levels, _slowest(trajectory, levels))


def uniform_attention_level(landscape: MarkovInductionLandscape) -> float:
    """The lowest loss while layer 1 attends evenly, v = 0: a convex problem in W."""
    found = scipy.optimize.minimize(
        lambda w: tuple(np.asarray(part, float) for part in _with_even_attention(w, landscape)),
        np.ones(landscape.rows.shape[1] ** 2),
        jac=True,
    )
    return float(found.fun)


@eqx.filter_jit
@eqx.filter_value_and_grad
def _with_even_attention(w: Array, landscape: MarkovInductionLandscape) -> Array:
    """The loss of one head with v = 0, in the entries of W."""
    states = landscape.rows.shape[1]
    head = MarkovHead(jnp.zeros(landscape.tokens.shape[1]), jnp.asarray(w).reshape(states, states))
    return landscape.risk(landscape.features(head))


def _slowest(trajectory: xarray.Dataset, levels: dict[str, float]) -> int:
    """Where the loss falls slowest in log time, from half of its first drop to half of its next."""
    times, loss = trajectory["time"].values[1:], trajectory["loss"].values[1:]
    first = 0.5 * (levels["uniform"] + levels["unigram"])
    second = 0.5 * (levels["unigram"] + levels["bigram"])
    rate = -np.gradient(loss, np.log(times))
    between = (loss < first) & (loss > second)
    return 1 + int(np.argmin(np.where(between, rate, np.inf)))


def markov(found: Sequence[Learned]) -> Result:
    """Both levels, and which statistics the model gives there, over several sets of chains."""
    result = Result(MARKOV)
    result.claim(*_level_claims(found), *_statistic_claims(found))
    result.text(
        "Levels of the first set of chains (nats): "
        + ", ".join(f"{name} {value:.4f}" for name, value in found[0].levels.items())
        + f"; plateau {found[0].at_plateau:.4f}, end {found[0].end:.4f}. The plateau is lower than "
        "one multiple of the counts of tokens allows, since W is free while layer 1 still attends "
        "evenly; the best such W is the level it stays at."
    )
    result.dataset("markov", xarray.concat([one.trajectory for one in found], "seed"))
    result.figure(
        "markov",
        "One head on Markov chains, the median over sets of chains bold: a plateau at unigrams, "
        "then the drop to bigrams.",
        functools.partial(draw_losses, found=found),
        functools.partial(draw_distances, found=found),
    )
    return result


def _level_claims(found: Sequence[Learned]) -> list[Claim]:
    rows = (
        ("plateau", "unigram", "the unigram level", "at_plateau", SOURCE, 0.02),
        (
            "plateau",
            "uniform attention",
            "the best loss with v = 0",
            "at_plateau",
            "theory 9",
            0.01,
        ),
        ("last loss", "bigram", "the bigram level", "end", SOURCE, 0.01),
    )
    claims = []
    for name, level, words, measured, source, tolerance in rows:
        ratio, seeds = over_seeds([getattr(one, measured) / one.levels[level] for one in found])
        statement = f"{name} over {words}, which is exact for the sampled chains ({seeds})"
        claims.append(Claim.equal(statement, source, 1.0, ratio, relative=tolerance))
    return claims


def _statistic_claims(found: Sequence[Learned]) -> list[Claim]:
    """KL from the in-context statistics to the model: unigram the nearer first, then bigram."""
    closer = {"at the plateau": 0, "at the end": 0}
    for one in found:
        gap = (one.trajectory["distance_bigram"] - one.trajectory["distance_unigram"]).values
        closer["at the plateau"] += int(gap[one.plateau] > 0)
        closer["at the end"] += int(gap[-1] < 0)
    names = dict(zip(closer, ("unigrams", "bigrams"), strict=True))
    return [
        Claim.equal(
            f"sets of chains, of {len(found)}, on which the model {when} is nearer to the "
            f"in-context {names[when]} than to the others",
            SOURCE,
            len(found),
            count,
        )
        for when, count in closer.items()
    ]


def draw_losses(ax: Axes, found: Sequence[Learned]) -> None:
    """Losses between the two levels against time."""
    times = found[0].trajectory["time"].values[1:]
    drops = [one.levels["unigram"] - one.levels["bigram"] for one in found]
    scaled = [
        (one.trajectory["loss"].values[1:] - one.levels["bigram"]) / drop
        for one, drop in zip(found, drops, strict=True)
    ]
    even = np.median(
        [
            (one.levels["uniform attention"] - one.levels["bigram"]) / drop
            for one, drop in zip(found, drops, strict=True)
        ]
    )
    plots.plot_courses(
        ax,
        {"loss": (times, np.stack(scaled, axis=1))},
        levels={"unigram": 1.0, "v = 0,\nmedian": float(even), "bigram": 0.0},
        log_time=True,
    )
    ax.set(
        xlabel="flow time t",
        ylabel="(loss − bigram) / (unigram − bigram)",
        title="Cross-entropy between its levels",
    )


def draw_distances(ax: Axes, found: Sequence[Learned]) -> None:
    """Distance of the model from both in-context statistics against time."""
    times = found[0].trajectory["time"].values[1:]
    curves = {
        f"from in-context {name}s": (
            times,
            np.stack([one.trajectory[f"distance_{name}"].values[1:] for one in found], axis=1),
        )
        for name in ("unigram", "bigram")
    }
    plots.plot_courses(ax, curves, log_time=True)
    ax.set(xlabel="flow time t", ylabel="KL divergence (nats)", title="What the model has learned")
