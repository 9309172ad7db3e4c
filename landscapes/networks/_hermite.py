"""Neurons on Gaussian inputs: their Hermite coefficients and inner products in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from particles import InvalidInput

from ._activations import ACTIVATIONS, Activation, activation_from

#: Numbers, or arrays of them: everything here is elementwise.
Numbers = Float[Array, "..."]


@dataclass(frozen=True)
class HermiteExpansion:
    """σ(wᵀx) for x ~ N(0, I) in normalised Hermite polynomials, and E[σ(wᵀx)σ(w'ᵀx)].

    With r = ‖w‖ and z = wᵀx/r, σ(rz) = Σ_k c_k(r) He_k(z)/√k!. The coefficients come as
    c_k(r) = amplitude(k, r²) · (stretch(r²) r)^k, so that a neuron's component of degree k is
    amplitude · (stretch w)^α, without division at w = 0 or overflow at large w. (theory.md,
    section 12; WIL97, CS09)

    Args:
        activation: σ.
        stretch: of r².
        amplitude: of k and r².
        kernel: of ‖w‖², ‖w'‖² and wᵀw'.
        parity: degrees k with c_k ≠ 0 have k mod 2 equal to it, but for those in `others`.
        others: further degrees with c_k ≠ 0.
        degree: largest k with c_k ≠ 0; `None` if there is none.

    Example:
        >>> expansion = hermite_expansion("relu")
        >>> expansion.degrees(6)
        (0, 1, 2, 4, 6)
        >>> [round(float(expansion.coefficient(k, 1.0)), 3) for k in range(3)]
        [0.399, 0.5, 0.282]
    """

    activation: Activation
    stretch: Callable[[Numbers], Numbers]
    amplitude: Callable[[int, Numbers], Numbers]
    kernel: Callable[[Numbers, Numbers, Numbers], Numbers]
    parity: int
    others: tuple[int, ...] = ()
    degree: int | None = None

    def degrees(self, largest: int) -> tuple[int, ...]:
        """The degrees k ≤ `largest` with c_k ≠ 0."""
        last = largest if self.degree is None else min(largest, self.degree)
        return tuple(k for k in range(last + 1) if k % 2 == self.parity or k in self.others)

    def coefficient(self, k: int, r: float | Numbers) -> Numbers:
        """c_k(r) = E[σ(rz) He_k(z)]/√k!, for z ~ N(0, 1)."""
        r = jnp.asarray(r, float)
        if k not in self.degrees(k):
            return jnp.zeros_like(r)
        return self.amplitude(k, r**2) * (self.stretch(r**2) * r) ** k

    def inner(self, w: Float[Array, " inputs"], other: Float[Array, " inputs"]) -> Float[Array, ""]:
        """E[σ(wᵀx)σ(w'ᵀx)] of two neurons, for x ~ N(0, I)."""
        return self.kernel(jnp.sum(w**2), jnp.sum(other**2), jnp.sum(w * other))

    def table(
        self, w: Float[Array, "neurons inputs"], others: Float[Array, "others inputs"]
    ) -> Float[Array, "neurons others"]:
        """`inner` of all pairs, by one matrix product."""
        squares, own = jnp.sum(w**2, axis=1), jnp.sum(others**2, axis=1)
        return self.kernel(squares[:, None], own[None], w @ others.T)

    def remainder(self, degrees: Sequence[int], squared: Numbers) -> Numbers:
        """The norm of what all but these degrees hold of σ(rz), from r².

        Never below the true one: to the difference of squares it adds what round-off can hide.
        """
        total = self.kernel(squared, squared, squared)
        if self.degree is not None and set(self.degrees(self.degree)) <= set(degrees):
            return jnp.zeros_like(total)
        stretched = self.stretch(squared) ** 2 * squared
        kept = sum(
            (
                self.amplitude(k, squared) ** 2 * stretched**k
                for k in self.degrees(max(degrees))
                if k in degrees
            ),
            start=jnp.zeros_like(total),
        )
        hidden = 8 * jnp.finfo(total.dtype).eps * total
        return jnp.sqrt(jnp.maximum(total - kept, 0) + hidden)


def hermite_expansion(activation: str | Activation) -> HermiteExpansion:
    """The expansion of an activation by name, or as `activation_from` gives it.

    Raises:
        InvalidInput: none is known.

    Example:
        >>> w = jnp.array([1.0, 0.0])
        >>> float(hermite_expansion("quadratic").inner(w, w))  # E[z⁴]
        3.0
    """
    found = activation_from(activation)
    for expansion in EXPANSIONS.values():
        if expansion.activation is found:
            return expansion
    name = activation if isinstance(activation, str) else getattr(found, "__name__", repr(found))
    raise InvalidInput(
        f"activation is {name!r}, whose Hermite coefficients on Gaussian inputs have no closed "
        f"form here; choose one of {sorted(EXPANSIONS)}, or draw samples."
    )


# --- erf ---------------------------------------------------------------------------------------


def _erf_amplitude(k: int, squared: Numbers) -> Numbers:
    half = k // 2
    size = math.lgamma(k) - math.lgamma(half + 1) - 0.5 * math.lgamma(k + 1)
    return jnp.full_like(squared, (-1) ** half * 2 / math.pi**0.5 * math.exp(size))


def _erf_kernel(a: Numbers, b: Numbers, c: Numbers) -> Numbers:
    # Roots of each neuron, not of each pair: a table has few of them.
    return 2 / math.pi * jnp.arcsin(c * (2 / jnp.sqrt(1 + 2 * a)) * (1 / jnp.sqrt(1 + 2 * b)))


# --- ReLU --------------------------------------------------------------------------------------


def _positive(x: Numbers, power: float) -> Numbers:
    """x^power, and zero with all derivatives where x = 0."""
    inside = x > 0
    return jnp.where(inside, jnp.where(inside, x, 1) ** power, 0)


def _relu_amplitude(k: int, squared: Numbers) -> Numbers:
    if k == 1:
        return _positive(squared, 0.5) / 2
    half = k // 2
    size = math.lgamma(2 * half - 1) - (half - 1) * math.log(2) - math.lgamma(half) if half else 0
    sign = (-1) ** (half - 1) if half else 1
    factor = sign * math.exp(size - 0.5 * math.lgamma(k + 1)) / (2 * math.pi) ** 0.5
    return factor * _positive(squared, 0.5)


def _relu_kernel(a: Numbers, b: Numbers, c: Numbers) -> Numbers:
    """C⁺/2 and the part (S − φ|C|)/2π that bends, S = (AB − C²)^½ = |C| tan φ.

    That part is of the order φ³ at parallel neurons, where it is zero up to the third derivative;
    written out there, its second derivative would be a difference of infinite numbers.
    """
    square = a * b - c**2
    bends = square > 64 * jnp.finfo(c.dtype).eps * a * b
    sine = jnp.sqrt(jnp.where(bends, square, 1))
    acute = c >= 0
    size = jnp.where(acute, c, -c)
    bent = jnp.where(bends, sine - jnp.arctan2(sine, size) * size, 0)
    return jnp.where(acute, c / 2, 0) + bent / (2 * math.pi)


# --- quadratic and cosine ----------------------------------------------------------------------


def _quadratic_amplitude(k: int, squared: Numbers) -> Numbers:
    return squared if k == 0 else jnp.full_like(squared, 2**0.5)


def _cosine_amplitude(k: int, squared: Numbers) -> Numbers:
    return (-1) ** (k // 2) * jnp.exp(-squared / 2 - 0.5 * math.lgamma(k + 1))


def _cosine_kernel(a: Numbers, b: Numbers, c: Numbers) -> Numbers:
    return (jnp.exp(c - (a + b) / 2) + jnp.exp(-c - (a + b) / 2)) / 2


#: Activations whose coefficients and inner products have a closed form.
EXPANSIONS: dict[str, HermiteExpansion] = {
    "erf": HermiteExpansion(
        ACTIVATIONS["erf"],
        stretch=lambda squared: 1 / jnp.sqrt(1 + 2 * squared),
        amplitude=_erf_amplitude,
        kernel=_erf_kernel,
        parity=1,
    ),
    "relu": HermiteExpansion(
        ACTIVATIONS["relu"],
        stretch=lambda squared: _positive(squared, -0.5),
        amplitude=_relu_amplitude,
        kernel=_relu_kernel,
        parity=0,
        others=(1,),
    ),
    "quadratic": HermiteExpansion(
        ACTIVATIONS["quadratic"],
        stretch=jnp.ones_like,
        amplitude=_quadratic_amplitude,
        kernel=lambda a, b, c: a * b + 2 * c**2,
        parity=0,
        degree=2,
    ),
    "cosine": HermiteExpansion(
        ACTIVATIONS["cosine"],
        stretch=jnp.ones_like,
        amplitude=_cosine_amplitude,
        kernel=_cosine_kernel,
        parity=0,
    ),
}
