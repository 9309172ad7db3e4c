"""Attention on Gaussian inputs: the exact population, over pairs of neurons."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float, PyTree

from particles import Ensemble, InvalidInput
from particles.internal import stream_map, stream_pairs, stream_sum, to_device

from .._pairs import PairLandscape
from .._precisely import compiled_precisely
from .._tiles import TiledLandscape, require_no_fast
from .._variations import Curvature, FirstOrder, FirstVariation, Part, SecondVariation
from ..networks import Activation, Neuron, covariance_root, hermite_expansion, neuron_gram


class Moments(NamedTuple):
    """Σ°μ and Σμμ, each `(outputs, outputs)`; or slopes in them."""

    cross: Float[Array, "outputs outputs"]
    gram: Float[Array, "outputs outputs"]


class GaussianAttentionLandscape(TiledLandscape):
    """L(μ) = ½ tr(Σ°° − Σ°μ (Σμμ + ρI)⁻¹ Σμ°) for x ~ N(0, Σ), without samples or truncation.

    The limit of infinite prompts of `MLPAttentionLandscape`. With K(w, w') = E[σ(wᵀx)σ(w'ᵀx)] in
    closed form, Σμμ = ∬ aa'ᵀ K dμdμ and Σ°μ = ∬ a°aᵀ K dμ°dμ. L is no sum over pairs, but its slope
    is that of one: of W = 2aᵀSa' K and V = ⟨C, a°aᵀ K⟩, with C and S the slopes of L in Σ°μ and
    Σμμ. N² work, whatever the dimension. Without a ridge Σμμ must be invertible.
    (theory.md, section 12; KS24, WIL97)

    Args:
        teacher: μ°, a measure over neurons.
        activation: `"erf"`, `"relu"`, `"quadratic"` or `"cosine"`.
        ridge: ρ ≥ 0.
        covariance: Σ; the identity by default.

    Raises:
        InvalidInput: an activation without closed form, a covariance of the wrong kind, or a
            negative ridge.

    Example:
        >>> teacher = Ensemble(Neuron(a=jnp.eye(2), w=jnp.eye(2)))
        >>> landscape = GaussianAttentionLandscape(teacher, "erf")
        >>> mu = Ensemble(Neuron(a=3 * jnp.eye(2), w=jnp.eye(2)))
        >>> abs(float(landscape.value(mu))) < 1e-6  # h_μ spans the targets
        True
    """

    teacher: Ensemble
    root: Float[Array, "inputs inputs"]
    target_moment: Float[Array, "outputs outputs"]
    ridge: Float[Array, ""]
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        teacher: Ensemble,
        activation: str | Activation = "erf",
        *,
        ridge: float = 0.0,
        covariance: ArrayLike | None = None,
    ):
        dtype = teacher.particles.w.dtype
        self.teacher = teacher
        self.activation = hermite_expansion(activation).activation
        self.root = covariance_root(teacher.particles.w.shape[1], covariance).astype(dtype)
        self.target_moment = neuron_gram(teacher, teacher, self.activation, covariance)
        self.ridge = to_device(ridge, dtype)
        self.require_valid()

    def require_valid(self) -> None:
        """Refuse a negative ridge."""
        ridge = self.ridge
        if not (isinstance(ridge, Tracer) or 0 <= float(ridge) < jnp.inf):
            raise InvalidInput(f"ridge is {ridge}; it must be finite and not negative.")

    @property
    def particle(self) -> Neuron:
        """Shapes and dtypes of one particle."""
        a, w = self.teacher.particles
        return Neuron(*(jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for leaf in (a, w)))

    def pair(self, particle: Neuron, other: Neuron) -> Float[Array, ""]:
        """E[aᵀa' σ(wᵀx)σ(w'ᵀx)]: two particles enter Σμμ by it and its like."""
        inner = hermite_expansion(self.activation).inner
        return jnp.sum(particle.a * other.a) * inner(self.root @ particle.w, self.root @ other.w)

    def features(self, particle: Neuron) -> Float[Array, "outputs outputs"]:
        """E[f° (aσ(wᵀx))ᵀ], of mean Σ°μ."""
        seen = self.outputs(self.teacher.particles, particle.w[None], self.teacher.probabilities)
        return jnp.outer(seen[0], particle.a)

    def feature_sum(
        self, particles: Neuron, weights: Float[Array, " particles"]
    ) -> Float[Array, "outputs outputs"]:
        """Their sum by matrix products."""
        seen = self.outputs(self.teacher.particles, particles.w, self.teacher.probabilities)
        return seen.T @ (weights[:, None] * particles.a)

    def outputs(
        self, neurons: Neuron, w: Float[Array, "rows inputs"], weights: Float[Array, " neurons"]
    ) -> Float[Array, "rows outputs"]:
        """E[h(x) σ(wᵀx)] of a network h with these weights, at every w."""
        table = hermite_expansion(self.activation).table(w @ self.root, neurons.w @ self.root)
        return table @ (weights[:, None] * neurons.a)

    def energy(self, moments: Moments) -> Float[Array, ""]:
        """L as a function of Σ°μ and Σμμ."""
        cross, gram = moments
        gram = gram + self.ridge * jnp.eye(len(gram), dtype=gram.dtype)
        read = jax.scipy.linalg.solve(gram, cross.T, assume_a="pos")
        return 0.5 * (jnp.trace(self.target_moment) - jnp.sum(cross.T * read))

    # --- derived -------------------------------------------------------------------------------

    @compiled_precisely
    def pair_moments(self, ensemble: Ensemble, *, chunk: int | None = None) -> Moments:
        """Σ°μ, in one pass over particles, and Σμμ, in one over pairs."""
        return self._pass(ensemble, chunk)[1]

    def _pass(
        self, ensemble: Ensemble, chunk: int | None
    ) -> tuple[Float[Array, "particles outputs"], Moments]:
        """E[h_μσ(wᵀx)] at every particle, and the moments."""
        side = self.chunk(ensemble, chunk)
        particles, weights, mesh = ensemble.particles, ensemble.weights, ensemble.mesh
        seen = stream_pairs(
            lambda row, column, shares: self.outputs(column, row.w, shares),
            particles,
            particles,
            weights,
            side,
            row_mesh=mesh,
            column_mesh=mesh,
        )
        gram = stream_sum(
            lambda part, shares: part[0].a.T @ (shares[:, None] * part[1]),
            (particles, seen),
            weights,
            side,
            mesh,
        )
        return seen, Moments(self.moments(ensemble, chunk=chunk), (gram + gram.T) / 2)

    @compiled_precisely
    def value_and_moments(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> tuple[Float[Array, ""], PyTree]:
        """L(μ) and Σ°μ: one pass over pairs."""
        require_no_fast(fast)
        moments = self.pair_moments(ensemble, chunk=chunk)
        return self.energy(moments), moments.cross

    @compiled_precisely
    def _first_order(
        self,
        ensemble: Ensemble,
        fast: PyTree | None = None,
        *,
        potential: bool = False,
        chunk: int | None = None,
    ) -> FirstOrder:
        """L(μ), gradient and first variation: two passes over pairs."""
        require_no_fast(fast)
        seen, moments = self._pass(ensemble, chunk)
        value, slopes = jax.value_and_grad(self.energy)(moments)
        linear, side = _Linear(self, slopes), self.chunk(ensemble, chunk)
        particles, mesh = ensemble.particles, ensemble.mesh

        # What the first pass gave is the slope in a; that in w has no inverse function to evaluate.
        def turned(row: Neuron, column: Neuron, shares: Array) -> Array:
            force = lambda w: jnp.sum(linear.interaction(row._replace(w=w), column, shares))  # noqa: E731
            return jax.grad(force)(row.w)

        between = stream_pairs(
            turned, particles, particles, ensemble.weights, side, row_mesh=mesh, column_mesh=mesh
        )
        alone = jax.vmap(jax.value_and_grad(linear.potential))
        own, slope = stream_map(alone, particles, side, mesh)
        turn = seen @ linear.both
        return FirstOrder(
            value,
            moments.cross,
            Neuron(a=slope.a + turn, w=slope.w + between),
            None,
            own + jnp.sum(particles.a * turn, axis=1) if potential else None,
        )

    def first_variation(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> FirstVariation:
        """δL/δμ[μ](θ) = ⟨C, E[f°aᵀσ]⟩ + 2aᵀS E[h_μσ], centred to zero μ-mean."""
        require_no_fast(fast)
        return self._linear(ensemble, chunk)[1].first_variation(ensemble, chunk=chunk)

    def second_variation(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> SecondVariation:
        """δ²L/δμ²: the pairs' 2aᵀSa' K, and the curvature of L in Σ°μ and Σμμ."""
        require_no_fast(fast)
        moments, linear = self._linear(ensemble, chunk)
        return _SecondVariation(linear, ensemble, moments, self.chunk(ensemble, chunk))

    def curvature(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> Curvature:
        """The Wasserstein Hessian: a product is three passes over pairs."""
        require_no_fast(fast)
        moments, linear = self._linear(ensemble, chunk)
        return _Curvature(linear, ensemble, moments, self.chunk(ensemble, chunk))

    @compiled_precisely
    def _linear(self, ensemble: Ensemble, chunk: int | None) -> tuple[Moments, _Linear]:
        """Σ°μ and Σμμ, and the sum over pairs that has the slope of L."""
        moments = self.pair_moments(ensemble, chunk=chunk)
        return moments, _Linear(self, jax.grad(self.energy)(moments))


class _Linear(PairLandscape):
    """⟨C, Σ°μ⟩ + ⟨S, Σμμ⟩ for given C and S: a sum over pairs."""

    landscape: GaussianAttentionLandscape
    slopes: Moments

    @property
    def both(self) -> Float[Array, "outputs outputs"]:
        """S + Sᵀ."""
        return self.slopes.gram + self.slopes.gram.T

    def pair(self, particle: Neuron, other: Neuron) -> Float[Array, ""]:
        """2aᵀSa' K(w, w')."""
        return self.landscape.pair(particle._replace(a=self.both @ particle.a), other)

    def potential(self, particle: Neuron) -> Float[Array, ""]:
        """⟨C, E[f°aᵀσ]⟩."""
        return jnp.sum(self.slopes.cross * self.landscape.features(particle))

    def interaction(
        self, particles: Neuron, others: Neuron, weights: Float[Array, " others"]
    ) -> Float[Array, " particles"]:
        """The sum over pairs as matrix products and one elementwise pass."""
        seen = self.landscape.outputs(others, particles.w, weights)
        return jnp.sum((particles.a @ self.both) * seen, axis=1)


class _SecondVariation(SecondVariation):
    linear: _Linear
    ensemble: Ensemble
    moments: Moments
    chunk: int = eqx.field(static=True)

    @compiled_precisely
    def __call__(self, particle: Neuron, other: Neuron) -> Float[Array, ""]:
        """δ²L/δμ² at a pair of particles."""
        landscape = self.linear.landscape
        slopes = jax.grad(landscape.energy)
        first, second = self._variation(particle), self._variation(other)
        bend = jax.jvp(slopes, (self.moments,), (first,))[1]
        between = sum(jnp.sum(x * y) for x, y in zip(bend, second, strict=True))
        return self.linear.pair(particle, other) + between

    def _variation(self, particle: Neuron) -> Moments:
        """How Σ°μ and Σμμ change as mass comes to a particle."""
        landscape = self.linear.landscape
        seen = stream_pairs(
            lambda row, column, shares: landscape.outputs(column, row, shares),
            particle.w[None],
            self.ensemble.particles,
            self.ensemble.weights,
            self.chunk,
            column_mesh=self.ensemble.mesh,
        )
        gram = jnp.outer(particle.a, seen[0])
        return Moments(landscape.features(particle), gram + gram.T)


class _Curvature(Curvature):
    linear: _Linear
    ensemble: Ensemble
    moments: Moments
    chunk: int = eqx.field(static=True)

    @compiled_precisely
    def __call__(self, field: PyTree, part: Part = "full") -> PyTree:
        """Hu: the force of the pairs changes, and so do the slopes C and S that weigh it."""
        landscape, ensemble = self.linear.landscape, self.ensemble
        own = self.linear.curvature(ensemble, chunk=self.chunk)(field, part)
        bend = jax.jvp(jax.grad(landscape.energy), (self.moments,), (self._change(field),))[1]
        # The force that changed slopes add, at particles that stay.
        turned = _Linear(landscape, bend).first_order(ensemble, chunk=self.chunk).gradient
        return jax.tree.map(jnp.add, own, turned)

    def _change(self, field: Neuron) -> Moments:
        """How Σ°μ and Σμμ change as the particles move."""
        landscape, ensemble = self.linear.landscape, self.ensemble
        mesh, moving = ensemble.mesh, (ensemble.particles, field)

        def seen(row: PyTree, column: PyTree, shares: Array) -> tuple[Array, Array]:
            at = lambda x, y: landscape.outputs(y, x, shares)  # noqa: E731
            return jax.jvp(at, (row[0].w, column[0]), (row[1].w, column[1]))

        outputs = stream_pairs(
            seen,
            moving,
            moving,
            ensemble.weights,
            self.chunk,
            row_mesh=mesh,
            column_mesh=mesh,
        )

        def summed(part: PyTree, shares: Array) -> Moments:
            (place, change), (value, slope) = part
            cross = jax.jvp(lambda p: landscape.feature_sum(p, shares), (place,), (change,))[1]
            weighted = shares[:, None]
            gram = change.a.T @ (weighted * value) + place.a.T @ (weighted * slope)
            return Moments(cross, (gram + gram.T) / 2)

        return stream_sum(summed, (moving, outputs), ensemble.weights, self.chunk, mesh)
