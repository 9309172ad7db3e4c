"""A problem: a landscape, and what commands need to know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Key

from landscapes import AbstractLandscape, Redraw
from particles import Ensemble, InvalidInput

from ..results import Claim, CriticalPoint
from ..runs import Run

#: Draws a start of N particles from a key.
Draw = Callable[[Key[Array, ""], int], Ensemble]


@runtime_checkable
class Saddle(Protocol):
    """Places N particles at an exact critical point that misses some features."""

    def __call__(self, key: Key[Array, ""], size: int, missing: Sequence[int]) -> Ensemble:
        """The critical point."""
        ...


@dataclass(frozen=True)
class Features:
    """Named features that a run learns one after the other.

    Args:
        eigenvalues: how much each carries, largest first.
        composition: what each is made of, in words; empty where there is nothing to say.
        observable: name of the recorded share of each that is learned.
    """

    eigenvalues: Float[np.ndarray, " features"]
    composition: Sequence[str] = ()
    observable: str = "learned_fraction"


@dataclass(frozen=True)
class Problem:
    """A landscape, and what commands need to know of it.

    `landscape` and `start` are enough for `simulate`, `converge`, `spectrum` and `diagnose`. Each
    further part opens more: exact saddles let `escape` start at one, redraws let `diagnose` tell
    the landscape's curvature from the sample's, and what theory predicts is drawn and claimed.

    Args:
        landscape: any landscape.
        start: i.i.d. draw of N particles, `start(key, size)`.
        saddle: exact critical points, `saddle(key, size, missing)`.
        missing: features that the default saddle misses, numbered from 0.
        redraws: ways to draw the landscape's samples anew, by name.
        levels: critical levels of the loss that theory knows, by name.
        predicted: what theory says of a critical ensemble: its name, level and Morse index;
            `None` where it is silent.
        features: named features with the recorded share that is learned.
        claims: what theory says of a finished run, `claims(run)`.
        fresh: makes the same landscape on fresh samples.
        name: the kind it was built as.
        no_saddle: why there is no `saddle`, and what would give one; only where some options do.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import RegressionLandscape, neuron_start
        >>> landscape = RegressionLandscape(jnp.ones((4, 1)), jnp.ones((4, 1)))
        >>> problem = Problem(landscape, lambda key, size: neuron_start(key, landscape, size))
        >>> problem.start(jax.random.key(0), 5).size
        5
    """

    landscape: AbstractLandscape
    start: Draw
    saddle: Saddle | None = None
    missing: Sequence[int] = ()
    redraws: Mapping[str, Redraw] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)
    predicted: Callable[[Ensemble], CriticalPoint | None] | None = None
    features: Features | None = None
    claims: Callable[[Run], list[Claim]] | None = None
    fresh: Callable[[], AbstractLandscape] | None = None
    name: str = "problem"
    no_saddle: str = ""

    def require(self, part: str, purpose: str) -> Any:
        """A part of the problem, or one sentence about what is missing.

        Raises:
            InvalidInput: the part is missing; says which function of the problem would provide it.
        """
        found = getattr(self, part)
        if found is None:
            missing = (part == "saddle" and self.no_saddle) or MISSING[part]
            raise InvalidInput(
                f"problem {self.name!r} has no `{part}`, which {purpose} needs: {missing}."
            )
        return found


#: What would provide each optional part of a problem.
MISSING = {
    "saddle": "give its Problem a function saddle(key, size, missing) that returns an exact "
    "critical point, or name a saved ensemble at one",
    "fresh": "give its Problem a function fresh() that returns the landscape on fresh samples",
    "predicted": "give its Problem a function predicted(ensemble)",
}
