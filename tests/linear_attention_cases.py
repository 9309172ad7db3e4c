"""Linear attention written out token by token, to judge the landscapes by."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landscapes import MergedLinearAttentionLandscape, SeparateLinearAttentionLandscape
from landscapes.linear_attention import (
    Convention,
    LinearAttentionLandscape,
    MergedHead,
    PromptDistribution,
    PromptMoments,
    data_moments,
)
from particles import Ensemble
from particles.internal import to_device

EIGENVALUES, LENGTH, HEADS = (0.5, 0.3, 0.2), 4, 3


def distribution(**options) -> PromptDistribution:
    """Three dimensions, with a Λ that is not diagonal."""
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    return PromptDistribution(basis @ np.diag(EIGENVALUES) @ basis.T, LENGTH, **options)


def sequences(count: int = 20, seed: int = 0, **options) -> tuple[jax.Array, jax.Array]:
    return distribution(**options).draw(jax.random.key(seed), count)


def landscape(kind: str, prompts: PromptMoments, heads: int = HEADS) -> LinearAttentionLandscape:
    """`merged`, or `separate` of rank two."""
    if kind == "merged":
        return MergedLinearAttentionLandscape(prompts, heads=heads)
    return SeparateLinearAttentionLandscape(prompts, 2, heads=heads)


def on_data(kind: str, blocks: str, convention: Convention, heads: int = HEADS):
    prompts = data_moments(*sequences(), blocks=blocks, convention=convention)
    return landscape(kind, prompts, heads)


def heads(landscape: LinearAttentionLandscape, size: int = HEADS, seed: int = 1) -> Ensemble:
    """Random weights, the useful ones and the others."""
    rng = np.random.default_rng(seed)
    draw = lambda leaf: to_device(0.6 * rng.normal(size=(size, *leaf.shape)), leaf.dtype)  # noqa: E731
    return Ensemble(jax.tree.map(draw, landscape.particle))


def attend(particles, x: jax.Array, y: jax.Array, convention: Convention) -> jax.Array:
    """ŷ of one sequence: every head attends to one token after the other; heads are summed.

    Heads of useful blocks are embedded in full ones: v = (0, v_y), U = (U; 0), K = (K, 0).
    """
    tokens, dim = x.shape
    counted = tokens if convention.query else tokens - 1
    labels = y.at[-1].set(0.0)

    def one_head(head):
        weights = head.u if isinstance(head, MergedHead) else head.k.T @ head.q
        full = jnp.ndim(head.v) == 1
        value = head.v if full else jnp.append(jnp.zeros(dim), head.v)
        weights = weights if full else jnp.concatenate([weights, jnp.zeros((1, dim))])

        def one_token(n):
            token = jnp.append(x[n], labels[n])
            return (value @ token) * (token @ weights @ x[-1])

        return jnp.sum(jax.vmap(one_token)(jnp.arange(counted)))

    prediction = jnp.sum(jax.vmap(one_head)(particles))
    divisor = {"context": tokens - 1, "tokens": tokens, "none": 1}[convention.divide]
    return prediction / divisor


@eqx.filter_jit
def brute_loss(particles, x: jax.Array, y: jax.Array, convention: Convention, scale: float = 1.0):
    """Mean loss over sequences, by the definition of attention alone."""
    predicted = scale * jax.vmap(lambda a, b: attend(particles, a, b, convention))(x, y)
    square = jnp.mean((y[:, -1] - predicted) ** 2)
    return 0.5 * square if convention.half else square


brute_gradient = eqx.filter_jit(eqx.filter_value_and_grad(brute_loss))
