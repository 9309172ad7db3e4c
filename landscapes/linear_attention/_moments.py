"""What linear attention sees of its prompts: the few moments that make its loss a quadratic."""

from __future__ import annotations

import abc
import math
from typing import Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

from particles import InvalidInput
from particles.internal import chunk_for, require_finite, require_real, stream_sum

from .._precisely import compiled_precisely
from ._prompts import PromptDistribution

DIVISORS = ("context", "tokens", "none")


class Convention(NamedTuple):
    """How the loss and the sums over tokens are written: papers and their code differ.

    The default is that of theory.md. The published code of ZSLS25 has `half=False` and
    `divide="none"` (with its option `vary_len`, `divide="tokens"`), and `query=True`.

    Args:
        half: the loss is ½ E(y − ŷ)² rather than E(y − ŷ)².
        divide: sums over tokens are divided by the number N of labelled ones (`"context"`), by
            N + 1 (`"tokens"`, the query counted), or not at all (`"none"`).
        query: the token (x_q, 0) is in the sum. It changes full token blocks only: a label of
            zero adds nothing to β.
    """

    half: bool = True
    divide: Literal["context", "tokens", "none"] = "context"
    query: bool = True

    def unit(self, context_length: float) -> float:
        """The factor before every sum over tokens."""
        return {"context": 1 / context_length, "tokens": 1 / (context_length + 1), "none": 1.0}[
            self.divide
        ]


class PromptMoments(eqx.Module):
    """Abstract base: the loss s·E(y_q − ŷ)² as a function of what ŷ is linear in.

    With useful blocks ŷ = βᵀ A x_q, β = unit·Σ_n y_n x_n, and moments are A, shape `(dim, dim)`.
    With full blocks ŷ = Σ_abd G_ab x_q,d M_abd, G = unit·Σ tokens·tokensᵀ with tokens
    (x_n, y_n) and (x_q, 0), and moments are M, shape `(dim + 1, dim + 1, dim)`. The factor s is ½
    or 1, and `unit` 1/N, 1/(N+1) or 1: see `Convention`. (theory.md, section 4)
    """

    covariance: eqx.AbstractVar[Float[Array, "dim dim"]]
    context_length: eqx.AbstractVar[float]
    convention: eqx.AbstractVar[Convention]
    blocks: eqx.AbstractVar[str]
    source: eqx.AbstractVar[PromptDistribution | None]

    @abc.abstractmethod
    def mean_square(self, moments: Array) -> Float[Array, ""]:
        """E(y_q − ŷ)²."""

    def risk(self, moments: Array) -> Float[Array, ""]:
        """The loss, with its ½ where the convention has one."""
        return (0.5 if self.convention.half else 1.0) * self.mean_square(moments)

    @property
    def dim(self) -> int:
        """Dimension D of a token."""
        return self.covariance.shape[0]

    @property
    def task_covariance(self) -> Float[Array, "dim dim"] | None:
        """T of the tasks drawn anew; `None` for the identity, and where the source is unknown."""
        return None if self.source is None else self.source.task_covariance

    @property
    def gain(self) -> float:
        """What a sum over labelled tokens is in units of their mean: N times `unit`."""
        length = self.context_length
        return {"context": 1.0, "tokens": 1 / (1 + 1 / length), "none": length}[
            self.convention.divide
        ]

    def read_out(self, moments: Array) -> Float[Array, "dim dim"]:
        """The A of ŷ = ((1/N) Σ_n y_n x_n)ᵀ A x_q + …, whatever the convention and the blocks."""
        if self.blocks == "full":
            moments = moments[-1, :-1] + moments[:-1, -1]
        return self.gain * moments

    def coefficients(self, moments: Array) -> Float[Array, " features"]:
        """What multiplies z in ŷ."""
        return (moments if self.blocks == "useful" else _symmetric_part(moments)).ravel()

    def fresh(self, key: Key[Array, ""], size: int) -> EmpiricalMoments:
        """The same of `size` freshly drawn prompts.

        Raises:
            InvalidInput: it is not known where the prompts came from.
        """
        if self.source is None:
            raise InvalidInput(
                f"batch_size is {size}, but the moments are of given data; say what distribution "
                "to draw from (source), or leave batch_size at None."
            )
        drawn = self.source.draw(key, size)
        return data_moments(
            *drawn, blocks=self.blocks, convention=self.convention, source=self.source
        )


