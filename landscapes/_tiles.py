"""Landscapes of a symmetric function of two particles, summed in tiles: what they share."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from particles import Ensemble, InvalidInput
from particles.internal import chunk_for

from ._abstract import AbstractLandscape, described, require_ensemble

#: Arrays of the size of a particle that a pair needs while it is worked on.
COPIES = 2
#: Particles looked at for the symmetry of `pair`.
LOOKED_AT = 6


class TiledLandscape(AbstractLandscape):
    """A landscape of sums over pairs in tiles of chunk × chunk: N² work, memory of one tile.

    `PairLandscape` and `DensityLandscape` derive everything else, each in its way.
    (theory.md, section 11)
    """

    pairwise: ClassVar[bool] = True

    @abc.abstractmethod
    def pair(self, particle: PyTree, other: PyTree) -> Float[Array, ""]:
        """A number for two particles, symmetric."""

    def features(self, particle: PyTree) -> PyTree:
        """What is recorded of a measure: by default its mean and its second moments."""
        return particle, jax.tree.map(jnp.square, particle)

    def interaction(
        self, particles: PyTree, others: PyTree, weights: Float[Array, " others"]
    ) -> Float[Array, " particles"]:
        """Σ_j w_j pair(θ_i, θ_j) of every particle. Override it where that is faster."""

        def row(particle: PyTree) -> Array:
            return jnp.sum(weights * jax.vmap(lambda other: self.pair(particle, other))(others))

        return jax.vmap(row)(particles)

    def particle_bytes(self, particle: PyTree) -> int:
        """Memory of a row of a tile."""
        return 1024 * _pair_bytes(particle)

    def chunk(self, ensemble: Ensemble, chunk: int | None = None) -> int:
        """Side of a tile: `chunk` if given, else so that a tile fits the budget.

        Raises:
            InvalidInput: `chunk` is not positive.
        """
        if chunk is not None:
            return super().chunk(ensemble, chunk)
        one = jax.eval_shape(lambda p: jax.tree.map(lambda x: x[0], p), ensemble.particles)
        pairs = chunk_for(2**40, _pair_bytes(one))
        return chunk_for(ensemble.size, 1, budget=math.isqrt(pairs))

    def require_fit(self, ensemble: Ensemble) -> None:
        """Refuse particles of another landscape, and a `pair` not symmetric at some of them.

        Raises:
            InvalidInput: names the shapes found and needed, or by how much `pair` differs.
        """
        super().require_fit(ensemble)
        self._require_number(ensemble)
        few = jax.tree.map(lambda leaf: leaf[:LOOKED_AT], ensemble.particles)
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((self, few))):
            return
        table = np.asarray(_table(self, few), float)
        if not np.isfinite(table).all():
            return  # the run says which particle it is
        scale, off = np.abs(table).max(), np.abs(table - table.T).max()
        if off > 1e3 * float(jnp.finfo(jnp.result_type(*jax.tree.leaves(few))).eps) * scale:
            raise InvalidInput(
                f"pair of {type(self).__name__} is not symmetric: W(θ, θ') − W(θ', θ) is {off:.3g} "
                f"where W is up to {scale:.3g}; give ½(W(θ, θ') + W(θ', θ))."
            )

    def _functions(self, one: PyTree) -> dict[str, tuple[Callable, tuple]]:
        """What is written for a landscape, by name, with what it is given of particles."""
        return {"pair": (self.pair, (one, one))}

    def _require_number(self, ensemble: Ensemble) -> None:
        require_ensemble(ensemble)
        one = jax.eval_shape(lambda p: jax.tree.map(lambda x: x[0], p), ensemble.particles)
        for name, (fn, given) in self._functions(one).items():
            found = jax.eval_shape(fn, *given)
            if getattr(found, "shape", None) != () or not jnp.issubdtype(found.dtype, jnp.floating):
                raise InvalidInput(
                    f"{name} of {type(self).__name__} returned {described(found)}; it must return "
                    "one floating-point number, an array of shape ()."
                )


@eqx.filter_jit
def _table(landscape: TiledLandscape, particles: PyTree) -> Float[Array, "few few"]:
    row = lambda one: jax.vmap(lambda other: landscape.pair(one, other))(particles)  # noqa: E731
    return jax.vmap(row)(particles)


def _pair_bytes(particle: PyTree) -> int:
    leaves = jax.tree.leaves(particle)
    return COPIES * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def require_no_fast(fast: PyTree | None) -> None:
    """Refuse fast variables, which no energy of pairs has."""
    if fast is not None:
        raise InvalidInput("fast is given, but pair interactions have no fast variables.")
