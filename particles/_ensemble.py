"""An ensemble is a weighted empirical measure: the central object of the library."""

from __future__ import annotations

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jaxtyping import Array, ArrayLike, Float, PyTree, Shaped

from ._device import to_device
from ._errors import InvalidInput
from ._mesh import split
from ._streaming import equal_weights, stream_sum
from ._tree import require_real


class Ensemble(eqx.Module):
    """The empirical measure μ = Σ_i p_i δ_{θ_i} of a cloud of particles.

    A particle may be any pytree of arrays; an ensemble stores one pytree whose leaves carry a
    leading particle axis. Weights are probabilities; `None` stands for equal weights 1/N and
    costs no memory. N = 1 is allowed. (theory.md, section 1; CB18)

    Args:
        particles: leaves of shape `(particles, ...)`.
        weights: non-negative, of shape `(particles,)`; normalised to sum to one, in the floating
            type of the particles.
        mesh: devices to split the particles over; `placed` explains. `None` leaves them be.

    Raises:
        InvalidInput: leaves that are complex, of half precision or no numbers, that disagree on the
            number of particles, no particle, or weights that are negative, non-finite or sum to
            zero.

    Example:
        >>> import jax.numpy as jnp
        >>> mu = Ensemble({"a": jnp.array([1.0, 3.0])}, weights=jnp.array([3.0, 1.0]))
        >>> mu.size, float(mu.mean(lambda p: p["a"]))
        (2, 1.5)
    """

    particles: PyTree[Shaped[Array, "particles ..."]]
    weights: Float[Array, " particles"] | None
    mesh: Mesh | None = eqx.field(static=True)

    def __init__(
        self, particles: PyTree, weights: ArrayLike | None = None, *, mesh: Mesh | None = None
    ):
        require_real("particles", particles)
        particles = jax.tree.map(
            lambda leaf: leaf if isinstance(leaf, jax.Array) else to_device(leaf), particles
        )
        sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(particles)}
        if len(sizes) != 1 or () in sizes:
            raise InvalidInput(
                "particles must have leaves that share one leading particle axis; their shapes "
                f"are {[leaf.shape for leaf in jax.tree.leaves(particles)]}."
            )
        if sizes == {(0,)}:
            raise InvalidInput("particles holds N = 0 particles; give at least one.")
        self.particles = particles
        self.weights = None if weights is None else _normalised(weights, particles)
        self.mesh = mesh
        if mesh is not None:
            self.particles, self.weights = split((self.particles, self.weights), mesh)

    @property
    def size(self) -> int:
        """Number of particles N."""
        return jax.tree.leaves(self.particles)[0].shape[0]

    @property
    def probabilities(self) -> Float[Array, " particles"]:
        """The weights as an explicit array that sums to one."""
        if self.weights is not None:
            return self.weights
        return equal_weights(self.particles)

    @property
    def effective_size(self) -> Float[Array, ""]:
        """1 / Σ p_i²: how many particles of equal weight would be as good; N at most."""
        return 1 / jnp.sum(self.probabilities**2)

    def with_particles(self, particles: PyTree) -> Ensemble:
        """The same weights on other particles (a push-forward)."""
        return eqx.tree_at(lambda e: e.particles, self, particles)

    def with_weights(self, weights: Float[Array, " particles"]) -> Ensemble:
        """Other weights, taken as they are, on the same particles."""
        unset = lambda leaf: leaf is None  # noqa: E731
        return eqx.tree_at(lambda e: e.weights, self, weights, is_leaf=unset)

    def first(self, count: int) -> Ensemble:
        """The first `count` particles as an ensemble of their own, weights renormalised.

        They are no longer split over devices on purpose; place them anew where it pays.

        Raises:
            InvalidInput: `count` is not between 1 and N.
        """
        if not 1 <= count <= self.size:
            raise InvalidInput(f"count is {count}; it must lie between 1 and N = {self.size}.")
        head = jax.tree.map(lambda leaf: leaf[:count], self.particles)
        return Ensemble(head, None if self.weights is None else self.weights[:count])

    def mean(self, fn: Callable[[PyTree], PyTree], *, chunk: int | None = None) -> PyTree:
        """∫ fn dμ, accumulated over chunks of particles.

        Args:
            fn: a function of one particle.
            chunk: particles held in memory at once; all of them by default.

        Raises:
            InvalidInput: `chunk` is not positive.
        """

        def weighted_sum(particles: PyTree, weights: Array) -> PyTree:
            values = jax.vmap(fn)(particles)
            return jax.tree.map(lambda v: jnp.tensordot(weights, v, 1, precision="highest"), values)

        return stream_sum(weighted_sum, self.particles, self.weights, chunk, self.mesh)

    def inner(self, u: PyTree, v: PyTree) -> Float[Array, ""]:
        """⟨u, v⟩ in L²(μ) of two vector fields given at the particles: Σ_i p_i u_i·v_i."""
        return _inner(u, v, self.weights)

    def norm(self, u: PyTree) -> Float[Array, ""]:
        """‖u‖ in L²(μ) of a vector field given at the particles."""
        return _norm(u, self.weights)

    def to_vector(self, field: PyTree) -> Float[Array, " unknowns"]:
        """Tangent coordinates √p_i u_i of a vector field, in the order of `ravel_pytree`.

        The Euclidean inner product of two vectors is `inner` of their fields, so Gram matrices,
        QR, SVD and white noise in L²(μ) are the usual ones of vectors. A particle of zero weight
        has no tangent directions: its coordinates are zero whatever the field is there.

        Example:
            >>> mu = Ensemble(jnp.zeros((2, 1)), weights=jnp.array([0.25, 0.75]))
            >>> mu.to_vector(jnp.array([[2.0], [0.0]])).tolist()
            [1.0, 0.0]
        """
        return _to_vector(field, self.particles, self.weights)

    def to_field(self, vector: Float[Array, " unknowns"]) -> PyTree:
        """The vector field with the given tangent coordinates; the inverse of `to_vector`.

        It is zero at particles of zero weight.

        Example:
            >>> mu = Ensemble(jnp.zeros((4, 1)))
            >>> mu.to_field(jnp.array([1.0, 0.0, 0.0, 0.0]))[0].tolist()  # N = 4: √N times as long
            [2.0]
        """
        return _to_field(jnp.asarray(vector), self.particles, self.weights)


