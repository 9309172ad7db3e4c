"""Softmax attention token by token in full dimension, and its passage to the feature basis."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from particles import InvalidInput

from .._precisely import compiled_precisely


def feature_directions(
    key: Key[Array, ""], features: int, dim: int
) -> Float[Array, "features dim"]:
    """K orthonormal features v_k in R^d, as rows, in a random position (HCL23).

    Args:
        key: random key.
        features: K.
        dim: d ≥ K.

    Raises:
        InvalidInput: K below one, or more features than dimensions.

    Example:
        >>> import jax
        >>> v = feature_directions(jax.random.key(0), 2, 3)
        >>> (v @ v.T).round(5).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    if not 1 <= features <= dim:
        raise InvalidInput(
            f"features is {features} and dim is {dim}; orthonormal features need 1 ≤ K ≤ d."
        )
    square = jax.random.normal(key, (dim, features))
    return jnp.linalg.qr(square)[0].T


@compiled_precisely
def head_matrices(
    logits: Float[Array, "heads features features"], directions: Float[Array, "features dim"]
) -> Float[Array, "heads dim dim"]:
    """Q = Σ_km Q_km v_m v_kᵀ of every head: zero outside the span of the features.

    Example:
        >>> head_matrices(jnp.ones((1, 1, 1)), jnp.array([[0.0, 1.0]])).tolist()
        [[[0.0, 0.0], [0.0, 1.0]]]
    """
    return jnp.einsum("ikm,md,ke->ide", logits, directions, directions)


@compiled_precisely
def head_logits(
    matrices: Float[Array, "heads dim dim"], directions: Float[Array, "features dim"]
) -> Float[Array, "heads features features"]:
    """Q_km = v_mᵀ Q v_k of every head: all that prompts of features see of Q (HCL23).

    Example:
        >>> import jax
        >>> logits = jax.random.normal(jax.random.key(1), (1, 2, 2))
        >>> v = feature_directions(jax.random.key(0), 2, 3)
        >>> bool(abs(head_logits(head_matrices(logits, v), v) - logits).max() < 1e-5)
        True
    """
    return jnp.einsum("ide,md,ke->ikm", matrices, directions, directions)


@compiled_precisely
def predict_from_tokens(
    matrices: Float[Array, "heads dim dim"],
    tokens: Float[Array, "length dim"],
    labels: Float[Array, " length"],
    query: Float[Array, " dim"],
) -> Float[Array, ""]:
    """ŷ = Σ_i softmax_i(x_iᵀ Q x_q) y_i, mean over heads, of one prompt (HCL23); `vmap` for many.

    Args:
        matrices: Q of the heads.
        tokens: of the prompt.
        labels: y of the tokens.
        query: the token to predict the label of.

    Raises:
        InvalidInput: the prompt is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> blind = jnp.zeros((1, 2, 2))
        >>> float(predict_from_tokens(blind, jnp.eye(2), jnp.array([1.0, 3.0]), jnp.ones(2)))
        2.0
    """
    if tokens.shape[0] == 0:
        raise InvalidInput("tokens has length 0; a prompt needs at least one token.")
    scores = jnp.einsum("nd,ide,e->in", tokens, matrices, query)
    return jnp.mean(jax.nn.softmax(scores, axis=-1) @ labels)
