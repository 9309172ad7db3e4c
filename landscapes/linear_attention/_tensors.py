"""Heads of linear attention that were trained elsewhere, from projection matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp

from particles import Ensemble, InvalidInput
from particles.internal import picked, require_shape

from ._landscape import SeparateHead, SeparateLinearAttentionLandscape


def heads_from(
    landscape: SeparateLinearAttentionLandscape,
    tensors: Mapping[str, Any],
    *,
    key: str,
    query: str,
    value: str,
    axes: Literal["out-in", "in-out"] = "out-in",
    scaling: Literal["sum", "mean"] = "sum",
) -> Ensemble:
    """The heads of a layer with stacked projections, head after head.

    With full token blocks a query projection may have a column for the label: the query's own
    label is zero, so it is left out. (theory.md, section 4; ZSLS25)

    Args:
        landscape: whose heads they are: gives rank r, dimension D and blocks.
        tensors: a state dictionary, as `read_tensors` gives it; nested ones have dotted names.
        key: name of the key projection, shape `(heads·r, D)`; `(heads·r, D + 1)` with full blocks.
        query: name of the query projection, shape `(heads·r, D)`.
        value: name of the values read out, shape `(heads,)`; with full blocks `(heads, D + 1)`.
        axes: `"out-in"`, as above and in PyTorch; `"in-out"` for transposed projections of key and
            query, as in Flax.
        scaling: the layer sums over its heads (`"sum"`), or takes their mean (`"mean"`).

    Raises:
        InvalidInput: a missing tensor, one of another shape (named), several types, numbers that
            are no floats or not finite, or a landscape that sums another number of heads.

    Example:
        >>> from landscapes.linear_attention import PopulationMoments, PromptDistribution
        >>> prompts = PopulationMoments(PromptDistribution([0.4, 0.6], 8))
        >>> landscape = SeparateLinearAttentionLandscape(prompts, rank=1)
        >>> state = {"k": jnp.ones((3, 2)), "q": jnp.ones((3, 2)), "v": jnp.ones(3)}
        >>> heads = heads_from(landscape, state, key="k", query="q", value="v")
        >>> heads.particles.k.shape
        (3, 1, 2)
    """
    found = picked(tensors, {"key": key, "query": query, "value": value})
    shapes, rank = landscape.particle, landscape.rank
    flax = axes == "in-out"
    values = (*("heads",), *shapes.v.shape)
    require_shape(value, found["value"], values)
    size = found["value"].shape[0]
    columns = found["query"].shape[0 if flax else -1] if found["query"].ndim else 0
    dim = shapes.q.shape[1]
    labelled = landscape.prompts.blocks == "full" and columns == dim + 1
    for name, part, inputs in ((key, "key", shapes.k.shape[1]), (query, "query", dim + labelled)):
        wanted = (size * rank, inputs)
        require_shape(name, found[part], wanted[::-1] if flax else wanted)
    if landscape.heads not in (1, size):
        raise InvalidInput(
            f"value is {value!r} of {size} heads, but the landscape sums {landscape.heads}; give "
            "it as many, or 1 to average them."
        )
    k, q = (jnp.asarray(found[part].T if flax else found[part]) for part in ("key", "query"))
    factor = (size if scaling == "sum" else 1) / landscape.heads
    return Ensemble(
        SeparateHead(
            v=jnp.asarray(found["value"]) * factor,
            k=k.reshape(size, rank, -1),
            q=q.reshape(size, rank, -1)[..., :dim],
        )
    )
