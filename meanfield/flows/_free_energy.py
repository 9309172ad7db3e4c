"""The free energy, which Langevin dynamics descends."""

from __future__ import annotations

from landscapes import AbstractLandscape
from particles import Ensemble, entropy


def free_energy(
    landscape: AbstractLandscape, ensemble: Ensemble, temperature: float, *, neighbours: int = 4
) -> float:
    """L(μ) + τ ∫ log μ dμ, which Langevin dynamics at temperature τ descends (HRSS21).

    Args:
        landscape: gives L.
        ensemble: N particles of equal weight; `entropy` explains the estimate and its errors.
        temperature: τ.
        neighbours: of the entropy's estimate.

    Raises:
        InvalidInput: as `entropy`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import Confined, Neuron, RegressionLandscape
        >>> from particles import gaussian
        >>> flat = RegressionLandscape(jnp.zeros((1, 1)), jnp.ones((1, 1)), "relu")
        >>> landscape = Confined(flat, 1.0)  # ½‖θ‖² and a constant: N(0, τ) minimises
        >>> draw = lambda s: gaussian(jax.random.key(0), 2000, landscape.particle, scale=s)
        >>> free_energy(landscape, draw(0.5), 0.25) < free_energy(landscape, draw(0.7), 0.25)
        True
    """
    value = float(landscape.value(ensemble))
    return value - temperature * entropy(ensemble, neighbours=neighbours)
