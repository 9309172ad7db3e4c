"""The optimality gap: how far the first variation says L could fall, and where mass should go."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree
from threadpoolctl import threadpool_limits

from particles import Ensemble, InvalidInput
from particles.internal import coordinates, to_device

from .._abstract import AbstractLandscape
from .._precisely import compiled_precisely
from .._variations import FirstVariation
from ._directions import particle_from
from ._field import seen_at
from ._sections import MixtureSection, section_values

Box = tuple[PyTree, PyTree]


class OptimalityGap(NamedTuple):
    """What −min_θ (δL/δμ)(θ), centred, says of an ensemble.

    Args:
        gap: that number, over the box searched; in units of the loss. The search may have missed
            the minimum, so it is a lower estimate of the true one.
        particle: where the minimum was found: the best single particle to add.
        bound: whether the risk is convex in the moments, so that L(μ) − L(ν) ≤ gap for every ν on
            the box; otherwise the gap is the steepest slope of (1 − t) μ + t δ_θ, a direction.
        value: L(μ).
        share: the mass t to move to that particle that lowers L most, of a grid of shares.
        value_after: L((1 − t) μ + t δ_θ) there.
        box: lowest and highest value of every parameter.
        agreed: of the descents, how many ended at this minimum (within one per cent of the gap).
        descents: how many there were; none where the first variation is flat to round-off.
    """

    gap: float
    particle: PyTree
    bound: bool
    value: float
    share: float
    value_after: float
    box: Box
    agreed: int
    descents: int

    @property
    def lowest(self) -> float | None:
        """A bound from below of L on the box, `None` where the gap is none."""
        return self.value - self.gap if self.bound else None

    @property
    def sentence(self) -> str:
        """What the gap means, in words."""
        found = f"Optimality gap {self.gap:.4g} ({self.agreed} of {self.descents} descents agree)"
        if self.descents == 0:
            found = f"Optimality gap {self.gap:.1e}: the first variation is flat to round-off"
        if self.bound:
            return (
                f"{found}. The risk is convex in the moments, so no measure on the box searched "
                f"has a loss below L − gap = {self.value - self.gap:.4g}."
            )
        return (
            f"{found}. The risk is not convex in the moments, so this bounds nothing: it is a "
            f"direction. Moving a share {self.share:.3g} of the mass to the particle found "
            f"takes L from {self.value:.4g} to {self.value_after:.4g}."
        )


def optimality_gap(
    key: Key[Array, ""],
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    fast: PyTree | None = None,
    *,
    box: Box | None = None,
    candidates: int = 1024,
    descents: int = 32,
    chunk: int | None = None,
) -> OptimalityGap:
    """Search the parameter space for the particle whose mass would lower the loss fastest.

    The centred first variation is evaluated at all particles and at random points of a box; from
    the best of both, bounded descents (scipy's L-BFGS-B) go down. For a risk convex in the moments
    the result is the Frank–Wolfe certificate L(μ) − min_ν L(ν) ≤ gap, ν on the box; `bound` says
    so. The box matters: output weights without limits make the gap infinite.
    (theory.md, sections 1 and 2; CB18)

    Args:
        key: draws the random points.
        landscape: any landscape.
        ensemble: μ.
        fast: frozen fast variables; `None` for the two-timescale limit.
        box: lowest and highest values, each like one particle, or a number for all; by default
            the smallest box that holds the ensemble and is symmetric about zero.
        candidates: random points looked at.
        descents: from how many of the best points.
        chunk: particles held at once.

    Raises:
        InvalidInput: an empty box, fewer than one descent or candidate, or an ensemble of another
            landscape.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.ones((1, 1)), w=jnp.ones((1, 1))))
        >>> found = optimality_gap(jax.random.key(0), landscape, mu)
        >>> found.gap, found.bound  # already the best on |a|, |w| ≤ 1
        (0.0, True)
    """
    from scipy.optimize import minimize

    landscape.require_fit(ensemble)
    if descents < 1 or candidates < 1:
        raise InvalidInput(
            f"descents is {descents} and candidates is {candidates}; both must be positive."
        )
    rows = np.asarray(coordinates(ensemble), float)
    low, high = _checked_box(box, ensemble, rows)
    value = landscape.value(ensemble, fast, chunk=chunk)
    variation = landscape.first_variation(ensemble, fast, chunk=chunk)
    drawn = low + (high - low) * np.asarray(jax.random.uniform(key, (candidates, low.size)), float)
    (at_particles, _), (at_spots, _) = seen_at(variation, ensemble, [rows, drawn], chunk)
    mean = float(np.asarray(ensemble.probabilities, float) @ at_particles)
    inside = np.all((rows >= low) & (rows <= high), axis=1)
    points = np.concatenate([rows[inside], drawn])
    heights = np.concatenate([at_particles[inside], at_spots]) - mean
    # Half of the descents from particles, whose neighbourhood the flow has explored, half from
    # elsewhere.
    count = min(descents // 2, int(inside.sum()))
    starts = np.concatenate(
        [
            np.argsort(heights[: inside.sum()])[:count],
            inside.sum() + np.argsort(heights[inside.sum() :])[: descents - count],
        ]
    )
    scale = float(np.max(np.abs(heights)))
    best = int(np.argmin(heights))
    place, lowest, ends = points[best], heights[best], np.zeros(0)
    # Below that the field is round-off, and there is nothing to descend.
    if scale > 100 * float(jnp.finfo(value.dtype).eps) * abs(float(value)):
        one = particle_from(ensemble, rows[0])

        def lowered(row: np.ndarray) -> tuple[float, np.ndarray]:
            height, slope = _potential(variation, one, to_device(row))
            return (float(height) - mean) / scale, np.asarray(slope, float) / scale

        bounds = list(zip(low, high, strict=True))
        with threadpool_limits(1):  # threads take ten times as long as these few numbers do
            found = [
                minimize(lowered, points[start], jac=True, method="L-BFGS-B", bounds=bounds)
                for start in starts
            ]
        ends = scale * np.array([float(end.fun) for end in found])
        if ends.min() < lowest:
            place, lowest = found[int(np.argmin(ends))].x, ends.min()
    gap = max(0.0, -float(lowest))
    particle = particle_from(ensemble, place)
    share, after = _best_share(landscape, ensemble, particle, fast, chunk)
    return OptimalityGap(
        gap=gap,
        particle=particle,
        bound=landscape.convex,
        value=float(value),
        share=share,
        value_after=after,
        box=(particle_from(ensemble, low), particle_from(ensemble, high)),
        agreed=int(np.sum(ends <= lowest + 0.01 * gap)),
        descents=ends.size,
    )


@compiled_precisely
def _potential(
    variation: FirstVariation, like: PyTree, row: Float[Array, " parameters"]
) -> tuple[Float[Array, ""], Float[Array, " parameters"]]:
    """The first variation, up to a constant, and its gradient at one particle as numbers."""
    flat, unravel = ravel_pytree(like)

    def height(row: Array) -> Array:
        return variation.potential(unravel(row))

    return jax.value_and_grad(height)(row.astype(flat.dtype))


def _best_share(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    particle: PyTree,
    fast: PyTree | None,
    chunk: int | None,
) -> tuple[float, float]:
    """The t in [0, 1] that makes L((1 − t) μ + t δ_θ) smallest, of a fine logarithmic grid."""
    shares = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 60)])
    alone = Ensemble(jax.tree.map(lambda leaf: leaf[None], particle))
    section = MixtureSection(landscape.mixture(ensemble, (alone,), chunk=chunk))
    dtype = jax.tree.leaves(ensemble.particles)[0].dtype
    losses = np.asarray(
        section_values(landscape, section, to_device(shares[:, None], dtype), fast), float
    )
    best = int(np.nanargmin(losses))
    return float(shares[best]), float(losses[best])


def _checked_box(
    box: Box | None, ensemble: Ensemble, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    if box is None:
        reach = np.max(np.abs(rows), axis=0)
        return -reach, reach
    low, high = (
        _side(ensemble, side, name) for side, name in zip(box, ("low", "high"), strict=True)
    )
    if not (np.isfinite(low).all() and np.isfinite(high).all() and np.all(low <= high)):
        raise InvalidInput(
            "box has a side that is empty or not finite; give (low, high) with low ≤ high for "
            "every parameter."
        )
    return low, high


def _side(ensemble: Ensemble, side: PyTree, name: str) -> np.ndarray:
    one = jax.tree.map(lambda leaf: leaf[0], ensemble.particles)
    if isinstance(side, int | float):
        side = jax.tree.map(lambda leaf: jnp.full_like(leaf, side), one)
    row = np.concatenate([np.asarray(leaf, float).ravel() for leaf in jax.tree.leaves(side)])
    size = sum(leaf.size for leaf in jax.tree.leaves(one))
    if row.size != size:
        raise InvalidInput(f"box: {name} holds {row.size} numbers; a particle has {size}.")
    return row
