"""Arithmetic modulo p: exact saddles, and delayed generalisation (GRO23, KMCK25)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import jax

from ..problems import Range, Seed
from ..results import Result
from ._base import Reproduction
from ._grokking_delay import (
    DELAY,
    DELAYED_GENERALISATION,
    MIDDLE,
    MOST,
    delay,
    delays,
    grokking,
    larger,
    without_decay,
)
from ._grokking_neuron import REDUCTION, one_neuron, reduction
from ._grokking_runs import LARGE, SMALL
from ._grokking_saddles import ESCAPE, SADDLES, escape, escapes, saddles

TITLES = (SADDLES, ESCAPE, REDUCTION, DELAYED_GENERALISATION, DELAY)


@dataclass(frozen=True)
class GrokkingOptions:
    """Options of `grokking`."""

    seed: Seed = 0
    """Of every random draw."""
    seeds: Annotated[int, Range(4, 10**12)] = 8
    """Random starts that medians, exponents and their intervals rest on; at least 4."""


def _parts(options: GrokkingOptions, progress: bool) -> Iterator[Result]:
    key = jax.random.key(options.seed)
    yield saddles()
    yield escape(escapes(jax.random.fold_in(key, 1), options.seeds, progress=progress))
    yield reduction(one_neuron(progress=progress))
    key, seeds = jax.random.fold_in(key, 2), options.seeds
    found = delays(key, seeds, progress=progress)
    yield grokking(
        {
            SMALL.p: found.runs[MIDDLE],
            LARGE.p: larger(key, seeds, progress=progress),
        },
        without_decay(key, SMALL.fraction, seeds, progress=progress),
        without_decay(key, MOST, seeds, progress=progress),
    )
    yield delay(found)


GROKKING = Reproduction(
    "grokking",
    "delayed generalisation in arithmetic modulo p",
    GrokkingOptions,
    _parts,
    TITLES,
)
