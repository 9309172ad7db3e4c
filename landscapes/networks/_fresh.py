"""Fresh Gaussian samples for the regression on modes: what stochastic gradient descent sees."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._activations import Activation
from ._modes import HermiteModes
from ._neurons import NeuronLandscape


class GaussianRegressionBatch(NeuronLandscape):
    """½ mean‖f(x) − h_μ(x)‖² over fresh Gaussian samples, both as the modes hold them.

    Args:
        x: the modes.
        f: coefficients of the targets.
        rows: the polynomials at the samples, `HermiteModes.polynomials`.
        activation: of the landscape that the samples are drawn for.
    """

    x: Float[Array, "modes inputs"] | HermiteModes
    f: Float[Array, "modes outputs"]
    rows: Float[Array, "samples modes"]
    activation: Activation = eqx.field(static=True)
    convex: ClassVar[bool] = True

    def risk(self, moments: Array, fast: None = None) -> Float[Array, ""]:
        """Half the mean squared residual at the samples."""
        return 0.5 * jnp.mean(jnp.sum((self.rows @ (self.f - moments)) ** 2, axis=1))