# Compiled as wholes: eagerly, JAX would compile each of these operations for every shape.


@jax.jit
def _inner(u: PyTree, v: PyTree, weights: Array | None) -> Array:
    products = jax.tree.map(lambda x, y: jnp.sum((x * y).reshape(x.shape[0], -1), axis=1), u, v)
    pointwise = functools.reduce(jnp.add, jax.tree.leaves(products))
    return jnp.mean(pointwise) if weights is None else jnp.sum(weights * pointwise)


@jax.jit
def _norm(u: PyTree, weights: Array | None) -> Array:
    return jnp.sqrt(_inner(u, u, weights))


@jax.jit
def _to_vector(field: PyTree, particles: PyTree, weights: Array | None) -> Array:
    weights = equal_weights(particles) if weights is None else weights
    return ravel_pytree(scaled(field, jnp.sqrt(weights)))[0]


@jax.jit
def _to_field(vector: Array, particles: PyTree, weights: Array | None) -> PyTree:
    root = jnp.sqrt(equal_weights(particles) if weights is None else weights)
    inverse = jnp.where(root > 0, 1 / jnp.where(root > 0, root, 1), 0)
    return scaled(ravel_pytree(particles)[1](vector), inverse)


def scaled(field: PyTree, factor: Float[Array, " particles"]) -> PyTree:
    """A vector field times a number for every particle."""
    return jax.tree.map(
        lambda leaf: leaf * factor.reshape(-1, *[1] * (leaf.ndim - 1)).astype(leaf.dtype), field
    )


def _normalised(weights: ArrayLike, particles: PyTree) -> Array:
    require_real("weights", weights)
    equal = jax.eval_shape(equal_weights, particles)
    array = isinstance(weights, jax.Array)
    weights = jnp.asarray(weights, equal.dtype) if array else to_device(weights, equal.dtype)
    if weights.shape != equal.shape:
        raise InvalidInput(f"weights has shape {weights.shape}; it must be {equal.shape}.")
    shares, valid = _shares(weights)
    if not (isinstance(valid, Tracer) or bool(valid)):
        raise InvalidInput(
            f"weights lie between {float(weights.min())} and {float(weights.max())}; they must "
            "be finite, non-negative and not all zero."
        )
    return shares


@jax.jit
def _shares(weights: Array) -> tuple[Array, Array]:
    """Weights divided by their sum, and whether they are weights; one program."""
    total = jnp.sum(weights)
    return weights / total, jnp.all(jnp.isfinite(weights) & (weights >= 0)) & (total > 0)