class PopulationMoments(PromptMoments):
    """Exact expectation over Gaussian prompts, for the useful blocks (ZSLS25).

    With T = E[wwᵀ] and C = E[ββᵀ] = (1 + 1/N) ΛTΛ + (tr(ΛT)/N) Λ, at the convention of theory.md,

        E(y_q − ŷ)² = tr(ΛT) − 2 tr(Aᵀ ΛTΛ) + tr(Aᵀ C A Λ),

    for any T, whether or not it commutes with Λ: the loss sees no more of the tasks. The extra
    weights of full token blocks get no gradient from a zero start here: the useful blocks are all
    there is. (theory.md, section 4)

    Args:
        source: the distribution of prompts, with informative contexts.
        convention: how sums and loss are written.

    Raises:
        InvalidInput: uninformative prompts, or an infinite context that nothing is divided by.

    Example:
        >>> import jax.numpy as jnp
        >>> moments = PopulationMoments(PromptDistribution([0.1, 0.2, 0.3, 0.4], 32))
        >>> float(moments.risk(jnp.zeros((4, 4))))
        0.5
    """

    covariance: Float[Array, "dim dim"]
    tasks: Float[Array, "dim dim"]
    source: PromptDistribution | None
    context_length: float = eqx.field(static=True)
    convention: Convention = eqx.field(static=True)
    blocks: str = eqx.field(static=True)

    def __init__(self, source: PromptDistribution, convention: Convention = Convention()):  # noqa: B008
        _checked_convention(convention)
        if source.uninformative:
            raise InvalidInput(
                "source has uninformative prompts, whose moments are not known in closed form; "
                "draw them and use data_moments."
            )
        if math.isinf(source.context_length) and convention.divide == "none":
            raise InvalidInput("context_length is inf, so divide must not be 'none'.")
        self.covariance, self.tasks = source.covariance, source.task_moment
        self.source, self.context_length = source, source.context_length
        self.convention, self.blocks = convention, "useful"

    def mean_square(self, moments: Float[Array, "dim dim"]) -> Float[Array, ""]:
        """Products of D×D matrices."""
        read, inverse = self.read_out(moments), 1 / self.context_length
        cross = self.covariance @ self.tasks @ self.covariance
        energy = jnp.sum(self.covariance * self.tasks)
        gram = (1 + inverse) * cross + inverse * energy * self.covariance
        quadratic = jnp.sum((gram @ read @ self.covariance) * read)
        return energy - 2 * jnp.sum(cross * read) + quadratic


class EmpiricalMoments(PromptMoments):
    """Moments E[zzᵀ], E[y z], E[y²] of given data; the loss costs the same for any amount of them.

    z holds the numbers that ŷ is linear in: β_a x_q,d, or G_ab x_q,d with a ≤ b for full blocks.
    Made by `data_moments`.
    """

    energy: Float[Array, ""]
    cross: Float[Array, " features"]
    gram: Float[Array, "features features"]
    covariance: Float[Array, "dim dim"]
    source: PromptDistribution | None
    context_length: float = eqx.field(static=True)
    convention: Convention = eqx.field(static=True)
    blocks: str = eqx.field(static=True)

    def mean_square(self, moments: Array) -> Float[Array, ""]:
        """One product with E[zzᵀ]."""
        read = self.coefficients(moments)
        return self.energy - 2 * (self.cross @ read) + read @ (self.gram @ read)


