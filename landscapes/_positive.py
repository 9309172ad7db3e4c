"""Positive numbers, stored so that their metric is flat and no step leaves them."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, PyTree

from particles import Ensemble, InvalidInput
from particles.internal import leaf_names, to_host

from ._spaces import Space
from ._warnings import StartWarning, ZeroWeightWarning


class Positive(Space):
    """Leaves of a particle that are positive: w > 0 is stored as r with w = r²/4.

    The flat metric of r is dr² = dw²/w, that of Fisher and Rao; the flow is dw/dt = −w ∂_w δL/δμ,
    which multiplies a weight and never changes its sign. Noise and momenta act on r, of which both
    signs stand for the same weight. (theory.md, section 11; CHI19)

    Args:
        *names: of the leaves, such as "weight", or "layer.gain" of a nested particle; none for all.

    Raises:
        InvalidInput: where a particle lacks one of the leaves.

    Example:
        >>> chart = Positive("weight")
        >>> stored = chart.stored({"weight": jnp.array([1.0, 4.0]), "position": jnp.zeros(2)})
        >>> stored["weight"].tolist(), chart.point(stored)["weight"].tolist()
        ([2.0, 4.0], [1.0, 4.0])
    """

    names: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, *names: str):
        self.names = names

    def point(self, particle: PyTree) -> PyTree:
        """The weight r²/4 in the place of r; of one particle or of many."""
        return self._each(lambda name, r: r**2 / 4, particle)

    def stored(self, particle: PyTree) -> PyTree:
        """The number 2√w in the place of w; of one particle or of many.

        Raises:
            InvalidInput: a weight that is not positive.
        """
        return self._each(_root, particle)

    def concerns(self, ensemble: Ensemble) -> list[StartWarning]:
        """Particles that no flow gives a weight to."""
        counts: list[int] = []
        self._each(lambda name, r: counts.append(int(jnp.sum(r == 0))), ensemble.particles)
        if not sum(counts):
            return []
        return [
            ZeroWeightWarning(
                f"ensemble holds {sum(counts)} weights of zero, which stay zero without noise; "
                "start from positive ones."
            )
        ]

    def _each(self, fn: Callable[[str, Array], object], tree: PyTree) -> PyTree:
        """The tree with a function of the positive leaves in their place."""
        known = leaf_names(tree)
        missing = [name for name in self.names if name not in known]
        if missing:
            raise InvalidInput(
                f"names holds {missing[0]!r}, which is no leaf of a particle; it has {known}."
            )
        leaves, structure = jax.tree.flatten(tree)
        changed = [
            fn(name, leaf) if not self.names or name in self.names else leaf
            for name, leaf in zip(known, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, changed)


def _root(name: str, weight: Array) -> Array:
    weight = jnp.asarray(weight)
    if not isinstance(weight, Tracer) and not (host := to_host(weight)).min() > 0:
        raise InvalidInput(f"{name} is {float(host.min())} somewhere; all must be positive.")
    return 2 * jnp.sqrt(weight)
