"""Starts for networks: neurons whose mean output is not zero."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from particles import Ensemble, InvalidInput, Points, gaussian
from particles.internal import compiled_once

from .._abstract import AbstractLandscape
from ._neurons import Neuron

Scale = float | Float[Array, ""]


def neuron_start(
    key: Key[Array, ""],
    landscape: AbstractLandscape,
    size: int,
    *,
    output_mean: float = 1.0,
    scale_a: float = 1.0,
    scale_w: float = 1.0,
    law: Key[Array, ""] | None = None,
    points: Points = "random",
    whiten: bool = False,
) -> Ensemble:
    """Neurons with E[a σ(wᵀx)] ≠ 0 of rank k: a start that has an N → ∞ limit.

    Input weights are normal with variance `scale_w²/d`; output weights are
    a = output_mean · P w̃ + scale_a · noise, with w̃ the standardised input weights and P a k×d
    matrix with rows of unit norm (orthonormal where k ≤ d), drawn from the key: the correlation of
    a with w is what makes the mean output non-zero. `output_mean=0` gives the plain Gaussian
    start. (theory.md, section 2)

    Args:
        key: random key.
        landscape: of neurons; gives the shapes.
        size: number of particles N.
        output_mean: strength of the correlation between output and input weights.
        scale_a: standard deviation of the uncorrelated part of the output weights.
        scale_w: root mean square norm of the input weights.
        law: draws P instead of `key`, for starts that share one law and differ in their draws.
        points: how neurons are drawn, as in `particles.gaussian`.
        whiten: map the draw linearly, so that w̃ and the noise together have mean zero and
            covariance one: then E[a wᵀ], which leads the mean output, is that of the law. Neurons
            are then no longer independent, as with `points`.

    Raises:
        InvalidInput: `size` is below one, does not suit `points`, or is too small to whiten.

    Example:
        >>> import jax
        >>> from landscapes import RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.eye(3), jnp.ones((3, 2)))
        >>> start = neuron_start(jax.random.key(0), landscape, 100)
        >>> start.particles.a.shape, start.particles.w.shape
        ((100, 2), (100, 3))
    """
    key_neurons, key_directions = jax.random.split(key)
    key_directions = key_directions if law is None else law
    if whiten and size <= (
        coordinates := sum(leaf.size for leaf in jax.tree.leaves(landscape.particle))
    ):
        raise InvalidInput(
            f"whiten is true, but {size} neurons do not span {coordinates} coordinates; draw at "
            f"least {coordinates + 1}."
        )
    scale = Neuron(a=1.0 if whiten else scale_a, w=1.0)
    ensemble = gaussian(key_neurons, size, landscape.particle, scale=scale, points=points)
    if whiten:
        ensemble = ensemble.with_particles(_whitened(ensemble.particles, scale_a))
    return ensemble.with_particles(
        _correlated(ensemble.particles, key_directions, output_mean, scale_w)
    )


@compiled_once
def _whitened(drawn: Neuron, scale_a: Scale) -> Neuron:
    """Coordinates of mean zero and covariance one, all together."""
    a, w = drawn
    z = jnp.concatenate([a, w], axis=1)
    z = z - jnp.mean(z, axis=0)
    root = jnp.linalg.cholesky(jnp.matmul(z.T, z, precision="highest") / len(z))
    z = jax.scipy.linalg.solve_triangular(root, z.T, lower=True).T
    return Neuron(scale_a * z[:, : a.shape[1]], z[:, a.shape[1] :])


@compiled_once
def _correlated(drawn: Neuron, key: Array, output_mean: Scale, scale_w: Scale) -> Neuron:
    """Output weights correlated with the input weights, which are of standard size before."""
    a, standard = drawn
    inputs, outputs = standard.shape[1], a.shape[1]
    long, short = max(inputs, outputs), min(inputs, outputs)
    basis = jnp.linalg.qr(jax.random.normal(key, (long, short), standard.dtype))[0]
    directions = basis if inputs <= outputs else basis.T
    directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
    correlated = jnp.matmul(standard, directions.T, precision="highest")
    return Neuron(a + output_mean * correlated, standard * (scale_w / inputs**0.5))
