"""Fresh prompts for the attention landscape: what stochastic gradient descent sees of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key

from ..networks import Activation, HermiteModes, NeuronLandscape


class MLPAttentionBatch(NeuronLandscape):
    """½ (y_q − ŷ)² averaged over drawn prompts; its expectation is the attention landscape.

    Moments are the outputs h_μ at all samples, as in the landscape the prompts are drawn from, so
    that the fast variable W stands at the equilibrium of that landscape, not of the batch. The
    ridge acts as what it stands for: noise on the query's features. (theory.md, section 2; KS24)

    Args:
        x: inputs of the population.
        f: target features of the population.
        ridge: of the population.
        equilibrium: the population's `solve_fast`.
        shares: of the examples of each prompt, how large a part falls on each sample.
        queries: which sample each prompt asks about.
        tasks: the task vector v of each prompt.
        noise: on the features of each query, in units of the square root of the ridge.
    """

    x: Float[Array, "samples inputs"] | HermiteModes
    f: Float[Array, "samples outputs"]
    ridge: Float[Array, ""]
    equilibrium: Callable[[Array], Array]
    shares: Float[Array, "prompts samples"]
    queries: Int[Array, " prompts"]
    tasks: Float[Array, "prompts outputs"]
    noise: Float[Array, "prompts outputs"]
    activation: Activation = eqx.field(static=True)

    def risk(
        self, moments: Float[Array, "samples outputs"], fast: Array | None = None
    ) -> Float[Array, ""]:
        """Half the mean squared error over the prompts."""
        fast = self.solve_fast(moments) if fast is None else fast
        labels = self.shares * (self.tasks @ self.f.T)
        query = moments[self.queries] + jnp.sqrt(self.ridge) * self.noise
        predicted = jnp.sum((labels @ moments) @ fast * query, axis=1)
        wanted = jnp.sum(self.tasks * self.f[self.queries], axis=1)
        return 0.5 * jnp.mean((wanted - predicted) ** 2)

    def solve_fast(self, moments: Float[Array, "samples outputs"]) -> Array:
        """The equilibrium of the population, held fixed: by the envelope theorem no bias."""
        return lax.stop_gradient(self.equilibrium(moments))


class Prompts(NamedTuple):
    """What a batch draws; its fields are those of `MLPAttentionBatch`."""

    shares: Float[Array, "prompts samples"]
    queries: Int[Array, " prompts"]
    tasks: Float[Array, "prompts outputs"]
    noise: Float[Array, "prompts outputs"]


def draw_prompts(
    key: Key[Array, ""],
    f: Float[Array, "samples outputs"],
    inverse_context: Float[Array, ""] | None,
    size: int,
) -> Prompts:
    """Prompts with examples and queries drawn uniformly from the samples, tasks from N(0, I)."""
    samples, outputs = f.shape
    key_rows, key_queries, key_tasks, key_noise = jax.random.split(key, 4)
    inverse_context = jnp.zeros((), f.dtype) if inverse_context is None else inverse_context
    finite = inverse_context > 0
    length = jnp.where(finite, jnp.round(1 / inverse_context), 0).astype(int)

    # The prompt length is a traced number, so examples are drawn in a loop and only counted.
    def example(i: Array, counts: Array) -> Array:
        rows = jax.random.randint(jax.random.fold_in(key_rows, i), (size,), 0, samples)
        return counts.at[jnp.arange(size), rows].add(1)

    counts = lax.fori_loop(0, length, example, jnp.zeros((size, samples), f.dtype))
    return Prompts(
        shares=jnp.where(finite, counts * inverse_context, 1 / samples),
        queries=jax.random.randint(key_queries, (size,), 0, samples),
        tasks=jax.random.normal(key_tasks, (size, outputs), f.dtype),
        noise=jax.random.normal(key_noise, (size, outputs), f.dtype),
    )
