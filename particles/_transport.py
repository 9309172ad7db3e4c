"""Distances and optimal couplings between ensembles, with the Euclidean distance of particles."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ._ensemble import Ensemble
from ._errors import InvalidInput, NotConvergedWarning
from ._mesh import to_host
from ._tree import leaf_names, rows_of

#: Particles up to which equal-weight couplings are found exactly: some seconds, 130 MB.
ASSIGNMENT_LIMIT = 4096
#: Pairs of particles up to which couplings of unequal weights are found exactly.
PROGRAM_LIMIT = 40_000


class Coupling(NamedTuple):
    """A transport plan as a list of moves: `mass` goes from particle `source` to particle `target`.

    Args:
        source: indices into the first ensemble.
        target: indices into the second.
        mass: sums to one; positive.
        cost: Σ mass ‖θ_source − θ_target‖², the squared W2 distance where `exact`.
        exact: false where entropic regularisation has blurred the plan.

    Example:
        >>> mu, nu = Ensemble(jnp.array([0.0, 1.0])), Ensemble(jnp.array([2.0, 0.0]))
        >>> plan = optimal_coupling(mu, nu)
        >>> plan.source.tolist(), plan.target.tolist(), plan.exact
        ([0, 1], [1, 0], True)
    """

    source: Int[np.ndarray, " moves"]
    target: Int[np.ndarray, " moves"]
    mass: Float[np.ndarray, " moves"]
    cost: float
    exact: bool


_rows_of = jax.jit(rows_of)  # one program where there are several leaves


def coordinates(ensemble: Ensemble) -> Float[Array, "particles parameters"]:
    """One row of numbers for each particle."""
    return _rows_of(ensemble.particles)


def optimal_coupling(mu: Ensemble, nu: Ensemble, *, epsilon: float | None = None) -> Coupling:
    """The plan that moves μ to ν at least Σ mass ‖θ − θ'‖².

    Exact for small ensembles: an assignment for equal weights (ensembles of sizes N and N', up to
    a least common multiple of 4,096), a linear program otherwise (up to 40,000 pairs). Beyond
    that, or where `epsilon` is given, the entropic plan of Sinkhorn's algorithm (CUT13; CMTBDT22).

    Args:
        mu: the first ensemble.
        nu: the second, with particles of the same shapes.
        epsilon: entropic regularisation, in squared units of the particles; where it is needed and
            not given, a hundredth of the mean squared distance.

    Raises:
        InvalidInput: particles of different shapes, or `epsilon` not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> plan = optimal_coupling(
        ...     Ensemble(jnp.array([0.0, 1.0])), Ensemble(jnp.array([2.0, 0.0]))
        ... )
        >>> plan.target.tolist(), plan.cost
        ([1, 0], 0.5)
    """
    _require_alike(mu, nu)
    if epsilon is not None and not epsilon > 0:
        raise InvalidInput(f"epsilon is {epsilon}; it must be positive, or None.")
    equal = mu.weights is None and nu.weights is None
    if epsilon is None and equal and math.lcm(mu.size, nu.size) <= ASSIGNMENT_LIMIT:
        return _assignment(mu, nu)
    if epsilon is None and not equal and mu.size * nu.size <= PROGRAM_LIMIT:
        return _program(mu, nu)
    return _entropic(mu, nu, epsilon)


def wasserstein(mu: Ensemble, nu: Ensemble) -> float:
    """W2(μ, ν), exact; in units of the particles.

    Raises:
        InvalidInput: particles of different shapes, or ensembles too large for an exact coupling.

    Example:
        >>> import jax.numpy as jnp
        >>> wasserstein(Ensemble(jnp.array([0.0, 1.0])), Ensemble(jnp.array([3.0, 2.0])))
        2.0
    """
    equal = mu.weights is None and nu.weights is None
    work = math.lcm(mu.size, nu.size) if equal else mu.size * nu.size
    if work > (ASSIGNMENT_LIMIT if equal else PROGRAM_LIMIT):
        raise InvalidInput(
            f"mu and nu have N = {mu.size} and {nu.size} particles, too many for an exact "
            "coupling; use sinkhorn_divergence, sliced_wasserstein, or fewer particles."
        )
    return math.sqrt(optimal_coupling(mu, nu).cost)


def sinkhorn_divergence(
    mu: Ensemble, nu: Ensemble, epsilon: float, *, own: float | None = None
) -> float:
    """The debiased entropic transport cost S_ε(μ, ν) ≥ 0, zero for μ = ν (FSVATP19).

    Args:
        mu: the first ensemble.
        nu: the second, with particles of the same shapes.
        epsilon: regularisation, in squared units of the particles. At a fixed ε sampling errors
            fall as 1/N in any dimension. (theory.md, section 7)
        own: `self_transport(nu, epsilon)`, where many are held against one ν.

    Raises:
        InvalidInput: particles of different shapes, or `epsilon` not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> mu = Ensemble(jnp.array([0.0, 1.0]))
        >>> round(sinkhorn_divergence(mu, Ensemble(mu.particles + 2), 1.0), 3)  # the squared shift
        4.0
    """
    _require_alike(mu, nu)
    _require_positive(epsilon)
    points = coordinates(mu), coordinates(nu)
    cost, converged = _between(*points, mu.probabilities, nu.probabilities, epsilon)
    _warn_unless(bool(converged), epsilon)
    own = self_transport(nu, epsilon) if own is None else own
    return float(cost) - 0.5 * (self_transport(mu, epsilon) + own)


def self_transport(mu: Ensemble, epsilon: float) -> float:
    """The entropic cost OT_ε(μ, μ) of moving μ to itself, in squared units of the particles.

    It is what a Sinkhorn divergence subtracts half of. (theory.md, section 7; FSVATP19)

    Args:
        mu: an ensemble.
        epsilon: regularisation, in squared units of the particles.

    Raises:
        InvalidInput: `epsilon` not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> mu, nu = Ensemble(jnp.array([0.0, 1.0])), Ensemble(jnp.array([2.0, 5.0]))
        >>> own = self_transport(nu, 0.5)
        >>> sinkhorn_divergence(mu, nu, 0.5, own=own) == sinkhorn_divergence(mu, nu, 0.5)
        True
    """
    _require_positive(epsilon)
    cost, converged = _itself(coordinates(mu), mu.probabilities, epsilon)
    _warn_unless(bool(converged), epsilon)
    return float(cost)


def _require_positive(epsilon: float) -> None:
    if not epsilon > 0:
        raise InvalidInput(f"epsilon is {epsilon}; it must be positive.")


def sliced_wasserstein(
    key: Key[Array, ""], mu: Ensemble, nu: Ensemble, *, projections: int = 200
) -> float:
    """W2 averaged over random one-dimensional projections: (E_u W2²(u·μ, u·ν))^½ (BRPP15).

    Args:
        key: draws the directions, uniform on the sphere.
        mu: the first ensemble.
        nu: the second, with particles of the same shapes.
        projections: number of directions; memory is that many times the particles.

    Raises:
        InvalidInput: particles of different shapes, or `projections` below one.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> mu, nu = Ensemble(jnp.array([0.0, 1.0])), Ensemble(jnp.array([3.0, 2.0]))
        >>> round(sliced_wasserstein(jax.random.key(0), mu, nu), 4)  # one dimension: W2 itself
        2.0
    """
    _require_alike(mu, nu)
    if projections < 1:
        raise InvalidInput(f"projections is {projections}; it must be at least 1.")
    points = coordinates(mu), coordinates(nu)
    few, many = sorted(points, key=len)
    if mu.weights is None and nu.weights is None and len(many) % len(few) == 0:
        # Sorting is all there is to do, and the host sorts many times faster than compiled code.
        lines = np.asarray(_directions(key, projections, few.shape[1]))
        lower, higher = (np.sort(lines @ to_host(x).T, axis=1) for x in (few, many))
        apart = higher.reshape(projections, len(few), -1) - lower[:, :, None]
        return math.sqrt(np.mean(apart**2))
    total = _sliced(key, *points, mu.probabilities, nu.probabilities, projections)
    return math.sqrt(max(0.0, float(total)))


def _require_alike(mu: Ensemble, nu: Ensemble) -> None:
    shapes = [
        {
            name: tuple(leaf.shape[1:])
            for name, leaf in zip(
                leaf_names(e.particles), jax.tree.leaves(e.particles), strict=True
            )
        }
        for e in (mu, nu)
    ]
    if shapes[0] != shapes[1]:
        raise InvalidInput(
            f"mu holds particles of shapes {shapes[0]} and nu of {shapes[1]}; they must agree."
        )


def _squared_distances(mu: Ensemble, nu: Ensemble) -> np.ndarray:
    from scipy.spatial.distance import cdist

    points = (np.asarray(to_host(coordinates(e)), float) for e in (mu, nu))
    return cdist(*points, metric="sqeuclidean")


def _assignment(mu: Ensemble, nu: Ensemble) -> Coupling:
    from scipy.optimize import linear_sum_assignment

    size = math.lcm(mu.size, nu.size)
    copies = size // mu.size, size // nu.size
    cost = _squared_distances(mu, nu)
    rows, columns = linear_sum_assignment(np.kron(cost, np.ones(copies)))
    source, target = rows // copies[0], columns // copies[1]
    pairs, counts = np.unique(np.stack([source, target]), axis=1, return_counts=True)
    mass = counts / size
    return Coupling(pairs[0], pairs[1], mass, float(cost[tuple(pairs)] @ mass), exact=True)


def _program(mu: Ensemble, nu: Ensemble) -> Coupling:
    from scipy import optimize, sparse

    cost = _squared_distances(mu, nu)
    rows, columns = cost.shape
    leaving = sparse.kron(sparse.eye_array(rows), np.ones((1, columns)))
    arriving = sparse.kron(np.ones((1, rows)), sparse.eye_array(columns))
    masses = [np.asarray(to_host(e.probabilities), float) for e in (mu, nu)]
    masses = [mass / mass.sum() for mass in masses]
    found = optimize.linprog(
        cost.ravel(), A_eq=sparse.vstack([leaving, arriving]), b_eq=np.concatenate(masses)
    )
    if not found.success:
        raise RuntimeError(f"the linear program of the coupling failed: {found.message}")
    plan = found.x.reshape(cost.shape)
    source, target = np.nonzero(plan > 0)
    mass = plan[source, target] / plan.sum()
    return Coupling(source, target, mass, float(cost[source, target] @ mass), exact=True)


def _entropic(mu: Ensemble, nu: Ensemble, epsilon: float | None) -> Coupling:
    x, y = coordinates(mu), coordinates(nu)
    plan, converged, blur = _plan(x, y, mu.probabilities, nu.probabilities, epsilon)
    _warn_unless(bool(converged), float(blur))
    plan = np.asarray(to_host(plan), float)
    # Moves of no consequence are left out: they would be as many as there are pairs.
    source, target = np.nonzero(plan > 1e-3 * plan.max(axis=1, keepdims=True))
    mass = plan[source, target] / plan[source, target].sum()
    cost = _squared_distances(mu, nu)[source, target]
    return Coupling(source, target, mass, float(cost @ mass), exact=False)


def _warn_unless(converged: bool, epsilon: float) -> None:
    if not converged:
        warnings.warn(
            f"Sinkhorn's algorithm did not converge at epsilon = {epsilon:.3g}; give a larger "
            "epsilon.",
            NotConvergedWarning,
            stacklevel=4,
        )


@jax.jit
def _between(x: Array, y: Array, a: Array, b: Array, epsilon: Array | float) -> tuple[Array, Array]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ott imports a package that says it is unmaintained
        from ott.geometry.pointcloud import PointCloud
        from ott.solvers import linear
    geometry = PointCloud(x, y, epsilon=cast(float, epsilon))
    return _cost(linear.solve(geometry, a=a, b=b, **_limits(x.dtype)))


@jax.jit
def _itself(x: Array, a: Array, epsilon: Array | float) -> tuple[Array, Array]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ott.geometry.pointcloud import PointCloud
        from ott.solvers import linear
        from ott.solvers.linear.acceleration import Momentum
    geometry = PointCloud(x, epsilon=cast(float, epsilon))
    # The symmetric iteration: the mean of old and new potentials, a few steps in all (FSVATP19).
    symmetric = {"parallel_dual_updates": True, "momentum": Momentum(start=0, value=0.5)}
    return _cost(linear.solve(geometry, a=a, b=a, **symmetric, **_limits(x.dtype)))


def _cost(out: Any) -> tuple[Array, Array]:
    return jnp.asarray(out.reg_ot_cost), jnp.asarray(out.converged)


@jax.jit
def _plan(
    x: Array, y: Array, a: Array, b: Array, epsilon: Array | float | None
) -> tuple[Array, Array, Array]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ott.geometry.pointcloud import PointCloud
        from ott.solvers import linear
    spread = jnp.mean(
        jnp.sum((x - x.mean(0)) ** 2, 1) + jnp.mean((y - x.mean(0)) ** 2) * y.shape[1]
    )
    blur = 0.01 * spread if epsilon is None else epsilon
    out = linear.solve(PointCloud(x, y, epsilon=cast(float, blur)), a=a, b=b, **_limits(x.dtype))
    return jnp.asarray(out.matrix), jnp.asarray(out.converged), jnp.asarray(blur)


@jax.jit(static_argnums=(1, 2))
def _directions(key: Array, count: int, dimension: int) -> Array:
    """Unit vectors, uniform on the sphere."""
    normal = jax.random.normal(key, (count, dimension))
    return normal / jnp.linalg.norm(normal, axis=1, keepdims=True)


@jax.jit(static_argnames="projections")
def _sliced(key: Array, x: Array, y: Array, a: Array, b: Array, projections: int) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ott.tools.sliced import sliced_wasserstein as ott_sliced
    return ott_sliced(x, y, a=a, b=b, n_proj=projections, rng=key)[0]


def _limits(dtype: np.dtype) -> dict[str, Any]:
    """Sinkhorn's stopping rule: the marginals' error, and iterations at most."""
    return {"threshold": 1e-6 if dtype == np.float64 else 1e-3, "max_iterations": 5000}
