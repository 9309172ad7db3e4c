"""A network that was trained elsewhere, as an ensemble on a problem's landscape."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from landscapes import (
    Landscape,
    NeuronLandscape,
    RegressionLandscape,
    SeparateLinearAttentionLandscape,
    SoftmaxAttentionLandscape,
    bootstrap,
)
from landscapes.linear_attention import heads_from
from landscapes.networks import neurons_from
from landscapes.softmax_attention import softmax_heads_from
from particles import Ensemble, InvalidInput, read_tensors
from particles.internal import picked, require_shape

from ._options import Range
from ._problem import Problem


@dataclass(frozen=True)
class TensorMap:
    """Which tensors of a file of a network trained elsewhere are what.

    Example:
        >>> TensorMap(hidden="fc1.weight", output="fc2.weight").given
        ['hidden', 'output']
    """

    hidden: str = ""
    """Input weights of two-layer networks (neurons × inputs); nested names have dots."""
    bias: str = ""
    """Their biases (neurons); needs problem.bias."""
    output: str = ""
    """Their output weights (outputs × neurons)."""
    output_bias: str = ""
    """Bias of the outputs; held fixed: it is subtracted from the targets."""
    key: str = ""
    """Key projection of attention heads, stacked (heads·rank × inputs)."""
    query: str = ""
    """Their query projection (heads·rank × inputs)."""
    value: str = ""
    """What the heads of linear attention read out (heads)."""
    embedding: str = ""
    """Embeddings of the features of softmax attention (features × width); none for unit vectors."""
    heads: Annotated[int, Range(1, 10**6)] = 1
    """Number of heads that the projections of softmax attention stack."""
    axes: Literal["out-in", "in-out"] = "out-in"
    """Of weight matrices: out-in as in PyTorch, in-out as in Flax."""
    scaling: Literal["sum", "mean"] = "sum"
    """How the network adds up its neurons or heads."""

    @property
    def given(self) -> list[str]:
        """The options that are not at their defaults."""
        fields = dataclasses.fields(self)
        return [f.name for f in fields if getattr(self, f.name) != f.default]


class Parts(NamedTuple):
    """Options of a family's map.

    Args:
        needed: those that must be given.
        allowed: those that may be.
    """

    needed: Sequence[str]
    allowed: Sequence[str]


#: What each family's map says; the first class that fits counts.
FAMILIES: dict[type[Landscape], Parts] = {
    RegressionLandscape: Parts(("hidden", "output"), ("bias", "output_bias", "axes", "scaling")),
    NeuronLandscape: Parts(("hidden", "output"), ("bias", "axes", "scaling")),
    SeparateLinearAttentionLandscape: Parts(("key", "query", "value"), ("axes", "scaling")),
    SoftmaxAttentionLandscape: Parts(("key", "query"), ("embedding", "heads", "axes")),
}


def from_tensors(
    problem: Problem, path: str | os.PathLike, names: TensorMap
) -> tuple[Problem, Ensemble]:
    """The ensemble in a file of tensors, on the problem's landscape.

    Args:
        problem: neurons for `attention` and `regression`, heads for `linear-attention` (separate)
            and `softmax-attention`.
        path: a `.safetensors` or `.npz` file.
        names: which tensor is what.

    Returns:
        The problem, with the output bias subtracted from its targets if there is one, and the
        ensemble.

    Raises:
        InvalidInput: a problem without such a map, an option of the map that is missing or without
            effect, a missing tensor, or one that does not fit (named).
        OSError: the file cannot be read.

    Example:
        >>> import jax, numpy as np, tempfile, pathlib
        >>> from meanfield.problems import Regression
        >>> problem = Regression(dim=3, samples=16).build(jax.random.key(0))
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "model.npz"
        >>> np.savez(file, w=np.ones((5, 3)), v=np.ones((3, 5)))
        >>> from_tensors(problem, file, TensorMap(hidden="w", output="v"))[1].size
        5
    """
    landscape = problem.landscape
    parts = next((p for cls, p in FAMILIES.items() if isinstance(landscape, cls)), None)
    if parts is None:
        raise InvalidInput(
            f"map is given, but problem {problem.name!r} has none; store one array for each part "
            f"of a particle, under its name, with the particles along the first axis."
        )
    for part in names.given:
        if part not in (*parts.needed, *parts.allowed):
            raise InvalidInput(
                f"map.{part} is {getattr(names, part)!r}, but it does nothing for problem "
                f"{problem.name!r}; allowed there: {[*parts.needed, *parts.allowed]}."
            )
    for part in parts.needed:
        if not getattr(names, part):
            raise InvalidInput(f"map.{part} is empty; name the tensor of problem {problem.name!r}.")
    tensors = read_tensors(path)
    if names.output_bias:
        problem = _without_bias(problem, tensors, names.output_bias)
    options = {part: getattr(names, part) for part in names.given if part != "output_bias"}
    if isinstance(landscape, NeuronLandscape):
        ensemble = neurons_from(tensors, **options)
        _require_inputs(landscape, ensemble, names)
    elif isinstance(landscape, SeparateLinearAttentionLandscape):
        ensemble = heads_from(landscape, tensors, **options)
    else:
        assert isinstance(landscape, SoftmaxAttentionLandscape)
        ensemble = softmax_heads_from(landscape, tensors, **options)
    cast = lambda leaf, like: jnp.asarray(leaf, like.dtype)  # noqa: E731
    return problem, Ensemble(jax.tree.map(cast, ensemble.particles, landscape.particle))


def _require_inputs(landscape: NeuronLandscape, ensemble: Ensemble, names: TensorMap) -> None:
    """Sizes that only the samples know, by the name of the tensor."""
    (outputs,), (inputs,) = (leaf.shape for leaf in landscape.particle)
    found = ensemble.particles
    if found.w.shape[1] != inputs:
        own = found.w.shape[1] - bool(names.bias)
        hint = " (with problem.bias the last one is the constant)" if inputs - own in (0, 1) else ""
        raise InvalidInput(
            f"tensor {names.hidden!r} is of {own} inputs{' and a bias' if names.bias else ''}; the "
            f"samples have {inputs} coordinates{hint}."
        )
    if found.a.shape[1] != outputs:
        raise InvalidInput(
            f"tensor {names.output!r} is of {found.a.shape[1]} outputs; the targets have {outputs}."
        )


def _without_bias(problem: Problem, tensors: Mapping[str, np.ndarray], name: str) -> Problem:
    """The problem whose targets are what neurons must give beside a constant output."""
    landscape = problem.landscape
    assert isinstance(landscape, RegressionLandscape)
    if set(problem.redraws) - {"bootstrap"}:
        raise InvalidInput(
            f"map.output_bias is {name!r}, but the targets are drawn; give the data that the "
            "network was trained on (problem.data)."
        )
    bias = picked(tensors, {"output_bias": name})["output_bias"]
    require_shape(name, bias, (landscape.f.shape[1],))
    moved = landscape.replace(f=landscape.f - jnp.asarray(bias, landscape.f.dtype))
    return dataclasses.replace(problem, landscape=moved, redraws={"bootstrap": bootstrap(moved)})