def data_moments(
    x: ArrayLike,
    y: ArrayLike,
    *,
    blocks: str = "useful",
    convention: Convention = Convention(),  # noqa: B008
    source: PromptDistribution | None = None,
) -> EmpiricalMoments:
    """The moments of a data set of sequences, accumulated in chunks.

    Gradient descent on them is full-batch gradient descent on the data set, to round-off.

    Args:
        x: tokens, shape `(sequences, tokens, dim)`; the last token of a sequence is the query.
        y: labels, shape `(sequences, tokens)`; the last is the query's, which is to be predicted.
        blocks: `"useful"` (A = ∫ v KᵀQ) or `"full"` token blocks, as published code trains.
        convention: how sums and loss are written.
        source: where minibatches of fresh prompts are drawn from; `None` for nowhere.

    Raises:
        InvalidInput: shapes disagree, a sequence has fewer than two tokens, numbers are not
            finite, or a source of another dimension or context length.

    Example:
        >>> import jax
        >>> prompts = PromptDistribution([0.5, 0.5], 8)
        >>> data_moments(*prompts.draw(jax.random.key(0), 100)).gram.shape
        (4, 4)
    """
    require_real("x", x)
    require_real("y", y)
    x, y = jnp.asarray(x), jnp.asarray(y)
    if x.ndim != 3 or y.shape != x.shape[:2] or x.size == 0 or x.shape[1] < 2:
        raise InvalidInput(
            f"x has shape {x.shape} and y has shape {y.shape}; they must be (sequences, tokens, "
            "dim) and (sequences, tokens), with at least one token before the query."
        )
    if blocks not in ("useful", "full"):
        raise InvalidInput(f"blocks is {blocks!r}; choose 'useful' or 'full'.")
    _checked_convention(convention)
    dtype = jnp.promote_types(jnp.result_type(x, y), jnp.float32)
    x, y = x.astype(dtype), y.astype(dtype)
    require_finite("x", x)
    require_finite("y", y)
    dim, length = x.shape[2], float(x.shape[1] - 1)
    if source is not None and (source.dim, source.context_length) != (dim, length):
        raise InvalidInput(
            f"source draws {source.context_length:g} labelled tokens of dimension {source.dim}; "
            f"the data have {length:g} of dimension {dim}."
        )
    energy, cross, gram, spread = _sums(x, y, convention.unit(length), blocks, convention.query)
    return EmpiricalMoments(
        energy=energy,
        cross=cross,
        gram=gram,
        covariance=spread,
        source=source,
        context_length=length,
        convention=convention,
        blocks=blocks,
    )


@compiled_precisely
def _sums(x: Array, y: Array, unit: float, blocks: str, query: bool) -> tuple[Array, ...]:
    """Means over prompts: squared label of the query, its product with Z, ZᵀZ, and xxᵀ."""
    count, tokens, dim = x.shape

    def sums(prompts: tuple[Array, Array], weights: Array) -> tuple[Array, ...]:
        tokens_x, labels = prompts
        z = design(tokens_x, labels, blocks, query) * unit
        target, weighted = labels[:, -1], weights[:, None] * z
        spread = jnp.einsum("p,pna,pnb->ab", weights / tokens, tokens_x, tokens_x)
        return weights @ target**2, target @ weighted, z.T @ weighted, spread

    features = dim * dim if blocks == "useful" else dim * (dim + 1) * (dim + 2) // 2
    return stream_sum(sums, (x, y), None, chunk_for(count, 2 * features * x.dtype.itemsize))


def design(x: Array, y: Array, blocks: str, query: bool) -> Float[Array, "prompts features"]:
    """Z of every prompt, without the factor before the sums."""
    known, asked = x[:, :-1], x[:, -1]
    if blocks == "useful":
        context = jnp.einsum("pn,pna->pa", y[:, :-1], known)
    else:
        tokens = jnp.concatenate([known, y[:, :-1, None]], axis=2)
        gram = jnp.einsum("pna,pnb->pab", tokens, tokens)
        if query:
            gram = gram.at[:, :-1, :-1].add(asked[:, :, None] * asked[:, None, :])
        rows, columns = np.triu_indices(gram.shape[1])
        context = gram[:, rows, columns]
    return (context[:, :, None] * asked[:, None, :]).reshape(len(x), -1)


def _symmetric_part(moments: Float[Array, "rows rows dim"]) -> Float[Array, "pairs dim"]:
    """The coefficients of G_ab, a ≤ b: G is symmetric, so M_ab and M_ba act as one."""
    rows, columns = np.triu_indices(moments.shape[0])
    both = moments + moments.swapaxes(0, 1)
    return both[rows, columns] * np.where(rows == columns, 0.5, 1.0)[:, None].astype(moments.dtype)


def _checked_convention(convention: Convention) -> None:
    if convention.divide not in DIVISORS:
        raise InvalidInput(f"divide is {convention.divide!r}; choose one of {list(DIVISORS)}.")
