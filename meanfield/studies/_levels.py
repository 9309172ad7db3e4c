"""Levels of (N, dt): the same particles and noise as one fine ensemble and as two coarse ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from particles import Ensemble, InvalidInput

from ..flows import AbstractFlow, SharedNoise
from ..runs import map_batch
from ._blocks import Draw

MOST_STEPS = 2**30


@dataclass(frozen=True)
class Level:
    """What one level has shown.

    Args:
        size: particles of its ensembles, N_0 2^l.
        dt: their step.
        cost: of one sample, in particles times steps, those of the coarse ensembles included.
        values: L(fine) − mean of L over the two halves as coarse ensembles, sample by sample; on
            level zero L itself.
    """

    size: int
    dt: float
    cost: float
    values: Float[np.ndarray, " samples"]

    @property
    def mean(self) -> float:
        """Over the samples."""
        return float(self.values.mean())

    @property
    def variance(self) -> float:
        """Of one sample."""
        return float(self.values.var(ddof=1))

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return math.sqrt(self.variance / self.values.size)

    @property
    def variance_error(self) -> float:
        """Standard error of the variance, from the fourth moment of the samples."""
        centred = (self.values - self.values.mean()) ** 2
        return float(centred.std(ddof=1)) / math.sqrt(self.values.size)


@dataclass(frozen=True)
class Sampler:
    """Draws the samples of levels; equal keys give equal samples, whatever was asked before.

    Args:
        flow: whose noise ensembles share.
        draw: i.i.d. particles.
        key: of all draws.
        horizon: flow time.
        steps: on level zero.
        smallest: particles on level zero.
        particles: drawn in one call, and cut into as many samples as they make.
    """

    flow: AbstractFlow
    draw: Draw
    key: Key[Array, ""]
    horizon: float
    steps: int
    smallest: int
    particles: int

    @property
    def refines_steps(self) -> bool:
        """Whether dt goes to zero with 1/N: with batches the step is a part of the dynamics."""
        return getattr(self.flow, "batch_size", None) is None

    def size(self, level: int) -> int:
        """Particles of an ensemble."""
        return self.smallest * 2**level

    def count(self, level: int) -> int:
        """Samples of one call."""
        return max(1, self.particles // self.size(level))

    def steps_of(self, level: int) -> int:
        """Steps to the horizon."""
        return self.steps * 2**level if self.refines_steps else self.steps

    def cost(self, level: int) -> float:
        """Of one sample, in particles times steps."""
        coarse = self.steps_of(level - 1) if level else 0
        return float(self.size(level) * (self.steps_of(level) + coarse))

    def sample(self, level: int, call: int) -> Float[np.ndarray, " samples"]:
        """The values of one call."""
        size, count = self.size(level), self.count(level)
        drawn, noisy = jax.random.split(
            jax.random.fold_in(
                jax.random.fold_in(jax.random.fold_in(self.key, self.smallest), level), call
            )
        )
        ensemble = self.draw(drawn, count * size)
        if ensemble.weights is not None:
            raise InvalidInput("draw gives weighted particles; levels need equal weights.")
        noise = None
        if self.flow.random:
            keys = jax.random.split(noisy, count)
            noise = jax.vmap(lambda key: SharedNoise.of(key, size))(keys)
        fine = self._losses(ensemble, noise, size, level)
        if level == 0:
            return fine
        if noise is not None:
            ratio = self.steps_of(level) // self.steps_of(level - 1)
            halves = jax.vmap(lambda one: one.blocks(size // 2, ratio))(noise)
            noise = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), halves)
        coarse = self._losses(ensemble, noise, size // 2, level - 1)
        return fine - coarse.reshape(count, 2).mean(axis=1)

    def _losses(
        self, drawn: Ensemble, noise: SharedNoise | None, size: int, level: int
    ) -> np.ndarray:
        cut = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), drawn)
        dtype = jax.tree.leaves(drawn)[0].dtype
        dt = jnp.asarray(self.horizon / self.steps_of(level), dtype)
        losses, sound = losses_at(self.flow, cut, noise, dt, jnp.asarray(self.horizon, dtype))
        if not bool(np.all(sound)):
            raise InvalidInput(
                f"dt is {float(dt):g} on a level of {size} particles, where the flow met numbers "
                "that are not finite; take a smaller one."
            )
        return np.asarray(losses, float)


@eqx.filter_jit
def losses_at(
    flow: AbstractFlow, ensembles: Ensemble, noise: SharedNoise | None, dt: Array, horizon: Array
) -> tuple[Array, Array]:
    """Losses of a batch of ensembles; one program for each shape, whatever the step."""

    def one(pair: tuple[Ensemble, SharedNoise | None]) -> tuple[Array, Array]:
        ensemble, own = pair
        state = flow.start(ensemble, dt, None, own)  # pyright: ignore
        state = flow.advance(state, horizon, jnp.asarray(MOST_STEPS, jnp.int32))
        loss = flow.observe(state).loss
        return loss, state.finite & jnp.isfinite(loss)

    return map_batch(flow.landscape, one, (ensembles, noise), lambda pair: pair[0])
