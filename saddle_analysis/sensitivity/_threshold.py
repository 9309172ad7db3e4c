"""Below which timescale ratio the joint flow is the reduced flow plus a first-order correction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from landscapes import Landscape
from particles import Ensemble, InvalidInput


@dataclass(frozen=True)
class TimescaleThreshold:
    """Where the distance of the joint flow to the reduced flow becomes linear in the ratio.

    Args:
        fast_rate: slowest relaxation rate of the fast variables at ratio one, the smallest
            eigenvalue of ∂²R in them; at ratio ε they relax at this over ε; 1/time.
        reduced_rate: how fast the reduced flow changes its pull on the fast variables, with what
            they give back; 1/time.
        ratio: first order holds for ε below it, over times of 1/reduced_rate or more.
    """

    fast_rate: float
    reduced_rate: float
    ratio: float


class _Orders(NamedTuple):
    """∂²R in the fast variables by its eigenvalues, and sizes of the corrections per power of ε."""

    curvatures: Float[Array, " fast"]
    first: Float[Array, ""]
    lagging: Float[Array, ""]
    returned: Float[Array, ""]


def timescale_threshold(
    landscape: Landscape,
    ensemble: Ensemble,
    *,
    tolerance: float = 0.05,
    chunk: int | None = None,
) -> TimescaleThreshold:
    """The timescale ratio below which first order in ε holds for the joint flow from here.

    To first order the joint flow is the reduced flow in the metric 1 + ε JᵀJ, with J the
    derivative of the fast equilibrium W*. With u = JᵀẆ* that correction and C = ∂²R in the fast
    variables, the second order is smaller by the factor εq, q = (‖Jᵀ d/dt(C⁻¹Ẇ*)‖ + ‖JᵀJu‖)/‖u‖.
    The layer of a start at W* adds as much within the time 1/(cq), c = λ_min(C), and less later. So
    the slope of log distance over log ε is within `tolerance` of one for ε < (tolerance/2)·c/r,
    where r = cq is the rate of the reduced flow. It is a property of the place: over a long run the
    smallest value along the reduced flow counts. (theory.md, section 2)

    Args:
        landscape: with fast variables.
        ensemble: where; the fast variables are at their equilibrium.
        tolerance: allowed distance of the slope from one.
        chunk: particles held at once.

    Raises:
        InvalidInput: no fast variables, fast variables that do not relax or do not move here (as at
            a saddle), or a tolerance that is not between 0 and 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import MLPAttentionLandscape, Neuron
        >>> mu = Ensemble(Neuron(a=jnp.array([[0.5]]), w=jnp.array([[1.0]])))
        >>> x = jnp.array([[1.0], [2.0]])
        >>> landscape = MLPAttentionLandscape(x, jnp.sin(x))
        >>> found = timescale_threshold(landscape, mu)
        >>> 0 < found.ratio < found.fast_rate / found.reduced_rate
        True
    """
    landscape.require_fit(ensemble)
    if not 0 < tolerance < 1:
        raise InvalidInput(f"tolerance is {tolerance}; it must lie between 0 and 1.")
    moments = eqx.filter_eval_shape(landscape.moments, ensemble, chunk=chunk)
    if eqx.filter_eval_shape(landscape.solve_fast, moments) is None:
        raise InvalidInput(
            f"landscape is a {type(landscape).__name__}, which has no fast variables."
        )
    found = _orders(landscape, ensemble, chunk)
    slowest, fastest = float(found.curvatures[0]), float(found.curvatures[-1])
    if not slowest > len(found.curvatures) * jnp.finfo(found.first.dtype).eps * fastest:
        raise InvalidInput(
            f"the fast variables of ensemble relax at {slowest:.2g} at the slowest and "
            f"{fastest:.2g} at the fastest, so no ratio is small enough here; give an ensemble "
            "away from saddles, or the landscape a ridge."
        )
    if not float(found.first) > 0:
        raise InvalidInput(
            "the reduced flow does not move the fast variables of ensemble, so the ratio has no "
            "effect to first order; give an ensemble that is not at rest."
        )
    rate = slowest * float((found.lagging + found.returned) / found.first)
    return TimescaleThreshold(slowest, rate, tolerance / 2 * slowest / rate)


@eqx.filter_jit
def _orders(landscape: Landscape, ensemble: Ensemble, chunk: int | None) -> _Orders:
    def moved(particles: PyTree) -> Ensemble:
        return eqx.tree_at(lambda e: e.particles, ensemble, particles)

    def at(particles: PyTree) -> PyTree:
        return landscape.moments(moved(particles), chunk=chunk)

    unravel = ravel_pytree(landscape.solve_fast(at(ensemble.particles)))[1]

    def equilibrium(particles: PyTree) -> Array:
        return ravel_pytree(landscape.solve_fast(at(particles)))[0]

    def velocity(particles: PyTree) -> PyTree:
        return landscape.velocity(moved(particles), chunk=chunk)

    def curvature(particles: PyTree) -> Array:
        moments = at(particles)
        risk = lambda flat: landscape.risk(moments, unravel(flat))  # noqa: E731
        return jax.hessian(risk)(equilibrium(particles))

    def carried(particles: PyTree) -> Array:
        return _along(equilibrium, particles, velocity(particles))

    def lag(particles: PyTree) -> Array:
        return jnp.linalg.solve(curvature(particles), carried(particles))

    with jax.default_matmul_precision("highest"):
        start = ensemble.particles
        inner = curvature(start)
        frozen = lambda flat: landscape.velocity(ensemble, unravel(flat), chunk=chunk)  # noqa: E731

        # Jᵀ = −BC⁻¹ in L²(μ), B the mixed derivative: no division by weights, which may be zero.
        def back(fast: Array) -> PyTree:
            return _along(frozen, equilibrium(start), jnp.linalg.solve(inner, fast))

        first = back(carried(start))
        returned = back(_along(equilibrium, start, first))
        lagging = back(_along(lag, start, velocity(start)))
        norm = ensemble.norm
        return _Orders(
            jnp.linalg.eigvalsh(inner),
            norm(first),
            norm(lagging),
            norm(returned),
        )


def _along(function: Callable[[PyTree], PyTree], where: PyTree, direction: PyTree) -> PyTree:
    return jax.jvp(function, (where,), (direction,))[1]
