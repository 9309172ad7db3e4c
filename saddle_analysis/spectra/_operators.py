"""Curvature operators on vector fields over an ensemble: matrix-free, streaming, symmetric."""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from landscapes import AbstractLandscape, Curvature
from particles import Ensemble, InvalidInput
from particles.internal import require_finite, scaled, to_device, to_host

from ._symmetric import products

Part = Literal["full", "interaction"]


class HessianOperator(eqx.Module):
    """The Wasserstein Hessian of L at an ensemble, acting on vector fields u(θ_i).

    `part="full"` is ⟨u, Hu⟩ = ∫∫ uᵀ ∇∇' δ²L/δμ² u' dμdμ' + ∫ uᵀ ∇²(δL/δμ) u dμ, for equal weights
    N times the Euclidean Hessian of the particle energy. `part="interaction"` keeps the double
    integral alone: KS24's H_μ, to which the full operator reduces where ∇δL/δμ ≡ 0. Both are
    self-adjoint in the tangent inner product ⟨u, v⟩ = Σ_i p_i u_i·v_i.

    On a landscape with a mobility m the operator is m H: at a critical point what linearises the
    flow, self-adjoint in the metric Σ_i p_i u_i·v_i/m_i, that of `metric`. H and m H have the same
    numbers of negative and of zero eigenvalues.
    (theory.md, section 1; KS24; YKS25)

    Args:
        landscape: any landscape.
        ensemble: where to take the Hessian; all weights positive.
        fast: frozen fast variables; `None` for the two-timescale limit (the reduced Hessian).
        part: `"full"` or `"interaction"`.
        chunk: particles held at once.

    Attributes:
        mobility: m at the particles, or `None`.
        metric: the ensemble whose inner product makes the operator symmetric.

    Raises:
        InvalidInput: non-finite particles, or a particle of zero weight.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.array([[1.0]]), w=jnp.array([[1.0]])))
        >>> HessianOperator(landscape, mu).dense().tolist()  # F = ½(2 − aw)² at a = w = 1
        [[1.0, 0.0], [0.0, 1.0]]
    """

    landscape: AbstractLandscape
    ensemble: Ensemble
    fast: PyTree | None
    curvature: Curvature
    mobility: Float[Array, " particles"] | None
    metric: Ensemble
    part: Part = eqx.field(static=True)
    chunk: int = eqx.field(static=True)

    def __init__(
        self,
        landscape: AbstractLandscape,
        ensemble: Ensemble,
        fast: PyTree | None = None,
        *,
        part: Part = "full",
        chunk: int | None = None,
    ):
        if part not in ("full", "interaction"):
            raise InvalidInput(f"part is {part!r}; choose 'full' or 'interaction'.")
        require_finite("ensemble", ensemble.particles)
        weights = ensemble.weights
        unknown = weights is None or isinstance(weights, Tracer)
        if not (unknown or (to_host(weights) > 0).all()):
            raise InvalidInput(
                "ensemble has particles of zero weight, which carry no tangent directions; drop "
                "them before taking the Hessian."
            )
        self.landscape, self.ensemble, self.fast, self.part = landscape, ensemble, fast, part
        self.chunk = landscape.chunk(ensemble, chunk)
        self.curvature = landscape.curvature(ensemble, fast, chunk=self.chunk)
        self.mobility, self.metric = None, ensemble
        if landscape.mobile:
            found = landscape.first_order(ensemble, fast, chunk=self.chunk)
            self.mobility, self.metric = found.mobility, found.metric(ensemble)

    @property
    def size(self) -> int:
        """Number of unknowns: particles times parameters of one particle."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.ensemble.particles))

    @property
    def dtype(self) -> np.dtype:
        """Floating type of the coordinates."""
        return np.dtype(jnp.result_type(*jax.tree.leaves(self.ensemble.particles)))

    def apply(self, field: PyTree) -> PyTree:
        """Hu (m H u with a mobility m), in streaming passes: `landscape.curvature`."""
        image = self.curvature(field, self.part)
        return image if self.mobility is None else scaled(image, self.mobility)

    # --- as a matrix -----------------------------------------------------------------------------

    def to_vector(self, field: PyTree) -> Float[Array, " size"]:
        """Coordinates in an orthonormal basis of the metric: `Ensemble.to_vector`."""
        return self.metric.to_vector(field)

    def to_field(self, vector: Array) -> PyTree:
        """The vector field with the given coordinates; inverse of `to_vector`."""
        return self.metric.to_field(vector)

    @eqx.filter_jit
    def matvec(self, vector: Float[Array, " size"]) -> Float[Array, " size"]:
        """The operator in orthonormal coordinates, where it is a symmetric matrix."""
        return self.to_vector(self.apply(self.to_field(vector)))

    def dense(self) -> Float[Array, "size size"]:
        """The symmetric matrix in orthonormal coordinates; for small problems.

        Raises:
            InvalidInput: more than 20,000 unknowns.
        """
        if self.size > 20_000:
            raise InvalidInput(
                f"the operator has {self.size} unknowns; dense() is for at most 20000, use "
                "extreme_eigenpairs."
            )
        return products(self.matvec, to_device(np.eye(self.size, dtype=self.dtype)))

    def as_linear_operator(self) -> scipy.sparse.linalg.LinearOperator:
        """For scipy's eigensolvers, in orthonormal coordinates."""

        def matvec(vector: np.ndarray) -> np.ndarray:
            return np.asarray(self.matvec(to_device(vector.reshape(-1), self.dtype)))

        shape = (self.size, self.size)
        linear: Any = scipy.sparse.linalg.LinearOperator
        return linear(shape, matvec=matvec, dtype=self.dtype)
