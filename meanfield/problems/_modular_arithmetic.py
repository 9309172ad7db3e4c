"""The modular arithmetic problem: two-layer networks on part of all pairs (GRO23, KMCK25)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Array, Key

from landscapes import ModularArithmeticLandscape
from landscapes.modular_arithmetic import (
    constructed_measure,
    frequency_level,
    modular_start,
    template_magnitudes,
)
from particles import Ensemble, InvalidInput

from ..results import CriticalPoint
from ._options import NonNegative, Positive, Range
from ._problem import Features, Problem

SOURCE = "GRO23; theory 10"


@dataclass(frozen=True)
class ModularArithmetic:
    """Arithmetic modulo p by a two-layer network, trained on part of all pairs (GRO23, KMCK25).

    Example:
        >>> import jax
        >>> problem = ModularArithmetic(p=5, fraction=1.0).build(jax.random.key(0))
        >>> problem.landscape.training.shape, len(problem.levels)
        ((5, 5), 3)
    """

    p: Annotated[int, Range(3, 1000)] = 23
    """Modulus; an odd prime where levels and saddles are wanted."""
    fraction: Annotated[float, Range(0, 1, open_low=True)] = 0.6
    """Share of the p² pairs that is trained on; 1 where levels and saddles are wanted."""
    target: Literal["addition", "subtraction", "quadratic"] = "addition"
    """Answer: a + b, a − b or a² + ab + b²."""
    activation: Literal["quadratic", "relu"] = "quadratic"
    """Of the neurons."""
    loss: Literal["squared", "cross-entropy"] = "squared"
    """Of a pair."""
    magnitudes: tuple[NonNegative, ...] = ()
    """Of the template's frequencies 1 … (p−1)/2; empty for one-hot residues."""
    start_scale: Positive = 1.0
    """Standard deviation of the weights at the start (GRO23: 1)."""

    def build(self, key: Key[Array, ""]) -> Problem:
        """The problem; a key draws the training pairs.

        Raises:
            InvalidInput: an option out of range, no training pair, another number of magnitudes
                than of frequencies, all of them zero, or cross-entropy with a template.
        """
        landscape = ModularArithmeticLandscape.of_fraction(
            self.p,
            self.fraction,
            key=key,
            template=self._template(),
            target=self.target,
            activation=self.activation,
            loss=self.loss,
        )
        exact = landscape.complete and self.loss == "squared" and landscape.constructible
        theory = _Theory(landscape) if exact else None
        return Problem(
            landscape,
            lambda key, size, points="random": modular_start(
                key, landscape, size, scale=self.start_scale, points=points
            ),
            saddle=theory.saddle if theory else None,
            missing=(theory.count - 1,) if theory else (),
            levels=theory.levels if theory else {},
            predicted=theory.predicted if theory else None,
            features=Features(theory.shares) if theory else None,
            no_saddle="saddles are known for an odd prime p, fraction 1, addition or subtraction, "
            f"the quadratic activation and the squared loss; p is {self.p}, fraction "
            f"{self.fraction:g}, target {self.target!r}, activation {self.activation!r}, loss "
            f"{self.loss!r}",
        )

    def _template(self) -> np.ndarray | None:
        if not self.magnitudes:
            return None
        count = (self.p - 1) // 2
        if self.p % 2 == 0 or len(self.magnitudes) != count:
            raise InvalidInput(
                f"problem.magnitudes has {len(self.magnitudes)} entries and problem.p is "
                f"{self.p}; give one for each frequency 1 … (p−1)/2 of an odd p."
            )
        if not any(self.magnitudes):
            raise InvalidInput(
                "problem.magnitudes is zero everywhere; there must be a frequency to learn."
            )
        turn = 2 * np.pi * np.arange(self.p) / self.p
        waves = np.cos(np.outer(np.arange(1, count + 1), turn))
        return np.asarray(self.magnitudes) @ waves


class _Theory:
    """What is known of addition and subtraction on all pairs."""

    def __init__(self, landscape: ModularArithmeticLandscape):
        magnitudes = template_magnitudes(np.asarray(landscape.template))
        order = [int(k) for k in np.asarray(landscape.order)]
        strongest = magnitudes[order[0] - 1]
        self.landscape = landscape
        self.order = [k for k in order if magnitudes[k - 1] > 1e-9 * strongest]
        self.shares = 0.5 * magnitudes[np.asarray(self.order) - 1] ** 2
        self.count = len(self.order)

    @property
    def levels(self) -> dict[str, float]:
        """Levels with the strongest frequencies learned, the constant with them."""
        names = [f"{m} learned" for m in range(self.count)] + ["minimum"]
        return {name: self.level(range(m)) for m, name in enumerate(names)}

    def level(self, learned: Sequence[int]) -> float:
        """Level of the saddle with these features, numbered from 0."""
        return frequency_level(
            self.landscape.p,
            [self.order[m] for m in learned],
            template=np.asarray(self.landscape.template),
        )

    def saddle(self, key: Key[Array, ""], size: int, missing: Sequence[int]) -> Ensemble:
        """Neurons of all frequencies but the missing ones; the key plays no part."""
        if wrong := [m for m in missing if not 0 <= m < self.count]:
            raise InvalidInput(
                f"missing is {list(missing)}, but there is no feature {wrong[0]}; they run from 0 "
                f"to {self.count - 1}."
            )
        learned = [self.order[m] for m in range(self.count) if m not in missing]
        return constructed_measure(self.landscape, learned, size)

    def predicted(self, ensemble: Ensemble) -> CriticalPoint | None:
        """Level where every frequency is learned wholly or not at all; the index is 0."""
        moments = self.landscape.moments(ensemble)
        fractions = np.asarray(self.landscape.learned_fraction(moments))[: self.count]
        if np.minimum(np.abs(fractions), np.abs(fractions - 1)).max() > 1e-4:
            return None
        learned = [int(m) for m in np.flatnonzero(fractions > 0.5)]
        level = self.level(learned)
        if abs(float(self.landscape.value(ensemble)) - level) > 1e-4 * max(level, 1e-2):
            return None  # the constant is not learned, or something else is
        names = ", ".join(str(self.order[m]) for m in learned)
        whole = len(learned) == self.count
        name = "minimum" if whole else f"frequencies {{{names}}}" if names else "constant alone"
        return CriticalPoint(name, level, 0, SOURCE)
