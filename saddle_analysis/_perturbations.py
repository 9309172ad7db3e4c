"""Perturbations of an ensemble, all of a prescribed L²(μ) norm; pure functions of their key."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Key, PyTree

from landscapes import AbstractLandscape
from particles import Ensemble, InvalidInput

from .spectra import HessianOperator, smallest_eigenpair

Norm = float | Float[Array, ""]


def displaced(ensemble: Ensemble, field: PyTree) -> Ensemble:
    """The push-forward of μ by id + u: every particle moved by its vector of the field.

    Args:
        ensemble: N particles.
        field: a vector field at the particles, leaves `(particles, ...)`.

    Raises:
        InvalidInput: a field so small beside the particles that more than a tenth of it is lost to
            round-off (below about 1e-6 of their norm in float32, 1e-15 in float64).

    Example:
        >>> import jax.numpy as jnp
        >>> displaced(Ensemble(jnp.zeros((2, 1))), jnp.ones((2, 1))).particles.tolist()
        [[1.0], [1.0]]
    """
    moved, *sizes = _displaced(ensemble, field)
    if not any(isinstance(size, Tracer) for size in sizes):
        gone, size = (float(np.max(np.asarray(norm))) for norm in sizes)
        if gone > 0.1 * size:
            kind = jnp.result_type(*jax.tree.leaves(moved))
            raise InvalidInput(
                f"field has norm {size:.1e}, of which {gone:.1e} is lost to round-off: {kind} does "
                "not resolve so small a displacement of these particles; take a larger norm"
                f"{', or float64' if kind != jnp.float64 else ''}."
            )
    return ensemble.with_particles(moved)


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
    return _rescaled(field, norm, length)


@jax.jit
def _displaced(ensemble: Ensemble, field: PyTree) -> tuple[PyTree, Array, Array]:
    """The particles moved, the norm of what round-off took from the field, and that of the field.

    The barrier keeps the compiler from simplifying (θ + u) − θ.
    """
    moved = jax.tree.map(jnp.add, ensemble.particles, field)
    shown = jax.lax.optimization_barrier(moved)
    lost = jax.tree.map(lambda new, old, u: (new - old) - u, shown, ensemble.particles, field)
    return moved, ensemble.norm(lost), ensemble.norm(field)


@jax.jit
def _rescaled(field: PyTree, norm: Norm, length: Float[Array, ""]) -> PyTree:
    return jax.tree.map(lambda leaf: leaf * (norm / length).astype(leaf.dtype), field)


def unperturbed(
    key: Key[Array, ""],
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    norm: Norm,
    *,
    chunk: int | None = None,
) -> PyTree:
    """The zero field: no perturbation, whatever the key and the norm.

    Args:
        key: not used.
        landscape: not used.
        ensemble: N particles.
        norm: not used.
        chunk: not used.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import RegressionLandscape
        >>> landscape, mu = RegressionLandscape(jnp.eye(2), jnp.eye(2)), Ensemble(jnp.ones((2, 1)))
        >>> unperturbed(jax.random.key(0), landscape, mu, 0.1).tolist()
        [[0.0], [0.0]]
    """
    del key, landscape, norm, chunk
    return jax.tree.map(jnp.zeros_like, ensemble.particles)


def isotropic(
    key: Key[Array, ""],
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    norm: Norm,
    *,
    chunk: int | None = None,
) -> PyTree:
    """White noise in the tangent inner product, rescaled to the given L²(μ) norm.

    Its coordinates in an orthonormal basis of L²(μ) are independent normals: the comparison that
    YKS25's guided noise is measured against. (theory.md, section 3)

    Args:
        key: random key.
        landscape: not used.
        ensemble: N particles of positive weight.
        norm: L²(μ) norm wanted, in units of the particles.
        chunk: not used.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import RegressionLandscape
        >>> landscape, mu = RegressionLandscape(jnp.eye(2), jnp.eye(2)), Ensemble(jnp.zeros((4, 2)))
        >>> round(float(mu.norm(isotropic(jax.random.key(0), landscape, mu, 0.1))), 6)
        0.1
    """
    del landscape, chunk
    return along(ensemble, _white(key, ensemble), norm)


def hessian_guided(
    key: Key[Array, ""],
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    norm: Norm,
    *,
    chunk: int | None = None,
) -> PyTree:
    """A Gaussian process with covariance H∘H, rescaled to the given L²(μ) norm.

    ξ = H z with z white in the tangent inner product and H the interaction operator: one
    application. Noise along an eigenvector is weighted by |λ|, so flat directions get none.
    (YKS25; theory.md, section 3)

    Args:
        key: random key.
        landscape: any landscape.
        ensemble: N particles of positive weight.
        norm: L²(μ) norm wanted, in units of the particles.
        chunk: particles held at once.

    Raises:
        InvalidInput: the interaction operator is zero, so that it guides nowhere.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.ones((3, 1)), w=jnp.ones((3, 1))))
        >>> round(float(mu.norm(hessian_guided(jax.random.key(0), landscape, mu, 0.1))), 6)
        0.1
    """
    operator = HessianOperator(landscape, ensemble, part="interaction", chunk=chunk)
    field = operator.apply(_white(key, operator.metric))
    length = ensemble.norm(field)
    if not isinstance(length, Tracer) and not float(length) > 0:
        raise InvalidInput(
            "the interaction operator is zero at this ensemble (the gradients of all features "
            "vanish, or the risk is flat), so it guides nowhere; use isotropic or eigenvector."
        )
    return along(ensemble, field, norm)


def eigenvector(
    key: Key[Array, ""],
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    norm: Norm,
    *,
    chunk: int | None = None,
) -> PyTree:
    """The eigenvector of the smallest eigenvalue of the Hessian, of the given L²(μ) norm.

    Args:
        key: random key; decides the sign.
        landscape: any landscape.
        ensemble: N particles of positive weight.
        norm: L²(μ) norm wanted, in units of the particles.
        chunk: particles held at once.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "tanh")
        >>> mu = Ensemble(Neuron(a=jnp.zeros((1, 1)), w=jnp.zeros((1, 1))))
        >>> field = eigenvector(jax.random.key(0), landscape, mu, 2.0**0.5)
        >>> abs(float(field.a[0, 0])), bool(field.a == field.w)  # F = ½(2 − a tanh w)²: a = w
        (1.0, True)
    """
    pair = smallest_eigenpair(HessianOperator(landscape, ensemble, chunk=chunk))
    sign = jax.random.rademacher(key, (), float)
    return along(ensemble, pair.fields[0], sign * norm)


#: A perturbation: (key, landscape, ensemble, norm, *, chunk=None) to a vector field of that L²(μ)
#: norm, leaves `(particles, ...)`; a pure function of its arguments. Your own is one too.
Perturbation = Callable[..., PyTree]

#: The perturbations by name, from the weakest to the one that leaves a saddle soonest.
PERTURBATIONS: dict[str, Perturbation] = {
    "none": unperturbed,
    "isotropic": isotropic,
    "hessian-guided": hessian_guided,
    "eigenvector": eigenvector,
}


def _white(key: Array, ensemble: Ensemble) -> PyTree:
    like = jax.eval_shape(ensemble.to_vector, ensemble.particles)
    return ensemble.to_field(jax.random.normal(key, like.shape, like.dtype))
