"""Does it learn in context? Predictions from prompts, and their error against prompt length."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from particles import Ensemble, InvalidInput
from particles.internal import compiled_once

from .._precisely import compiled_precisely
from ..networks import HermiteModes
from ._landscape import MLPAttentionLandscape


class InContextError(NamedTuple):
    """In-context error against prompt length, measured and as theory expects it.

    Args:
        lengths: prompt lengths n.
        measured: ½ E(y − ŷ)² over the sampled prompts.
        standard_error: of `measured`.
        expected: the exact expectation over prompts (theory.md, section 2).
        zero: ½ E y², the error of predicting zero: what a model that learned nothing does.
    """

    lengths: np.ndarray
    measured: np.ndarray
    standard_error: np.ndarray
    expected: np.ndarray
    zero: float

    @property
    def deviation(self) -> np.ndarray:
        """(measured − expected) in units of the standard error."""
        return (self.measured - self.expected) / self.standard_error


@compiled_precisely
def predict_in_context(
    landscape: MLPAttentionLandscape,
    ensemble: Ensemble,
    prompt_x: Float[Array, "length inputs"],
    prompt_y: Float[Array, " length"],
    query: Float[Array, " inputs"],
    fast: Float[Array, "outputs outputs"] | None = None,
) -> Float[Array, ""]:
    """ŷ = (1/n) Σ_i y_i h_μ(x_i)ᵀ W h_μ(x_q) for one prompt of any length; `vmap` for many.

    Args:
        landscape: gives the activation, and W at its equilibrium when `fast` is `None`.
        ensemble: the trained measure μ.
        prompt_x: inputs of the examples.
        prompt_y: their labels.
        query: the input to predict.
        fast: an attention matrix W of one's own.

    Raises:
        InvalidInput: the prompt is empty.

    Example:
        >>> from landscapes import Neuron
        >>> landscape = MLPAttentionLandscape(x=jnp.eye(2), f=jnp.eye(2))
        >>> mu = Ensemble(Neuron(a=2 * jnp.eye(2), w=jnp.eye(2)))
        >>> prompt = jnp.eye(2), jnp.array([1.0, 0.0])  # the task v = (1, 0), every input once
        >>> round(float(predict_in_context(landscape, mu, *prompt, jnp.array([1.0, 0.0]))), 5)
        1.0
    """
    if prompt_x.shape[0] == 0:
        raise InvalidInput("prompt_x has length 0; a prompt needs at least one example.")
    weights = landscape.solve_fast(landscape.moments(ensemble)) if fast is None else fast
    read = prompt_y @ landscape.output(ensemble, prompt_x) / prompt_x.shape[0]
    return read @ weights @ landscape.output(ensemble, query[None])[0]


def in_context_error(
    key: Key[Array, ""],
    landscape: MLPAttentionLandscape,
    ensemble: Ensemble,
    lengths: Sequence[int],
    *,
    prompts: int = 2048,
    test: MLPAttentionLandscape | None = None,
    fast: Float[Array, "outputs outputs"] | None = None,
) -> InContextError:
    """Error on fresh prompts of each length: fresh tasks v, fresh examples, a fresh query.

    Args:
        key: draws tasks and prompts.
        landscape: the one the ensemble was trained on; gives W when `fast` is `None`.
        ensemble: the measure to test.
        lengths: prompt lengths n.
        prompts: prompts for each length.
        test: holds the points prompts are drawn from, uniformly; the training samples by default.
            Use a landscape on fresh samples to test generalisation.
        fast: an attention matrix W of one's own.

    Raises:
        InvalidInput: a length or `prompts` is below its minimum, or `test` has other dimensions.

    Example:
        >>> from landscapes import Neuron
        >>> landscape = MLPAttentionLandscape(x=jnp.eye(2), f=jnp.eye(2))
        >>> mu = Ensemble(Neuron(a=2 * jnp.eye(2), w=jnp.eye(2)))
        >>> found = in_context_error(jax.random.key(0), landscape, mu, [1, 64], prompts=64)
        >>> bool(found.expected[1] < found.expected[0])  # longer prompts tell more
        True
    """
    if len(lengths) == 0 or min(lengths) < 1 or prompts < 2:
        raise InvalidInput(
            f"lengths is {list(lengths)} and prompts is {prompts}; lengths must be at least 1 and "
            "prompts at least 2."
        )
    test = landscape if test is None else test
    if isinstance(test.x, HermiteModes):
        raise InvalidInput("test has Hermite modes and no points to make prompts of; give samples.")
    if (test.x.shape[1], test.f.shape[1]) != (landscape.x.shape[1], landscape.f.shape[1]):
        raise InvalidInput(
            f"test has {test.x.shape[1]} inputs and {test.f.shape[1]} outputs; the landscape has "
            f"{landscape.x.shape[1]} and {landscape.f.shape[1]}."
        )
    weights = _equilibrium(landscape, ensemble) if fast is None else fast
    outputs = test.moments(ensemble)
    measured, errors, expected = [], [], []
    for index, length in enumerate(lengths):
        key_length = jax.random.fold_in(key, index)
        n = jnp.asarray(length, outputs.dtype)  # traced: one compilation serves all lengths
        drawn = _prompt_losses(key_length, test.f, outputs, weights, n, max(lengths), prompts)
        losses = np.asarray(drawn)
        measured.append(float(np.mean(losses)))
        errors.append(float(np.std(losses, ddof=1)) / prompts**0.5)
        expected.append(float(_expected(test, outputs, weights, n)))
    zero = 0.5 * float(np.sum(np.asarray(test.f, float) ** 2)) / len(test.f)
    columns = (np.asarray(column) for column in (lengths, measured, errors, expected))
    return InContextError(*columns, zero=zero)


@functools.partial(compiled_once, jit=eqx.filter_jit)
def _equilibrium(
    landscape: MLPAttentionLandscape, ensemble: Ensemble
) -> Float[Array, "outputs outputs"]:
    return landscape.solve_fast(landscape.moments(ensemble))


@functools.partial(compiled_once, static_argnums=(5, 6))
def _prompt_losses(
    key: Array,
    f: Array,
    outputs: Array,
    weights: Array,
    length: Float[Array, ""],
    longest: int,
    prompts: int,
) -> Float[Array, " prompts"]:
    """½ (y − ŷ)² of independent prompts, a few at a time in memory; examples past n count zero."""
    samples, features = f.shape

    def one(key: Array) -> Array:
        key_task, key_rows, key_query = jax.random.split(key, 3)
        task = jax.random.normal(key_task, (features,), f.dtype)
        rows = jax.random.randint(key_rows, (longest,), 0, samples)
        query = jax.random.randint(key_query, (), 0, samples)
        labels = jnp.where(jnp.arange(longest) < length, f[rows] @ task, 0)
        read = labels @ outputs[rows] / length
        return 0.5 * (f[query] @ task - read @ weights @ outputs[query]) ** 2

    return jax.lax.map(one, jax.random.split(key, prompts), batch_size=64)


@functools.partial(compiled_once, jit=eqx.filter_jit)
def _expected(
    test: MLPAttentionLandscape, outputs: Array, weights: Array, length: Float[Array, ""]
) -> Float[Array, ""]:
    """The exact expectation: the risk on the test points at prompt length n, without the ridge."""
    return test.replace(ridge=0.0, inverse_context=1 / length).risk(outputs, weights)
