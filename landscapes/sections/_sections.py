"""Low-dimensional sections through the space of measures: L on lines and planes of ensembles."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from particles import Ensemble, InvalidInput
from particles.internal import to_device

from .._abstract import AbstractLandscape
from .._precisely import compiled_precisely
from .._variations import Mixture


@runtime_checkable
class Section(Protocol):
    """A family of measures with coordinates c; all that is asked of it is L there."""

    def value(
        self,
        landscape: AbstractLandscape,
        c: Float[Array, " axes"],
        fast: PyTree | None,
        chunk: int | None,
    ) -> Float[Array, ""]:
        """L(μ_c)."""
        ...


class DisplacementSection(eqx.Module):
    """μ_c = (id + Σ_j c_j u_j)_# μ: every particle moved along vector fields.

    Args:
        ensemble: μ, at c = 0.
        fields: u_j at the particles, one pytree for each axis.
    """

    ensemble: Ensemble
    fields: tuple[PyTree, ...]

    def value(
        self,
        landscape: AbstractLandscape,
        c: Float[Array, " axes"],
        fast: PyTree | None,
        chunk: int | None,
    ) -> Float[Array, ""]:
        """L of the moved particles."""
        return landscape.value(self.at(c), fast, chunk=chunk)

    def at(self, c: Float[Array, " axes"]) -> Ensemble:
        """The ensemble μ_c."""

        def moved(leaf: Array, *fields: Array) -> Array:
            steps = (share.astype(leaf.dtype) * u for share, u in zip(c, fields, strict=True))
            return sum(steps, start=leaf)

        particles = jax.tree.map(moved, self.ensemble.particles, *self.fields)
        return self.ensemble.with_particles(particles)


class MixtureSection(eqx.Module):
    """μ_c = (1 − Σ_j c_j) μ + Σ_j c_j ν_j.

    Args:
        mixture: `landscape.mixture(μ, (ν_1, …))`, which looks at the particles once.
    """

    mixture: Mixture

    def value(
        self,
        landscape: AbstractLandscape,
        c: Float[Array, " axes"],
        fast: PyTree | None,
        chunk: int | None,
    ) -> Float[Array, ""]:
        """L of the mixture."""
        return self.mixture(c, fast)


class Expansion(NamedTuple):
    """L to second order about points of a section, by automatic differentiation.

    Along a displacement u the slope is ⟨∇δL/δμ, u⟩ and the curvature ⟨u, Hu⟩ with the Wasserstein
    Hessian H; along a mixture they are ∫ δL/δμ d(ν − μ) and ∫∫ δ²L/δμ² d(ν − μ)d(ν − μ).
    (theory.md, section 1)
    """

    value: Float[Array, " points"]
    slope: Float[Array, "points axes"]
    curvature: Float[Array, "points axes axes"]


def section_values(
    landscape: AbstractLandscape,
    section: Section,
    points: Float[Array, "points axes"],
    fast: PyTree | None = None,
    *,
    chunk: int | None = None,
) -> Float[Array, " points"]:
    """L at points of a section, one after the other in one compiled call.

    Args:
        landscape: any landscape.
        section: a family of measures.
        points: coordinates.
        fast: frozen fast variables; `None` for the two-timescale limit.
        chunk: particles held at once.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.array([[0.0]]), w=jnp.array([[1.0]])))
        >>> section = DisplacementSection(mu, (Neuron(a=jnp.ones((1, 1)), w=jnp.zeros((1, 1))),))
        >>> section_values(landscape, section, jnp.array([[0.0], [1.0], [2.0]])).tolist()
        [2.0, 0.5, 0.0]
    """
    found = _values(landscape, section, *_filled(points), fast, chunk)
    return to_device(np.asarray(found)[: len(points)])


@compiled_precisely
def _values(
    landscape: AbstractLandscape,
    section: Section,
    points: Array,
    count: Array,
    fast: PyTree | None,
    chunk: int | None,
) -> Array:
    return _mapped(_value(landscape, section, fast, chunk), points, count)


def section_expansions(
    landscape: AbstractLandscape,
    section: Section,
    points: Float[Array, "points axes"],
    fast: PyTree | None = None,
    *,
    chunk: int | None = None,
) -> Expansion:
    """Value, slope and curvature in the coordinates at points of a section, leaves stacked.

    Args:
        landscape: any landscape.
        section: a family of measures.
        points: coordinates.
        fast: frozen fast variables; `None` for the two-timescale limit.
        chunk: particles held at once.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.array([[0.0]]), w=jnp.array([[1.0]])))
        >>> section = DisplacementSection(mu, (Neuron(a=jnp.ones((1, 1)), w=jnp.zeros((1, 1))),))
        >>> at = section_expansions(landscape, section, jnp.zeros((1, 1)))
        >>> at.slope.tolist(), at.curvature.tolist()  # L = ½(2 − c)²
        ([[-2.0]], [[[1.0]]])
    """
    found = _expansions(landscape, section, *_filled(points), fast, chunk)
    return jax.tree.map(lambda leaf: to_device(np.asarray(leaf)[: len(points)]), found)


@compiled_precisely
def _expansions(
    landscape: AbstractLandscape,
    section: Section,
    points: Array,
    count: Array,
    fast: PyTree | None,
    chunk: int | None,
) -> Expansion:
    value = _value(landscape, section, fast, chunk)

    # All three from one nested pass: what the outer derivative meets on the way is handed out.
    def with_value(c: Array) -> tuple[Array, Array]:
        seen = value(c)
        return seen, seen

    def with_slope(c: Array) -> tuple[Array, tuple[Array, Array]]:
        slope, seen = jax.jacfwd(with_value, has_aux=True)(c)
        return slope, (seen, slope)

    def expand(c: Array) -> Expansion:
        curvature, (seen, slope) = jax.jacfwd(with_slope, has_aux=True)(c)
        return Expansion(seen, slope, curvature)

    return _mapped(expand, points, count)


def _filled(points: Array) -> tuple[Array, Array]:
    """Points filled up to a few numbers of them, and how many they are: programs are shared."""
    rows = np.asarray(points)
    filled = np.zeros((max(64, 1 << (len(rows) - 1).bit_length()), rows.shape[1]), rows.dtype)
    filled[: len(rows)] = rows
    return to_device(filled), to_device(len(rows), np.int32)


def _mapped(fn: Callable[[Array], PyTree], points: Array, count: Array) -> PyTree:
    """Fn at the first `count` points, one after the other; zero at the others."""
    empty = jax.tree.map(
        lambda one: jnp.zeros((len(points), *one.shape), one.dtype), jax.eval_shape(fn, points[0])
    )

    def put(i: Array, rows: PyTree) -> PyTree:
        return jax.tree.map(lambda row, one: row.at[i].set(one), rows, fn(points[i]))

    return jax.lax.fori_loop(0, count, put, empty)


def line_grid(extent: float | tuple[float, float], points: int) -> Float[np.ndarray, " points"]:
    """Evenly spaced coordinates between −extent and extent, or from low to high.

    Raises:
        InvalidInput: fewer than three points, or an extent that is empty or not finite.
    """
    if points < 3:
        raise InvalidInput(f"points is {points}; a grid needs at least 3.")
    low, high = extent if isinstance(extent, tuple) else (-extent, extent)
    if not (np.isfinite([low, high]).all() and low < high):
        raise InvalidInput(
            f"extent is {extent}; it must be a positive number, or (low, high) with low < high."
        )
    return np.linspace(low, high, points)


def _value(
    landscape: AbstractLandscape, section: Section, fast: PyTree | None, chunk: int | None
) -> Callable[[Array], Array]:
    return lambda c: section.value(landscape, c, fast, chunk)
