"""Perturbations of an ensemble, all of a prescribed L²(μ) norm; pure functions of their key."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Key, PyTree

from particles import Ensemble, InvalidInput

from .spectra import HessianOperator

Norm = float | Float[Array, ""]


def displaced(ensemble: Ensemble, field: PyTree) -> Ensemble:
    """The push-forward of μ by id + u: every particle moved by its vector of the field.

    Args:
        ensemble: N particles.
        field: a vector field at the particles, leaves `(particles, ...)`.

    Example:
        >>> import jax.numpy as jnp
        >>> displaced(Ensemble(jnp.zeros((2, 1))), jnp.ones((2, 1))).particles.tolist()
        [[1.0], [1.0]]
    """
    return ensemble.with_particles(jax.tree.map(jnp.add, ensemble.particles, field))


def along(ensemble: Ensemble, field: PyTree, norm: Norm) -> PyTree:
    """The field rescaled to the given L²(μ) norm: a perturbation along an eigenvector.

    Args:
        ensemble: N particles.
        field: a vector field at the particles; its sign is kept.
        norm: L²(μ) norm wanted, in units of the particles; a negative one turns the sign.

    Raises:
        InvalidInput: the field is zero.

    Example:
        >>> import jax.numpy as jnp
        >>> mu = Ensemble(jnp.zeros((2, 1)))
        >>> float(mu.norm(along(mu, jnp.ones((2, 1)), 0.5)))
        0.5
    """
    length = ensemble.norm(field)
    if not isinstance(length, Tracer) and not float(length) > 0:
        raise InvalidInput("field is zero everywhere; it has no direction to perturb along.")
    return jax.tree.map(lambda leaf: leaf * (norm / length).astype(leaf.dtype), field)


def isotropic(key: Key[Array, ""], ensemble: Ensemble, norm: Norm) -> PyTree:
    """White noise in the tangent inner product, rescaled to the given L²(μ) norm.

    Its coordinates in an orthonormal basis of L²(μ) are independent normals: the comparison that
    YKS25's guided noise is measured against. (theory.md, section 3)

    Args:
        key: random key.
        ensemble: N particles of positive weight.
        norm: L²(μ) norm wanted, in units of the particles.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> mu = Ensemble(jnp.zeros((4, 2)))
        >>> round(float(mu.norm(isotropic(jax.random.key(0), mu, 0.1))), 6)
        0.1
    """
    return along(ensemble, _white(key, ensemble), norm)


def hessian_guided(key: Key[Array, ""], operator: HessianOperator, norm: Norm) -> PyTree:
    """A Gaussian process with covariance H∘H, rescaled to the given L²(μ) norm.

    ξ = H z with z white in the tangent inner product: one operator application. Noise along an
    eigenvector is weighted by |λ|, so flat directions get none. (YKS25; theory.md, section 3)

    Args:
        key: random key.
        operator: YKS25 take the interaction part, `HessianOperator(part="interaction")`.
        norm: L²(μ) norm wanted, in units of the particles.

    Raises:
        InvalidInput: H is zero, so that it guides nowhere (use `isotropic`).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.ones((3, 1)), w=jnp.ones((3, 1))))
        >>> operator = HessianOperator(landscape, mu, part="interaction")
        >>> round(float(mu.norm(hessian_guided(jax.random.key(0), operator, 0.1))), 6)
        0.1
    """
    field = operator.apply(_white(key, operator.ensemble))
    length = operator.ensemble.norm(field)
    if not isinstance(length, Tracer) and not float(length) > 0:
        raise InvalidInput("the Hessian is zero here, so it guides nowhere; use isotropic noise.")
    return along(operator.ensemble, field, norm)


def _white(key: Array, ensemble: Ensemble) -> PyTree:
    leaves, structure = jax.tree.flatten(ensemble.particles)
    root = jnp.sqrt(ensemble.probabilities)
    drawn = []
    for index, leaf in enumerate(leaves):
        noise = jax.random.normal(jax.random.fold_in(key, index), leaf.shape, leaf.dtype)
        drawn.append(noise / root.reshape(-1, *[1] * (leaf.ndim - 1)).astype(leaf.dtype))
    return jax.tree.unflatten(structure, drawn)
