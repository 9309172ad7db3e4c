"""The free energy, which Langevin dynamics descends."""

from __future__ import annotations

from landscapes import Landscape
from particles import Ensemble, entropy


def free_energy(
    landscape: Landscape, ensemble: Ensemble, temperature: float, *, neighbours: int = 4
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
        >>> import jax
        >>> from landscapes import Confined, Neuron, RegressionLandscape
        >>> from particles import gaussian
        >>> zero = RegressionLandscape(jnp.zeros((1, 1)), jnp.zeros((1, 1)), "relu")
        >>> landscape = Confined(zero, 1.0)  # with no data, ½‖θ‖² alone: N(0, τ) minimises
        >>> draw = lambda s: gaussian(jax.random.key(0), 2000, landscape.particle, scale=s)
        >>> free_energy(landscape, draw(0.5), 0.25) < free_energy(landscape, draw(0.7), 0.25)
        True
    """
    value = float(landscape.value(ensemble))
    return value - temperature * entropy(ensemble, neighbours=neighbours)
