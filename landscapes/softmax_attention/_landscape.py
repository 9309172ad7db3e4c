"""The softmax attention landscape: one layer of attention heads on prompts of features (HCL23)."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from particles import Ensemble, InvalidInput, Points, gaussian
from particles.internal import require_finite, to_device

from .._base import Landscape
from .._observables import Observable
from ._prompts import Numbers, checked_length, checked_probabilities, draw_counts, every_prompt


class HeadMoments(NamedTuple):
    """Moments of a measure over attention heads.

    Args:
        attention: a[k, s, m], attention that query k pays to feature m in prompt s, mean over
            heads; shape `(features, prompts, features)`.
        logits: mean logits, shape `(features, features)`; the risk does not depend on them.
    """

    attention: Array
    logits: Array


class SoftmaxAttentionLandscape(Landscape):
    """In-context loss of one layer of softmax attention on prompts of K features (HCL23).

    Each of n tokens and the query is feature v_k (orthonormal) with probability p_k, its label
    y = ⟨w, x⟩ with w ~ N(0, I), and ŷ = Σ_i softmax_i(x_iᵀ Q x_q) y_i. A particle is one head's
    logits Q_km = v_mᵀ Q v_k, shape `(features, features)`: the query k in rows, the token m in
    columns. With counts n_m of a prompt's tokens, a_km = n_m e^{Q_km} / Σ_l n_l e^{Q_kl} and

        R(a) = Σ_k p_k L_k,   L_k = ½ E[(1 − a_kk)² + Σ_{m≠k} a_km²],

    a the mean over heads. One head is HCL23's model, started at Q = 0 (`softmax_head_start`). The
    softmax does not see a constant added to a row, so the flow conserves every row's sum:
    A_k + Σ_m B_km is constant, with A_k = Q_kk and B_km = Q_km. (theory.md, section 6)

    Args:
        probabilities: p_k of the features; shape `(features,)`.
        counts: token counts of the prompts, or any multiple of them; shape `(prompts, features)`.
        weights: probabilities of the prompts; equal by default.
        length: prompt length n that `minibatch` draws; infinite for the large-prompt limit.

    Raises:
        InvalidInput: probabilities or weights that are negative or do not sum to one, counts that
            do not fit them, are negative or leave a prompt empty, a length below one.

    Example:
        >>> import jax.numpy as jnp
        >>> landscape = SoftmaxAttentionLandscape([0.5, 0.5], counts=[[1.0, 1.0]])
        >>> float(landscape.value(Ensemble(jnp.zeros((1, 2, 2)))))  # uniform attention
        0.25
        >>> sharp = Ensemble(jnp.array([[[9.0, -9.0], [-9.0, 9.0]]]))
        >>> float(landscape.value(sharp)) < 1e-12
        True
    """

    probabilities: Float[Array, " features"]
    counts: Float[Array, "prompts features"]
    weights: Float[Array, " prompts"]
    length: float = eqx.field(static=True)
    convex: ClassVar[bool] = True

    def __init__(
        self,
        probabilities: Numbers,
        counts: Numbers,
        weights: Numbers | None = None,
        *,
        length: float = math.inf,
    ):
        p, n = checked_probabilities(probabilities), np.asarray(counts, float)
        if n.ndim != 2 or n.shape[1] != p.size or n.shape[0] < 1:
            raise InvalidInput(
                f"counts has shape {n.shape}; it must be (prompts, {p.size}), one column for each "
                "feature."
            )
        require_finite("counts", n)
        if n.min() < 0 or not n.sum(axis=1).min() > 0:
            raise InvalidInput(
                f"counts has a smallest entry {n.min():.3g} and a smallest prompt of "
                f"{n.sum(axis=1).min():.3g} tokens; counts are not negative, no prompt is empty."
            )
        w = np.full(len(n), 1 / len(n)) if weights is None else np.asarray(weights, float)
        if w.shape != n.shape[:1] or not (np.all(w >= 0) and abs(w.sum() - 1) <= 1e-5):
            raise InvalidInput(
                f"weights has shape {w.shape} and sum {w.sum():.6g}; it must be {n.shape[:1]}, "
                "probabilities that are not negative and sum to one."
            )
        self.probabilities, self.counts = to_device(p), to_device(n)
        self.weights, self.length = to_device(w / w.sum()), checked_length(length)

    @classmethod
    def of_length(
        cls,
        probabilities: Numbers,
        length: float = math.inf,
        *,
        prompts: int | None = None,
        key: Key[Array, ""] | None = None,
    ) -> SoftmaxAttentionLandscape:
        """The landscape with the expectation over prompts of one's choice (HCL23).

        The large-prompt limit (`length=math.inf`: counts become n·p), a mean over sampled prompts
        that stay the same along the run (`prompts` and `key`), or the exact expectation by
        enumeration.

        Args:
            probabilities: p_k of the features; see `feature_probabilities`.
            length: prompt length n.
            prompts: how many to sample; `None` for the exact expectation.
            key: draws them.

        Raises:
            InvalidInput: bad probabilities or length, `prompts` without `key` or below one, or too
                many distinct prompts to enumerate.

        Example:
            >>> import jax
            >>> exact = SoftmaxAttentionLandscape.of_length([0.5, 0.3, 0.2], length=4)
            >>> exact.counts.shape
            (15, 3)
            >>> key = jax.random.key(0)
            >>> SoftmaxAttentionLandscape.of_length(
            ...     [0.5, 0.5], 200, prompts=64, key=key
            ... ).counts.shape
            (64, 2)
        """
        p, length = checked_probabilities(probabilities), checked_length(length)
        if length == math.inf:
            return cls(p, p[None])
        if prompts is None:
            counts, chances = every_prompt(p, int(length))
            return cls(p, counts, chances, length=length)
        if prompts < 1 or key is None:
            raise InvalidInput(
                f"prompts is {prompts} and key is {key}; sampling needs at least one prompt and a "
                "key."
            )
        counts = draw_counts(key, to_device(p), int(length), prompts)
        return cls(p, counts, length=length)

    @property
    def particle(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of one head's logits."""
        features = self.counts.shape[1]
        return jax.ShapeDtypeStruct((features, features), self.counts.dtype)

    def features(self, particle: Float[Array, "features features"]) -> HeadMoments:
        """Φ(Q) = (a, Q)."""
        attention = jax.nn.softmax(particle[:, None, :] + jnp.log(self.counts), axis=-1)
        return HeadMoments(attention, particle)

    def feature_sum(
        self, particles: Float[Array, "heads features features"], weights: Float[Array, " heads"]
    ) -> HeadMoments:
        """The same sum as matrix products of exponentials and counts."""
        rise, total = self._exponentials(particles)
        share = weights[:, None] / total
        attention = jnp.einsum("kis,ikm->ksm", share, rise) * self.counts
        return HeadMoments(attention, jnp.tensordot(weights, particles, 1))

    def pairing(
        self, particles: Float[Array, "heads features features"], dual: HeadMoments
    ) -> Float[Array, " heads"]:
        """⟨dual, Φ(Q_i)⟩ of every head."""
        rise, total = self._exponentials(particles)
        pulled = jnp.einsum("ikm,ksm->kis", rise, dual.attention * self.counts)
        paired = jnp.sum(pulled / total, axis=(0, 2))
        return paired + jnp.einsum("ikm,km->i", particles, dual.logits)

    def particle_bytes(self, particle: PyTree) -> int:
        """Memory of one head's sums over tokens, in both passes."""
        return 4 * self.counts.size * self.counts.dtype.itemsize

    def risk(self, moments: HeadMoments, fast: None = None) -> Float[Array, ""]:
        """Σ_k p_k L_k, a sum of squares."""
        return self.probabilities @ self.query_losses(moments)

    def query_losses(self, moments: HeadMoments) -> Float[Array, " features"]:
        """L_k, the loss of prompts whose query is feature k."""
        target = jnp.eye(self.counts.shape[1], dtype=moments.attention.dtype)[:, None, :]
        return 0.5 * jnp.sum((moments.attention - target) ** 2, axis=-1) @ self.weights

    def observables(self, moments: HeadMoments) -> dict[str, Observable]:
        """`A`, `B` (zero where m = k), `query_loss`, and the mean `attention` over prompts."""
        own = jnp.diagonal(moments.logits)
        attention = jnp.einsum("ksm,s->km", moments.attention, self.weights)
        return {
            "A": Observable(own, ("query",)),
            "B": Observable(moments.logits - jnp.diag(own), ("query", "token")),
            "query_loss": Observable(self.query_losses(moments), ("query",)),
            "attention": Observable(attention, ("query", "token")),
        }

    def minibatch(self, key: Key[Array, ""], size: int) -> SoftmaxAttentionBatch:
        """`size` fresh prompts, each with its own query and its own task w."""
        if size < 1:
            raise InvalidInput(f"batch_size is {size}; it must be a positive number of prompts.")
        key_counts, key_queries, key_tasks = jax.random.split(key, 3)
        dtype, features = self.counts.dtype, self.counts.shape[1]
        counts = jnp.broadcast_to(self.probabilities, (size, features))
        if self.length != math.inf:
            counts = draw_counts(key_counts, self.probabilities, int(self.length), size)
        queries = jax.random.choice(key_queries, features, (size,), p=self.probabilities)
        tasks = jax.random.normal(key_tasks, (size, features), dtype)
        return SoftmaxAttentionBatch(counts, queries, tasks)

    def _exponentials(self, particles: Array) -> tuple[Array, Array]:
        """e^Q `(heads, features, features)` and its sums over tokens `(features, heads, prompts)`.

        Rows are shifted by their largest logit, which cancels in every ratio. The logits of a row
        may spread over 40 in float32 and 350 in float64, far beyond what training reaches.
        """
        top = jax.lax.stop_gradient(jnp.max(particles, axis=-1, keepdims=True))
        rise = jnp.exp(particles - top)
        return rise, jnp.einsum("ikm,sm->kis", rise, self.counts)


