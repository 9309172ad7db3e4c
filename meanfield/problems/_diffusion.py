"""Problems of particles that spread, swarm and gather: diffusion, attraction, chemotaxis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import jax
from jaxtyping import Key

from landscapes import (
    AbstractLandscape,
    AttractionRepulsionLandscape,
    BlobLandscape,
    ChemotaxisLandscape,
    Sum,
)
from particles import gaussian

from ._options import NonNegative, Positive, Range
from ._problem import Problem

Dim = Annotated[int, Range(1, 1000)]
Exponent = Annotated[float, Range(-1000, 100)]


@dataclass(frozen=True)
class Diffusion:
    """Heat and porous medium, ∂μ = σ Δμ^m, by smoothed densities instead of noise (CCP19).

    A potential ½λ‖x‖² is `--flow.confinement`.

    Example:
        >>> Diffusion(exponent=2.0).build(jax.random.key(0)).landscape.exponent
        2.0
    """

    dim: Dim = 1
    """Numbers in a particle."""
    width: Positive = 0.3
    """ε, standard deviation of the kernel that smooths; wider than the gaps between particles."""
    exponent: Annotated[float, Range(0, 100, open_low=True)] = 1.0
    """m: 1 is heat, above a porous medium, below fast diffusion."""
    strength: Positive = 1.0
    """Coefficient of diffusion σ."""

    def build(self, key: Key[jax.Array, ""]) -> Problem:
        """The problem; it draws nothing."""
        return _from_normal(BlobLandscape(self.dim, self.width, self.exponent, self.strength))


@dataclass(frozen=True)
class AttractionRepulsion:
    """Particles that attract and repel each other by |x|^a/a − |x|^b/b; b = 0 is −log |x| (FH11).

    Example:
        >>> AttractionRepulsion(dim=1, repulsion=1.0).build(jax.random.key(0)).levels
        {'uniform on the ball': -0.16666666666666666}
    """

    dim: Dim = 2
    """Numbers in a particle."""
    attraction: Annotated[float, Range(0, 100, open_low=True)] = 2.0
    """a."""
    repulsion: Exponent = 0.0
    """b, below a and above −dim; 0 is the logarithm."""

    def build(self, key: Key[jax.Array, ""]) -> Problem:
        """The problem; it draws nothing.

        Raises:
            InvalidInput: a repulsion that is not integrable, or not below the attraction.
        """
        landscape = AttractionRepulsionLandscape(self.dim, self.attraction, self.repulsion)
        levels = {}
        if landscape.fills_ball:
            levels["uniform on the ball"] = landscape.ball_level
        elif self.dim > 1 and self.repulsion > 1 - self.dim and self.repulsion:
            levels["uniform on the sphere"] = landscape.sphere_level
        return _from_normal(landscape, levels)


@dataclass(frozen=True)
class KellerSegel:
    """Cells that attract each other by log |x| and diffuse: beyond a mass they collapse (BDP06).

    Example:
        >>> found = KellerSegel(mass=0.5).build(jax.random.key(0)).landscape
        >>> round(float(found.terms[0].strength) / 3.14159265, 6)
        4.0
    """

    dim: Dim = 2
    """Numbers in a particle; 2 is the equation's own."""
    mass: Positive = 0.5
    """Attraction χ over the critical one, 4πd."""
    softening: Positive = 0.1
    """δ, the length below which attraction ends."""
    width: NonNegative = 0.4
    """ε of the smoothed entropy; 0 leaves diffusion to noise, `--flow.temperature 1`."""

    def build(self, key: Key[jax.Array, ""]) -> Problem:
        """The problem; it draws nothing."""
        one = ChemotaxisLandscape(self.dim, 1.0, self.softening)
        cells = one.replace(strength=self.mass * one.critical)
        return _from_normal(
            Sum(cells, BlobLandscape(self.dim, self.width)) if self.width else cells
        )


def _from_normal(landscape: AbstractLandscape, levels: dict[str, float] | None = None) -> Problem:
    return Problem(
        landscape,
        lambda key, size, points="random": gaussian(key, size, landscape.particle, points=points),
        levels=levels or {},
    )
