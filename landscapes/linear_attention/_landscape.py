"""Linear attention on in-context linear regression: heads are the particles (ZSLS25, MT25)."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from particles import Ensemble, InvalidInput, Points, gaussian

from .._base import Landscape
from .._observables import Observable
from .._precisely import compiled_precisely
from ._directions import eigen_directions
from ._moments import PromptMoments, design
from ._theory import in_context_optimum

LEARNED = "learned_fraction"


class MergedHead(NamedTuple):
    """A head θ = (v, U), key and query merged: A = v U.

    Args:
        v: value, a number; with full token blocks a row of length `dim + 1`.
        u: key–query, shape `(dim, dim)`; with full token blocks `(dim + 1, dim)`.
    """

    v: Any
    u: Any


class SeparateHead(NamedTuple):
    """A head θ = (v, K, Q) of rank r: A = v KᵀQ.

    Args:
        v: value, a number; with full token blocks a row of length `dim + 1`.
        k: key, shape `(rank, dim)`; with full token blocks `(rank, dim + 1)`.
        q: query, shape `(rank, dim)`.
    """

    v: Any
    k: Any
    q: Any


class LinearAttentionLandscape(Landscape):
    """Abstract base: ŷ = βᵀ A x_q with A = heads · ∫ v W dμ, W the key–query matrix of a head.

    Heads are averaged with `heads = 1` (the mean-field limit), and summed, as in a transformer,
    with `heads` their number. In both cases the flow is dθ_i/dt = −N ∇_{θ_i} F with F the loss as
    a function of all N heads, so gradient descent on F with learning rate η is `scheme="euler"`
    with dt = η/N. (theory.md, sections 1 and 4)

    With full token blocks v is a row (v_x, v_y) and W has a row more; A = v_y W_x is its useful
    part, and moments are all products v_a W_bd.

    A concrete landscape gives the key–query matrix and the shapes of a head.
    """

    prompts: eqx.AbstractVar[PromptMoments]
    heads: eqx.AbstractVar[int]
    tests: eqx.AbstractVar[dict[str, PromptMoments]]
    convex: ClassVar[bool] = True

    @abc.abstractmethod
    def key_query(self, particle: Any) -> Float[Array, "*heads rows dim"]:
        """W of one head, or of many."""

    def features(self, particle: Any) -> Array:
        """Φ(θ) = heads · v W."""
        return self.heads * jnp.multiply.outer(particle.v, self.key_query(particle))

    def feature_sum(self, particles: Any, weights: Float[Array, " particles"]) -> Array:
        """The same sum as one matrix product."""
        values = (self.heads * weights * particles.v.T).T
        return jnp.einsum("n...,nbd->...bd", values, self.key_query(particles))

    def risk(self, moments: Array, fast: None = None) -> Float[Array, ""]:
        """The loss of the prompts, a quadratic in the moments."""
        return self.prompts.risk(moments)

    def observables(self, moments: Array) -> dict[str, Observable]:
        """`learned_fraction`, e_dᵀ A e_d over its optimum by eigenvectors of Λ; the test losses.

        The largest eigenvalue is first. A direction without tasks has the fraction zero.
        """
        covariance, length = self.prompts.covariance, self.prompts.context_length
        tasks, read = self.prompts.task_covariance, self.prompts.read_out(moments)
        if tasks is None:
            values, vectors = jnp.linalg.eigh(covariance)
            optimum = jnp.diag(in_context_optimum(jnp.diag(values), length))
            fractions = (jnp.einsum("ad,ab,bd->d", vectors, read, vectors) / optimum)[::-1]
        else:
            vectors = eigen_directions(covariance, tasks)
            both = jnp.stack([read, in_context_optimum(covariance, length, tasks)])
            fractions = _ratio(*jnp.einsum("ad,mab,bd->md", vectors, both, vectors))
        losses = {name: Observable(test.risk(moments)) for name, test in self.tests.items()}
        return {LEARNED: Observable(fractions, ("feature",)), **losses}

    def minibatch(self, key: Key[Array, ""], size: int) -> LinearAttentionLandscape:
        """`size` fresh prompts of the same distribution."""
        return self.replace(prompts=self.prompts.fresh(key, size))

    def require_fit(self, ensemble: Ensemble) -> None:
        """Refuse heads of other shapes, and sums over another number of heads."""
        super().require_fit(ensemble)
        if self.heads not in (1, ensemble.size):
            raise InvalidInput(
                f"ensemble holds {ensemble.size} heads; this landscape sums {self.heads}: give as "
                "many, or heads = 1 to average them."
            )

    @compiled_precisely
    def predict(
        self,
        ensemble: Ensemble,
        x: Float[Array, "sequences tokens dim"],
        y: Float[Array, "sequences tokens"],
    ) -> Float[Array, " sequences"]:
        """ŷ of every sequence's last token; its own label in `y` is not looked at.

        The tokens are summed as this landscape's convention says, with the number of tokens given.
        """
        convention, moments = self.prompts.convention, self.moments(ensemble)
        z = design(x, y, self.prompts.blocks, convention.query)
        return z @ self.prompts.coefficients(moments) * convention.unit(x.shape[1] - 1)

    @property
    @abc.abstractmethod
    def useful(self) -> Any:
        """Which weights of a head the useful blocks are made of: booleans, like one particle."""

    def _value_and_rows(self) -> tuple[tuple[int, ...], int]:
        """Shape of a value, and rows of the key–query matrix."""
        dim = self.prompts.dim
        return ((), dim) if self.prompts.blocks == "useful" else ((dim + 1,), dim + 1)


class MergedLinearAttentionLandscape(LinearAttentionLandscape):
    """In-context linear regression by heads with merged key and query, A = ∫ v U dμ (ZSLS25).

    One head with v = p, U = W_Q is the model of MT25. The loss has two sets of critical points,
    the origin and the global minimum: one abrupt drop. (theory.md, sections 4 and 5)

    Args:
        prompts: moments of the prompts, and with them blocks and convention.
        heads: 1 averages heads; their number N sums them.
        tests: further prompts, whose losses are recorded under these names.

    Raises:
        InvalidInput: `heads` is below one, or tests of other blocks or dimension.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes.linear_attention import PopulationMoments, PromptDistribution
        >>> landscape = MergedLinearAttentionLandscape(
        ...     PopulationMoments(PromptDistribution([0.25, 0.75], 1))
        ... )
        >>> head = MergedHead(v=jnp.ones(1), u=jnp.zeros((1, 2, 2)))
        >>> float(landscape.value(Ensemble(head)))
        0.5
    """

    prompts: PromptMoments
    tests: dict[str, PromptMoments]
    heads: int = eqx.field(static=True)

    def __init__(
        self,
        prompts: PromptMoments,
        *,
        heads: int = 1,
        tests: Mapping[str, PromptMoments] | None = None,
    ):
        self.prompts, self.heads = prompts, _checked_heads(heads)
        self.tests = _checked_tests(prompts, tests)

    @property
    def particle(self) -> MergedHead:
        """Shapes and dtypes of one head."""
        value, rows = self._value_and_rows()
        return MergedHead(*_structs(self.prompts, value, (rows, self.prompts.dim)))

    @property
    def useful(self) -> MergedHead:
        """v_y and U_x."""
        v, u = (np.ones(leaf.shape, bool) for leaf in self.particle)
        if self.prompts.blocks == "full":
            v[:-1], u[-1] = False, False
        return MergedHead(v, u)

    def key_query(self, particle: MergedHead) -> Float[Array, "*heads rows dim"]:
        """U."""
        return particle.u


class SeparateLinearAttentionLandscape(LinearAttentionLandscape):
    """In-context linear regression by heads with key and query of rank r, A = ∫ v KᵀQ dμ (ZSLS25).

    At rank one there are 2^D sets of critical points; from a small start the loss goes from saddle
    to saddle, learning one eigen-direction of Λ after the other. The saddles on the way are
    degenerate. (theory.md, section 4)

    Args:
        prompts: moments of the prompts, and with them blocks and convention.
        rank: r, between 1 and D.
        heads: 1 averages heads; their number N sums them.
        tests: further prompts, whose losses are recorded under these names.

    Raises:
        InvalidInput: a rank outside 1 … D, `heads` below one, or tests of other blocks or
            dimension.

    Example:
        >>> import jax
        >>> from landscapes.linear_attention import PopulationMoments, PromptDistribution
        >>> prompts = PopulationMoments(PromptDistribution([0.1, 0.2, 0.7], 32))
        >>> landscape = SeparateLinearAttentionLandscape(prompts, rank=1)
        >>> landscape.particle.k.shape
        (1, 3)
    """

    prompts: PromptMoments
    tests: dict[str, PromptMoments]
    rank: int = eqx.field(static=True)
    heads: int = eqx.field(static=True)

    def __init__(
        self,
        prompts: PromptMoments,
        rank: int,
        *,
        heads: int = 1,
        tests: Mapping[str, PromptMoments] | None = None,
    ):
        if not 1 <= rank <= prompts.dim:
            raise InvalidInput(f"rank is {rank}; it must lie between 1 and D = {prompts.dim}.")
        self.prompts, self.rank, self.heads = prompts, int(rank), _checked_heads(heads)
        self.tests = _checked_tests(prompts, tests)

    @property
    def particle(self) -> SeparateHead:
        """Shapes and dtypes of one head."""
        value, rows = self._value_and_rows()
        keys, queries = (self.rank, rows), (self.rank, self.prompts.dim)
        return SeparateHead(*_structs(self.prompts, value, keys, queries))

    @property
    def useful(self) -> SeparateHead:
        """v_y, K_x and Q."""
        v, k, q = (np.ones(leaf.shape, bool) for leaf in self.particle)
        if self.prompts.blocks == "full":
            v[:-1], k[:, -1] = False, False
        return SeparateHead(v, k, q)

    def key_query(self, particle: SeparateHead) -> Float[Array, "*heads rows dim"]:
        """KᵀQ."""
        return particle.k.mT @ particle.q


def head_start(
    key: Key[Array, ""],
    landscape: LinearAttentionLandscape,
    size: int,
    *,
    scale: float = 0.01,
    extra: float = 0.0,
    points: Points = "random",
) -> Ensemble:
    """Gaussian heads: every coordinate of standard deviation `scale`.

    With full token blocks the weights that are not useful (v_x, and the row of U or column of K
    that reads labels) have standard deviation `extra`: zero in the published code, which on a
    finite data set does not keep them there. (theory.md, section 4)

    Args:
        key: random key.
        landscape: gives the shapes.
        size: number of heads N.
        scale: of the useful weights.
        extra: of the others.
        points: how heads are drawn, as in `particles.gaussian`.

    Raises:
        InvalidInput: `size` is below one, or does not suit `points`.

    Example:
        >>> import jax
        >>> from landscapes.linear_attention import PopulationMoments, PromptDistribution
        >>> prompts = PopulationMoments(PromptDistribution([0.4, 0.6], 8))
        >>> start = head_start(jax.random.key(0), MergedLinearAttentionLandscape(prompts), 5)
        >>> start.particles.u.shape
        (5, 2, 2)
    """
    heads = gaussian(key, size, landscape.particle, points=points)
    factors = jax.tree.map(lambda useful: np.where(useful, scale, extra), landscape.useful)
    return heads.with_particles(_scaled(heads.particles, factors))


@jax.jit
def _scaled(heads: PyTree, factors: PyTree) -> PyTree:
    return jax.tree.map(lambda head, factor: head * factor.astype(head.dtype), heads, factors)


def _ratio(read: Float[Array, " dim"], optimum: Float[Array, " dim"]) -> Float[Array, " dim"]:
    """Their ratio; zero where the optimum is zero but for rounding."""
    learned = optimum > 100 * jnp.finfo(optimum.dtype).eps * jnp.max(optimum)
    return jnp.where(learned, read / jnp.where(learned, optimum, 1), 0)


def _structs(prompts: PromptMoments, *shapes: tuple[int, ...]) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(shape, prompts.covariance.dtype) for shape in shapes]


def _checked_heads(heads: int) -> int:
    if heads < 1:
        raise InvalidInput(f"heads is {heads}; it must be 1 (averaged) or the number to sum.")
    return int(heads)


def _checked_tests(
    prompts: PromptMoments, tests: Mapping[str, PromptMoments] | None
) -> dict[str, PromptMoments]:
    tests = dict(tests or {})
    for name, test in tests.items():
        if name == LEARNED:
            raise InvalidInput(f"tests: the name {name!r} is taken; choose another.")
        if (test.blocks, test.dim) != (prompts.blocks, prompts.dim):
            raise InvalidInput(
                f"tests[{name!r}] has {test.blocks} blocks of dimension {test.dim}; the prompts "
                f"have {prompts.blocks} blocks of dimension {prompts.dim}."
            )
    return tests
