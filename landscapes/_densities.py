"""A landscape of a density: ∫ F(∫ K dμ) dμ, streamed in tiles."""

from __future__ import annotations

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from particles import Ensemble
from particles.internal import stream_pairs

from ._precisely import compiled_precisely
from ._tiles import TiledLandscape, require_no_fast
from ._variations import Curvature, FirstOrder, FirstVariation, Part, SecondVariation


class DensityLandscape(TiledLandscape):
    """An internal energy L(μ) = ∫ F(ρ(θ)) dμ(θ) of the density ρ(θ) = ∫ K(θ, θ') dμ(θ').

    Write `pair` (K, symmetric, of two particles) and `internal` (F, of a density). Value, velocity,
    variations and Hessian products follow by automatic differentiation: one pass over pairs for the
    densities, one for what each particle adds to those of the others. A particle counts in its own
    density. With F(ρ) = ρ/2 it is `PairLandscape`. (theory.md, section 11; CCP19)

    Add R(∫ Φ dμ), pairs and potentials with `Sum`.

    Example:
        >>> import jax.numpy as jnp
        >>> class Crowding(DensityLandscape):
        ...     def pair(self, particle, other):
        ...         return jnp.exp(-0.5 * jnp.sum((particle - other) ** 2))
        ...
        ...     def internal(self, density):
        ...         return density**2
        >>> mu = Ensemble(jnp.array([[1.0], [1.0]]))
        >>> float(Crowding().value(mu))
        1.0
    """

    @abc.abstractmethod
    def pair(self, particle: PyTree, other: PyTree) -> Float[Array, ""]:
        """K(θ, θ'), symmetric."""

    @abc.abstractmethod
    def internal(self, density: Float[Array, ""]) -> Float[Array, ""]:
        """F(ρ): the energy of a particle where the density is ρ."""

    def _functions(self, one: PyTree) -> dict[str, tuple[Callable, tuple]]:
        number = jax.eval_shape(lambda: jnp.zeros((), jnp.result_type(*jax.tree.leaves(one))))
        return super()._functions(one) | {"internal": (self.internal, (number,))}

    # --- derived -------------------------------------------------------------------------------

    @compiled_precisely
    def density(
        self, points: Ensemble, sources: Ensemble, *, chunk: int | None = None
    ) -> Float[Array, " points"]:
        """ρ at points: one pass over pairs.

        Args:
            points: where; their weights play no part.
            sources: the measure.
            chunk: side of a tile.
        """
        self._require_number(points)
        self._require_number(sources)
        return stream_pairs(
            self.interaction,
            points.particles,
            sources.particles,
            sources.weights,
            self.chunk(sources, chunk),
            row_mesh=points.mesh,
            column_mesh=sources.mesh,
        )

    @compiled_precisely
    def value_and_moments(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> tuple[Float[Array, ""], PyTree]:
        """L(μ) and the moments: one pass over pairs."""
        require_no_fast(fast)
        energies = jax.vmap(self.internal)(self.density(ensemble, ensemble, chunk=chunk))
        value = jnp.sum(ensemble.probabilities * energies)
        return value, self.moments(ensemble, chunk=chunk)

    @compiled_precisely
    def _first_order(
        self,
        ensemble: Ensemble,
        fast: PyTree | None = None,
        *,
        potential: bool = False,
        chunk: int | None = None,
    ) -> FirstOrder:
        """L(μ), gradient and first variation from two passes over pairs."""
        require_no_fast(fast)
        density = self.density(ensemble, ensemble, chunk=chunk)
        energies, slopes = jax.vmap(jax.value_and_grad(self.internal))(density)
        side = self.chunk(ensemble, chunk)
        adds, gradient = _pull(self, (ensemble, slopes), (ensemble, slopes), side)
        return FirstOrder(
            jnp.sum(ensemble.probabilities * energies),
            self.moments(ensemble, chunk=chunk),
            gradient,
            None,
            energies + adds if potential else None,
        )

    @compiled_precisely
    def first_variation(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> FirstVariation:
        """δL/δμ[μ](θ) = F(ρ(θ)) + ∫ K(θ, ·) F'(ρ) dμ, centred to zero μ-mean."""
        require_no_fast(fast)
        density = self.density(ensemble, ensemble, chunk=chunk)
        energies, slopes = jax.vmap(jax.value_and_grad(self.internal))(density)
        # K is symmetric, so that the μ-mean of ∫ K F'(ρ) dμ is that of ρ F'(ρ): no further pass.
        mean = jnp.sum(ensemble.probabilities * (energies + density * slopes))
        return DensityFirstVariation(
            landscape=self,
            ensemble=ensemble,
            slopes=slopes,
            mean=mean,
            chunk=self.chunk(ensemble, chunk),
        )

    @compiled_precisely
    def second_variation(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> SecondVariation:
        """δ²L/δμ² = K(θ, θ') [F'(ρ(θ)) + F'(ρ(θ'))] + ∫ K(θ, ·) K(θ', ·) F''(ρ) dμ."""
        require_no_fast(fast)
        density = self.density(ensemble, ensemble, chunk=chunk)
        bends = jax.vmap(jax.grad(jax.grad(self.internal)))(density)
        return DensitySecondVariation(self, ensemble, bends, self.chunk(ensemble, chunk))

    @compiled_precisely
    def curvature(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> Curvature:
        """The Wasserstein Hessian: densities once for all, a product is two passes over pairs."""
        require_no_fast(fast)
        density = self.density(ensemble, ensemble, chunk=chunk)
        slope = jax.grad(self.internal)
        slopes, bends = jax.vmap(lambda rho: (slope(rho), jax.grad(slope)(rho)))(density)
        return DensityCurvature(self, ensemble, slopes, bends, self.chunk(ensemble, chunk))


class DensityFirstVariation(FirstVariation):
    """δL/δμ[μ](θ) = F(ρ(θ)) + ∫ K(θ, ·) F'(ρ) dμ − its μ-mean."""

    landscape: DensityLandscape
    ensemble: Ensemble
    slopes: Float[Array, " particles"]
    mean: Float[Array, ""]
    chunk: int = eqx.field(static=True)

    @compiled_precisely
    def potential(self, particle: PyTree) -> Float[Array, ""]:
        """F(ρ(θ)) + ∫ K(θ, ·) F'(ρ) dμ."""
        landscape, ensemble = self.landscape, self.ensemble

        def seen(row: PyTree, column: tuple[PyTree, Array], weights: Array) -> tuple[Array, Array]:
            others, slopes = column
            between = landscape.interaction
            return between(row, others, weights), between(row, others, weights * slopes)

        density, adds = stream_pairs(
            seen,
            jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], particle),
            (ensemble.particles, self.slopes),
            ensemble.weights,
            self.chunk,
            column_mesh=ensemble.mesh,
        )
        return landscape.internal(density[0]) + adds[0]

    @compiled_precisely
    def potential_and_gradient(
        self, points: Ensemble, *, chunk: int | None = None
    ) -> tuple[Float[Array, " particles"], PyTree]:
        """The variation, not centred, and its gradient: two passes over points and particles."""
        side = self.chunk if chunk is None else chunk
        density = self.landscape.density(points, self.ensemble, chunk=side)
        energies, own = jax.vmap(jax.value_and_grad(self.landscape.internal))(density)
        adds, gradient = _pull(self.landscape, (points, own), (self.ensemble, self.slopes), side)
        return energies + adds, gradient


class DensitySecondVariation(SecondVariation):
    """K(θ, θ') [F'(ρ(θ)) + F'(ρ(θ'))] + ∫ K(θ, ·) K(θ', ·) F''(ρ) dμ."""

    landscape: DensityLandscape
    ensemble: Ensemble
    bends: Float[Array, " particles"]
    chunk: int = eqx.field(static=True)

    @compiled_precisely
    def __call__(self, particle: PyTree, other: PyTree) -> Float[Array, ""]:
        """δ²L/δμ² at a pair of particles."""
        landscape, ensemble = self.landscape, self.ensemble
        two = jax.tree.map(lambda *leaves: jnp.stack(leaves), particle, other)

        def through(_: Array, column: tuple[PyTree, Array], weights: Array) -> Array:
            others, bends = column
            to = lambda one: jax.vmap(lambda z: landscape.pair(one, z))(others)  # noqa: E731
            return jnp.sum(weights * bends * to(particle) * to(other))[None]

        joint = stream_pairs(
            through,
            jnp.zeros(1),
            (ensemble.particles, self.bends),
            ensemble.weights,
            self.chunk,
            column_mesh=ensemble.mesh,
        )
        density = landscape.density(Ensemble(two), ensemble, chunk=self.chunk)
        slopes = jax.vmap(jax.grad(landscape.internal))(density)
        return landscape.pair(particle, other) * jnp.sum(slopes) + joint[0]


class DensityCurvature(Curvature):
    """How the force changes as particles move, and with them the densities at all particles."""

    landscape: DensityLandscape
    ensemble: Ensemble
    slopes: Float[Array, " particles"]
    bends: Float[Array, " particles"]
    chunk: int = eqx.field(static=True)

    @compiled_precisely
    def __call__(self, field: PyTree, part: Part = "full") -> PyTree:
        """Hu: how the force changes as all particles move, or all but the one it acts on."""
        landscape, here = self.landscape, (self.ensemble.particles, self.slopes)
        change = self.bends * self._denser(field, field)
        own = (field, change)
        if part == "interaction":
            still = jax.tree.map(jnp.zeros_like, field)
            own = (still, self.bends * self._denser(still, field))

        def response(row: tuple[PyTree, PyTree], column: PyTree, weights: Array) -> PyTree:
            force = lambda x, y: _force(landscape, x, y, weights)[1]  # noqa: E731
            return jax.jvp(force, (row[0], column[0]), (row[1], column[1]))[1]

        return self._over_pairs(response, (here, own), (here, (field, change)))

    def _denser(self, rows: PyTree, columns: PyTree) -> Float[Array, " particles"]:
        """How densities change as particles move by `columns`, and where one looks by `rows`."""
        particles = self.ensemble.particles

        def response(row: PyTree, column: PyTree, weights: Array) -> Array:
            seen = lambda x, y: self.landscape.interaction(x, y, weights)  # noqa: E731
            return jax.jvp(seen, (row[0], column[0]), (row[1], column[1]))[1]

        return self._over_pairs(response, (particles, rows), (particles, columns))

    def _over_pairs(self, fn: Callable, rows: PyTree, columns: PyTree) -> PyTree:
        mesh = self.ensemble.mesh
        return stream_pairs(
            fn, rows, columns, self.ensemble.weights, self.chunk, row_mesh=mesh, column_mesh=mesh
        )


def _force(
    landscape: DensityLandscape,
    row: tuple[PyTree, Array],
    column: tuple[PyTree, Array],
    weights: Array,
) -> tuple[Array, PyTree]:
    """∫ K F'(ρ) dμ at a tile's rows, and ∇ of it with F'(ρ) ∇ρ; each place comes with its F'(ρ)."""
    (places, own), (others, slopes) = row, column

    def seen(x: PyTree) -> tuple[Array, Array]:
        adds = landscape.interaction(x, others, weights * slopes)
        return own * landscape.interaction(x, others, weights) + adds, adds

    # The slope of a sum over rows, of which each sees its own row alone.
    values, back, adds = jax.vjp(seen, places, has_aux=True)
    return adds, back(jnp.ones_like(values))[0]


def _pull(
    landscape: DensityLandscape,
    points: tuple[Ensemble, Array],
    sources: tuple[Ensemble, Array],
    side: int,
) -> tuple[Array, PyTree]:
    """∫ K F'(ρ) dμ at points, and the gradient of the first variation there."""
    (places, own), (measure, slopes) = points, sources
    return stream_pairs(
        lambda row, column, weights: _force(landscape, row, column, weights),
        (places.particles, own),
        (measure.particles, slopes),
        measure.weights,
        side,
        row_mesh=places.mesh,
        column_mesh=measure.mesh,
    )
