"""What is diagnosed, and how closely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from landscapes import Landscape, Redraw
from particles import Ensemble


@dataclass(frozen=True)
class DiagnosisOptions:
    """How closely to look.

    Args:
        count: smallest eigenpairs to find.
        points: on every line; half of them on either side of a plane or grid.
        replicates: draws of the samples for every way and size.
        tolerance: gradient norm below which the ensemble counts as critical.
        time_limit: seconds for every stage of the classification.
        seed: of every random draw.
    """

    count: int = 3
    points: int = 41
    replicates: int = 12
    tolerance: float = 1e-6
    time_limit: float = 600.0
    seed: int = 0


@dataclass(frozen=True)
class Subject:
    """What is diagnosed.

    Args:
        landscape: any landscape.
        ensemble: on it.
        history: flow times and ensembles that led there; empty if unknown.
        other: an ensemble to look the way to.
        redraws: ways to draw the landscape's samples anew, by name.
    """

    landscape: Landscape
    ensemble: Ensemble
    history: tuple[np.ndarray, list[Ensemble]] = field(default_factory=lambda: (np.zeros(0), []))
    other: Ensemble | None = None
    redraws: Mapping[str, Redraw] = field(default_factory=dict)

    @property
    def way(self) -> tuple[np.ndarray, list[Ensemble]]:
        """The history, if it went anywhere; empty if not."""
        times, ensembles = self.history
        if len(ensembles) < 2:
            return np.zeros(0), []
        last = ensembles[-1]
        step = jax.tree.map(jnp.subtract, ensembles[0].particles, last.particles)
        moved = float(last.norm(step)) > 1e-6 * float(last.norm(last.particles))
        return (times, ensembles) if moved else (np.zeros(0), [])
