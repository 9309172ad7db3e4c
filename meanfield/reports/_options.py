"""How closely a diagnosis looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from particles import Ensemble
from particles.internal import difference

from ..problems import Count, NonNegative, Positive, Range

#: Flow times and the ensembles at them.
History = tuple[Sequence[float] | np.ndarray, Sequence[Ensemble]]


@dataclass(frozen=True)
class CriticalityOptions:
    """How a point is classified.

    Example:
        >>> CriticalityOptions(count=3).max_products
        5000
    """

    count: Count = 8
    """Smallest eigenpairs to find."""
    tolerance: NonNegative = 0.0
    """Gradient norm below which the ensemble counts as critical; 0 for 1e-6 in double precision,
    1e-3 in single."""
    time_limit: Positive = 600.0
    """Seconds for every stage of the classification."""
    max_products: Count = 5000
    """Hessian products for every stage of the classification."""


@dataclass(frozen=True)
class DiagnosisOptions(CriticalityOptions):
    """How closely a diagnosis looks.

    Example:
        >>> DiagnosisOptions(points=21).replicates
        12
    """

    count: Count = 3
    """Smallest eigenpairs to find."""
    points: Annotated[int, Range(5, 10_000)] = 41
    """Points on every line and along each side of a plane or grid."""
    replicates: Annotated[int, Range(2, 10**6)] = 12
    """Draws of the samples for every way of drawing and size."""
    sizes: Annotated[int, Range(1, 32)] = 3
    """Numbers of samples drawn: each twice the one before, the last within their own number."""


def moved(history: History | None) -> History | None:
    """The history, if it went anywhere; `None` if not."""
    if history is None or len(history[1]) < 2:
        return None
    first, last = history[1][0], history[1][-1]
    step = difference(first.particles, last.particles)
    far = float(last.norm(step)) > 1e-6 * float(last.norm(last.particles))
    return history if far else None
