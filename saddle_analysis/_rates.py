"""Improvement rates: first order away from critical points, second order near them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
from jaxtyping import Float, PyTree

from landscapes import AbstractLandscape
from particles import Ensemble, InvalidInput

from .spectra import Eigenpairs


@dataclass(frozen=True)
class SecondOrderPrediction:
    """Loss near a saddle as its negative eigenpairs predict it.

    Args:
        rates: growth rates |λ_i| of the unstable components; 1/time.
        overlaps: their sizes c_i = ⟨u_i, ξ⟩ at time zero, in units of the particles.
        unstable: ‖projection of ξ on the unstable space‖ / ‖ξ‖.
    """

    rates: np.ndarray
    overlaps: np.ndarray
    unstable: float

    def decrease(self, times: Float[np.ndarray, " times"] | float) -> np.ndarray:
        """L(saddle) − L(t) = ½ Σ_i |λ_i| c_i² e^{2|λ_i|t}, while the linear regime lasts."""
        t = np.atleast_1d(np.asarray(times, float))
        return 0.5 * np.exp(2 * np.outer(t, self.rates)) @ (self.rates * self.overlaps**2)

    def time_to(self, fall: float) -> float:
        """When the loss has fallen by `fall` (loss units); infinite without an unstable component.

        Raises:
            InvalidInput: `fall` is not positive.
        """
        if not fall > 0:
            raise InvalidInput(f"fall is {fall}; it must be positive.")
        size = 0.5 * self.rates * self.overlaps**2
        grows = size > 0
        if not grows.any():
            return float("inf")
        offsets, rates = np.log(size[grows] / fall), 2 * self.rates[grows]

        def excess(time: float) -> float:
            return float(np.logaddexp.reduce(offsets + rates * time))

        if excess(0.0) >= 0:
            return 0.0
        # Any one component alone would take at least as long.
        latest = float(np.min(-offsets / rates))
        solve: Any = scipy.optimize.brentq
        return float(solve(excess, 0.0, latest * (1 + 1e-9)))


def dissipation(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    fast: PyTree | None = None,
    *,
    chunk: int | None = None,
) -> float:
    """−dL/dt along the flow, ∫ m ‖∇δL/δμ‖² dμ: the first-order improvement rate.

    (theory.md, section 1; KS24)

    Args:
        landscape: any landscape.
        ensemble: where to take it.
        fast: frozen fast variables; `None` for the two-timescale limit.
        chunk: particles held at once.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.array([[1.0]]), w=jnp.array([[1.0]])))
        >>> dissipation(landscape, mu)  # F = ½(2 − aw)²: both derivatives are −1
        2.0
    """
    found = landscape.first_order(ensemble, fast, chunk=chunk)
    return -float(ensemble.inner(found.gradient, found.velocity))


def second_order_prediction(
    pairs: Eigenpairs, ensemble: Ensemble, perturbation: PyTree
) -> SecondOrderPrediction:
    """What the negative eigenpairs at a saddle say of a run started beside it.

    Args:
        pairs: eigenpairs at the saddle, e.g. from `negative_eigenpairs`; only negative ones count.
        ensemble: the saddle; its `metric` on a landscape with a mobility.
        perturbation: displacement ξ of the particles, leaves `(particles, ...)`.

    Raises:
        InvalidInput: no eigenvalue is negative.
    """
    negative = np.flatnonzero(pairs.values < 0)
    if negative.size == 0:
        raise InvalidInput("pairs has no negative eigenvalue; there is no unstable space here.")
    overlaps = np.array([float(ensemble.inner(pairs.fields[i], perturbation)) for i in negative])
    total = float(ensemble.norm(perturbation))
    share = float(np.linalg.norm(overlaps)) / total if total > 0 else 0.0
    return SecondOrderPrediction(-pairs.values[negative], overlaps, share)
