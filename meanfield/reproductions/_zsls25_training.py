"""ZSLS25's training on finite data sets, as the published code does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray

from landscapes import MergedLinearAttentionLandscape, SeparateLinearAttentionLandscape
from landscapes.linear_attention import (
    Convention,
    EmpiricalMoments,
    LinearAttentionLandscape,
    plateau_levels,
)
from particles import Ensemble

from ..runs import every
from ._linear_attention_runs import follow

EIGENVALUES, SOURCE = (0.4, 0.3, 0.2, 0.1), "ZSLS25; theory 4"
PUBLISHED = Convention(half=False, divide="none", query=True)  # with sequences of 32 tokens
HEADS, TOKENS, SCALE = 8, 32, 0.01
LEVELS = 2 * plateau_levels(EIGENVALUES, TOKENS - 1)


def merged(moments: EmpiricalMoments, **tests: EmpiricalMoments) -> LinearAttentionLandscape:
    """Key and query merged."""
    return MergedLinearAttentionLandscape(moments, heads=HEADS, tests=tests)


def separate(moments: EmpiricalMoments) -> LinearAttentionLandscape:
    """Key and query separate, of rank one."""
    return SeparateLinearAttentionLandscape(moments, 1, heads=HEADS)


class Model(NamedTuple):
    """What is trained, and how, recorded every so many steps."""

    name: str
    build: Callable[[EmpiricalMoments], LinearAttentionLandscape]
    levels: np.ndarray
    rate: float
    steps: int
    recorded: int

    @property
    def level_names(self) -> dict[str, float]:
        """The levels of theory by name."""
        if len(self.levels) == 2:
            return dict(zip(("origin", "minimum"), self.levels, strict=True))
        return {f"$L_{m}$": float(level) for m, level in enumerate(self.levels)}


MERGED = Model("merged", merged, LEVELS[[0, -1]], 1e-3, 6001, 20)
SEPARATE = Model(
    "separate, rank one", separate, LEVELS, 1e-2, 16001, 80
)  # its plateaus last longer


def descend(
    landscape: LinearAttentionLandscape,
    start: Ensemble,
    model: Model,
    *,
    progress: bool,
    label: str,
) -> xarray.Dataset:
    """Full-batch gradient descent as the published code does it."""
    return follow(
        landscape,
        start,
        horizon=model.steps * model.rate,
        dt=model.rate,
        record=lambda unit: every(model.recorded * model.rate * unit),
        scheme="euler",
        progress=progress,
        label=label,
    )
