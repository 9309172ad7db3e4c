"""Curvature of an eigenvector on samples that it has not seen."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Key

from landscapes import AbstractLandscape
from landscapes.networks import samples_of
from particles import Ensemble, InvalidInput
from particles.internal import compiled_once, to_device, to_host

from ..spectra import HessianOperator, images_of, smallest_eigenpair


@dataclass(frozen=True)
class HeldOut:
    """Curvature of eigenvectors found on one half of the samples, on both halves.

    Args:
        found: the smallest eigenvalue on each half, biased downwards: it was sought there.
        held_out: the curvature of the same eigenvector on the other half, which is not.
        overlap: |⟨u, v⟩| of the two halves' eigenvectors, 1 where they agree.
    """

    found: np.ndarray
    held_out: np.ndarray
    overlap: float


def held_out_curvature(
    key: Key[Array, ""],
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    *,
    chunk: int | None = None,
    tolerance: float = 1e-4,
) -> HeldOut:
    """Does the negative eigenvalue of one half of the samples show on the other half?

    The smallest eigenvalue on a sample lies below that of the population on average, since its
    eigenvector was fitted to the sample. On samples that it has not seen its curvature is free of
    that bias: if it is negative there too, the eigenvalue is the landscape's.

    Args:
        key: splits the samples.
        landscape: of a network, with samples to split.
        ensemble: where.
        chunk: particles held at once.
        tolerance: residual of the eigenvectors, relative to ‖H‖.

    Raises:
        InvalidInput: no samples to split, or too few.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> x = jnp.concatenate([jnp.eye(2), jnp.eye(2)])
        >>> landscape = RegressionLandscape(x, jnp.ones((4, 1)))
        >>> mu = Ensemble(Neuron(a=jnp.ones((1, 1)), w=jnp.ones((1, 2))))
        >>> held_out_curvature(jax.random.key(0), landscape, mu).held_out.shape
        (2,)
    """
    found = samples_of(landscape)
    if found is None:
        raise InvalidInput(
            f"landscape is a {type(landscape.unwrapped).__name__}, which has no samples to split."
        )
    x, f = found
    samples, outputs = f.shape
    if samples < 2 * outputs:
        raise InvalidInput(f"landscape has M = {samples} samples; halves need {outputs} each.")
    landscape.require_fit(ensemble)
    # Halves are taken on the host: here every index would be a program.
    x, f, order = to_host((x, f, _order(key, samples)))
    rows = order[: 2 * (samples // 2)].reshape(2, -1)
    halves = [landscape.replace(x=to_device(x[own]), f=to_device(f[own])) for own in rows]
    operators = [HessianOperator(half, ensemble, chunk=chunk) for half in halves]
    pairs = [smallest_eigenpair(operator, tolerance=tolerance) for operator in operators]
    fields = [pair.fields[0] for pair in pairs]
    held_out = []
    for field, other in zip(fields, reversed(operators), strict=True):
        # ⟨u, Hu⟩ in orthonormal coordinates, by the program that is there already.
        vector = np.asarray(other.to_vector(field))
        held_out.append(float(vector @ images_of(other, vector[None])[0]))
    return HeldOut(
        np.array([float(pair.values[0]) for pair in pairs]),
        np.array(held_out),
        abs(float(ensemble.inner(*fields))),
    )


@functools.partial(compiled_once, static_argnums=1)
def _order(key: Array, count: int) -> Array:
    return jax.random.permutation(key, count)
