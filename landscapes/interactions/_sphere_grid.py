"""The uniform measure on the sphere as weighted points that integrate polynomials exactly."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from particles import Ensemble, InvalidInput


def sphere_grid(dim: int, order: int) -> Ensemble:
    """The uniform measure on the unit sphere: Gauss nodes by equal angles, 2 orderᵈ⁻¹ points.

    Exact for polynomials of degree 2 order − 1. (theory.md, section 11)

    Args:
        dim: d ≥ 2, numbers in a point.
        order: nodes along each coordinate.

    Raises:
        InvalidInput: a dimension below 2, or an order below 1.

    Example:
        >>> mu = sphere_grid(3, 4)
        >>> square = mu.particles[:, 0] ** 2
        >>> mu.size, round(float(mu.probabilities @ square), 6)
        (32, 0.333333)
    """
    if dim < 2 or order < 1:
        raise InvalidInput(f"dim is {dim} and order {order}; they must be at least 2 and 1.")
    points, weights = _nodes(dim, order)
    return Ensemble(jnp.asarray(points, float), jnp.asarray(weights, float))


def _nodes(
    dim: int, order: int
) -> tuple[Float[np.ndarray, "points dim"], Float[np.ndarray, " points"]]:
    """Points (t, √(1 − t²) y) with y on the sphere of one dimension less, and their weights."""
    from scipy.special import roots_gegenbauer

    if dim == 2:
        angles = np.pi * np.arange(2 * order) / order
        return np.stack([np.cos(angles), np.sin(angles)], 1), np.full(2 * order, 0.5 / order)
    inner, shares = _nodes(dim - 1, order)
    # The law of one coordinate is (1 − t²)^{(d − 3)/2}.
    along, weights = roots_gegenbauer(order, dim / 2 - 1)
    around = np.sqrt(1 - along**2)[:, None, None] * inner
    first = np.broadcast_to(along[:, None, None], (*around.shape[:2], 1))
    points = np.concatenate([first, around], axis=2).reshape(-1, dim)
    return points, np.outer(weights / weights.sum(), shares).ravel()
