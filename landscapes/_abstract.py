"""What flows, curvature and sections ask of a landscape, whatever its energy is made of."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from particles import Ensemble, InvalidInput
from particles.internal import chunk_for, require_finite, stream_map, stream_sum

from ._manifolds import Manifold
from ._observables import Observable
from ._precisely import compiled_precisely
from ._spaces import all_points
from ._variations import Curvature, FirstOrder, FirstVariation, Mixture, SecondVariation
from ._warnings import StartWarning

L = TypeVar("L", bound="AbstractLandscape")


class AbstractLandscape(eqx.Module):
    """A functional L(μ) of a probability measure over particles, as all else here sees it.

    Flows, curvature, sections and commands ask for what stands here and nothing more. `Landscape`
    derives it from features and a risk, `PairLandscape` from an interaction of two particles,
    `DensityLandscape` from an energy of their density, and `Sum` from its terms.
    (theory.md, section 1)

    Every derived function takes `fast` and `chunk`. `fast=None` means the two-timescale limit,
    the fast variables at their equilibrium; a value freezes them there. `chunk` bounds the number
    of particles in memory; by default it is chosen.
    """

    #: Whether L is convex along mixtures: then the first variation bounds L − min L.
    convex: ClassVar[bool] = False
    #: Whether each particle meets every other: devices then pass their particles round a ring.
    pairwise: ClassVar[bool] = False
    #: Whether velocities are multiplied by a `mobility`.
    mobile: ClassVar[bool] = False

    @abc.abstractmethod
    def features(self, particle: PyTree) -> PyTree:
        """Φ(θ) of one particle: a pytree of arrays, whose mean is the moments."""

    @abc.abstractmethod
    def particle_bytes(self, particle: PyTree) -> int:
        """Memory one particle needs while it is worked on."""

    @abc.abstractmethod
    def value_and_moments(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> tuple[Float[Array, ""], PyTree]:
        """L(μ) and the moments, in one pass."""

    @abc.abstractmethod
    def _first_order(
        self,
        ensemble: Ensemble,
        fast: PyTree | None = None,
        *,
        potential: bool = False,
        chunk: int | None = None,
    ) -> FirstOrder:
        """L(μ), its slopes, and with `potential` the first variation at the particles."""

    @abc.abstractmethod
    def first_variation(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> FirstVariation:
        """δL/δμ[μ] as a function on the parameter space, centred to zero μ-mean."""

    @abc.abstractmethod
    def second_variation(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> SecondVariation:
        """δ²L/δμ²[μ] as a function of two particles."""

    @abc.abstractmethod
    def curvature(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> Curvature:
        """The Wasserstein Hessian at an ensemble."""

    def mixture(
        self, ensemble: Ensemble, others: tuple[Ensemble, ...], *, chunk: int | None = None
    ) -> Mixture:
        """L along mixtures of measures: here, of the union of their weighted particles."""
        return UnionMixture(self, (ensemble, *others), chunk)

    # --- what a landscape may say of itself ------------------------------------------------------

    def mobility(
        self, particle: PyTree, moments: PyTree, potential: Float[Array, ""]
    ) -> Float[Array, ""]:
        """M(θ) > 0 at one particle, by which its velocity is multiplied where `mobile` is set.

        The flow dθ/dt = −m ∇δL/δμ descends too, −dL/dt = ∫ m ‖∇δL/δμ‖² dμ: it is the gradient flow
        in the metric ∫ ‖u‖²/m dμ, in which curvature is taken as well. (theory.md, section 1)

        Args:
            particle: θ.
            moments: ∫ Φ dμ.
            potential: δL/δμ[μ](θ), up to the constant of this landscape: ⟨∇R, Φ(θ)⟩, or
                V(θ) + ∫ W(θ, ·) dμ.
        """
        return jnp.ones_like(potential)

    def fast_equilibrium(self, ensemble: Ensemble, *, chunk: int | None = None) -> PyTree | None:
        """Fast variables at their equilibrium given the ensemble; `None` when there are none."""
        return None

    def feature_sum(self, particles: PyTree, weights: Float[Array, " particles"]) -> PyTree:
        """Σ_i w_i Φ(θ_i). Override it with matrix products where that is faster."""
        values = jax.vmap(self.features)(particles)
        return jax.tree.map(lambda v: jnp.tensordot(weights, v, 1), values)

    def minibatch(self, key: Key[Array, ""], size: int) -> AbstractLandscape:
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

    def concerns(self, ensemble: Ensemble) -> list[StartWarning]:
        """What may mislead in a run from this ensemble, as warnings to be given; runs give them."""
        return []

    def observables(self, moments: PyTree) -> dict[str, Observable]:
        """What is worth recording along a run, by name: functions of the moments."""
        return {}

    @property
    def particle(self) -> PyTree | None:
        """Shapes and dtypes of one particle, where the landscape knows them."""
        return None

    @property
    def manifold(self) -> Manifold | None:
        """What the particles are bound to, if anything; flows bring them back after every step."""
        return None

    def onto_manifold(self, ensemble: Ensemble) -> Ensemble:
        """The ensemble with every particle at the nearest point of the manifold."""
        if self.manifold is None:
            return ensemble
        return ensemble.with_particles(all_points(self.manifold, ensemble.particles))

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
    def unwrapped(self) -> AbstractLandscape:
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
        one = jax.eval_shape(lambda p: jax.tree.map(lambda x: x[0], p), ensemble.particles)
        found = jax.eval_shape(self.features, one)
        leaves = jax.tree.leaves(found)
        if not leaves or not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
            raise InvalidInput(
                f"features of {type(self).__name__} returned {described(found)}; they must be "
                "arrays of floating-point numbers, for one particle."
            )

    # --- derived -------------------------------------------------------------------------------

    @compiled_precisely
    def first_order(
        self,
        ensemble: Ensemble,
        fast: PyTree | None = None,
        *,
        potential: bool = False,
        chunk: int | None = None,
    ) -> FirstOrder:
        """L(μ), its slopes and the mobility; with `potential` the first variation too."""
        asked = potential or self.mobile
        found = self._first_order(ensemble, fast, potential=asked, chunk=chunk)
        if self.mobile and found.mobility is None:
            each = jax.vmap(lambda one: self.mobility(one[0], found.moments, one[1]))
            moving = (ensemble.particles, found.potential)
            side = self.chunk(ensemble, chunk)
            found = found._replace(mobility=stream_map(each, moving, side, ensemble.mesh))
        return found if potential else found._replace(potential=None)

    def metric(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> Ensemble:
        """The ensemble with weights p/m: its `inner` is that of the flow, Σ_i p_i u_i·v_i/m_i.

        Without a mobility it is the ensemble.
        """
        if not self.mobile:
            return ensemble
        return self.first_order(ensemble, fast, chunk=chunk).metric(ensemble)

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
        require_ensemble(ensemble)
        self._require_features(ensemble)
        chunk = self.chunk(ensemble, chunk)
        particles, weights = ensemble.particles, ensemble.weights
        return stream_sum(self.feature_sum, particles, weights, chunk, ensemble.mesh)

    @compiled_precisely
    def value(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> Float[Array, ""]:
        """L(μ)."""
        return self.value_and_moments(ensemble, fast, chunk=chunk)[0]

    @compiled_precisely
    def value_and_velocity(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> tuple[Float[Array, ""], PyTree]:
        """L(μ) and the velocity −m ∇_θ δL/δμ[μ](θ_i) of every particle; m = 1 unless `mobile`.

        For N equal-weight particles and m = 1 it is −N times the Euclidean gradient of L.
        """
        found = self.first_order(ensemble, fast, chunk=chunk)
        return found.value, found.velocity

    def velocity(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> PyTree:
        """The velocity −m ∇_θ δL/δμ[μ](θ_i) of every particle."""
        return self.value_and_velocity(ensemble, fast, chunk=chunk)[1]


class UnionMixture(Mixture):
    """The mixture of measures as the union of their particles, weights in proportion."""

    landscape: AbstractLandscape
    ensembles: tuple[Ensemble, ...]
    chunk: int | None = eqx.field(static=True)

    @compiled_precisely
    def __call__(self, c: Float[Array, " axes"], fast: PyTree | None = None) -> Float[Array, ""]:
        """L of the union at coordinates c."""
        shares = [1 - jnp.sum(c), *c]
        joined = jax.tree.map(lambda *x: jnp.concatenate(x), *[e.particles for e in self.ensembles])
        weights = [s * e.probabilities for s, e in zip(shares, self.ensembles, strict=True)]
        union = Ensemble(joined).with_weights(jnp.concatenate(weights))
        return self.landscape.value(union, fast, chunk=self.chunk)


def require_ensemble(ensemble: Any) -> None:
    """Refuse what is no ensemble.

    Raises:
        InvalidInput: says what came instead.
    """
    if not isinstance(ensemble, Ensemble):
        raise InvalidInput(
            f"ensemble is {described(ensemble)}; give an Ensemble, such as "
            "Ensemble(particles) of arrays with a leading particle axis."
        )


def no_batches(landscape: AbstractLandscape, size: int) -> str:
    """Why there is no `minibatch`."""
    return (
        f"batch_size is {size}, but {type(landscape).__name__} has no `minibatch` to draw from; "
        "leave batch_size at None."
    )


def described(value: Any) -> str:
    """What came in place of what was wanted: shapes and types, no numbers."""
    if value is None or isinstance(value, str | int | float):
        return repr(value)
    if hasattr(value, "dtype"):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return f"a {type(value).__name__} of {len(jax.tree.leaves(value))} arrays"
