"""Beyond the Hessian: what third and fourth derivatives say along its near-null space."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg
from jaxtyping import Array, Float, Key, PyTree

from particles import Ensemble

from ._operators import HessianOperator


class NullDirection(NamedTuple):
    """A direction of zero curvature, and how the landscape goes on along it.

    Args:
        field: unit vector field u, pointing downhill where an odd order decides.
        curvature: ⟨u, Hu⟩; 1/time.
        third: d³L/ds³ along θ + s u.
        fourth: d⁴L/ds⁴ along the steepest curve tangent to u, which bends into the curved
            directions as L allows: D⁴L[u⁴] − 3⟨b, H⁺b⟩ with b = D³L[u, u, ·].
        order: the first order that does not vanish, 3 or 4; 0 if both do (flat).
        descends: whether that order leads down.
    """

    field: PyTree
    curvature: float
    third: float
    fourth: float
    order: int
    descends: bool


class NullSpace:
    """Projections on the near-null space of an operator, by least squares (MINRES).

    Args:
        operator: a Hessian without negative eigenvalues, to tolerance.
        tolerance: relative residual of the solves.
        max_products: products allowed for each solve.
    """

    def __init__(self, operator: HessianOperator, tolerance: float, max_products: int = 300):
        self.operator, self.tolerance, self.max_products = operator, tolerance, max_products
        self.products = 0
        self._linear = operator.as_linear_operator()

    def solve(self, vector: np.ndarray) -> np.ndarray:
        """H⁺v, the least-squares solution of Hy = v, to tolerance."""

        def counted(x: np.ndarray) -> np.ndarray:
            self.products += 1
            return self._linear.matvec(x)

        if not np.any(vector):
            return vector
        shape = self._linear.shape
        system = scipy.sparse.linalg.LinearOperator(shape, matvec=counted, dtype=vector.dtype)  # pyright: ignore
        solution, _ = scipy.sparse.linalg.minres(
            system, vector, rtol=self.tolerance, maxiter=self.max_products
        )
        return solution.astype(vector.dtype)

    def project(self, vector: np.ndarray) -> np.ndarray:
        """The part of v that H annihilates: the residual of the least-squares problem."""
        for _ in range(2):
            vector = vector - self._linear.matvec(self.solve(vector))
        return vector


def probe_null_space(
    operator: HessianOperator,
    key: Key[Array, ""],
    *,
    starts: list[PyTree],
    tolerance: float,
    scale: float,
    length: float,
    ascents: int = 6,
) -> tuple[list[NullDirection], int]:
    """Third and fourth derivatives along the near-null space: does the landscape descend there?

    The cubic form D³L[u, u, u] on the null space is climbed by the power method u ← P D³L[u, u, ·]
    from every start and from a random null direction, so that a cubic that is small along most
    directions is still found. Where it vanishes, the fourth derivative decides.

    Args:
        operator: the full Hessian, without negative eigenvalues to tolerance.
        key: of the random direction.
        starts: unit null fields already known, such as eigenfields.
        tolerance: relative size below which a derivative is zero.
        scale: a typical value of L, with `length` the unit in which derivatives are judged.
        length: a typical size of a particle.
        ascents: power steps from every start.

    Returns:
        One direction for each start and one for the random direction; products spent.
    """
    ensemble = operator.ensemble
    space = NullSpace(operator, min(1e-8, tolerance) if operator.dtype == np.float64 else 1e-5)
    noise = np.asarray(jax.random.normal(key, (operator.size,), operator.dtype))
    vectors = [np.asarray(operator.to_vector(field)) for field in starts] + [noise]
    found = []
    for vector in vectors:
        vector = space.project(vector)
        size = float(np.linalg.norm(vector))
        if size <= 1e-3 * np.sqrt(operator.size) * float(jnp.finfo(operator.dtype).eps):
            continue  # nothing of it lies in the null space
        best = _climbed(operator, space, vector / size, ascents)
        found.append(_judged(operator, space, best, tolerance, scale, length, ensemble))
    return found, space.products


def _climbed(
    operator: HessianOperator, space: NullSpace, vector: np.ndarray, ascents: int
) -> np.ndarray:
    """The unit null vector of largest |D³L[u, u, u]| that the power method meets."""
    best, record = vector, -1.0
    for _ in range(ascents):
        bend, third, _ = directional_derivatives(operator, operator.to_field(jnp.asarray(vector)))
        if abs(float(third)) > record:
            best, record = vector, abs(float(third))
        bent = np.asarray(operator.to_vector(bend))
        downhill = -space.project(bent)
        size = float(np.linalg.norm(downhill))
        if size <= 1e-6 * max(float(np.linalg.norm(bent)), float(np.finfo(float).tiny)):
            break
        # A symmetric step keeps the old direction in part: the plain power method may cycle.
        mixed = downhill / size + (vector if downhill @ vector >= 0 else -vector)
        vector = mixed / np.linalg.norm(mixed)
    return best


def _judged(
    operator: HessianOperator,
    space: NullSpace,
    vector: np.ndarray,
    tolerance: float,
    scale: float,
    length: float,
    ensemble: Ensemble,
) -> NullDirection:
    field = operator.to_field(jnp.asarray(vector))
    bend, third, fourth = directional_derivatives(operator, field)
    curvature = float(ensemble.inner(field, operator.apply(field)))
    third, fourth = float(third), float(fourth)
    small = tolerance * scale
    if abs(third) * length**3 > small:
        if third > 0:  # downhill is the other way
            field, third = jax.tree.map(jnp.negative, field), -third
        return NullDirection(field, curvature, third, fourth, 3, True)
    bent = np.asarray(operator.to_vector(bend))
    effective = fourth - 3 * float(bent @ space.solve(bent))
    if abs(effective) * length**4 > small:
        return NullDirection(field, curvature, third, effective, 4, effective < 0)
    return NullDirection(field, curvature, third, effective, 0, False)


@eqx.filter_jit
def directional_derivatives(
    operator: HessianOperator, field: PyTree
) -> tuple[PyTree, Float[Array, ""], Float[Array, ""]]:
    """D³L[u, u, ·] as a field, D³L[u, u, u] and D⁴L[u, u, u, u], by nested forward mode.

    Args:
        operator: gives landscape, ensemble and fast variables.
        field: the direction u, leaves `(particles, ...)`.
    """
    ensemble, landscape = operator.ensemble, operator.landscape

    def gradient(s: Array) -> PyTree:
        moved = jax.tree.map(lambda x, u: x + s * u, ensemble.particles, field)
        velocity = landscape.velocity(
            ensemble.with_particles(moved), operator.fast, chunk=operator.chunk
        )
        return jax.tree.map(jnp.negative, velocity)

    def derivative(function: object) -> object:
        one = jnp.ones((), operator.dtype)
        return lambda s: jax.jvp(function, (s,), (one,))[1]  # pyright: ignore

    zero = jnp.zeros((), operator.dtype)
    second = derivative(derivative(gradient))
    bend, further = jax.jvp(second, (zero,), (jnp.ones((), operator.dtype),))  # pyright: ignore
    return bend, ensemble.inner(bend, field), ensemble.inner(further, field)