class SoftmaxAttentionBatch(Landscape):
    """½ mean (y_q − ŷ)² over drawn prompts, queries and tasks; moments are the drawn queries' rows.

    Args:
        counts: token counts, shape `(prompts, features)`.
        queries: the query of each prompt.
        tasks: w of each prompt in the basis of the features, shape `(prompts, features)`.
    """

    counts: Float[Array, "prompts features"]
    queries: Int[Array, " prompts"]
    tasks: Float[Array, "prompts features"]

    def features(self, particle: Array) -> Float[Array, "prompts features"]:
        """Attention of each prompt's own query to every feature."""
        return jax.nn.softmax(particle[self.queries] + jnp.log(self.counts), axis=-1)

    def risk(self, moments: Array, fast: None = None) -> Float[Array, ""]:
        """Half the mean squared error of the predicted labels."""
        target = jax.nn.one_hot(self.queries, self.counts.shape[1], dtype=moments.dtype)
        return 0.5 * jnp.mean(jnp.sum((target - moments) * self.tasks, axis=1) ** 2)


def softmax_head_start(
    key: Key[Array, ""],
    landscape: SoftmaxAttentionLandscape,
    size: int = 1,
    *,
    scale: float = 0.0,
    points: Points = "random",
) -> Ensemble:
    """Heads with normal logits of standard deviation `scale`; HCL23's start Q = 0 at zero.

    Heads that start equal stay equal and act as one. Attention is bounded, so every scale has an
    N → ∞ limit.

    Args:
        key: random key.
        landscape: gives the shapes.
        size: number of heads N.
        scale: standard deviation of the logits.
        points: how heads are drawn, as in `particles.gaussian`.

    Raises:
        InvalidInput: `size` is below one, or does not suit `points`.

    Example:
        >>> import jax
        >>> landscape = SoftmaxAttentionLandscape.of_length([0.5, 0.5])
        >>> softmax_head_start(jax.random.key(0), landscape).particles.tolist()
        [[[0.0, 0.0], [0.0, 0.0]]]
    """
    return gaussian(key, size, landscape.particle, scale=scale, points=points)
