"""Other targets and another loss: what generalises as addition does, and what does not."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import xarray
from jaxtyping import Array, Key

from ..results import Claim, Result
from ._grokking_delay import draw_accuracies
from ._grokking_runs import DECAY, LONGEST, SMALLEST, Network, over_starts, times_over
from ._seeds import over_seeds

TARGETS = "Other targets, another loss"
ADDITION, SUBTRACTION, QUADRATIC, ENTROPY = (
    "a + b",
    "a − b",
    "a² + ab + b²",
    "a + b, cross-entropy",
)
UNDECAYED = ENTROPY + ", no decay"


class Others(NamedTuple):
    """Runs on the same pairs from the same neurons, for several targets.

    Args:
        runs: what is learned to its runs, one a seed.
    """

    runs: dict[str, list[xarray.Dataset]]


def others(
    key: Key[Array, ""],
    seeds: int,
    addition: list[xarray.Dataset],
    *,
    network: Network = SMALLEST,
    progress: bool = False,
) -> Others:
    """Runs at one decay, beside those of addition; with cross-entropy also without."""
    entropy = network._replace(loss="cross-entropy")
    cases = {
        SUBTRACTION: (network._replace(target="subtraction"), DECAY),
        QUADRATIC: (network._replace(target="quadratic"), DECAY),
        ENTROPY: (entropy, DECAY),
        UNDECAYED: (entropy, 0.0),
    }
    return Others(
        {ADDITION: addition}
        | {
            name: over_starts(
                key, one, seeds, decay=decay, horizon=LONGEST / DECAY, progress=progress
            )
            for name, (one, decay) in cases.items()
        }
    )


def targets(found: Others) -> Result:
    """Subtraction generalises, and as late as addition; the others are measured."""
    result = Result(TARGETS)
    times = {name: times_over(runs)[:, 1] for name, runs in found.runs.items()}
    seeds = len(times[SUBTRACTION])
    counted = int(np.isfinite(times[SUBTRACTION]).sum())
    result.claim(
        Claim.equal(
            f"{SUBTRACTION}: seeds of {seeds} that generalise",
            "GRO23; theory 10",
            seeds,
            counted,
        ),
        _same_law(times[ADDITION], times[SUBTRACTION]),
    )
    rows = []
    for name, runs in found.runs.items():
        right, spread = over_seeds([float(run["test_accuracy"].values[-1]) for run in runs])
        participation, _ = over_seeds([float(run["ipr"].values[-1]) for run in runs])
        late = over_seeds(times[name])[0]
        when = f"{late:.3g}" if np.isfinite(late) else "never"
        count = int(np.isfinite(times[name]).sum())
        rows.append(
            f"| {name} | {count} of {seeds} | {when} | {right:.2g} ({spread}) | "
            f"{participation:.3g} |"
        )
    normal = SMALLEST.p
    result.text(
        f"p = {normal}, {SMALLEST.fraction:.0%} of the pairs, λ = {DECAY:g} g until t = "
        f"{LONGEST / DECAY:g}/g or until it generalises; 1/g is p³, with the cross-entropy 2p²: "
        "its pull is p/2 times as strong.\n\n| target | seeds that generalise | median time g t | "
        "accuracy on the other pairs at the end | IPR there |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n\nFor a² + ab + b² neurons find no frequency: the IPR stays where it was. The "
        "cross-entropy of memorised pairs "
        "has no minimum: without decay the outputs grow for ever. With decay at the same rate it "
        "raises the accuracy on the other pairs, but less than the squared error does. Neither "
        "is predicted."
    )
    result.figure(
        "targets",
        "Accuracy on the training pairs and on the others, one line a seed, for other targets and "
        "another loss.",
        *[
            functools.partial(draw_accuracies, runs=runs, title=name)
            for name, runs in found.runs.items()
            if name != ADDITION
        ],
        width=4.5,
    )
    return result


def _same_law(addition: np.ndarray, subtraction: np.ndarray) -> Claim:
    """Renaming b to −b makes addition of subtraction, and leaves pairs and neurons as likely."""
    from scipy.stats import mannwhitneyu

    late = [np.nan_to_num(times, nan=np.inf) for times in (addition, subtraction)]
    chance = float(mannwhitneyu(late[0], late[1]).pvalue)
    middle = " and ".join(f"{np.median(times):.3g}" for times in late)
    return Claim.above(
        f"{SUBTRACTION} has the law of {ADDITION}: chance of a rank sum as far apart (median times "
        f"{middle} p³)",
        "theory 10",
        bound=0.01,
        measured=chance,
    )
