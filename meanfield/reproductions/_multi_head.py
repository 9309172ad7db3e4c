"""HPCY25 and BB25: many softmax heads on linear regression, two numbers a head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import jax

from landscapes import MultiHeadLandscape

from ..problems import Count, NonNegative, Range, Seed
from ..results import Result
from ._base import Reproduction
from ._multi_head_prompts import LONG, PROMPTS, long_prompts, prompts
from ._multi_head_runs import MANY, PAIR, many, pair
from ._multi_head_saddle import AMONG, ONE, among, leaving, one_head
from ._seeds import seed_keys

TITLES = (ONE, AMONG, PAIR, MANY, PROMPTS, LONG)


@dataclass(frozen=True)
class MultiHeadOptions:
    """Options of `multi-head`."""

    seed: Seed = 0
    """Of every random draw."""
    seeds: Annotated[int, Range(2, 1000)] = 8
    """Starts and sets of prompts that claims about random runs are stated over."""
    dim: Annotated[int, Range(3, 1000)] = 10
    """Numbers in a token."""
    length: Count = 200
    """Labelled tokens of a prompt."""
    noise: NonNegative = 0.3
    """Standard deviation of the labels' noise."""
    heads: Annotated[int, Range(3, 10**4)] = 16
    """Heads that start at random."""
    time: Annotated[float, Range(100, 1e5)] = 2000.0
    """Flow time of two heads; many heads take a tenth of it."""
    prompts: Annotated[int, Range(64, 10**6)] = 4096
    """Prompts in a set."""


def _parts(options: MultiHeadOptions, progress: bool) -> Iterator[Result]:
    keys = seed_keys(jax.random.key(options.seed), options.seeds)
    landscape = MultiHeadLandscape(options.dim, options.length, options.noise)
    yield one_head(landscape, progress)
    yield among(landscape, keys, progress).extend(leaving(landscape, progress))
    yield pair(landscape, options.time, progress)
    yield many(landscape, keys, options.heads, options.time / 10, progress)
    yield prompts(landscape, keys, options.prompts)
    yield long_prompts(options.dim, options.noise, progress)


MULTI_HEAD = Reproduction(
    "multi-head",
    "many softmax heads on regression: zero-sum values, and linear attention in the end",
    MultiHeadOptions,
    _parts,
    TITLES,
)
