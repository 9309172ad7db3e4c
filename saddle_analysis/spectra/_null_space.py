"""Beyond the Hessian: what third and fourth derivatives say along its near-null space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg
from jaxtyping import Array, Float, Key, PyTree

from particles.internal import scaled, to_device

from ._budget import fixed_unless
from ._operators import HessianOperator
from ._symmetric import dense_matrix

#: Up to this many unknowns the matrix is formed: the power method takes some five solves, each of
#: up to a hundred products, from every start.
DENSE_BELOW = 600


@dataclass(frozen=True)
class NullDirection:
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
    """Projections on the near-null space of an operator, and solves outside it.

    Small operators are diagonalised; for large ones both are least-squares problems, solved by
    MINRES.

    Args:
        operator: a Hessian without negative eigenvalues, to tolerance.
        cutoff: eigenvalues within ± this count as zero, where they are known; 1/time.
        max_products: products allowed for each solve.
    """

    def __init__(self, operator: HessianOperator, cutoff: float, max_products: int = 100):
        self.operator, self.max_products = operator, max_products
        self.products = 0
        self._linear = operator.as_linear_operator()
        self._tolerance = 1e-8 if operator.dtype == np.float64 else 1e-5
        self._values = self._vectors = None
        if operator.size <= DENSE_BELOW:
            self.products = operator.size
            self._values, self._vectors = np.linalg.eigh(dense_matrix(operator))
            self._null = np.abs(self._values) <= cutoff

    def solve(self, vector: np.ndarray) -> np.ndarray:
        """H⁺v, the least-squares solution of Hy = v, to tolerance."""
        if self._vectors is not None and self._values is not None:
            inverse = np.where(self._null, 0, 1 / np.where(self._null, 1, self._values))
            return (self._vectors @ (inverse * (self._vectors.T @ vector))).astype(vector.dtype)
        if not np.any(vector):
            return vector

        def counted(x: np.ndarray) -> np.ndarray:
            self.products += 1
            return self._linear.matvec(x)

        linear: Any = scipy.sparse.linalg.LinearOperator
        system = linear(self._linear.shape, matvec=counted, dtype=vector.dtype)
        solution, _ = scipy.sparse.linalg.minres(
            system, vector, rtol=self._tolerance, maxiter=self.max_products
        )
        return solution.astype(vector.dtype)

    def project(self, vector: np.ndarray) -> np.ndarray:
        """The part of v that H annihilates: the residual of the least-squares problem."""
        if self._vectors is not None:
            null = self._vectors[:, self._null]
            return (null @ (null.T @ vector)).astype(vector.dtype)
        self.products += 1
        return vector - self._linear.matvec(self.solve(vector))

    def curvature(self, vector: np.ndarray) -> float:
        """⟨v, Hv⟩."""
        if self._vectors is not None and self._values is not None:
            return float(self._values @ (self._vectors.T @ vector) ** 2)
        return float(vector @ self._linear.matvec(vector))


def probe_null_space(
    operator: HessianOperator,
    *,
    starts: list[PyTree],
    cutoff: float,
    tolerance: float,
    scale: float,
    length: float,
    ascents: int = 4,
    key: Key[Array, ""] | None = None,
) -> tuple[list[NullDirection], int]:
    """Third and fourth derivatives along the near-null space: does the landscape descend there?

    The cubic form D³L[u, u, u] on the null space is climbed by the power method u ← P D³L[u, u, ·]
    from every start and from a random null direction, so that a cubic that is small along most
    directions is still found. Where it vanishes, the fourth derivative decides. Descent counts
    only if L, evaluated along the curve, really falls: a null space known to tolerance holds some
    positive curvature, beside which a cubic may be nothing.

    Args:
        operator: the full Hessian, without negative eigenvalues to tolerance.
        starts: unit null fields already known, such as eigenfields.
        cutoff: eigenvalues within ± this count as zero; 1/time.
        tolerance: relative size below which a derivative is zero.
        scale: a typical value of L, with `length` the unit in which derivatives are judged.
        length: a typical size of a particle.
        ascents: power steps from every start.
        key: of the random direction; `None` for a fixed one.

    Returns:
        One direction for each start and one for the random direction; products spent.
    """
    space = NullSpace(operator, cutoff)
    key = fixed_unless(key)
    noise = np.asarray(jax.random.normal(key, (operator.size,), operator.dtype))
    vectors = [np.asarray(operator.to_vector(field)) for field in starts] + [noise]
    found = []
    for vector in vectors:
        vector = space.project(vector)
        size = float(np.linalg.norm(vector))
        if size <= 1e-3 * np.sqrt(operator.size) * float(jnp.finfo(operator.dtype).eps):
            continue  # nothing of it lies in the null space
        best = _climbed(operator, space, vector / size, ascents)
        found.append(_judged(operator, space, best, tolerance, scale, length))
    return found, space.products


def _climbed(
    operator: HessianOperator, space: NullSpace, vector: np.ndarray, ascents: int
) -> np.ndarray:
    """The unit null vector of largest |D³L[u, u, u]| that the power method meets."""
    best, record = vector, -1.0
    for _ in range(ascents):
        bend, third, _ = directional_derivatives(operator, operator.to_field(to_device(vector)))
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
) -> NullDirection:
    """The first order that counts along a null direction, descent confirmed by values of L."""
    field = operator.to_field(to_device(vector))
    bend, third, fourth = directional_derivatives(operator, field)
    curvature = space.curvature(vector)
    third = float(third)
    bent = np.asarray(operator.to_vector(bend))
    correction = space.solve(bent)
    fourth = float(fourth) - 3 * float(bent @ correction)
    floor = operator.to_field(to_device(correction))
    cubic = abs(third) * length**3 > tolerance * scale
    quartic = abs(fourth) * length**4 > tolerance * scale
    sign = -1.0 if third > 0 else 1.0  # downhill where an odd order decides
    if (cubic or fourth < 0) and quartic | cubic:
        model = np.array([curvature / 2, sign * third / 6, fourth / 24])
        if _falls(operator, field, floor, sign, model, scale, length):
            down = jax.tree.map(lambda leaf: sign * leaf, field)
            return NullDirection(down, curvature, sign * third, fourth, 3 if cubic else 4, True)
    return NullDirection(field, curvature, third, fourth, 4 if quartic else 0, False)


def _falls(
    operator: HessianOperator,
    field: PyTree,
    floor: PyTree,
    sign: float,
    model: np.ndarray,
    scale: float,
    length: float,
) -> bool:
    """Does L fall along θ + s u − ½ s² H⁺b about as much as its Taylor polynomial says?"""

    def level(step: float, bend: float) -> float:
        along, across = (to_device(number, operator.dtype) for number in (step, bend))
        return float(_level(operator, field, floor, along, across))

    start = level(0.0, 0.0)
    steps = length * np.geomspace(1e-3, 1, 60)
    expected = steps**2 * (model[0] + steps * (model[1] + steps * model[2]))
    best = int(np.argmin(expected))
    noise = 100 * float(jnp.finfo(operator.dtype).eps) * scale
    for index in range(best, -1, -6):
        if expected[index] >= -noise:
            break
        s = float(steps[index])
        if level(sign * s, 0.5 * s * s) - start <= 0.3 * float(expected[index]):
            return True
    return False


@eqx.filter_jit
def _level(
    operator: HessianOperator, field: PyTree, floor: PyTree, step: Array, bend: Array
) -> Array:
    """L at θ + step · field − bend · floor."""
    ensemble = operator.ensemble
    moved = jax.tree.map(lambda x, u, w: x + step * u - bend * w, ensemble.particles, field, floor)
    there = ensemble.with_particles(moved)
    return operator.landscape.value(there, operator.fast, chunk=operator.chunk)


@eqx.filter_jit
def directional_derivatives(
    operator: HessianOperator, field: PyTree
) -> tuple[PyTree, Float[Array, ""], Float[Array, ""]]:
    """D³L[u, u, ·] as a field, D³L[u, u, u] and D⁴L[u, u, u, u], by nested forward mode.

    The field is the derivative in the operator's metric.

    Args:
        operator: gives landscape, ensemble and fast variables.
        field: the direction u, leaves `(particles, ...)`.
    """
    ensemble, landscape = operator.ensemble, operator.landscape

    def gradient(s: Array) -> PyTree:
        moved = jax.tree.map(lambda x, u: x + s * u, ensemble.particles, field)
        there = ensemble.with_particles(moved)
        return landscape.first_order(there, operator.fast, chunk=operator.chunk).gradient

    def derivative(function: object) -> object:
        one = jnp.ones((), operator.dtype)
        return lambda s: jax.jvp(function, (s,), (one,))[1]  # pyright: ignore

    zero = jnp.zeros((), operator.dtype)
    second = derivative(derivative(gradient))
    bend, further = jax.jvp(second, (zero,), (jnp.ones((), operator.dtype),))  # pyright: ignore
    third, fourth = ensemble.inner(bend, field), ensemble.inner(further, field)
    bend = bend if operator.mobility is None else scaled(bend, operator.mobility)
    return bend, third, fourth
