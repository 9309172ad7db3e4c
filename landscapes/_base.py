"""A landscape is two functions, `features` and `risk`; everything else is derived here, once."""

from __future__ import annotations

import abc
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from particles import Ensemble, InvalidInput
from particles.internal import equal_weights, stream_map, stream_sum

from ._abstract import AbstractLandscape, described, no_batches, require_ensemble
from ._precisely import compiled_precisely
from ._variations import Curvature, FirstOrder, FirstVariation, Mixture, Part, SecondVariation


class Landscape(AbstractLandscape):
    """A functional L(μ) = R(m), m = ∫ Φ(θ) dμ, of a probability measure over particles.

    Write `features` (Φ, for one particle) and `risk` (R); add `solve_fast` when the system has
    fast variables. Value, first variation, velocity and second variation follow by automatic
    differentiation, stream over chunks of particles, and run under `jit` and `vmap` in either
    precision. (theory.md, section 1; CB18)

    Every derived function takes `fast` and `chunk`. `fast=None` means the two-timescale limit,
    the exact `solve_fast(moments)`; a value freezes the fast variables there. `chunk` bounds the
    number of particles in memory; by default it is chosen from the size of the features.

    Example:
        >>> import jax.numpy as jnp
        >>> class Quadratic(Landscape):
        ...     target: Array
        ...
        ...     def features(self, particle):
        ...         return particle
        ...
        ...     def risk(self, moments, fast=None):
        ...         return 0.5 * jnp.sum((moments - self.target) ** 2)
        >>> mu = Ensemble(jnp.array([[0.0], [2.0]]))
        >>> landscape = Quadratic(jnp.array([3.0]))
        >>> float(landscape.value(mu)), landscape.velocity(mu).tolist()
        (2.0, [[2.0], [2.0]])
    """

    @abc.abstractmethod
    def features(self, particle: PyTree) -> PyTree:
        """Φ(θ) of one particle: a pytree of arrays, the moment space."""

    @abc.abstractmethod
    def risk(self, moments: PyTree, fast: PyTree | None = None) -> Float[Array, ""]:
        """R(m), or R(m, fast) when there are fast variables."""

    def solve_fast(self, moments: PyTree) -> PyTree | None:
        """Fast variables at their equilibrium given the moments; `None` when there are none.

        It must be a stationary point of the risk in the fast variables, so that the reduced flow
        is the limit of the two-timescale flow (envelope theorem).
        """
        return None

    def pairing(self, particles: PyTree, dual: PyTree) -> Float[Array, " particles"]:
        """⟨dual, Φ(θ_i)⟩ of every particle: the transpose of `feature_sum` in the weights.

        Its gradient is the second streaming pass. Override it where another order of products is
        faster there.
        """
        weighted = functools.partial(self.feature_sum, particles)
        _, transpose = jax.vjp(weighted, equal_weights(particles))
        return transpose(dual)[0]

    def particle_bytes(self, particle: PyTree) -> int:
        """Memory one particle needs while it is worked on: by default that of Φ(θ)."""
        shapes = jax.tree.leaves(jax.eval_shape(self.features, particle))
        return sum(s.size * s.dtype.itemsize for s in shapes)

    # --- derived -------------------------------------------------------------------------------

    def energy(self, moments: PyTree, fast: PyTree | None = None) -> Float[Array, ""]:
        """L as a function of the moments: the risk at `fast`, or at the fast equilibrium.

        Raises:
            InvalidInput: a risk that is not one floating-point number.
        """
        risk = self.risk(moments, self.solve_fast(moments) if fast is None else fast)
        number = isinstance(risk, float | np.floating | np.ndarray | Array)
        if not number or jnp.ndim(risk) or not jnp.issubdtype(jnp.result_type(risk), jnp.floating):
            raise InvalidInput(
                f"risk of {type(self).__name__} returned {described(risk)}; it must return one "
                "floating-point number, an array of shape ()."
            )
        return jnp.asarray(risk)

    @compiled_precisely
    def fast_equilibrium(self, ensemble: Ensemble, *, chunk: int | None = None) -> PyTree | None:
        """`solve_fast` of the ensemble's moments."""
        return self.solve_fast(self.moments(ensemble, chunk=chunk))

    @compiled_precisely
    def value_and_moments(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> tuple[Float[Array, ""], PyTree]:
        """L(μ) and the moments: the first streaming pass."""
        moments = self.moments(ensemble, chunk=chunk)
        return self.energy(moments, fast), moments

    @compiled_precisely
    def gradient_field(
        self, ensemble: Ensemble, dual: PyTree, *, chunk: int | None = None
    ) -> PyTree:
        """∇_θ ⟨dual, Φ(θ)⟩ at every particle, the second streaming pass.

        Args:
            ensemble: where; its weights play no part.
            dual: an element of the dual of the moment space, such as ∇R(m).
            chunk: particles at once.
        """
        pull = jax.grad(lambda part: jnp.sum(self.pairing(part, dual)))
        return stream_map(pull, ensemble.particles, self.chunk(ensemble, chunk), ensemble.mesh)

    @compiled_precisely
    def potential_and_gradient(
        self, ensemble: Ensemble, dual: PyTree, *, chunk: int | None = None
    ) -> tuple[Float[Array, " particles"], PyTree]:
        """⟨dual, Φ(θ)⟩ and its gradient at every particle, in one streaming pass.

        Args:
            ensemble: where; its weights play no part.
            dual: an element of the dual of the moment space, such as ∇R(m).
            chunk: particles at once.
        """

        def pull(part: PyTree) -> tuple[Array, PyTree]:
            values, transpose = jax.vjp(lambda p: self.pairing(p, dual), part)
            return values, transpose(jnp.ones_like(values))[0]

        return stream_map(pull, ensemble.particles, self.chunk(ensemble, chunk), ensemble.mesh)

    @compiled_precisely
    def _first_order(
        self,
        ensemble: Ensemble,
        fast: PyTree | None = None,
        *,
        potential: bool = False,
        chunk: int | None = None,
    ) -> FirstOrder:
        """L(μ), its slopes, and with `potential` the first variation: both streaming passes."""
        moments = self._first_pass(ensemble, chunk)
        value, dual, slope = self.value_and_slopes(moments, fast)
        if potential:
            seen, gradient = self.potential_and_gradient(ensemble, dual, chunk=chunk)
        else:
            seen, gradient = None, self.gradient_field(ensemble, dual, chunk=chunk)
        return FirstOrder(value, moments, gradient, slope, seen)

    def _first_pass(self, ensemble: Ensemble, chunk: int | None) -> PyTree:
        """The moments, where a second pass follows in the same program.

        In one chunk the compiler can evaluate the features once for both, if both hold them in the
        same order of products: so the moments are the transpose of `pairing` in the dual. In single
        precision features cost less than products in an order that is not theirs.
        """
        require_ensemble(ensemble)
        moments = functools.partial(self.moments, ensemble, chunk=chunk)
        if ensemble.mesh is not None or self.chunk(ensemble, chunk) != ensemble.size:
            return moments()
        shapes = jax.eval_shape(moments)
        if any(leaf.dtype != jnp.float64 for leaf in jax.tree.leaves(shapes)):
            return moments()
        pairing = functools.partial(self.pairing, ensemble.particles)
        weights = ensemble.probabilities.astype(jnp.float64)  # the particles' own type before
        return jax.linear_transpose(pairing, shapes)(weights)[0]

    @compiled_precisely
    def value_and_slopes(
        self, moments: PyTree, fast: PyTree | None = None
    ) -> tuple[Float[Array, ""], PyTree, PyTree | None]:
        """L, ∇_m R and ∇_fast R at the moments; the last is `None` in the two-timescale limit."""
        if fast is None:
            value, dual = jax.value_and_grad(self.energy)(moments)
            return value, dual, None
        value, (dual, slope) = jax.value_and_grad(self.energy, argnums=(0, 1))(moments, fast)
        return value, dual, slope

    def fast_velocity(self, moments: PyTree, fast: PyTree) -> PyTree:
        """−∇_fast R(m, fast): the velocity of the fast variables at timescale ratio one."""
        return jax.tree.map(jnp.negative, self.value_and_slopes(moments, fast)[2])

    @compiled_precisely
    def first_variation(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> FirstVariation:
        """δL/δμ[μ](θ) = ⟨∇R(m), Φ(θ)⟩, centred to zero μ-mean."""
        moments = self.moments(ensemble, chunk=chunk)
        dual = jax.grad(self.energy)(moments, fast)
        # Φ enters linearly, so the μ-mean of ⟨∇R, Φ⟩ is ⟨∇R, m⟩: no further pass.
        return FeatureFirstVariation(landscape=self, dual=dual, mean=_dot(dual, moments))

    @compiled_precisely
    def second_variation(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> SecondVariation:
        """δ²L/δμ²[μ](θ, θ') = D²R(m)[Φ(θ), Φ(θ')]."""
        return FeatureSecondVariation(self, self.moments(ensemble, chunk=chunk), fast)

    @compiled_precisely
    def curvature(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> FeatureCurvature:
        """The Wasserstein Hessian: moments and dual are computed once for all products."""
        moments = self._first_pass(ensemble, chunk)
        dual = jax.grad(self.energy)(moments, fast)
        chunk = self.chunk(ensemble, chunk)
        return FeatureCurvature(self, ensemble, fast, moments, dual, chunk)

    def minibatch(self, key: Key[Array, ""], size: int) -> Landscape:
        """The landscape as `size` freshly drawn prompts (or samples) show it.

        Its particles are the same, and the gradient in the particles is an unbiased estimate of
        this landscape's. Stochastic gradient descent draws a new one every step.

        Args:
            key: random key.
            size: prompts or samples in the batch.

        Raises:
            InvalidInput: this landscape has no data to draw from.
        """
        raise InvalidInput(no_batches(self, size))

    @property
    def unwrapped(self) -> Landscape:
        """The innermost landscape of a `LandscapeWrapper`; any other landscape is its own."""
        return self

    def mixture(
        self, ensemble: Ensemble, others: tuple[Ensemble, ...], *, chunk: int | None = None
    ) -> Mixture:
        """Moments are linear in the measure: after one pass over each, none is left."""
        first, *rest = (self.moments(one, chunk=chunk) for one in (ensemble, *others))
        return FeatureMixture(self, first, tuple(rest))


class FeatureFirstVariation(FirstVariation):
    """δL/δμ[μ](θ) = ⟨∇R(m), Φ(θ)⟩ − its μ-mean."""

    landscape: Landscape
    dual: PyTree
    mean: Float[Array, ""]

    @compiled_precisely
    def potential(self, particle: PyTree) -> Float[Array, ""]:
        """⟨∇R(m), Φ(θ)⟩."""
        return _dot(self.dual, self.landscape.features(particle))

    def potential_and_gradient(
        self, points: Ensemble, *, chunk: int | None = None
    ) -> tuple[Float[Array, " particles"], PyTree]:
        """⟨∇R(m), Φ⟩ and its gradient, in one streaming pass."""
        return self.landscape.potential_and_gradient(points, self.dual, chunk=chunk)


class FeatureSecondVariation(SecondVariation):
    """δ²L/δμ²[μ](θ, θ') = D²R(m)[Φ(θ), Φ(θ')]."""

    landscape: Landscape
    moments: PyTree
    fast: PyTree | None

    @compiled_precisely
    def __call__(self, particle: PyTree, other: PyTree) -> Float[Array, ""]:
        """δ²L/δμ² at a pair of particles."""
        gradient = jax.grad(lambda m: self.landscape.energy(m, self.fast))
        direction = self.landscape.features(particle)
        _, curved = jax.jvp(gradient, (self.moments,), (direction,))
        return _dot(curved, self.landscape.features(other))


class FeatureCurvature(Curvature):
    """The Wasserstein Hessian through the moments: their response, then its pull-back.

    Args:
        landscape: of features and risk.
        ensemble: where.
        fast: frozen fast variables, or `None`.
        moments: at the ensemble.
        dual: dL/dm there.
        chunk: particles held at once.
    """

    landscape: Landscape
    ensemble: Ensemble
    fast: PyTree | None
    moments: PyTree
    dual: PyTree
    chunk: int = eqx.field(static=True)

    @compiled_precisely
    def __call__(self, field: PyTree, part: Part = "full") -> PyTree:
        """Hu, in two streaming passes."""
        landscape, ensemble = self.landscape, self.ensemble
        particles, mesh = ensemble.particles, ensemble.mesh

        def response(chunk: tuple[PyTree, PyTree], weights: Array) -> PyTree:
            total = lambda p: landscape.feature_sum(p, weights)  # noqa: E731
            return jax.jvp(total, (chunk[0],), (chunk[1],))[1]

        moving = stream_sum(response, (particles, field), ensemble.weights, self.chunk, mesh)
        gradient = jax.grad(lambda m: landscape.energy(m, self.fast))
        _, bent = jax.jvp(gradient, (self.moments,), (moving,))
        if part == "interaction":
            return landscape.gradient_field(ensemble, bent, chunk=self.chunk)

        def pull(chunk: tuple[PyTree, PyTree]) -> PyTree:
            size = jax.tree.leaves(chunk)[0].shape[0]
            force = lambda p, dual: landscape.gradient_field(Ensemble(p), dual, chunk=size)  # noqa: E731
            return jax.jvp(force, (chunk[0], self.dual), (chunk[1], bent))[1]

        return stream_map(pull, (particles, field), self.chunk, mesh)


class FeatureMixture(Mixture):
    """L of the mixture of moments: no pass over particles is left."""

    landscape: Landscape
    origin: PyTree
    others: tuple[PyTree, ...]

    def __call__(self, c: Float[Array, " axes"], fast: PyTree | None = None) -> Float[Array, ""]:
        """The energy of the mixed moments."""

        def mixed(first: Array, *rest: Array) -> Array:
            return sum(
                (share * (other - first) for share, other in zip(c, rest, strict=True)), start=first
            )

        return self.landscape.energy(jax.tree.map(mixed, self.origin, *self.others), fast)


def _dot(x: PyTree, y: PyTree) -> Float[Array, ""]:
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), x, y)
    return functools.reduce(jnp.add, jax.tree.leaves(products))
