"""Prompts of K features: feature probabilities, and token counts drawn or enumerated (HCL23)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, ArrayLike, Float, Key

from particles import InvalidInput

#: A vector or matrix in any of the forms that users write one.
Numbers = ArrayLike | Sequence
#: Most prompts that are enumerated; beyond it, sampling is the better expectation.
MOST_PROMPTS = 200_000


def feature_probabilities(
    features: int, dominant: float | None = None
) -> Float[np.ndarray, " features"]:
    """Balanced probabilities 1/K, or p_1 = `dominant` and the rest shared equally.

    (HCL23; theory.md, section 6)

    Args:
        features: K ≥ 2.
        dominant: probability of the first feature; `None` for balanced features.

    Raises:
        InvalidInput: fewer than two features, or `dominant` not strictly between 0 and 1.

    Example:
        >>> feature_probabilities(5, dominant=0.6).round(3).tolist()
        [0.6, 0.1, 0.1, 0.1, 0.1]
    """
    if features < 2:
        raise InvalidInput(f"features is {features}; there must be at least K = 2 of them.")
    first = 1 / features if dominant is None else float(dominant)
    if not 0 < first < 1:
        raise InvalidInput(f"dominant is {dominant}; it must lie strictly between 0 and 1.")
    return np.array([first] + [(1 - first) / (features - 1)] * (features - 1))


def checked_probabilities(probabilities: Numbers) -> Float[np.ndarray, " features"]:
    """Probabilities of at least two features as a vector that sums to one up to round-off.

    Raises:
        InvalidInput: not a vector of two or more, a negative or non-finite entry, or a sum other
            than one.
    """
    p = np.asarray(probabilities, float)
    if p.ndim != 1 or p.size < 2:
        raise InvalidInput(
            f"probabilities has shape {p.shape}; it must be a vector of at least two features."
        )
    if not np.all(p >= 0):
        k = int(np.argmin(np.where(np.isnan(p), -np.inf, p)))
        raise InvalidInput(f"probabilities[{k}] is {p[k]}; it must not be negative.")
    if not abs(p.sum() - 1) <= 1e-5:
        raise InvalidInput(f"probabilities sum to {p.sum():.6g}; they must sum to one.")
    return p / p.sum()


def checked_length(length: float) -> float:
    """The prompt length as a whole number, or infinity.

    Raises:
        InvalidInput: below one, or not a whole number.
    """
    if not length >= 1 or (length != math.inf and length != int(length)):
        raise InvalidInput(
            f"length is {length}; a prompt has a whole number n ≥ 1 of tokens, or math.inf."
        )
    return length if length == math.inf else int(length)


@eqx.filter_jit
def draw_counts(
    key: Key[Array, ""], probabilities: Float[Array, " features"], length: int, prompts: int
) -> Float[Array, "prompts features"]:
    """Token counts of independent prompts: how often each feature occurs among n tokens.

    Args:
        key: random key.
        probabilities: p_k of the features.
        length: prompt length n.
        prompts: how many.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> draw_counts(jax.random.key(0), jnp.array([0.5, 0.5]), 7, 3).sum(axis=1).tolist()
        [7.0, 7.0, 7.0]
    """
    tokens = jax.random.uniform(key, (prompts, length, 1), probabilities.dtype)
    below = jnp.sum(tokens < jnp.cumsum(probabilities)[:-1], axis=1)
    first = jnp.pad(below, ((0, 0), (1, 0)))
    last = jnp.pad(below, ((0, 0), (0, 1)), constant_values=length)
    return (last - first).astype(probabilities.dtype)


def every_prompt(
    probabilities: Float[np.ndarray, " features"], length: int
) -> tuple[Float[np.ndarray, "prompts features"], Float[np.ndarray, " prompts"]]:
    """All distinct token counts of n tokens, and their multinomial probabilities.

    Raises:
        InvalidInput: more than 200,000 of them.

    Example:
        >>> counts, chances = every_prompt(np.array([0.5, 0.5]), 2)
        >>> counts.tolist(), chances.round(6).tolist()
        ([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]], [0.25, 0.5, 0.25])
    """
    features = len(probabilities)
    places = length + features - 1
    number = math.comb(places, length)
    if number > MOST_PROMPTS:
        raise InvalidInput(
            f"prompts is None (exact expectation), but {length} tokens of {features} features make "
            f"{number} distinct prompts, more than {MOST_PROMPTS}; give `prompts` and `key` to "
            "sample them, or length=math.inf."
        )
    # Stars and bars: the counts are the gaps between bars.
    bars = np.array(list(itertools.combinations(range(places), features - 1)))
    bars = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, places)))
    counts = np.diff(bars, axis=1) - 1.0
    log = scipy.special.gammaln(length + 1) - scipy.special.gammaln(counts + 1).sum(axis=1)
    chances = np.exp(log + scipy.special.xlogy(counts, probabilities).sum(axis=1))
    possible = chances > 0
    return counts[possible], chances[possible]
