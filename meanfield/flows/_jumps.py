"""What happens to an ensemble between two steps of a scheme: diffusion and resampling."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from landscapes import Landscape
from particles import Ensemble, entropy


def diffused(
    key: Key[Array, ""], ensemble: Ensemble, variance: Float[Array, ""] | float
) -> Ensemble:
    """Independent normal noise of the given variance on every coordinate of every particle."""
    leaves, structure = jax.tree.flatten(ensemble.particles)
    scale = jnp.sqrt(jnp.asarray(variance))
    moved = [
        leaf + scale.astype(leaf.dtype) * jax.random.normal(k, leaf.shape, leaf.dtype)
        for k, leaf in zip(jax.random.split(key, len(leaves)), leaves, strict=True)
    ]
    return ensemble.with_particles(jax.tree.unflatten(structure, moved))


def resampled(key: Key[Array, ""], ensemble: Ensemble, below: Float[Array, ""] | float) -> Ensemble:
    """Particles redrawn in proportion to their weights, once few carry most of the mass.

    Systematic resampling: particle i appears ⌊N p_i⌋ or ⌈N p_i⌉ times, N p_i on average, with equal
    weights. Nothing changes while 1/Σp² ≥ `below`·N, or without weights.
    """
    if ensemble.weights is None:
        return ensemble
    size = ensemble.size
    shift = jax.random.uniform(key, (), ensemble.weights.dtype)
    points = (jnp.arange(size) + shift) / size
    rows = jnp.minimum(jnp.searchsorted(jnp.cumsum(ensemble.weights), points), size - 1)
    redrawn = ensemble.with_particles(jax.tree.map(lambda leaf: leaf[rows], ensemble.particles))
    redrawn = redrawn.with_weights(jnp.full_like(ensemble.weights, 1 / size))
    few = ensemble.effective_size < below * size
    return jax.tree.map(lambda new, old: jnp.where(few, new, old), redrawn, ensemble)


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
