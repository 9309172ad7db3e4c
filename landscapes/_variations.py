"""What a landscape gives of itself at a measure: to first and second order, along mixtures."""

from __future__ import annotations

import abc
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from particles import Ensemble
from particles.internal import scaled

from ._precisely import compiled_precisely

Part = Literal["full", "interaction"]


class FirstOrder(NamedTuple):
    """What a flow sees of L at an ensemble.

    Args:
        value: L(μ).
        moments: ∫ Φ dμ.
        gradient: ∇_θ δL/δμ[μ] at every particle.
        slope: ∇_fast L; `None` in the two-timescale limit.
        potential: δL/δμ[μ] at every particle, up to a constant; `None` where not asked for.
        mobility: m > 0 at every particle; `None` where it is one.
    """

    value: Float[Array, ""]
    moments: PyTree
    gradient: PyTree
    slope: PyTree | None
    potential: Float[Array, " particles"] | None
    mobility: Float[Array, " particles"] | None = None

    @property
    def velocity(self) -> PyTree:
        """−m ∇_θ δL/δμ[μ] at every particle."""
        down = jax.tree.map(jnp.negative, self.gradient)
        return down if self.mobility is None else scaled(down, self.mobility)

    def metric(self, ensemble: Ensemble) -> Ensemble:
        """The ensemble with weights p/m."""
        if self.mobility is None:
            return ensemble
        return ensemble.with_weights(ensemble.probabilities / self.mobility)


class FirstVariation(eqx.Module):
    """δL/δμ[μ] as a function on the parameter space. Call it with one particle; `vmap` for many.

    Args:
        mean: the μ-mean of `potential`; calls subtract it.
    """

    mean: eqx.AbstractVar[Float[Array, ""]]

    @abc.abstractmethod
    def potential(self, particle: PyTree) -> Float[Array, ""]:
        """δL/δμ at one particle, up to the constant `mean`."""

    @abc.abstractmethod
    def potential_and_gradient(
        self, points: Ensemble, *, chunk: int | None = None
    ) -> tuple[Float[Array, " particles"], PyTree]:
        """`potential` and its gradient at many points, streamed; their weights play no part."""

    @compiled_precisely
    def __call__(self, particle: PyTree) -> Float[Array, ""]:
        """δL/δμ at one particle, centred to zero μ-mean."""
        return self.potential(particle) - self.mean


class SecondVariation(eqx.Module):
    """δ²L/δμ²[μ] as a function of two particles, up to what a centring removes."""

    @abc.abstractmethod
    def __call__(self, particle: PyTree, other: PyTree) -> Float[Array, ""]:
        """δ²L/δμ² at a pair of particles."""


class Curvature(eqx.Module):
    """The Wasserstein Hessian at an ensemble, prepared for many products."""

    @abc.abstractmethod
    def __call__(self, field: PyTree, part: Part = "full") -> PyTree:
        """Hu for a vector field u at the particles; `HessianOperator` tells what the parts are."""


class Mixture(eqx.Module):
    """L along (1 − Σ_j c_j) μ + Σ_j c_j ν_j."""

    @abc.abstractmethod
    def __call__(self, c: Float[Array, " axes"], fast: PyTree | None = None) -> Float[Array, ""]:
        """L at coordinates c; smooth in them."""
