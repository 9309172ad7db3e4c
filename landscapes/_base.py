"""A landscape is two functions, `features` and `risk`; everything else is derived here, once."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from particles import Ensemble, InvalidInput
from particles.internal import chunk_for, equal_weights, require_finite, stream_map, stream_sum

from ._observables import Observable
from ._warnings import StartWarning

P = ParamSpec("P")
R = TypeVar("R")
L = TypeVar("L", bound="Landscape")


def compiled_precisely(method: Callable[P, R]) -> Callable[P, R]:
    """Compile, and state the precision of matrix products (GPUs would otherwise use TF32)."""

    @functools.wraps(method)
    def precise(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.default_matmul_precision("highest"):
            return method(*args, **kwargs)

    return eqx.filter_jit(precise)


class Landscape(eqx.Module):
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

    #: Whether the risk is convex in the moments: then the first variation bounds L − min L.
    convex: ClassVar[bool] = False

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

    def feature_sum(self, particles: PyTree, weights: Float[Array, " particles"]) -> PyTree:
        """Σ_i w_i Φ(θ_i). Override it with matrix products where that is faster."""
        values = jax.vmap(self.features)(particles)
        return jax.tree.map(lambda v: jnp.tensordot(weights, v, 1), values)

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

    def concerns(self, ensemble: Ensemble) -> list[StartWarning]:
        """What may mislead in a run from this ensemble, as warnings to be given; runs give them."""
        return []

    def observables(self, moments: PyTree) -> dict[str, Observable]:
        """What is worth recording along a run, by name: functions of the moments."""
        return {}

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
        raise InvalidInput(
            f"batch_size is {size}, but {type(self).__name__} has no `minibatch` to draw from; "
            "leave batch_size at None."
        )

    @property
    def particle(self) -> PyTree | None:
        """Shapes and dtypes of one particle, where the landscape knows them."""
        return None

    def require_fit(self, ensemble: Ensemble) -> None:
        """Refuse an ensemble whose particles are not this landscape's.

        Raises:
            InvalidInput: names the shapes found and needed.
        """
        if self.particle is None:
            return
        found = jax.tree.map(lambda leaf: tuple(leaf.shape[1:]), ensemble.particles)
        wanted = jax.tree.map(lambda leaf: tuple(leaf.shape), self.particle)
        if found != wanted:
            raise InvalidInput(
                f"ensemble holds particles of shapes {found}; this {type(self).__name__} needs "
                f"{wanted}."
            )

    @property
    def unwrapped(self) -> Landscape:
        """The innermost landscape of a `LandscapeWrapper`; any other landscape is its own.

        Ask this one what class a landscape is of.
        """
        return self

    def require_valid(self) -> None:
        """Refuse impossible values of the fields; `replace` asks. Traced values pass unseen."""

    def replace(self: L, **fields: Any) -> L:
        """The same landscape with other values of some of its arrays, and all else alike.

        The values are traced where they are given as such: a sweep compiles once.

        Args:
            fields: arrays (or pytrees of arrays) by the name of the field, such as `ridge=0.1`.

        Raises:
            InvalidInput: no such field, a value of another structure or number of axes, one that
                is not finite, or one that the landscape refuses.

        Example:
            >>> from landscapes import MLPAttentionLandscape
            >>> landscape = MLPAttentionLandscape(x=jnp.eye(2), f=jnp.eye(2))
            >>> float(landscape.replace(ridge=0.5).ridge)
            0.5
        """
        names = list(fields)
        new = [self._checked_field(name, value) for name, value in fields.items()]
        read = lambda one: [getattr(one, name) for name in names]  # noqa: E731
        changed = eqx.tree_at(read, self, new)
        changed.require_valid()
        return changed

    def _replaceable(self) -> list[str]:
        static = {field.name for field in dataclasses.fields(self) if field.metadata.get("static")}
        return [f.name for f in dataclasses.fields(self) if f.name not in static]

    def _checked_field(self, name: str, value: Any) -> Any:
        known = self._replaceable()
        if name not in known:
            raise InvalidInput(
                f"{type(self).__name__} has no field {name!r} to replace; it has {known}."
            )
        old = getattr(self, name)
        if not eqx.is_array(old):
            return value
        new = jnp.asarray(value, old.dtype)
        if new.ndim != old.ndim:
            raise InvalidInput(f"{name} has shape {new.shape}; it needs {old.ndim} axes.")
        require_finite(name, new)
        return new

    # Looked at while a call is traced; nothing of it is left in compiled code.
    def _require_features(self, ensemble: Ensemble) -> None:
        if not isinstance(ensemble, Ensemble):
            raise InvalidInput(
                f"ensemble is {_described(ensemble)}; give an Ensemble, such as "
                "Ensemble(particles) of arrays with a leading particle axis."
            )
        one = jax.eval_shape(lambda p: jax.tree.map(lambda x: x[0], p), ensemble.particles)
        found = jax.eval_shape(self.features, one)
        leaves = jax.tree.leaves(found)
        if not leaves or not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
            raise InvalidInput(
                f"features of {type(self).__name__} returned {_described(found)}; they must be "
                "arrays of floating-point numbers, for one particle."
            )

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
                f"risk of {type(self).__name__} returned {_described(risk)}; it must return one "
                "floating-point number, an array of shape ()."
            )
        return jnp.asarray(risk)

    def chunk(self, ensemble: Ensemble, chunk: int | None = None) -> int:
        """Particles to hold at once: `chunk` if given, else from `particle_bytes`.

        Raises:
            InvalidInput: `chunk` is not positive.
        """
        if chunk is not None:
            if chunk < 1:
                raise InvalidInput(f"chunk is {chunk}; it must be a positive number of particles.")
            return min(chunk, ensemble.size)
        one = jax.eval_shape(lambda p: jax.tree.map(lambda x: x[0], p), ensemble.particles)
        return chunk_for(ensemble.size, self.particle_bytes(one))

    @compiled_precisely
    def moments(self, ensemble: Ensemble, *, chunk: int | None = None) -> PyTree:
        """The moments m = ∫ Φ dμ: the first streaming pass.

        Raises:
            InvalidInput: no ensemble, or features that are no floating-point numbers.
        """
        self._require_features(ensemble)
        chunk = self.chunk(ensemble, chunk)
        particles, weights = ensemble.particles, ensemble.weights
        return stream_sum(self.feature_sum, particles, weights, chunk, ensemble.mesh)

    @compiled_precisely
    def value(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> Float[Array, ""]:
        """L(μ)."""
        return self.energy(self.moments(ensemble, chunk=chunk), fast)

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
    def value_and_velocity(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> tuple[Float[Array, ""], PyTree]:
        """L(μ) and the velocity −∇_θ δL/δμ[μ](θ_i) of every particle, in two passes.

        For N equal-weight particles the velocity is −N times the Euclidean gradient of L.
        """
        moments = self.moments(ensemble, chunk=chunk)
        value, dual, _ = self.value_and_slopes(moments, fast)
        gradient = self.gradient_field(ensemble, dual, chunk=chunk)
        return value, jax.tree.map(jnp.negative, gradient)

    def velocity(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> PyTree:
        """The velocity −∇_θ δL/δμ[μ](θ_i) of every particle."""
        return self.value_and_velocity(ensemble, fast, chunk=chunk)[1]

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
        """δL/δμ[μ] as a function on the parameter space, centred to zero μ-mean."""
        moments = self.moments(ensemble, chunk=chunk)
        dual = jax.grad(self.energy)(moments, fast)
        # Φ enters linearly, so the μ-mean of ⟨∇R, Φ⟩ is ⟨∇R, m⟩: no further pass.
        return FirstVariation(self, dual, _dot(dual, moments))

    @compiled_precisely
    def second_variation(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> SecondVariation:
        """δ²L/δμ²[μ] as a function of two particles."""
        return SecondVariation(self, self.moments(ensemble, chunk=chunk), fast)


class FirstVariation(eqx.Module):
    """δL/δμ[μ](θ) = ⟨∇R(m), Φ(θ)⟩ − its μ-mean. Call it with one particle; `vmap` for many."""

    landscape: Landscape
    dual: PyTree
    mean: Float[Array, ""]

    @compiled_precisely
    def __call__(self, particle: PyTree) -> Float[Array, ""]:
        """δL/δμ at one particle."""
        return _dot(self.dual, self.landscape.features(particle)) - self.mean


class SecondVariation(eqx.Module):
    """δ²L/δμ²[μ](θ, θ') = D²R(m)[Φ(θ), Φ(θ')]. Call it with two particles."""

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


def _described(value: Any) -> str:
    """What came in place of what was wanted: shapes and types, no numbers."""
    if value is None or isinstance(value, str | int | float):
        return repr(value)
    if hasattr(value, "dtype"):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return f"a {type(value).__name__} of {len(jax.tree.leaves(value))} arrays"


def _dot(x: PyTree, y: PyTree) -> Float[Array, ""]:
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), x, y)
    return functools.reduce(jnp.add, jax.tree.leaves(products))
