"""Statistical induction heads on Markov chains: the minimal model, with exact levels."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float, Int, Key

from particles import Ensemble, InvalidInput
from particles.internal import require_finite, to_device

from .._base import Landscape
from .._observables import Observable


class MarkovHead(NamedTuple):
    """One head of the minimal model.

    Args:
        v: layer-1 logits by distance, 0 for the token itself; shape `(length,)`.
        w: layer-2 match of the last token (row) with what a position holds; `(states, states)`.
    """

    v: Any
    w: Any


class MarkovInductionLandscape(Landscape):
    """Next-token loss of the minimal two-layer model on sampled Markov chains (EEGMT24).

    With one-hot tokens e of a chain of length t, layer 1 mixes the past by distance,
    (A e)_j = Σ_{i≤j} softmax_i(v_{j−i}) e_i, and layer 2 is linear: the logits of the next token
    are (1/t) Σ_{j≤t} (e_tᵀ W (A e)_j) e_j. They are averaged over heads (v, W), and R is the
    cross-entropy with the chain's true row of transitions at the last token, so no next token is
    drawn. The source trains on every position by gradient descent; here only the last one counts.
    (theory.md, section 9; EEGMT24)

    Args:
        tokens: the sampled chains, states numbered from 0; shape `(chains, length)`.
        rows: transition probabilities at the last token; shape `(chains, states)`.

    Raises:
        InvalidInput: shapes that do not fit, states out of range, or rows that are no
            probabilities.

    Example:
        >>> landscape = MarkovInductionLandscape([[0, 1, 1]], [[0.5, 0.5]])
        >>> round(landscape.levels()["uniform"], 4)  # log 2
        0.6931
    """

    tokens: Int[Array, "chains length"]
    rows: Float[Array, "chains states"]

    def __init__(self, tokens: object, rows: object):
        drawn, p = np.asarray(tokens), np.asarray(rows, float)
        if drawn.ndim != 2 or p.ndim != 2 or len(drawn) != len(p) or drawn.shape[1] < 2:
            raise InvalidInput(
                f"tokens has shape {drawn.shape} and rows {p.shape}; they must be (chains, length) "
                "with a length of at least 2, and (chains, states)."
            )
        require_finite("rows", p)
        if np.any(p < 0) or np.any(np.abs(p.sum(1) - 1) > 1e-5):
            raise InvalidInput("rows holds no probabilities; every row must sum to one.")
        if p.shape[1] < 2 or drawn.min() < 0 or drawn.max() >= p.shape[1]:
            raise InvalidInput(
                f"tokens holds states from {drawn.min()} to {drawn.max()}; with {p.shape[1]} "
                f"columns of rows they must run from 0 to {p.shape[1] - 1}, and be two at least."
            )
        self.tokens, self.rows = to_device(drawn, jnp.int32), to_device(p)

    @property
    def particle(self) -> MarkovHead:
        """Shapes and dtypes of one head."""
        (_, length), (_, states), dtype = self.tokens.shape, self.rows.shape, self.rows.dtype
        shapes = (length,), (states, states)
        return MarkovHead(*(jax.ShapeDtypeStruct(shape, dtype) for shape in shapes))

    def features(self, particle: MarkovHead) -> Float[Array, "chains states"]:
        """Φ(v, W): the logits of the next token of every chain."""
        length, states = self.tokens.shape[1], self.rows.shape[1]
        distance = np.arange(length)[:, None] - np.arange(length)[None]
        logits = jnp.where(distance >= 0, particle.v[np.maximum(distance, 0)], -jnp.inf)
        hot = jax.nn.one_hot(self.tokens, states, dtype=self.rows.dtype)
        held = jnp.einsum("ji,cik->cjk", jax.nn.softmax(logits, axis=1), hot)
        match = jnp.einsum("ck,cjk->cj", particle.w[self.tokens[:, -1]], held)
        return jnp.einsum("cj,cjk->ck", match, hot) / length

    def particle_bytes(self, particle: MarkovHead) -> int:
        """Memory of one head's first layer."""
        return 4 * self.tokens.size * self.rows.shape[1] * self.rows.dtype.itemsize

    def risk(self, moments: Float[Array, "chains states"], fast: None = None) -> Float[Array, ""]:
        """Mean cross-entropy with the true transitions, in nats."""
        return -jnp.mean(jnp.sum(self.rows * jax.nn.log_softmax(moments, axis=1), axis=1))

    def observables(self, moments: Float[Array, "chains states"]) -> dict[str, Observable]:
        """`distance_unigram`, `distance_bigram`: KL from the in-context statistics to the model."""
        said = jax.nn.log_softmax(moments, axis=1)

        def distance(p: Array) -> Observable:
            return Observable(jnp.mean(jnp.sum(p * (jnp.log(p) - said), axis=1)))

        unigram, bigram = self.statistics()
        return {"distance_unigram": distance(unigram), "distance_bigram": distance(bigram)}

    def statistics(self) -> tuple[Float[Array, "chains states"], Float[Array, "chains states"]]:
        """Unigram and bigram predictions of every chain: counts in context, one added to each."""
        single, double = self._counts()
        return (
            (single + 1) / (single + 1).sum(1, keepdims=True),
            (double + 1) / (double + 1).sum(1, keepdims=True),
        )

    def levels(self) -> dict[str, float]:
        """Cross-entropies of the predictions theory names, exactly for these chains, in nats.

        `uniform`: log k. `unigram` and `bigram`: counts of tokens, and of tokens that followed the
        last one, with one added to each; the bigram prediction is Bayes-optimal for rows from a
        uniform Dirichlet law, but for what the start of a chain tells. `entropy`: that of the true
        transitions, which no predictor can beat in expectation.
        """
        found = {name: float(level) for name, level in self._statistical_levels().items()}
        return {"uniform": math.log(self.rows.shape[1]), **found}

    @eqx.filter_jit
    def _statistical_levels(self) -> dict[str, Array]:
        unigram, bigram = self.statistics()
        predictions = {"unigram": unigram, "bigram": bigram, "entropy": self.rows}
        return {name: self.cross_entropy(p) for name, p in predictions.items()}

    def head_levels(self) -> dict[str, float]:
        """The lowest loss of the model's own two solutions, exactly for these chains, in nats.

        `unigram`: v = 0 and all entries of W equal, where the logits are a multiple of the counts
        of tokens; `bigram`: layer 1 on the previous token and W a multiple of the identity, where
        they are a multiple of the counts of followers; the first token, which has no previous one,
        counts as its own follower. Each is a convex problem in one number.
        """
        single, double = map(np.array, self._counts())
        first, last = np.asarray(self.tokens)[:, [0, -1]].T
        double[np.arange(len(first)), first] += first == last
        return {
            "unigram": self._best_multiple(single),
            "bigram": self._best_multiple(double),
        }

    def cross_entropy(self, predicted: Float[Array, "chains states"]) -> Float[Array, ""]:
        """Mean cross-entropy of any predictions with the true transitions, in nats."""
        logs = jnp.where(self.rows > 0, jnp.log(jnp.where(self.rows > 0, predicted, 1.0)), 0.0)
        return -jnp.mean(jnp.sum(self.rows * logs, axis=1))

    @eqx.filter_jit
    def _counts(self) -> tuple[Array, Array]:
        hot = jax.nn.one_hot(self.tokens, self.rows.shape[1], dtype=self.rows.dtype)
        follows = (self.tokens[:, :-1] == self.tokens[:, -1:]).astype(hot.dtype)
        return hot.sum(1), jnp.einsum("cj,cjk->ck", follows, hot[:, 1:])

    def _best_multiple(self, counts: np.ndarray) -> float:
        logits, p = counts / self.tokens.shape[1], np.asarray(self.rows)

        def loss(scale: float) -> float:
            z = scale * logits
            top = z.max(1, keepdims=True)
            total = top[:, 0] + np.log(np.exp(z - top).sum(1))
            return float(np.mean(total - np.sum(p * z, axis=1)))

        found = scipy.optimize.minimize_scalar(
            loss, bounds=(0.0, 1e3), method="bounded", options={"xatol": 1e-9}
        )
        return float(found.fun)


