"""Differential entropy of an ensemble, from the distances to its nearest neighbours."""

from __future__ import annotations

import math

import numpy as np

from ._ensemble import Ensemble
from ._errors import InvalidInput
from ._mesh import to_host
from ._transport import coordinates


def entropy(ensemble: Ensemble, *, neighbours: int = 4) -> float:
    """−∫ log μ dμ in nats, estimated from N i.i.d. particles (KL87).

    ψ(N) − ψ(k) + log V_p + (p/N) Σ_i log ε_i, with ε_i the distance to the k-th neighbour. Its
    standard error falls as N^(−1/2); the bias grows with the dimension p and is sizeable above
    about ten. Entropic noise at temperature τ descends L(μ) − τ · entropy, the free energy.

    Args:
        ensemble: N particles of equal weight, no two of them equal.
        neighbours: k ≥ 1; more means less variance and more bias.

    Raises:
        InvalidInput: unequal weights, too few particles, or coinciding ones.

    Example:
        >>> import jax
        >>> mu = Ensemble(jax.random.normal(jax.random.key(0), (4000, 2)))
        >>> abs(entropy(mu) - (1 + math.log(2 * math.pi))) < 0.05  # of the standard normal
        True
    """
    if not 1 <= neighbours < ensemble.size:
        raise InvalidInput(
            f"neighbours is {neighbours}; it must lie between 1 and N − 1 = {ensemble.size - 1}."
        )
    if ensemble.weights is not None and np.ptp(to_host(ensemble.weights)) > 0:
        raise InvalidInput("ensemble has unequal weights; resample it before taking its entropy.")
    from scipy.spatial import KDTree
    from scipy.special import digamma, gammaln

    points = np.asarray(to_host(coordinates(ensemble)), float)
    size, dim = points.shape
    distances = KDTree(points).query(points, k=neighbours + 1)[0][:, neighbours]
    if not distances.min() > 0:
        raise InvalidInput(
            f"ensemble has particles that coincide with {neighbours} others; such a measure has no "
            "density, and its entropy is −∞."
        )
    ball = 0.5 * dim * math.log(math.pi) - float(gammaln(0.5 * dim + 1))
    return float(digamma(size) - digamma(neighbours) + ball + dim * np.log(distances).mean())
