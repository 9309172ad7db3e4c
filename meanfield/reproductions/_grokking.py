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
    delay,
    delays,
    grokking,
    headline,
)
from ._grokking_fourier import FOURIER, fourier
from ._grokking_neuron import REDUCTION, one_neuron, reduction
from ._grokking_saddles import ESCAPE, SADDLES, escape, escapes, saddles
from ._grokking_sizes import SIZES, sizes, times_by_size
from ._grokking_targets import TARGETS, others, targets
from ._grokking_template import TEMPLATE, stages, template

TITLES = (
    SADDLES,
    ESCAPE,
    REDUCTION,
    TEMPLATE,
    DELAYED_GENERALISATION,
    FOURIER,
    DELAY,
    SIZES,
    TARGETS,
)


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
    seeds = options.seeds
    yield template(stages(jax.random.fold_in(key, 3), seeds, progress=progress))
    key = jax.random.fold_in(key, 2)
    found = headline(key, seeds, progress=progress)
    yield grokking(found)
    yield fourier(found)
    late = delays(key, seeds, progress=progress)  # the last of its decays is that of the others
    yield delay(late)
    yield sizes(times_by_size(key, seeds, progress=progress))
    yield targets(others(key, seeds, list(late.last), progress=progress))


GROKKING = Reproduction(
    "grokking",
    "delayed generalisation in arithmetic modulo p",
    GrokkingOptions,
    _parts,
    TITLES,
)
