"""The interaction operator through its moments: eigenvalues from a moment-sized matrix.

The interaction operator is Jᵀ K J, with J: L²(μ) → moments the derivative of m = ∫ Φ dμ and
K = D²R(m). Its rank is at most that of K, so its non-zero eigenvalues are those of a small matrix
whenever there are few moments, or K has low rank. (theory.md, section 1)
"""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from landscapes import FeatureCurvature, Landscape
from particles import Ensemble, InvalidInput
from particles.internal import stream_sum, to_device

from ._operators import HessianOperator

#: Up to this many directions of curvature, the moment route is cheaper than Lanczos.
PAYS_BELOW = 128


@dataclass(frozen=True)
class InteractionSpectrum:
    """Every eigenvalue of an interaction operator.

    Args:
        values: the non-zero eigenvalues in increasing order; 1/time.
        zeros: multiplicity of zero.
        duals: for every value a direction w of the dual moment space, flattened, shape
            `(values, moments)`; the eigenfield is ∇_θ⟨w, Φ(θ)⟩, of unit L²(μ) norm.
        operator: the operator it belongs to.
    """

    values: np.ndarray
    zeros: int
    duals: Float[Array, "values moments"]
    operator: HessianOperator

    def field(self, index: int) -> PyTree:
        """The eigenfield of `values[index]`: one streaming pass."""
        at = _through_moments(self.operator)
        place = np.asarray(index)  # traced: one program for all
        return _field(at.landscape, at.ensemble, at.moments, self.duals, place, at.chunk)


def interaction_spectrum(
    operator: HessianOperator, *, tolerance: float | None = None, max_moments: int = 4096
) -> InteractionSpectrum:
    """All eigenvalues of the interaction operator from the curvature of the risk.

    K = D²R = Q Λ Qᵀ is diagonalised and truncated to its rank r; the r fields ∇_θ⟨q, Φ⟩ have a
    Gram matrix Γ, and the eigenvalues sought are those of Γ^½ Λ Γ^½. The cost is the Hessian of
    the risk and r backward passes, whatever the number of particles.

    Args:
        operator: of part `"interaction"`.
        tolerance: relative size below which a curvature of the risk, or a Gram eigenvalue, is
            zero; by default a thousand times the precision.
        max_moments: more numbers than this in the moments are refused.

    Raises:
        InvalidInput: the operator is the full Hessian or of a landscape that is no function of
            moments, or there are too many moments.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.ones((3, 1)), w=jnp.ones((3, 1))))
        >>> spectrum = interaction_spectrum(HessianOperator(landscape, mu, part="interaction"))
        >>> spectrum.values.round(5).tolist(), spectrum.zeros
        ([2.0], 5)
    """
    if operator.part != "interaction":
        raise InvalidInput("operator has part 'full'; take HessianOperator(part='interaction').")
    if operator.mobility is not None:
        raise InvalidInput(
            f"operator is of a {type(operator.landscape).__name__} with a mobility, which is no "
            "function of moments; use extreme_eigenpairs."
        )
    at = _through_moments(operator)
    leaves = jax.tree.leaves(at.moments)
    numbers, dtype = sum(leaf.size for leaf in leaves), jnp.result_type(*leaves)
    if numbers > max_moments:
        raise InvalidInput(
            f"the moments hold {numbers} numbers, more than max_moments = {max_moments}; use "
            "extreme_eigenpairs, or raise max_moments."
        )
    precision = float(jnp.finfo(dtype).eps)
    tolerance = 1e3 * precision if tolerance is None else tolerance
    curvature = np.asarray(_curvature(at.landscape, at.moments, at.fast))
    bends, directions = np.linalg.eigh((curvature + curvature.T).astype(np.float64) / 2)
    keep = np.abs(bends) > tolerance * max(np.max(np.abs(bends), initial=0.0), precision)
    bends, directions = bends[keep], directions[:, keep]
    rank = bends.size
    if rank == 0:
        return InteractionSpectrum(
            np.zeros(0), operator.size, to_device(np.zeros((0, numbers), dtype)), operator
        )
    duals = to_device(directions.T, dtype)
    gram = _gram(at.landscape, at.ensemble, at.moments, duals, at.chunk)
    spread, axes = np.linalg.eigh(np.asarray(gram, np.float64))
    kept = spread > tolerance * max(float(spread[-1]), np.finfo(float).tiny)
    root = axes[:, kept] * np.sqrt(spread[kept])  # Γ = root rootᵀ
    values, vectors = np.linalg.eigh(root.T @ (bends[:, None] * root))
    nonzero = np.abs(values) > tolerance * np.max(np.abs(values), initial=0.0)
    values, vectors = values[nonzero], vectors[:, nonzero]
    # u = Σ_a c_a ∇⟨q_a, Φ⟩ with c = Λ root y/λ solves Hu = λu and has unit norm.
    coefficients = bends[:, None] * (root @ vectors) / values
    return InteractionSpectrum(
        values,
        operator.size - values.size,
        to_device((directions @ coefficients).T, dtype),
        operator,
    )


