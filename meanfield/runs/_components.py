"""Statistics that follow a run's position along chosen directions."""

from __future__ import annotations

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from particles import Ensemble

from ..flows import AbstractFlow, FlowState
from ._records import Statistic


class _Component(eqx.Module):
    origin: Ensemble
    field: PyTree

    def __call__(self, flow: AbstractFlow, state: FlowState) -> Float[Array, ""]:
        moved = jax.tree.map(
            lambda now, then: now - then, state.ensemble.particles, self.origin.particles
        )
        return self.origin.inner(moved, self.field)


def component(name: str, origin: Ensemble, field: PyTree) -> Statistic:
    """⟨θ(t) − θ_origin, u⟩ in L²(μ): how far a run has moved along a vector field.

    Args:
        name: of the statistic.
        origin: the ensemble to measure from, particle by particle.
        field: the direction u, leaves `(particles, ...)`; of unit norm for a length.
    """
    return Statistic(name, _Component(origin, field), units="particle")
