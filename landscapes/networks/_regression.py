"""Two-layer regression in the mean-field limit: the plain landscape of CB18."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from particles import Ensemble

from .._warnings import StartWarning
from ._activations import Activation, activation_from
from ._fresh import GaussianRegressionBatch
from ._hermite import hermite_expansion
from ._modes import HermiteModes
from ._neurons import NeuronLandscape
from ._samples import checked_samples
from ._truncation import truncation_concerns


class RegressionLandscape(NeuronLandscape):
    """L(μ) = ½ E‖f(x) − h_μ(x)‖², h_μ(x) = ∫ a σ(wᵀx) dμ(a, w) (CB18).

    The risk is convex in the moments, so the first variation certifies global optimality.

    Args:
        x: inputs, shape `(samples, inputs)`; or `HermiteModes`, for all Gaussian inputs.
        f: targets, shape `(samples, outputs)`.
        activation: a name or an elementwise callable.

    Raises:
        InvalidInput: shapes disagree, or numbers are not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron
        >>> from particles import Ensemble
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.array([[1.0]]), w=jnp.array([[1.0]])))
        >>> float(landscape.value(mu))
        0.5
    """

    x: Float[Array, "samples inputs"] | HermiteModes
    f: Float[Array, "samples outputs"]
    activation: Activation = eqx.field(static=True)
    convex: ClassVar[bool] = True

    def __init__(
        self, x: ArrayLike | HermiteModes, f: ArrayLike, activation: str | Activation = "tanh"
    ):
        self.x, self.f = checked_samples(x, f)
        self.activation = activation_from(activation)
        if isinstance(self.x, HermiteModes):
            hermite_expansion(self.activation)  # refuses one that has none

    def risk(self, moments: Array, fast: None = None) -> Float[Array, ""]:
        """Half the mean squared residual."""
        return 0.5 * jnp.mean(jnp.sum((self.f - moments) ** 2, axis=1))

    def minibatch(self, key: Key[Array, ""], size: int) -> NeuronLandscape:
        """The regression on `size` samples, drawn with replacement; with modes, on fresh ones."""
        if isinstance(self.x, HermiteModes):
            z = jax.random.normal(key, (size, self.x.shape[1]), self.f.dtype)
            rows = self.x.polynomials(z)
            return GaussianRegressionBatch(
                x=self.x, f=self.f, rows=rows, activation=self.activation
            )
        rows = jax.random.randint(key, (size,), 0, self.x.shape[0])
        return self.replace(x=self.x[rows], f=self.f[rows])

    def concerns(self, ensemble: Ensemble) -> list[StartWarning]:
        """Modes of too low a degree."""
        return truncation_concerns(self, ensemble)
