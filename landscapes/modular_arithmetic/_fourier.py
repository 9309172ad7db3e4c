"""Fourier components of templates and of particles over the integers modulo p."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from particles import InvalidInput
from particles.internal import require_finite

#: A vector in any of the forms that users write one.
Numbers = ArrayLike | Sequence


def checked_modulus(p: int) -> int:
    """P as a plain number.

    Raises:
        InvalidInput: p is below 3.
    """
    if p < 3:
        raise InvalidInput(f"p is {p}; the modulus must be at least 3.")
    return int(p)


def is_odd_prime(p: int) -> bool:
    """Whether the frequencies 1 … (p−1)/2 are all alike."""
    return p > 2 and all(p % d for d in range(2, int(p**0.5) + 1))


def require_odd_prime(p: int) -> None:
    """Refuse a modulus for which the frequencies 1 … (p−1)/2 are not all alike.

    Raises:
        InvalidInput: p is not an odd prime.
    """
    if not is_odd_prime(p):
        raise InvalidInput(f"p is {p}; the theory of frequencies needs an odd prime.")


def checked_template(p: int, template: Numbers | None) -> np.ndarray:
    """A template of length p; one-hot where none is given.

    Raises:
        InvalidInput: another shape, or entries that are not finite or all zero.
    """
    if template is None:
        return np.eye(p)[0]
    x = np.asarray(template, float)
    if x.shape != (p,):
        raise InvalidInput(f"template has shape {x.shape}; it must be ({p},), one entry a residue.")
    require_finite("template", x)
    if not np.any(x):
        raise InvalidInput("template is zero everywhere; it needs an entry that is not.")
    return x


def template_phasors(template: Float[np.ndarray, " p"]) -> np.ndarray:
    """m_k e^{iψ_k}, k = 0 … (p−1)/2, of x_n = m_0 + Σ_k m_k cos(2πkn/p + ψ_k), p odd."""
    x = np.asarray(template, float)
    phasors = np.fft.rfft(x) * (2 / x.size)
    phasors[0] /= 2
    return phasors


def template_magnitudes(template: Numbers) -> Float[np.ndarray, " frequencies"]:
    """Magnitudes m_k ≥ 0 of a template x_n = m_0 + Σ_k m_k cos(2πkn/p + ψ_k), k = 1 … (p−1)/2.

    The first entry is k = 1; m_0 is the template's mean. (theory.md, section 10; KMCK25)

    Args:
        template: shape `(p,)`, p odd.

    Raises:
        InvalidInput: the template's length is even.

    Example:
        >>> template_magnitudes(np.eye(5)[0]).round(6).tolist()  # one-hot: 2/p each
        [0.4, 0.4]
    """
    x = np.asarray(template, float)
    if x.ndim != 1 or x.size % 2 == 0:
        raise InvalidInput(f"template has shape {x.shape}; it must be (p,) with p odd.")
    return np.abs(template_phasors(x)[1:])


def inverse_participation(particles: PyTree) -> Float[Array, " particles"]:
    """Σ_k |x̂_k|⁴ / (Σ_k |x̂_k|²)² of the Fourier transform, mean over a particle's vectors.

    Between 1/p (all frequencies alike) and 1 (a constant); ½ for a single frequency. Near 2/p for
    normal coordinates of a large p. (theory.md, section 10; GRO23)

    Args:
        particles: pytree of arrays `(particles, p)`.

    Example:
        >>> wave = jnp.cos(2 * jnp.pi * jnp.arange(7) / 7)
        >>> inverse_participation([wave[None]]).round(5).tolist()
        [0.5]
    """
    return _participation(particles)


@jax.jit
def _participation(particles: PyTree) -> Float[Array, " particles"]:
    def one(leaf: Array) -> Array:
        power = jnp.abs(jnp.fft.fft(leaf, axis=-1)) ** 2
        total = jnp.sum(power, axis=-1)
        tiny = jnp.finfo(total.dtype).tiny
        return jnp.sum((power / jnp.maximum(total, tiny)[..., None]) ** 2, axis=-1)

    return jnp.mean(jnp.stack([one(leaf) for leaf in jax.tree.leaves(particles)]), axis=0)
