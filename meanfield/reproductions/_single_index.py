"""One hidden direction: degrees learned one by one, and what a fast readout costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import jax

from particles import InvalidInput

from ..problems import Count, Range, Seed
from ..results import Result
from ._base import Reproduction
from ._seeds import seed_keys
from ._single_index_degrees import DEGREES, EQUATIONS, degrees, equations
from ._single_index_link import ESCAPES, RATIOS, escapes, ratios


@dataclass(frozen=True)
class SingleIndexOptions:
    """Options of `single-index`."""

    seed: Seed = 0
    """Of every random draw."""
    seeds: Count = 8
    """Starts that claims are stated over."""
    ratios: tuple[Annotated[float, Range(1e-16, 1e-2)], ...] = (1e-11, 1e-12, 1e-13, 1e-14)
    """Timescales ε of the readouts, at least three different ones."""
    exponents: tuple[Annotated[int, Range(2, 8)], ...] = (2, 3, 4)
    """Information exponents of the targets of one shared link."""
    dims: tuple[Annotated[int, Range(100, 10**9)], ...] = (1000, 10_000, 100_000, 1_000_000)
    """Dimensions, at least three different ones."""
    neurons: Annotated[int, Range(6, 200)] = 12
    """Neurons with readouts of their own."""

    def __post_init__(self) -> None:
        for name, given in (("ratios", self.ratios), ("dims", self.dims)):
            if len(set(given)) < 3 or len(set(given)) < len(given):
                raise InvalidInput(f"{name} is {given}; give at least three different ones.")
        if not self.exponents:
            raise InvalidInput("exponents is empty; give at least one.")


def _parts(options: SingleIndexOptions, progress: bool) -> Iterator[Result]:
    own, mild, link = jax.random.split(jax.random.key(options.seed), 3)
    yield degrees(seed_keys(own, options.seeds), options.neurons, options.ratios)
    yield equations(mild, options.neurons)
    yield escapes(seed_keys(link, options.seeds), options.exponents, options.dims)
    yield ratios(progress)


SINGLE_INDEX = Reproduction(
    "single-index",
    "one hidden direction: degrees learned one by one, and what a fast readout costs",
    SingleIndexOptions,
    _parts,
    (DEGREES, EQUATIONS, ESCAPES, RATIOS),
)
