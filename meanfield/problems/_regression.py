"""The regression problem: a two-layer network in the mean-field limit (CB18)."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
from jaxtyping import Array, Key

from landscapes import RegressionLandscape
from landscapes.networks import GaussianRegressionLandscape

from ._hermite_targets import truncation_claims
from ._networks import NetworkOptions, network_redraws, network_start
from ._problem import Problem

REALISABLE = {"global minimum of the realisable task": 0.0}


@dataclass(frozen=True)
class Regression(NetworkOptions):
    """Least squares by a two-layer network, on the same data as the attention problem (CB18).

    Example:
        >>> Regression(dim=3, samples=64).build(jax.random.key(0)).landscape.f.shape
        (64, 3)
    """

    def build(self, key: Key[Array, ""]) -> Problem:
        """The problem that a key draws.

        Raises:
            InvalidInput: an option out of range, or a data file that cannot be used.
        """
        samples = self.draw(key)
        start_key = jax.random.fold_in(samples.key, 4)
        if self.inputs == "gaussian-pairs":
            assert samples.teacher is not None
            pairs = GaussianRegressionLandscape(samples.teacher, self.activation, self.covariance)
            return Problem(pairs, network_start(pairs, start_key), levels=REALISABLE)
        landscape = RegressionLandscape(samples.x, samples.f, self.activation)
        fresh = samples.fresh
        return Problem(
            landscape,
            network_start(landscape, start_key),
            redraws=network_redraws(landscape, samples, self.distribution),
            levels=REALISABLE if fresh is not None else {},
            claims=functools.partial(truncation_claims, landscape, samples.teacher),
            fresh=None if fresh is None else lambda: RegressionLandscape(*fresh(), self.activation),
        )
