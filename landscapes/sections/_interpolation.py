"""Between two ensembles: the loss along displacement, mixture and straight paths, its barrier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from particles import Coupling, Ensemble, InvalidInput, optimal_coupling
from particles.internal import difference, to_device

from .._abstract import AbstractLandscape
from ._directions import require_like
from ._sections import DisplacementSection, MixtureSection, Section, line_grid, section_expansions

if TYPE_CHECKING:
    import xarray

Kind = Literal["displacement", "mixture", "straight"]
KINDS: tuple[Kind, ...] = ("displacement", "mixture", "straight")


class Barrier(NamedTuple):
    """The highest point of a path above the chord between its ends.

    Args:
        height: max_t L(μ_t) − (1 − t) L(μ_0) − t L(μ_1), at the grid's points; 0 for none.
        place: where, t between 0 and 1.
    """

    height: float
    place: float


def displacement_path(mu: Ensemble, nu: Ensemble, plan: Coupling) -> DisplacementSection:
    """μ_t = ((1 − t) θ + t θ')_# π: the geodesic of W2 where the plan π is optimal.

    Every move of the plan becomes a particle, so sizes and weights may differ.

    Args:
        mu: the start of the path.
        nu: its end, with particles of the same shapes.
        plan: what moves where, such as that of `optimal_coupling`.

    Example:
        >>> import jax.numpy as jnp
        >>> from particles import optimal_coupling
        >>> mu, nu = Ensemble(jnp.array([0.0, 1.0])), Ensemble(jnp.array([2.0, 0.0]))
        >>> displacement_path(mu, nu, optimal_coupling(mu, nu)).at(jnp.array([0.5])).particles
        Array([0. , 1.5], dtype=float32)
    """
    source, target = to_device(plan.source), to_device(plan.target)
    start, way = _moved(mu.particles, source, nu.particles, target)
    # Equal masses stay implicit: fewer arrays, and the same compilation as any such ensemble.
    equal = bool(np.ptp(plan.mass) <= 1e-12 * plan.mass.max())
    moves = Ensemble(start, None if equal else plan.mass)
    return DisplacementSection(moves, (way,))


@jax.jit
def _moved(
    mu: PyTree, source: Int[Array, " moves"], nu: PyTree, target: Int[Array, " moves"]
) -> tuple[PyTree, PyTree]:
    """Where every move starts, and how far it goes."""
    start = jax.tree.map(lambda leaf: leaf[source], mu)
    return start, jax.tree.map(lambda leaf, begin: leaf[target] - begin, nu, start)


def interpolate(
    landscape: AbstractLandscape,
    mu: Ensemble,
    nu: Ensemble,
    fast: PyTree | None = None,
    *,
    kinds: Sequence[Kind] | None = None,
    points: int = 33,
    plan: Coupling | None = None,
    chunk: int | None = None,
) -> xarray.Dataset:
    """The loss on the way from μ to ν, with slope and curvature at every point.

    - `displacement`: particles move straight along an optimal coupling, the geodesic of W2; its
      curvature is ⟨u, Hu⟩ with the Wasserstein Hessian H and the velocity u of the path.
    - `mixture`: (1 − t) μ + t ν; convex wherever the risk is.
    - `straight`: particle i of μ to particle i of ν, as they are numbered.

    Args:
        landscape: any landscape.
        mu: the start, t = 0.
        nu: the end, t = 1; sizes and weights may differ, except on the straight path.
        fast: frozen fast variables; `None` for the two-timescale limit.
        kinds: paths wanted; by default all that exist.
        points: between 0 and 1, ends included.
        plan: the coupling, where it is known; `particles.optimal_coupling` by default.
        chunk: particles held at once.

    Returns:
        Over (`kind`, `fraction`): `loss`, `chord` between the ends, `slope` and `curvature` (first
        and second derivative in t, by automatic differentiation), `second_difference` (measured
        from the losses; NaN at the ends). Over `kind`: `barrier` and `barrier_at`,
        `smallest_curvature`, and `length` of the path in units of the particles (NaN for the
        mixture).

    Raises:
        InvalidInput: ensembles of another landscape or of different particles, an unknown kind,
            a straight path between different sizes or weights, or an empty grid.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[1.0]]), "relu")
        >>> one = Ensemble(Neuron(a=jnp.array([[0.0], [2.0]]), w=jnp.ones((2, 1))))
        >>> other = Ensemble(Neuron(a=jnp.array([[2.0], [0.0]]), w=jnp.ones((2, 1))))
        >>> interpolate(landscape, one, other, points=3).loss.max().item()  # equal measures
        0.0
    """
    import xarray

    for ensemble in (mu, nu):
        landscape.require_fit(ensemble)
    t = line_grid((0.0, 1.0), points)
    alike = _same_weights(mu, nu)
    wanted: Sequence[Kind] = (
        [kind for kind in KINDS if alike or kind != "straight"] if kinds is None else kinds
    )
    if not wanted or not set(wanted) <= set(KINDS):
        raise InvalidInput(f"kinds is {list(wanted)}; choose from {list(KINDS)}.")
    grid = to_device(t[:, None], jax.tree.leaves(mu.particles)[0].dtype)
    rows, lengths = [], []
    for kind in wanted:
        if kind == "displacement" and plan is None:
            plan = optimal_coupling(mu, nu)
        section = _path(landscape, mu, nu, kind, plan, chunk)
        at = section_expansions(landscape, section, grid, fast, chunk=chunk)
        rows.append([np.asarray(leaf, float).reshape(points) for leaf in at])
        moving = isinstance(section, DisplacementSection)
        lengths.append(float(section.ensemble.norm(section.fields[0])) if moving else np.nan)
    loss, slope, curvature = np.stack(rows, axis=1)
    chord = loss[:, :1] * (1 - t) + loss[:, -1:] * t
    second = np.full_like(loss, np.nan)
    second[:, 1:-1] = np.diff(loss, 2) / (t[1] - t[0]) ** 2
    barriers = [barrier(t, row) for row in loss]
    both = ("kind", "fraction")
    unit = {"units": "loss"}
    return xarray.Dataset(
        {
            "loss": (both, loss, unit),
            "chord": (both, chord, unit),
            "slope": (both, slope, unit),
            "curvature": (both, curvature, unit),
            "second_difference": (both, second, unit),
            "barrier": ("kind", [b.height for b in barriers], unit),
            "barrier_at": ("kind", [b.place for b in barriers]),
            "smallest_curvature": ("kind", curvature.min(axis=1), unit),
            "length": ("kind", lengths, {"units": "particle"}),
        },
        {"kind": list(wanted), "fraction": t},
        {"exact_coupling": int(plan is None or plan.exact)},
    )


def barrier(fraction: Float[np.ndarray, " points"], loss: Float[np.ndarray, " points"]) -> Barrier:
    """The highest point of a loss curve above the chord between its ends.

    Example:
        >>> barrier(np.array([0.0, 0.5, 1.0]), np.array([0.0, 2.0, 1.0]))
        Barrier(height=1.5, place=0.5)
    """
    over = loss - (loss[0] * (1 - fraction) + loss[-1] * fraction)
    top = int(np.argmax(over))
    return Barrier(float(over[top]), float(fraction[top]))


def _path(
    landscape: AbstractLandscape,
    mu: Ensemble,
    nu: Ensemble,
    kind: Kind,
    plan: Coupling | None,
    chunk: int | None,
) -> Section:
    if kind == "mixture":
        return MixtureSection(landscape.mixture(mu, (nu,), chunk=chunk))
    if kind == "displacement" and plan is not None:
        return displacement_path(mu, nu, plan)
    if not _same_weights(mu, nu):
        raise InvalidInput(
            f"kinds asks for the straight path, but the ensembles have N = {mu.size} and {nu.size} "
            "particles or different weights; it pairs particle by particle: use displacement."
        )
    require_like(mu, "nu", nu.particles)
    return DisplacementSection(mu, (difference(nu.particles, mu.particles),))


def _same_weights(mu: Ensemble, nu: Ensemble) -> bool:
    if mu.size != nu.size:
        return False
    if mu.weights is None and nu.weights is None:
        return True
    return bool(jnp.allclose(mu.probabilities, nu.probabilities, rtol=1e-5))
