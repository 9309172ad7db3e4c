"""Induction problems: item–label pairs in closed form, and Markov chains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from landscapes import CausalInductionLandscape, InductionLandscape, MarkovInductionLandscape
from landscapes.induction import (
    Circuit,
    circuit_start,
    draw_chains,
    markov_head_start,
    plateau_level,
)
from particles import Ensemble, InvalidInput

from ..results import CriticalPoint
from ._options import Count, Range
from ._problem import Problem

CENTRAL = 1e-6  # logits below are taken for the saddle's zero


@dataclass(frozen=True)
class Induction:
    """Recall of a label in context by two layers of attention, circuits averaged (MPNSSH25).

    Example:
        >>> problem = Induction(pairs=8).build(jax.random.key(0))
        >>> round(problem.levels["plateau"], 6)
        0.473684
    """

    pairs: Annotated[int, Range(2, 10**6)] = 4
    """Number N of item–label pairs in the prompt."""
    causal: bool = False
    """Whether layer 1 sees earlier positions only; then there is no exact saddle."""

    def build(self, key: Key[Array, ""]) -> Problem:
        """The problem; it draws nothing.

        Raises:
            InvalidInput: an option out of range.
        """
        if self.causal:
            masked = CausalInductionLandscape(self.pairs)
            return Problem(
                masked,
                lambda key, size: circuit_start(key, masked, size),
                levels={"first pair": 1 / (4 * self.pairs)},
            )
        landscape = InductionLandscape(self.pairs)
        level = plateau_level(self.pairs)

        def saddle(key: Key[Array, ""], size: int, missing: Sequence[int]) -> Ensemble:
            if list(missing) != [0]:
                raise InvalidInput(
                    f"missing is {list(missing)}; the only saddle misses feature 0, the circuit."
                )
            return landscape.saddle(size)

        def predicted(ensemble: Ensemble) -> CriticalPoint | None:
            circuit: Circuit = ensemble.particles
            if max(jnp.abs(circuit.alpha).max(), jnp.abs(circuit.beta).max()) > CENTRAL:
                return None
            # The curvature of a circuit is in proportion to its readout, of either sign.
            index = int(jnp.sum(circuit.gamma != 0))
            return CriticalPoint("no circuit", level=level, index=index, source="theory 9")

        return Problem(
            landscape,
            lambda key, size: circuit_start(key, landscape, size),
            saddle=saddle,
            missing=(0,),
            levels={"plateau": level, "minimum": 0.0},
            predicted=predicted,
        )


@dataclass(frozen=True)
class MarkovInduction:
    """The minimal model of statistical induction heads on Markov chains (EEGMT24).

    Example:
        >>> problem = MarkovInduction(chains=16, length=12).build(jax.random.key(0))
        >>> list(problem.levels)
        ['uniform', 'unigram', 'bigram']
    """

    states: Annotated[int, Range(2, 1000)] = 2
    """Number k of states."""
    length: Annotated[int, Range(2, 10**4)] = 32
    """Tokens of a chain."""
    chains: Count = 256
    """Chains that are drawn once and kept."""

    def build(self, key: Key[Array, ""]) -> Problem:
        """The problem; a key draws its chains. Its levels are the model's own on these chains.

        Raises:
            InvalidInput: an option out of range.
        """

        def fresh(key: Key[Array, ""], size: int) -> MarkovInductionLandscape:
            return draw_chains(key, size, self.length, self.states)

        landscape = fresh(key, self.chains)
        levels = {"uniform": landscape.levels()["uniform"], **landscape.head_levels()}
        return Problem(
            landscape,
            lambda key, size: markov_head_start(key, landscape, size),
            redraws={"fresh chains": fresh},
            levels=levels,
            fresh=lambda: fresh(jax.random.fold_in(key, 1), 4096),
        )