def draw_chains(
    key: Key[Array, ""], chains: int, length: int, states: int
) -> MarkovInductionLandscape:
    """Chains with rows from the uniform Dirichlet law, started in their stationary law (EEGMT24).

    Args:
        key: random key.
        chains: number of chains, each with transitions of its own.
        length: tokens of a chain.
        states: number k of states.

    Raises:
        InvalidInput: no chain, a length below 2, or fewer than two states.

    Example:
        >>> draw_chains(jax.random.key(0), 5, 8, 3).tokens.shape
        (5, 8)
    """
    if chains < 1 or length < 2 or states < 2:
        raise InvalidInput(
            f"chains is {chains}, length {length} and states {states}; they must be at least 1, 2 "
            "and 2."
        )
    return MarkovInductionLandscape(*_walks(key, chains, length, states))


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _walks(key: Key[Array, ""], chains: int, length: int, states: int) -> tuple[Array, Array]:
    """Tokens of the chains, and the rows of transitions at their last token."""
    key_rows, key_start, key_walk = jax.random.split(key, 3)
    matrices = jax.random.dirichlet(key_rows, jnp.ones(states), (chains, states))
    # (Pᵀ − I) π = 0 with Σπ = 1; the sum replaces one of the dependent equations.
    system = (matrices.mT - jnp.eye(states)).at[:, -1].set(1.0)
    right = jnp.zeros((chains, states, 1)).at[:, -1].set(1.0)
    stationary = jnp.maximum(jnp.linalg.solve(system, right)[..., 0], 0.0)
    first = jax.random.categorical(key_start, jnp.log(stationary))
    chain = jnp.arange(chains)

    def step(state: Array, key: Key[Array, ""]) -> tuple[Array, Array]:
        following = jax.random.categorical(key, jnp.log(matrices[chain, state]))
        return following, following

    last, rest = jax.lax.scan(step, first, jax.random.split(key_walk, length - 1))
    tokens = jnp.concatenate([first[None], rest]).T
    return tokens, matrices[chain, last]


def markov_head_start(
    key: Key[Array, ""], landscape: MarkovInductionLandscape, size: int, *, scale: float = 0.01
) -> Ensemble:
    """The start of EEGMT24, W = 0.01 and v = 0, plus normal noise of standard deviation `scale`.

    Args:
        key: random key.
        landscape: gives the shapes.
        size: number of heads.
        scale: of the noise on v and W; 0 for the source's start, where heads stay equal.

    Raises:
        InvalidInput: `size` is below one.
    """
    if size < 1:
        raise InvalidInput(f"size is {size}; it must be a positive number of heads.")
    shapes = landscape.particle
    key_v, key_w = jax.random.split(key)
    v = scale * jax.random.normal(key_v, (size, *shapes.v.shape), shapes.v.dtype)
    w = 0.01 + scale * jax.random.normal(key_w, (size, *shapes.w.shape), shapes.w.dtype)
    return Ensemble(MarkovHead(v, w))