def moment_route_pays(operator: object) -> bool:
    """Whether the eigenvalues of an operator come cheaper from its moments."""
    if not isinstance(operator, HessianOperator) or operator.part != "interaction":
        return False
    if operator.mobility is not None or not isinstance(operator.curvature, FeatureCurvature):
        return False
    moments = sum(leaf.size for leaf in jax.tree.leaves(operator.curvature.moments))
    return moments <= min(PAYS_BELOW, operator.size)


def _through_moments(operator: HessianOperator) -> FeatureCurvature:
    if not isinstance(operator.curvature, FeatureCurvature):
        raise InvalidInput(
            f"operator is of a {type(operator.landscape).__name__}, which is no function of "
            "moments; use extreme_eigenpairs."
        )
    return operator.curvature


@eqx.filter_jit
def _curvature(
    landscape: Landscape, moments: PyTree, fast: PyTree | None
) -> Float[Array, "moments moments"]:
    """D²R as a matrix on flattened moments."""
    flat, unravel = ravel_pytree(moments)
    gradient = jax.grad(lambda m: landscape.energy(unravel(m), fast))
    with jax.default_matmul_precision("highest"):
        product = lambda v: jax.jvp(gradient, (flat,), (v,))[1]  # noqa: E731
        return jax.lax.map(product, jnp.eye(flat.size, dtype=flat.dtype))


@eqx.filter_jit
def _gram(
    landscape: Landscape,
    ensemble: Ensemble,
    moments: PyTree,
    duals: Float[Array, "rank moments"],
    chunk: int,
) -> Float[Array, "rank rank"]:
    """⟨∇⟨q_a, Φ⟩, ∇⟨q_b, Φ⟩⟩ in L²(μ), accumulated over chunks of particles."""
    unravel = ravel_pytree(moments)[1]

    def part(particles: PyTree, weights: Array) -> Array:
        count = weights.shape[0]
        own = Ensemble(particles)
        one = lambda dual: landscape.gradient_field(own, unravel(dual), chunk=count)  # noqa: E731
        fields = jax.lax.map(one, duals)
        rows = jax.vmap(own.with_weights(weights).to_vector)(fields)
        return jnp.matmul(rows, rows.T, precision="highest")

    return stream_sum(part, ensemble.particles, ensemble.weights, chunk, ensemble.mesh)


@eqx.filter_jit
def _field(
    landscape: Landscape,
    ensemble: Ensemble,
    moments: PyTree,
    duals: Float[Array, "values moments"],
    index: Int[Array | np.ndarray, ""],
    chunk: int,
) -> PyTree:
    """∇⟨w, Φ⟩ at the particles, of one of the flattened directions w."""
    dual = ravel_pytree(moments)[1](duals[index])
    return landscape.gradient_field(ensemble, dual, chunk=chunk)
