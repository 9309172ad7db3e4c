"""Small landscapes whose flows are known in closed form, or break on purpose."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from helpers import attention, cloud
from jaxtyping import Array, Float

from landscapes import Landscape, MLPAttentionLandscape
from meanfield import Run, at, simulate
from meanfield.flows import AbstractFlow
from meanfield.runs import Schedule
from particles import Ensemble

never: Schedule = at()


class Springs(Landscape):
    """R = ½α|m|² + s, m = ∫ θ dμ, s = ∫ ½κ|θ|² dμ: the mean decays at α + κ, deviations at κ."""

    pull: Float[Array, ""]
    spring: Float[Array, ""]

    def __init__(self, pull: float = 1.0, spring: float = 0.5, dtype: str = "float64"):
        self.pull, self.spring = jnp.asarray(pull, dtype), jnp.asarray(spring, dtype)

    def features(self, particle: Array) -> tuple[Array, Array]:
        return particle, 0.5 * self.spring * jnp.sum(particle**2)

    def risk(self, moments: tuple[Array, Array], fast: None = None) -> Array:
        mean, energy = moments
        return 0.5 * self.pull * jnp.sum(mean**2) + energy


class LaggedSprings(Landscape):
    """R = ½κ∫|θ|² + ½|y − m|² with a fast y that follows the mean: linear, solved by `expm`."""

    spring: float = 0.5

    def features(self, particle: Array) -> tuple[Array, Array]:
        return particle, 0.5 * self.spring * jnp.sum(particle**2)

    def risk(self, moments: tuple[Array, Array], fast: Array | None = None) -> Array:
        fast = self.solve_fast(moments) if fast is None else fast
        return moments[1] + 0.5 * jnp.sum((fast - moments[0]) ** 2)

    def solve_fast(self, moments: tuple[Array, Array]) -> Array:
        return moments[0]


class Cliff(Landscape):
    """R = √(1 − m): from m = m0 the flow falls off at t = 4/3 (1 − m0)^1.5, where R turns NaN."""

    def features(self, particle: Array) -> Array:
        return particle

    def risk(self, moments: Array, fast: None = None) -> Array:
        return jnp.sum(jnp.sqrt(1 - moments))


def springs_solution(landscape: Springs, start: Array, time: float) -> np.ndarray:
    start = np.asarray(start)
    mean = start.mean(axis=0)
    pull, spring = float(landscape.pull), float(landscape.spring)
    return np.exp(-(pull + spring) * time) * mean + np.exp(-spring * time) * (start - mean)


def lagged_solution(
    landscape: LaggedSprings, start: Array, fast: Array, ratio: float, time: float
) -> tuple[np.ndarray, np.ndarray]:
    spring, start = landscape.spring, np.asarray(start)
    generator = np.array([[-spring - 1, 1], [1 / ratio, -1 / ratio]])
    mean = start.mean(axis=0)
    mean_now, fast_now = scipy.linalg.expm(generator * time) @ np.stack([mean, np.asarray(fast)])
    return mean_now + np.exp(-spring * time) * (start - mean), fast_now


def points(seed: int = 0, size: int = 5, dim: int = 2, dtype: str = "float64") -> Ensemble:
    return Ensemble(jnp.asarray(np.random.default_rng(seed).normal(size=(size, dim)), dtype))


def smooth_attention(**options) -> MLPAttentionLandscape:
    """With a ridge, so that any start has a well-behaved flow."""
    return attention(**{"ridge": 0.1} | options)


def seeds(count: int, size: int = 7, *, weighted: bool = False) -> Ensemble:
    """A batch of clouds, stacked along a leading seed axis."""
    clouds = [cloud(seed, size, weighted=weighted) for seed in range(count)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *clouds)


def end(flow: AbstractFlow, start, horizon: float, dt: float | None = None, **options) -> Run:
    """Only the end of a run: nothing is recorded on the way."""
    return simulate(flow, start, horizon=horizon, dt=dt, **{"record": never} | options)


def flat(tree) -> np.ndarray:
    return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(tree)])


def assert_same_bits(one, two) -> None:
    """Equal pytrees: structure, types and every bit."""
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
