"""Operators and landscapes whose spectra are known, for the tests of this folder."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from landscapes import Landscape, MLPAttentionLandscape, Neuron, canonical_form
from particles import Ensemble
from particles.internal import to_device
from saddle_analysis.spectra import MatrixOperator

EIGENVALUES = (1.0, 0.5, 0.2)


def diagonal(*parts: float | list[float] | np.ndarray) -> MatrixOperator:
    """A diagonal operator with the given eigenvalues."""
    values = np.concatenate([np.atleast_1d(part) for part in parts])
    return MatrixOperator(to_device(values.astype(float)))


def rotated(values: np.ndarray, seed: int = 0) -> MatrixOperator:
    """A full matrix with the given eigenvalues."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(len(values), len(values))))[0]
    matrix = (basis * values) @ basis.T
    return MatrixOperator(to_device((matrix + matrix.T) / 2))


def euclidean_hessian(loss: Callable, ensemble: Ensemble, *data: Any) -> np.ndarray:
    """Hessian of F(θ_1..θ_N) = loss(particles, weights, *data) in the coordinates √p_i u_i."""
    hessian = _plain_hessian(loss, ensemble.particles, ensemble.probabilities, *data)
    root = root_weights(ensemble)
    return np.asarray(hessian) / root[:, None] / root


@eqx.filter_jit
def _plain_hessian(loss: Callable, particles: PyTree, *data: Any) -> jax.Array:
    flat, unravel = ravel_pytree(particles)
    return jax.hessian(lambda v: loss(unravel(v), *data))(flat)


def root_weights(ensemble: Ensemble) -> np.ndarray:
    """√p_i, once for every coordinate of every particle."""
    leaves = jax.tree.leaves(ensemble.particles)
    roots = np.sqrt(np.asarray(ensemble.probabilities))
    return np.concatenate([np.repeat(roots, leaf.size // ensemble.size) for leaf in leaves])


def realisable(samples: int = 256) -> tuple[MLPAttentionLandscape, jax.Array]:
    """An attention landscape whose targets twelve known neurons span, and those neurons."""
    rng = np.random.default_rng(0)
    x, positions = rng.normal(size=(samples, 5)), rng.normal(size=(12, 5))
    f, _ = canonical_form(to_device(np.tanh(x @ positions.T)[:, :3]), EIGENVALUES)
    return MLPAttentionLandscape(to_device(x), f), to_device(positions)


class Polynomial(Landscape):
    """Any function of the mean particle; with one particle, any function of the parameters."""

    function: Callable = eqx.field(static=True)

    def features(self, particle):
        return particle

    def risk(self, moments, fast=None):
        return self.function(moments)


class RankOneAttention(Landscape):
    """Separate rank-one linear attention from population moments (theory.md, section 4)."""

    spectrum: jax.Array
    context_length: float

    def features(self, particle):
        v, k, q = particle
        return v * jnp.outer(k, q)

    def risk(self, moments, fast=None):
        spectrum, n = self.spectrum, self.context_length
        c = (1 + 1 / n) * spectrum**2 + jnp.sum(spectrum) / n * spectrum
        linear = jnp.sum(jnp.diag(moments) * spectrum**2)
        square = jnp.sum(c[:, None] * moments**2 * spectrum[None, :])
        return 0.5 * (jnp.sum(spectrum) - 2 * linear + square)


def heads(seed: int, size: int, dim: int, scale: float) -> Ensemble:
    """Random heads (v, k, q)."""
    rng = np.random.default_rng(seed)
    shapes = ((size,), (size, dim), (size, dim))
    return Ensemble(tuple(to_device(scale * rng.normal(size=shape)) for shape in shapes))


def at(*coordinates: float) -> Ensemble:
    """One particle at the given point."""
    return Ensemble(to_device([coordinates], float))


def neurons(seed: int, size: int, outputs: int = 2, inputs: int = 3) -> Neuron:
    """Random neurons."""
    rng = np.random.default_rng(seed)
    return Neuron(
        to_device(rng.normal(size=(size, outputs))), to_device(rng.normal(size=(size, inputs)))
    )
