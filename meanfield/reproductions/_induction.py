"""MPNSSH25 and EEGMT24: in-context learning that emerges at once in two layers of attention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import jax

from particles import InvalidInput

from ..problems import Count, Range, Seed
from ..results import Result
from ._base import Reproduction
from ._induction_causal import CAUSAL, causal
from ._induction_circuit import EMERGENCE, SADDLE, emergence, saddle
from ._induction_markov import MARKOV, learn, markov
from ._seeds import seed_keys

TITLES = (SADDLE, EMERGENCE, CAUSAL, MARKOV)


@dataclass(frozen=True)
class InductionOptions:
    """Options of `induction`."""

    seed: Seed = 0
    """Of every random draw: the sets of chains."""
    seeds: Count = 8
    """Sets of Markov chains that claims are stated over."""
    pairs: tuple[Annotated[int, Range(2, 10**6)], ...] = (4, 8, 16, 32, 64)
    """Numbers N of item–label pairs, increasing; at least two."""
    chains: Count = 128
    """Chains in a set."""
    length: Annotated[int, Range(2, 10**4)] = 64
    """Tokens of a chain."""

    def __post_init__(self) -> None:
        if len(self.pairs) < 2 or list(self.pairs) != sorted(set(self.pairs)):
            raise InvalidInput(f"pairs is {self.pairs}; give at least two numbers, increasing.")


def _parts(options: InductionOptions, progress: bool) -> Iterator[Result]:
    yield saddle(options.pairs, progress)
    yield emergence(options.pairs, progress)
    yield causal(options.pairs, progress)
    keys = seed_keys(jax.random.key(options.seed), options.seeds)
    yield markov(
        [
            learn(key, options.chains, options.length, progress=progress, label=f"chains {index}")
            for index, key in enumerate(keys, start=1)
        ]
    )


INDUCTION = Reproduction(
    "induction", "in-context learning that emerges at once", InductionOptions, _parts, TITLES
)
