"""Neurons of two-layer networks that were trained elsewhere, from their weight matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from particles import Ensemble
from particles.internal import picked, require_shape

from ._neurons import Neuron

Axes = Literal["out-in", "in-out"]
Scaling = Literal["sum", "mean"]


def with_constant(x: ArrayLike) -> Float[Array, "samples inputs_and_one"]:
    """Inputs with a last coordinate of ones, whose input weights are the neurons' biases.

    Example:
        >>> with_constant(jnp.zeros((1, 2))).tolist()
        [[0.0, 0.0, 1.0]]
    """
    x = jnp.asarray(x)
    return jnp.concatenate([x, jnp.ones_like(x[:, :1])], axis=1)


def neurons_from(
    tensors: Mapping[str, Any],
    *,
    hidden: str,
    output: str,
    bias: str | None = None,
    axes: Axes = "out-in",
    scaling: Scaling = "sum",
) -> Ensemble:
    """The neurons of a network x ↦ V σ(Wx + b), so that its output is ∫ a σ(wᵀx̃) dμ.

    A neuron's bias is the input weight of a constant coordinate: with `bias` the landscape's
    inputs are `with_constant(x)`. A bias of the output belongs to no neuron: subtract it from the
    landscape's targets. (theory.md, section 1; CB18)

    Args:
        tensors: a state dictionary, as `read_tensors` gives it; nested ones have dotted names.
        hidden: name of W, shape `(neurons, inputs)`.
        output: name of V, shape `(outputs, neurons)`.
        bias: name of b, shape `(neurons,)`.
        axes: `"out-in"`, as above and in PyTorch; `"in-out"` for transposed W and V, as in Flax.
        scaling: the network sums over its neurons (`"sum"`), or takes their mean (`"mean"`); a
            measure takes the mean, so the output weights of a sum are multiplied by N.

    Raises:
        InvalidInput: a missing tensor, one of another shape (named), several types, or numbers that
            are no floats or not finite.

    Example:
        >>> state = {"fc1.weight": jnp.ones((4, 3)), "fc2.weight": jnp.full((1, 4), 0.5)}
        >>> mu = neurons_from(state, hidden="fc1.weight", output="fc2.weight")
        >>> mu.size, float(mu.particles.a[0, 0])
        (4, 2.0)
    """
    names = {"hidden": hidden, "output": output} | ({} if bias is None else {"bias": bias})
    found = picked(tensors, names)
    w, v = found["hidden"], found["output"]
    flax = axes == "in-out"
    require_shape(hidden, w, ("inputs", "neurons") if flax else ("neurons", "inputs"))
    w = w.T if flax else w
    size = w.shape[0]
    require_shape(output, v, (size, "outputs") if flax else ("outputs", size))
    a = jnp.asarray(v if flax else v.T) * (size if scaling == "sum" else 1)
    w = jnp.asarray(w)
    if bias is not None:
        require_shape(bias, found["bias"], (size,))
        w = jnp.concatenate([w, jnp.asarray(found["bias"])[:, None]], axis=1)
    return Ensemble(Neuron(a, w))
