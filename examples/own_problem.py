"""A problem of your own: it works with every command, and nothing in the library is touched.

    meanfield simulate --problem own_problem:covariance --horizon 5
    meanfield escape --problem own_problem:covariance --particles 24
    meanfield diagnose runs/simulate-… --trust

(from this folder, or with this folder on PYTHONPATH). The landscape is a matrix factorisation:
particles θ match a covariance by their second moment, L(μ) = ½‖∫θθᵀ dμ − C‖². Its saddles match
only some eigenvectors of C, as in principal component analysis.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from landscapes import Landscape
from meanfield import Problem
from particles import Ensemble, gaussian


class Covariance(Landscape):
    """L(μ) = ½‖∫θθᵀ dμ − C‖²."""

    target: Array

    convex = True

    def features(self, particle):
        return jnp.outer(particle, particle)

    def risk(self, moments, fast=None):
        return 0.5 * jnp.sum((moments - self.target) ** 2)

    @property
    def particle(self):
        return jax.ShapeDtypeStruct(self.target.shape[:1], self.target.dtype)


def covariance(key: Array, dim: int = 3, samples: int = 256) -> Problem:
    """Particles whose second moment matches the covariance of drawn data."""
    scales = 1.0 / jnp.arange(1, dim + 1)
    x = scales * jax.random.normal(key, (samples, dim))
    landscape = Covariance(x.T @ x / samples)
    values, vectors = np.linalg.eigh(np.asarray(landscape.target))
    values, vectors = values[::-1], vectors[:, ::-1]

    def start(key, size):
        return gaussian(key, size, landscape.particle, scale=0.1)

    def saddle(key, size, missing):
        """One particle on each learned eigenvector, the others at zero."""
        learned = [j for j in range(dim) if j not in missing]
        place = np.zeros((size, dim))
        place[: len(learned)] = np.sqrt(size * values[learned])[:, None] * vectors.T[learned]
        return Ensemble(jnp.asarray(place, landscape.target.dtype))

    def fresh(key, size):
        x = scales * jax.random.normal(key, (size, dim))
        return Covariance(x.T @ x / size)

    return Problem(
        landscape,
        start,
        saddle=saddle,
        missing=(dim - 1,),
        redraws={"fresh samples": fresh},
        levels={f"{m} learned": 0.5 * float(np.sum(values[m:] ** 2)) for m in range(dim + 1)},
    )
