"""The attention landscape: an MLP layer followed by linear attention (KS24)."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, ArrayLike, Float, Key

from particles import Ensemble, InvalidInput
from particles.internal import compiled_once, to_device

from .._observables import Observable
from .._precisely import compiled_precisely
from .._spans import fractions_inside, orthonormal_features
from .._warnings import DependentFeaturesWarning, NoLimitWarning, SingularWarning, StartWarning
from ..networks import (
    Activation,
    HermiteModes,
    Neuron,
    NeuronLandscape,
    activation_from,
    canonical_form,
    checked_samples,
    draw_inputs,
    hermite_expansion,
    network_output,
    truncation_concerns,
)
from ._batch import MLPAttentionBatch, draw_prompts

Teacher = Ensemble | Array | Callable[[Array], Array]


#: Slope of L, relative to tr Σ°°, below which a start is a construction beside a critical point.
CRITICAL_SLOPE = 1e-2


class MLPAttentionLandscape(NeuronLandscape):
    """In-context loss of h_μ = ∫ a σ(wᵀ·) dμ read by one linear-attention layer W (KS24).

    Tasks are y = vᵀf°(x) with E[vvᵀ] = I; the prediction from a prompt of length n is
    ŷ = (1/n) Σ_i y_i h_μ(x_i)ᵀ W h_μ(x_q). With Σ°μ = E[f°h_μᵀ] and Σμμ = E[h_μh_μᵀ] over the
    samples, the exact expectation over prompts is

        R(h, W) = ½ E‖f° − Σ°μ W h‖² + ½ρ ‖Σ°μ W‖² + (1/2n) tr(W (Σμμ + ρI) Wᵀ D),
        D = E[‖f°‖² h hᵀ] − Σμ°Σ°μ.

    The attention matrix W is the fast variable. Its equilibrium is (Σμμ + ρI)⁻¹ for infinite
    prompts, and L(μ) = ½ tr(Σ°° − Σ°μ (Σμμ + ρI)⁻¹ Σμ°) in that limit: the ridge ρ acts as
    independent noise of variance ρ on the query's features. (theory.md, section 2)

    Without a ridge Σμμ must be invertible: fewer than k neurons (N = 1 for k ≥ 2) give NaN or a
    meaningless number, and zero-mean output weights no limit as N → ∞; `concerns` says so.

    Args:
        x: inputs, shape `(samples, inputs)`; or `HermiteModes`, for all Gaussian inputs.
        f: target features f° at the inputs, shape `(samples, outputs)`.
        activation: a name in `landscapes.networks.ACTIVATIONS`, or an elementwise callable.
        ridge: ρ ≥ 0.
        context_length: prompt length n ≥ 1; infinite by default.

    Raises:
        InvalidInput: shapes disagree, numbers are not finite, more target features than samples,
            negative ridge, a prompt length below one, or a finite one on Hermite modes.

    Example:
        >>> import jax.numpy as jnp
        >>> landscape = MLPAttentionLandscape(x=jnp.eye(2), f=jnp.eye(2))
        >>> mu = Ensemble(Neuron(a=2 * jnp.eye(2), w=jnp.eye(2)))
        >>> round(float(landscape.value(mu)), 12)  # h_μ spans the targets: global minimum
        0.0
    """

    x: Float[Array, "samples inputs"] | HermiteModes
    f: Float[Array, "samples outputs"]
    ridge: Float[Array, ""]
    inverse_context: Float[Array, ""] | None
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        x: ArrayLike | HermiteModes,
        f: ArrayLike,
        activation: str | Activation = "tanh",
        *,
        ridge: float = 0.0,
        context_length: float = math.inf,
    ):
        self.x, self.f = checked_samples(x, f)
        samples, outputs = self.f.shape
        if outputs > samples:
            raise InvalidInput(
                f"f has k = {outputs} target features but only M = {samples} samples, which can "
                f"support at most {samples}: give more samples or fewer features."
            )
        if not context_length >= 1:
            raise InvalidInput(f"context_length is {context_length}; it must be at least 1.")
        rank = canonical_form(self.f)[0].shape[1]
        if rank < outputs:
            warnings.warn(
                f"f has k = {outputs} target features of which only {rank} are linearly "
                "independent, so Σ°° is singular; canonical_form(f) gives an equivalent set of "
                f"{rank}.",
                DependentFeaturesWarning,
                stacklevel=4,
            )
        self.ridge = to_device(ridge, self.x.dtype)
        # Infinite prompts leave terms out of every program, not only out of the sums.
        infinite = math.isinf(context_length)
        self.inverse_context = None if infinite else to_device(1.0 / context_length, self.x.dtype)
        self.activation = activation_from(activation)
        if isinstance(self.x, HermiteModes):
            hermite_expansion(self.activation)  # refuses one that has none
        self.require_valid()

    @classmethod
    def from_teacher(
        cls,
        key: Key[Array, ""],
        teacher: Teacher,
        *,
        samples: int,
        dim: int,
        activation: str | Activation = "tanh",
        spectrum: Sequence[float] | None = None,
        distribution: str | Callable[..., Array] = "normal",
        symmetric: Sequence[int] = (),
        ridge: float = 0.0,
        context_length: float = math.inf,
    ) -> MLPAttentionLandscape:
        """The landscape on drawn samples with a teacher's features (KS24).

        Args:
            key: draws the inputs.
            teacher: a measure over neurons, a callable of one input, or an array of features.
            samples: number of inputs M.
            dim: input dimension d.
            activation: of the model, and of a teacher given as a measure.
            spectrum: eigenvalues of Σ°° to enforce (canonical form); `None` leaves the features.
            distribution: of the inputs, a name or a callable of (key, shape, dtype).
            symmetric: input coordinates whose sign flips the samples respect.
            ridge: ρ ≥ 0.
            context_length: prompt length n.

        Raises:
            InvalidInput: see `MLPAttentionLandscape`, `draw_inputs`, `canonical_form`, `teach`.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> landscape = MLPAttentionLandscape.from_teacher(
            ...     jax.random.key(0),
            ...     lambda x: jnp.tanh(x[:2]),
            ...     samples=64,
            ...     dim=3,
            ...     spectrum=[1.0, 0.5],
            ... )
            >>> jnp.diag(landscape.target_moment).round(6).tolist()
            [1.0, 0.5]
        """
        x = draw_inputs(key, samples, dim, distribution, symmetric=symmetric)
        f = teach(teacher, x, activation)
        if spectrum is not None:
            f, _ = canonical_form(f, spectrum)
        return cls(x, f, activation, ridge=ridge, context_length=context_length)

    def require_valid(self) -> None:
        """Refuse samples that do not go together, a negative ridge, prompts below length one."""
        super().require_valid()
        ridge, inverse = self.ridge, self.inverse_context
        if not (isinstance(ridge, Tracer) or 0 <= float(ridge) < math.inf):
            raise InvalidInput(f"ridge is {ridge}; it must be finite and not negative.")
        if inverse is None or isinstance(inverse, Tracer):
            return
        if not 0 <= float(inverse) <= 1:
            raise InvalidInput(f"inverse_context is {inverse}; it must lie between 0 and 1.")
        if isinstance(self.x, HermiteModes) and inverse > 0:
            raise InvalidInput(
                f"context_length is {1 / float(inverse):g}, but x is Hermite modes, which know the "
                "limit of infinite prompts alone; leave it out, or give samples."
            )

    def replace(self, **fields: Any) -> MLPAttentionLandscape:
        """As of any landscape; prompts that were infinite can become finite."""
        finite = self
        if self.inverse_context is None and "inverse_context" in fields:
            zero = to_device(0.0, self.x.dtype)
            finite = eqx.tree_at(lambda one: one.inverse_context, self, zero, is_leaf=_is_none)
        return cast(MLPAttentionLandscape, NeuronLandscape.replace(finite, **fields))

    @property
    def exact_saddles(self) -> bool:
        """Whether theory knows the saddles: without ridge, for infinite prompts."""
        return float(self.ridge) == 0 and not float(self.inverse_context or 0.0)

    @property
    @jax.default_matmul_precision("highest")
    def target_moment(self) -> Float[Array, "outputs outputs"]:
        """Σ°° = E[f°f°ᵀ]."""
        return self.f.T @ self.f / self.f.shape[0]

    def statistics(self, moments: Array) -> tuple[Array, Array, Array]:
        """Σ°μ, Σμμ + ρI and D of the outputs h_μ at the samples, each `(outputs, outputs)`."""
        samples, outputs = self.f.shape
        cross = self.f.T @ moments / samples
        gram = moments.T @ moments / samples + self.ridge * jnp.eye(outputs, dtype=moments.dtype)
        energy = jnp.sum(self.f**2, axis=1, keepdims=True)
        spread = moments.T @ (energy * moments) / samples - cross.T @ cross
        return cross, gram, spread

    def risk(
        self, moments: Float[Array, "samples outputs"], fast: Array | None = None
    ) -> Float[Array, ""]:
        """R(h, W); a sum of squares, so it is accurate near the minimum in float32 too."""
        fast = self.solve_fast(moments) if fast is None else fast
        cross, gram, spread = self.statistics(moments)
        read = cross @ fast
        residual = jnp.mean(jnp.sum((self.f - moments @ read.T) ** 2, axis=1))
        limit = 0.5 * (residual + self.ridge * jnp.sum(read**2))
        if self.inverse_context is None:
            return limit
        return limit + 0.5 * self.inverse_context * jnp.sum((fast @ gram) * (spread @ fast))

    def solve_fast(
        self, moments: Float[Array, "samples outputs"]
    ) -> Float[Array, "outputs outputs"]:
        """The minimising W = (Σμ°Σ°μ + D/n)⁻¹ Σμ°Σ°μ (Σμμ + ρI)⁻¹."""
        cross, gram, spread = self.statistics(moments)
        inverse = inverse_of(gram)
        if self.inverse_context is None:
            return inverse
        # At infinite n the first two factors cancel even where Σ°μ is singular (every saddle).
        finite, identity = self.inverse_context > 0, jnp.eye(gram.shape[0], dtype=gram.dtype)
        task = cross.T @ cross
        left = jnp.where(finite, task + self.inverse_context * spread, identity)
        return inverse_of(left) @ jnp.where(finite, task, identity) @ inverse

    def observables(self, moments: Float[Array, "samples outputs"]) -> dict[str, Observable]:
        """`learned_fraction`: ‖P_U e_j‖² of every eigen-feature, 0 for missing, 1 for learned."""
        _, features = orthonormal_features(self.f)
        fractions = fractions_inside(features, moments, self.ridge)
        return {"learned_fraction": Observable(fractions, ("feature",))}

    def minibatch(self, key: Key[Array, ""], size: int) -> MLPAttentionBatch:
        """`size` fresh prompts of n examples and a query, drawn from the samples.

        Raises:
            InvalidInput: there are no samples, but Hermite modes.
        """
        if isinstance(self.x, HermiteModes):
            raise InvalidInput(
                f"batch is {size}, but x is Hermite modes, from which no prompts are drawn; use "
                "samples, or the flow without batches."
            )
        drawn = draw_prompts(key, self.f, self.inverse_context, size)
        return MLPAttentionBatch(
            x=self.x,
            f=self.f,
            ridge=self.ridge,
            equilibrium=self.solve_fast,
            activation=self.activation,
            **drawn._asdict(),
        )

    def concerns(self, ensemble: Ensemble) -> list[StartWarning]:
        """Modes of too low a degree; at ρ = 0 too few neurons, and outputs that are zero by chance.

        Constructions beside a critical point (`saddle_ensemble`, displaced or not) are no draws: a
        draw of zero mean output spans random directions, where the slope of L is of the order of L.
        """
        outputs, ridge = self.f.shape[1], float(self.ridge)
        if ridge == 0 and ensemble.size < outputs:
            message = (
                f"N = {ensemble.size} neurons span fewer than k = {outputs} output directions, so "
                "Σμμ is singular and L is not defined at ridge 0; give more neurons or a ridge."
            )
            return [SingularWarning(message)]
        missed = truncation_concerns(self, ensemble)
        if ridge > 0:
            return missed
        signal = output_signal(self, ensemble)
        if signal >= 2 or float(_relative_slope(self, self.moments(ensemble))) < CRITICAL_SLOPE:
            return missed
        message = (
            "the start's outputs h_μ are not distinguishable from zero (signal-to-noise "
            f"{signal:.2g} at N = {ensemble.size}) and ridge is 0, so L has no limit as N → ∞ and "
            "depends on the draw alone; give the start a non-zero output mean of rank k "
            "(neuron_start) or a ridge."
        )
        return [*missed, NoLimitWarning(message)]


def _is_none(leaf: object) -> bool:
    return leaf is None


@jax.custom_jvp
def inverse_of(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """A⁻¹ of a symmetric positive matrix, with d(A⁻¹) = −A⁻¹ dA A⁻¹: few products to compile."""
    return cho_solve(cho_factor(matrix), jnp.eye(matrix.shape[0], dtype=matrix.dtype))


@inverse_of.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    found = inverse_of(*primals)
    return found, -jnp.linalg.multi_dot([found, *tangents, found], precision="highest")


def output_signal(landscape: MLPAttentionLandscape, ensemble: Ensemble) -> float:
    """Smallest signal-to-noise ratio of h_μ over output directions.

    The signal is Σμμ; the noise is what i.i.d. particles of zero mean output would give,
    (1/N)(E_μ E_x[h_θh_θᵀ] − Σμμ). For a start with zero output mean the ratio stays below about
    one for every N, and λ_min(Σμμ) ∝ 1/N; otherwise it grows like N. (theory.md, section 2)

    Example:
        >>> import jax
        >>> from landscapes import neuron_start
        >>> landscape = MLPAttentionLandscape(x=jnp.eye(3), f=jnp.eye(3)[:, :2])
        >>> start = neuron_start(jax.random.key(0), landscape, 1000)
        >>> output_signal(landscape, start) > 10
        True
    """
    return float(_output_signal(landscape, ensemble))


@functools.partial(compiled_once, jit=eqx.filter_jit)
def _output_signal(landscape: MLPAttentionLandscape, ensemble: Ensemble) -> Float[Array, ""]:
    moments = landscape.moments(ensemble)
    gram = moments.T @ moments / moments.shape[0]
    weights = ensemble.probabilities

    def second_moment(neuron: Neuron) -> Array:
        energy = jnp.mean(landscape.hidden(neuron.w[None]) ** 2)
        return energy * jnp.outer(neuron.a, neuron.a)

    spread = ensemble.mean(second_moment, chunk=landscape.chunk(ensemble)) - gram
    noise = jnp.sum(weights**2) * spread
    scale = jnp.trace(gram) + jnp.trace(noise)
    floor = 10 * jnp.finfo(gram.dtype).eps * scale * jnp.eye(gram.shape[0], dtype=gram.dtype)
    root = jnp.linalg.inv(jnp.linalg.cholesky(noise + floor))
    return jnp.linalg.eigvalsh(root @ gram @ root.T)[0]


@compiled_precisely
def _relative_slope(landscape: MLPAttentionLandscape, moments: Array) -> Float[Array, ""]:
    """‖∇R‖ in L² over tr Σ°°, invariant under h → Bh as L is; zero at critical subspaces."""
    samples = moments.shape[0]
    dual = jax.grad(landscape.energy)(moments)
    root = jnp.linalg.cholesky(moments.T @ moments / samples)
    return jnp.linalg.norm(dual @ root) * samples**0.5 / jnp.trace(landscape.target_moment)


def teach(
    teacher: Teacher, x: Array | HermiteModes, activation: str | Activation = "tanh"
) -> Array:
    """Target features f°(x) of a teacher, of shape `(samples, outputs)`.

    Args:
        teacher: a measure μ° over neurons, a callable of one input, or the features themselves.
        x: inputs, shape `(samples, inputs)`; or modes, for a measure of neurons.
        activation: of the neurons of a measure.

    Raises:
        InvalidInput: the teacher does not give one row of features for each input.

    Example:
        >>> teach(lambda x: x[:1] ** 2, jnp.array([[2.0, 1.0], [3.0, 1.0]])).tolist()
        [[4.0], [9.0]]
    """
    if isinstance(teacher, Ensemble):
        inputs = teacher.particles.w.shape[1]
        if inputs != x.shape[1]:
            raise InvalidInput(
                f"teacher has neurons of {inputs} inputs, but x has {x.shape[1]} columns."
            )
        return network_output(teacher, x, activation_from(activation))
    if isinstance(x, HermiteModes):
        raise InvalidInput(
            "teacher is no measure of neurons, whose coefficients in Hermite modes are known; give "
            "one, or make the targets with `HermiteModes.targets`."
        )
    f = jax.vmap(teacher)(x) if callable(teacher) else jnp.asarray(teacher)
    if f.ndim != 2 or f.shape[0] != x.shape[0]:
        raise InvalidInput(
            f"teacher gives features of shape {f.shape}; it must give ({x.shape[0]}, outputs): "
            "one row of features for each input."
        )
    return f
