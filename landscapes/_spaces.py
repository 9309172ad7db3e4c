"""Where particles live, given by the point that the stored numbers of a particle stand for."""

from __future__ import annotations

import abc

import equinox as eqx
import jax
from jaxtyping import PyTree

from particles import Ensemble

from ._warnings import StartWarning


class Space(eqx.Module):
    """Abstract base: write `point`.

    A landscape on a space is L ∘ ψ, ψ the point. All its derived functions are right without
    knowing of it: they are slopes of a function of the stored numbers. (theory.md, section 11)
    """

    @abc.abstractmethod
    def point(self, particle: PyTree) -> PyTree:
        """ψ(θ), the point that a particle stands for."""

    def concerns(self, ensemble: Ensemble) -> list[StartWarning]:
        """What may mislead in a run from this ensemble."""
        return []


@eqx.filter_jit  # one program where a start is brought onto the manifold
def all_points(space: Space, particles: PyTree) -> PyTree:
    """ψ of every particle along the leading axis."""
    return jax.vmap(space.point)(particles)
