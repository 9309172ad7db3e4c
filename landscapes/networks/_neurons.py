"""What all landscapes of two-layer networks share: a particle is one hidden neuron."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from particles import Ensemble, InvalidInput
from particles.internal import chunk_for, stream_sum

from .._abstract import AbstractLandscape
from .._base import Landscape
from .._precisely import compiled_precisely
from ._activations import Activation
from ._modes import HermiteModes, hidden_layer


class Neuron(NamedTuple):
    """A particle θ = (a, w): the neuron x ↦ a σ(wᵀx).

    Ensembles hold one of stacked arrays; the same structure carries whatever belongs to a and w:
    shapes, scales, masks.

    Args:
        a: output weights, shape `(outputs,)`.
        w: input weights, shape `(inputs,)`.

    Example:
        >>> mask = Neuron(a=True, w=jnp.array([True, True, False]))  # for `restrict`
        >>> mask.a
        True
    """

    a: Any
    w: Any


class NeuronLandscape(Landscape):
    """Abstract base: moments are the network's outputs h_μ(x) = ∫ a σ(wᵀx) dμ at the samples.

    A concrete landscape declares the samples `x` and targets `f`, and writes the risk. With
    `HermiteModes` as `x`, rows of `f` and of the moments are coefficients in place of values.
    """

    x: eqx.AbstractVar[Float[Array, "samples inputs"] | HermiteModes]
    f: eqx.AbstractVar[Float[Array, "samples outputs"]]
    activation: eqx.AbstractVar[Activation]

    def require_valid(self) -> None:
        """Refuse inputs and targets of different numbers of samples."""
        if self.x.shape[0] != self.f.shape[0]:
            raise InvalidInput(
                f"x has {self.x.shape[0]} samples and f has {self.f.shape[0]}; they must agree."
            )

    @property
    def particle(self) -> Neuron:
        """Shapes and dtypes of one particle, for starts and for reading files."""
        outputs, inputs = self.f.shape[1], self.x.shape[1]
        dtype = self.x.dtype
        return Neuron(*(jax.ShapeDtypeStruct((size,), dtype) for size in (outputs, inputs)))

    def features(self, particle: Neuron) -> Float[Array, "samples outputs"]:
        """Φ(θ) = (a_j σ(wᵀx_m))_{m,j}."""
        return jnp.outer(self.hidden(particle.w[None])[0], particle.a)

    def hidden(self, w: Float[Array, "neurons inputs"]) -> Float[Array, "neurons samples"]:
        """σ(wᵀx) of every neuron at the samples, or in the modes."""
        return hidden_layer(self.x, w, self.activation)

    def feature_sum(
        self, particles: Neuron, weights: Float[Array, " particles"]
    ) -> Float[Array, "samples outputs"]:
        """The same sum as two matrix products and one activation pass."""
        return _network(particles, weights, self.x, self.activation)

    def pairing(
        self, particles: Neuron, dual: Float[Array, "samples outputs"]
    ) -> Float[Array, " particles"]:
        """⟨dual, Φ(θ_i)⟩ = Σ_m (a_i·dual_m) σ(w_iᵀx_m)."""
        # CPUs contract the last axis of the hidden layer several times faster than the first: here
        # (and in the gradient) that is the samples, in `_network` the particles.
        return jnp.sum(self.hidden(particles.w) * (particles.a @ dual.T), axis=1)

    def particle_bytes(self, particle: Neuron) -> int:
        """Memory of one neuron's values at the samples, in both passes."""
        return _hidden_bytes(self.x)

    def output(
        self, ensemble: Ensemble, x: Float[Array, "points inputs"], *, chunk: int | None = None
    ) -> Float[Array, "points outputs"]:
        """h_μ at points of the user's choice."""
        return network_output(ensemble, x, self.activation, chunk=chunk)


def samples_of(landscape: AbstractLandscape) -> tuple[Array, Array] | None:
    """Inputs and targets of the network within a landscape; `None` where it has no samples.

    Example:
        >>> from landscapes import RegressionLandscape
        >>> from landscapes.networks import HermiteModes
        >>> x, f = samples_of(RegressionLandscape(jnp.ones((4, 2)), jnp.ones((4, 1))))
        >>> modes = HermiteModes(2, 1)
        >>> samples_of(RegressionLandscape(modes, jnp.ones((3, 1)), "erf")) is None
        True
    """
    network = landscape.unwrapped
    if not isinstance(network, NeuronLandscape) or isinstance(network.x, HermiteModes):
        return None
    return network.x, network.f


@compiled_precisely
def hidden_at(
    landscape: NeuronLandscape, w: Float[Array, "neurons inputs"]
) -> Float[Array, "neurons samples"]:
    """`landscape.hidden`, as one program."""
    return landscape.hidden(w)


@compiled_precisely
def network_output(
    ensemble: Ensemble,
    x: Float[Array, "points inputs"] | HermiteModes,
    activation: Activation,
    *,
    chunk: int | None = None,
) -> Float[Array, "points outputs"]:
    """h_μ(x) = ∫ a σ(wᵀx) dμ of an ensemble of neurons, streamed over chunks of particles.

    Args:
        ensemble: of neurons.
        x: inputs, or modes.
        activation: an elementwise callable.
        chunk: particles held at once.

    Raises:
        InvalidInput: `chunk` is not positive.

    Example:
        >>> mu = Ensemble(Neuron(a=jnp.array([[1.0], [3.0]]), w=jnp.ones((2, 1))))
        >>> network_output(mu, jnp.array([[0.5]]), jax.nn.relu).tolist()
        [[1.0]]
    """
    chunk = chunk_for(ensemble.size, _hidden_bytes(x)) if chunk is None else chunk
    network = functools.partial(_network, x=x, activation=activation)
    return stream_sum(network, ensemble.particles, ensemble.weights, chunk, ensemble.mesh)


def _network(
    neurons: Neuron, weights: Array, x: Array | HermiteModes, activation: Activation
) -> Array:
    if isinstance(x, HermiteModes):
        return x.hidden(neurons.w, activation).T @ (weights[:, None] * neurons.a)
    return activation(x @ neurons.w.T) @ (weights[:, None] * neurons.a)


def _hidden_bytes(x: Array | HermiteModes) -> int:
    return 4 * x.shape[0] * x.dtype.itemsize  # the activation, its slope, two cotangents
