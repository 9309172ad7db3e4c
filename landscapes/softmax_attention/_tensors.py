"""Heads of softmax attention that were trained elsewhere, from projection matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from particles import Ensemble, InvalidInput
from particles.internal import picked, require_shape

from ._landscape import SoftmaxAttentionLandscape


def softmax_heads_from(
    landscape: SoftmaxAttentionLandscape,
    tensors: Mapping[str, Any],
    *,
    key: str,
    query: str,
    embedding: str | None = None,
    heads: int = 1,
    axes: Literal["out-in", "in-out"] = "out-in",
) -> Ensemble:
    """The logits Q_km = (W_K e_m)ᵀ(W_Q e_k)/√r of every head, e_k the embedding of feature k.

    (theory.md, section 6; HCL23)

    Args:
        landscape: whose heads they are: gives the number K of features.
        tensors: a state dictionary, as `read_tensors` gives it; nested ones have dotted names.
        key: name of the key projection, shape `(heads·r, width)`.
        query: name of the query projection, shape `(heads·r, width)`.
        embedding: name of the features' embeddings, shape `(K, width)`; unit vectors by default.
        heads: number of heads that the projections stack.
        axes: `"out-in"`, as above and in PyTorch; `"in-out"` for transposed projections, as in
            Flax.

    Raises:
        InvalidInput: a missing tensor, one of another shape (named), several types, numbers that
            are no floats or not finite, or rows that do not split into heads.

    Example:
        >>> landscape = SoftmaxAttentionLandscape.of_length([0.5, 0.5])
        >>> state = {"k": 2 * jnp.eye(2), "q": jnp.eye(2)}
        >>> softmax_heads_from(landscape, state, key="k", query="q", heads=2).particles[0].tolist()
        [[2.0, 0.0], [0.0, 0.0]]
    """
    names = {"key": key, "query": query}
    found = picked(tensors, names | ({} if embedding is None else {"embedding": embedding}))
    features = landscape.counts.shape[1]
    e = found.get("embedding", np.eye(features, dtype=found["key"].dtype))
    if embedding is not None:
        require_shape(embedding, e, (features, "width"))
    flax, width = axes == "in-out", e.shape[1]
    projected = {}
    for part, name in names.items():
        require_shape(name, found[part], (width, "rows") if flax else ("rows", width))
        w = found[part].T if flax else found[part]
        if heads < 1 or w.shape[0] % heads:
            raise InvalidInput(
                f"tensor {name!r} has {w.shape[0]} rows; heads is {heads}, which must divide them."
            )
        projected[part] = jnp.einsum("hrd,kd->hrk", w.reshape(heads, -1, width), e)
    k, q = projected["key"], projected["query"]
    require_shape(query, found["query"], found["key"].shape)
    return Ensemble(jnp.einsum("hrm,hrk->hkm", k, q, precision="highest") / math.sqrt(k.shape[1]))
