"""A landscape of pairs: ½ ∬ W dμ dμ + ∫ V dμ, streamed in tiles."""

from __future__ import annotations

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from particles import Ensemble
from particles.internal import stream_map, stream_pairs, stream_sum

from ._precisely import compiled_precisely
from ._tiles import TiledLandscape, require_no_fast
from ._variations import Curvature, FirstOrder, FirstVariation, Part, SecondVariation


class PairLandscape(TiledLandscape):
    """A functional L(μ) = ½ ∬ W(θ, θ') dμ dμ + ∫ V dμ of pairs of particles.

    Write `pair` (W, of two particles) and, if there is one, `potential` (V, of one). Value,
    velocity, variations and Hessian products follow by automatic differentiation in tiles of
    chunk × chunk pairs: N² work, memory bounded by the chunk, over several devices too.
    (theory.md, section 11; AGS08)

    W must be symmetric: the flow sees its symmetric part alone, and to symmetrise it here would
    double the cost. `require_fit` refuses a W that is not. A particle's pair with itself counts, as
    it does in ½ ∬ W dμ dμ. Where W is singular on the diagonal, write it as zero there (with
    `jnp.where` around the singular formula as well, so that its derivatives are zero too): then
    the sums go over pairs of different particles, as in a gas of charges.

    Add R(∫ Φ dμ) with `Sum`. `features` are what is recorded and compared between sizes; by
    default the particle and its squares.

    Example:
        >>> import jax.numpy as jnp
        >>> class Springs(PairLandscape):
        ...     def pair(self, particle, other):
        ...         return 0.5 * jnp.sum((particle - other) ** 2)
        >>> mu = Ensemble(jnp.array([[0.0], [2.0]]))
        >>> landscape = Springs()
        >>> float(landscape.value(mu)), landscape.velocity(mu).tolist()
        (0.5, [[1.0], [-1.0]])
    """

    @abc.abstractmethod
    def pair(self, particle: PyTree, other: PyTree) -> Float[Array, ""]:
        """W(θ, θ'), symmetric."""

    def potential(self, particle: PyTree) -> Float[Array, ""]:
        """V(θ); zero by default."""
        return jnp.zeros((), jnp.result_type(*jax.tree.leaves(particle)))

    def _functions(self, one: PyTree) -> dict[str, tuple[Callable, tuple]]:
        return super()._functions(one) | {"potential": (self.potential, (one,))}

    # --- derived -------------------------------------------------------------------------------

    @compiled_precisely
    def value_and_moments(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> tuple[Float[Array, ""], PyTree]:
        """L(μ) and the moments: one pass over pairs."""
        self._require_number(ensemble)
        require_no_fast(fast)
        particles, mesh, side = ensemble.particles, ensemble.mesh, self.chunk(ensemble, chunk)
        field = stream_pairs(
            self.interaction,
            particles,
            particles,
            ensemble.weights,
            side,
            row_mesh=mesh,
            column_mesh=mesh,
        )

        def total(part: tuple[PyTree, Array], weights: Array) -> Array:
            return jnp.sum(weights * (jax.vmap(self.potential)(part[0]) + 0.5 * part[1]))

        value = stream_sum(total, (particles, field), ensemble.weights, side, mesh)
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
        """L(μ), gradient and first variation from one pass over pairs."""
        self._require_number(ensemble)
        require_no_fast(fast)
        side = self.chunk(ensemble, chunk)
        (own, between), gradient = _field(self, ensemble, ensemble, side)
        value = jnp.sum(ensemble.probabilities * (own + 0.5 * between))
        return FirstOrder(
            value,
            self.moments(ensemble, chunk=chunk),
            gradient,
            None,
            own + between if potential else None,
        )

    @compiled_precisely
    def first_variation(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> FirstVariation:
        """δL/δμ[μ](θ) = V(θ) + ∫ W(θ, θ') dμ(θ'), centred to zero μ-mean."""
        self._require_number(ensemble)
        require_no_fast(fast)
        side = self.chunk(ensemble, chunk)
        (own, between), _ = _field(self, ensemble, ensemble, side)
        mean = jnp.sum(ensemble.probabilities * (own + between))
        return PairFirstVariation(landscape=self, ensemble=ensemble, mean=mean, chunk=side)

    def second_variation(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> SecondVariation:
        """δ²L/δμ²(θ, θ') = W(θ, θ'), whatever the measure."""
        require_no_fast(fast)
        return PairSecondVariation(self)

    def curvature(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> Curvature:
        """The Wasserstein Hessian: a product is one pass over pairs."""
        require_no_fast(fast)
        self._require_number(ensemble)
        return PairCurvature(self, ensemble, self.chunk(ensemble, chunk))


class Interaction(PairLandscape):
    """½ ∬ W dμ dμ + ∫ V dμ from two functions.

    Args:
        kernel: W(θ, θ'), symmetric.
        confining: V(θ), or `None` for none.

    Example:
        >>> springs = Interaction(lambda x, y: 0.5 * jnp.sum((x - y) ** 2))
        >>> float(springs.value(Ensemble(jnp.array([[0.0], [2.0]]))))
        0.5
    """

    kernel: Callable[[PyTree, PyTree], Array]
    confining: Callable[[PyTree], Array] | None = None

    def pair(self, particle: PyTree, other: PyTree) -> Float[Array, ""]:
        """W(θ, θ')."""
        return self.kernel(particle, other)

    def potential(self, particle: PyTree) -> Float[Array, ""]:
        """V(θ)."""
        return super().potential(particle) if self.confining is None else self.confining(particle)


class PairFirstVariation(FirstVariation):
    """δL/δμ[μ](θ) = V(θ) + ∫ W(θ, ·) dμ − its μ-mean."""

    landscape: PairLandscape
    ensemble: Ensemble
    mean: Float[Array, ""]
    chunk: int = eqx.field(static=True)

    @compiled_precisely
    def potential(self, particle: PyTree) -> Float[Array, ""]:
        """V(θ) + ∫ W(θ, ·) dμ."""
        row = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], particle)
        between = stream_pairs(
            self.landscape.interaction,
            row,
            self.ensemble.particles,
            self.ensemble.weights,
            self.chunk,
            column_mesh=self.ensemble.mesh,
        )
        return self.landscape.potential(particle) + between[0]

    @compiled_precisely
    def potential_and_gradient(
        self, points: Ensemble, *, chunk: int | None = None
    ) -> tuple[Float[Array, " particles"], PyTree]:
        """V + ∫ W dμ and its gradient, in one pass over points and particles."""
        side = self.chunk if chunk is None else chunk
        (own, between), gradient = _field(self.landscape, points, self.ensemble, side)
        return own + between, gradient


class PairSecondVariation(SecondVariation):
    """W."""

    landscape: PairLandscape

    @compiled_precisely
    def __call__(self, particle: PyTree, other: PyTree) -> Float[Array, ""]:
        """W(θ, θ')."""
        return self.landscape.pair(particle, other)


class PairCurvature(Curvature):
    """⟨u, Hu⟩ = ∬ uᵀ∇∇'W u' dμdμ + ∫ uᵀ ∇²(V + ∫W dμ) u dμ: a derivative of the force."""

    landscape: PairLandscape
    ensemble: Ensemble
    chunk: int = eqx.field(static=True)

    @compiled_precisely
    def __call__(self, field: PyTree, part: Part = "full") -> PyTree:
        """Hu: how the force changes as all particles move, or all but the one it acts on."""
        landscape, ensemble = self.landscape, self.ensemble
        particles, mesh = ensemble.particles, ensemble.mesh

        def response(
            row: tuple[PyTree, PyTree], column: tuple[PyTree, PyTree], weights: Array
        ) -> PyTree:
            # The force is the slope of a sum over rows, of which each sees its own row alone.
            force = jax.grad(lambda x, y: jnp.sum(landscape.interaction(x, y, weights)))
            if part == "interaction":
                return jax.jvp(lambda y: force(row[0], y), (column[0],), (column[1],))[1]
            return jax.jvp(force, (row[0], column[0]), (row[1], column[1]))[1]

        moving = (particles, field)
        between = stream_pairs(
            response, moving, moving, ensemble.weights, self.chunk, row_mesh=mesh, column_mesh=mesh
        )
        if part == "interaction":
            return between

        def bent(one: tuple[PyTree, PyTree]) -> PyTree:
            slope = jax.grad(lambda p: jnp.sum(jax.vmap(landscape.potential)(p)))
            return jax.jvp(slope, (one[0],), (one[1],))[1]

        own = stream_map(bent, moving, self.chunk, mesh)
        return jax.tree.map(jnp.add, own, between)


def _field(
    landscape: PairLandscape, points: Ensemble, sources: Ensemble, side: int
) -> tuple[tuple[Array, Array], PyTree]:
    """V and ∫ W dμ at points, and the gradient of their sum."""

    def pull(part: PyTree, others: PyTree, weights: Array) -> tuple[Array, PyTree]:
        values, back = jax.vjp(lambda x: landscape.interaction(x, others, weights), part)
        return values, back(jnp.ones_like(values))[0]

    between, force = stream_pairs(
        pull,
        points.particles,
        sources.particles,
        sources.weights,
        side,
        row_mesh=points.mesh,
        column_mesh=sources.mesh,
    )
    alone = jax.vmap(jax.value_and_grad(landscape.potential))
    own, slope = stream_map(alone, points.particles, side, points.mesh)
    return (own, between), jax.tree.map(jnp.add, force, slope)
