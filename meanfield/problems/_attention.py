"""The attention problem: an MLP layer followed by linear attention (KS24)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Key

from landscapes import MLPAttentionLandscape
from landscapes.mlp_attention import (
    GaussianAttentionLandscape,
    feature_loadings,
    feature_spectrum,
    missing_name,
    saddle_ensemble,
    saddle_level,
    saddle_levels,
)
from particles import Ensemble, InvalidInput

from ..results import Claim
from ..runs import Run
from ._hermite_targets import truncation_claims
from ._networks import NetworkOptions, Samples, network_redraws, network_start
from ._options import Length, NonNegative
from ._predictions import critical_point
from ._problem import Features, Problem, Saddle


@dataclass(frozen=True)
class Attention(NetworkOptions):
    """An MLP layer followed by linear attention, which learns features in context (KS24).

    Example:
        >>> problem = Attention(dim=3, samples=64, spectrum=(1.0, 0.5)).build(jax.random.key(0))
        >>> problem.landscape.x.shape, list(problem.redraws)
        ((64, 3), ['bootstrap', 'fresh samples', 'quasi-Monte Carlo'])
    """

    ridge: NonNegative = 0.0
    """Ridge ρ of the attention matrix."""
    context_length: Length = math.inf
    """Prompt length n."""

    def build(self, key: Key[Array, ""]) -> Problem:
        """The problem that a key draws.

        Raises:
            InvalidInput: an option out of range, or a data file that cannot be used.
        """
        if self.inputs == "gaussian-pairs":
            return self._in_pairs(self.draw(key))
        samples = self.draw(key)
        make = functools.partial(
            MLPAttentionLandscape,
            activation=self.activation,
            ridge=self.ridge,
            context_length=self.context_length,
        )
        landscape = make(samples.x, samples.f)
        fresh = samples.fresh
        eigenvalues = np.asarray(feature_spectrum(landscape))
        eigenvalues = eigenvalues[eigenvalues > 0]
        exact = self.ridge == 0 and self.context_length == math.inf
        saddle = None
        if samples.positions is not None and exact:
            saddle = _saddles(landscape, samples.positions)
        return Problem(
            landscape,
            network_start(landscape, jax.random.fold_in(samples.key, 4)),
            saddle=saddle,
            missing=(eigenvalues.size - 1,),
            redraws=network_redraws(landscape, samples, self.distribution),
            levels=named_levels(eigenvalues),
            predicted=critical_point(landscape),
            features=Features(eigenvalues, compositions(landscape)[: eigenvalues.size]),
            claims=lambda run: [
                *run_claims(landscape, eigenvalues, exact, run),
                *truncation_claims(landscape, samples.teacher, run),
            ],
            fresh=None if fresh is None else lambda: make(*fresh()),
        )

    def _in_pairs(self, samples: Samples) -> Problem:
        """All Gaussian inputs, in pairs of neurons."""
        if self.context_length < math.inf:
            raise InvalidInput(
                f"problem.context_length is {self.context_length:g}, but problem.inputs is "
                "'gaussian-pairs', where the limit of infinite prompts alone is known; leave it "
                "out."
            )
        assert samples.teacher is not None
        landscape = GaussianAttentionLandscape(
            samples.teacher, self.activation, ridge=self.ridge, covariance=self.covariance
        )
        start = network_start(landscape, jax.random.fold_in(samples.key, 4))
        return Problem(landscape, start, levels=named_levels(np.asarray(self.spectrum)))


def _saddles(landscape: MLPAttentionLandscape, positions: Array) -> Saddle:
    """Exact saddles made of the teacher's neurons."""

    def saddle(key: Key[Array, ""], size: int, missing: Sequence[int]) -> Ensemble:
        return saddle_ensemble(key, landscape, positions, missing, size, spread=0.3)

    return saddle


def named_levels(eigenvalues: np.ndarray) -> dict[str, float]:
    """All levels where features are few, else those that miss only the smallest features."""
    count = eigenvalues.size
    if count <= 4:
        chosen = saddle_levels(eigenvalues)
    else:
        tails = [tuple(range(first, count)) for first in range(count + 1)]
        chosen = {missing: saddle_level(eigenvalues, missing) for missing in tails}
    return {
        f"missing {missing_name(missing)}" if missing else "minimum": level
        for missing, level in chosen.items()
    }


def compositions(landscape: MLPAttentionLandscape) -> list[str]:
    """What each eigen-feature is made of: its three largest loadings on the given targets."""
    loadings = np.asarray(feature_loadings(landscape))
    return [
        " ".join(f"{column[i]:+.2f}·f{i + 1}" for i in np.argsort(-np.abs(column))[:3])
        for column in loadings.T
    ]


def run_claims(
    landscape: MLPAttentionLandscape, eigenvalues: np.ndarray, exact: bool, run: Run
) -> list[Claim]:
    """In the two-timescale limit the loss is what the missing features carry."""
    attributes = run.trajectory.attrs
    limit = attributes.get("timescale_ratio") == "limit"
    if not (exact and limit and attributes.get("landscape") == type(landscape).__name__):
        return []
    missing = 1 - run.trajectory["learned_fraction"].values[-1][: eigenvalues.size]
    return [
        Claim.equal(
            "final loss is ½Σ λ_j (1 − learned fraction_j)",
            "KS24; theory 2",
            0.5 * float(eigenvalues @ missing),
            float(run.trajectory["loss"][-1]),
            relative=1e-6 if landscape.x.dtype == np.float64 else 1e-3,
            absolute=1e-9,
        )
    ]
