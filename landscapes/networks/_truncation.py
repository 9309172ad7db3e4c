"""What Hermite modes up to a degree miss of a network: bounds, and a warning at the start."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from particles import Ensemble, InvalidInput

from .._precisely import compiled_precisely
from .._warnings import StartWarning, TruncationWarning
from ._modes import HermiteModes
from ._neurons import NeuronLandscape

#: Share of the loss that higher degrees may hold before a run from there is warned of.
LARGE = 0.5


class Truncation(NamedTuple):
    """What modes up to a degree miss, bounded.

    Args:
        target: of the norm of the targets in L².
        output: of the norm of h_μ.
        loss: L_K ≤ L ≤ L_K + loss, L_K the loss on the modes and L that of all inputs.
    """

    target: float
    output: float
    loss: float


def truncation(
    landscape: NeuronLandscape, ensemble: Ensemble, *, target: float = 0.0
) -> Truncation:
    """A bound on the loss that higher degrees hold (theory.md, section 12).

    The residual f − Bh splits into its modes and the rest, of norm at most t_f + ‖B‖t_h; B is the
    identity for regression and Σ°μW, what attention reads, for attention.

    Args:
        landscape: on `HermiteModes`.
        ensemble: where.
        target: norm of what the modes miss of the targets: zero for a Hermite expansion,
            `HermiteModes.remainder` for a teacher of neurons.

    Raises:
        InvalidInput: a landscape on samples.

    Example:
        >>> from landscapes import Neuron, RegressionLandscape
        >>> modes = HermiteModes(2, 3, "erf")
        >>> landscape = RegressionLandscape(modes, modes.targets([{(1, 0): 1.0}]), "erf")
        >>> mu = Ensemble(Neuron(a=jnp.ones((1, 1)), w=jnp.ones((1, 2))))
        >>> 0 < truncation(landscape, mu).loss < 0.02
        True
    """
    modes = landscape.x
    if not isinstance(modes, HermiteModes):
        raise InvalidInput("landscape has samples; only Hermite modes are truncated.")
    output, reading = map(float, _missed(landscape, modes, ensemble))
    return Truncation(float(target), output, 0.5 * (target + reading * output) ** 2)


@compiled_precisely
def _missed(
    landscape: NeuronLandscape, modes: HermiteModes, ensemble: Ensemble
) -> tuple[Array, Array]:
    """Norms of what the modes miss of h_μ, and of the matrix B that reads it."""
    output = modes.remainder(ensemble, landscape.activation)
    moments = landscape.moments(ensemble)
    fast = landscape.solve_fast(moments)
    if fast is None:
        return output, jnp.ones(())
    return output, jnp.linalg.norm((landscape.f.T @ moments / len(moments)) @ fast, ord=2)


def truncation_concerns(landscape: NeuronLandscape, ensemble: Ensemble) -> list[StartWarning]:
    """A warning where the modes may miss more than half of the loss; none on samples."""
    if not isinstance(landscape.x, HermiteModes):
        return []
    value, missed = float(landscape.value(ensemble)), truncation(landscape, ensemble).loss
    if not missed > LARGE * value:
        return []
    message = (
        f"Hermite modes up to degree {landscape.x.degrees[-1]} may miss {missed:.2g} of the loss "
        f"of the start, of which they hold {value:.2g}; give a higher degree or smaller weights w."
    )
    return [TruncationWarning(message)]
