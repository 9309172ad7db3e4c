"""Measures over neurons that compute some frequencies of modular addition exactly."""

from __future__ import annotations

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np

from particles import Ensemble, InvalidInput

from ._fourier import require_odd_prime
from ._landscape import ModularArithmeticLandscape, ModularNeuron
from ._theory import checked_frequencies

PHASES = 3  # fewest values of each of two phases that average out all but the wanted product


def neurons_needed(frequencies: int, *, constant: bool = True) -> int:
    """Fewest neurons of `constructed_measure`: nine a frequency, and one for the constant.

    Example:
        >>> neurons_needed(2)
        19
    """
    return PHASES**2 * frequencies + constant


def constructed_measure(
    landscape: ModularArithmeticLandscape,
    frequencies: Iterable[int],
    size: int | None = None,
    *,
    constant: bool = True,
) -> Ensemble:
    """N equal-weight neurons whose predictor is the target's part on the given frequencies.

    For each frequency k, 3 × 3 phases φ_1, φ_2 in (u, v, w) = A (cos(2πkn/p + φ_1),
    cos(2πkn/p + φ_2), cos(2πkn/p + φ_1 ± φ_2 ∓ …)), and one neuron u = v for the constant; further
    neurons repeat them with smaller A. All are exact. On all pairs and with the constant it is a
    critical point for every set of frequencies, a saddle unless the set is full; its level is
    `frequency_level`. (theory.md, section 10; GRO23)

    Args:
        landscape: addition or subtraction with the quadratic activation; p an odd prime.
        frequencies: learned ones, among 1 … (p−1)/2.
        size: number of neurons; by default the fewest, `neurons_needed`.
        constant: whether the mean is learned too.

    Raises:
        InvalidInput: a landscape without such measures, no such frequency, one that the template
            lacks, nothing to construct, or fewer neurons than needed.

    Example:
        >>> landscape = ModularArithmeticLandscape(5)
        >>> saddle = constructed_measure(landscape, [2])
        >>> round(float(landscape.value(saddle)), 6)  # 2/p²
        0.08
    """
    p = landscape.p
    require_odd_prime(p)
    if not landscape.constructible:
        raise InvalidInput(
            f"landscape has activation {landscape.activation!r} and target {landscape.target!r}; "
            "measures are constructed for the quadratic activation and addition or subtraction."
        )
    phasors = landscape.phasors()
    known = checked_frequencies(p, frequencies)
    weakest = 1e-9 * np.abs(phasors).max()
    for k in known:
        if abs(phasors[k]) <= weakest:
            raise InvalidInput(
                f"template has magnitude zero at frequency {k}; no neuron can learn it: leave it "
                "out."
            )
    slots = [_wave(p, k, phasors[k], landscape.target) for k in known]
    if constant and abs(phasors[0]) > weakest:
        flat = np.cbrt(2 * p / (4 * p**2 * phasors[0].real))
        slots.append(np.full((1, 3, p), flat))
    needed = sum(len(slot) for slot in slots)
    size = needed if size is None else size
    if needed == 0 or size < needed:
        raise InvalidInput(
            f"size is {size}, but frequencies {list(known)} need "
            f"{needed or 'at least one neuron and so a frequency or a constant'}; "
            "take more neurons."
        )
    chosen = np.arange(size) % needed
    share = np.bincount(chosen, minlength=needed)[chosen] / size  # mass of all copies of a neuron
    neurons = np.concatenate(slots)[chosen] / np.cbrt(share)[:, None, None]
    dtype = landscape.template.dtype
    return Ensemble(ModularNeuron(*(jnp.asarray(neurons[:, i], dtype) for i in range(3))))


def _wave(p: int, k: int, phasor: complex, target: str) -> np.ndarray:
    """Nine neurons of unit mass each that compute one frequency, shape `(9, 3, p)`."""
    magnitude, phase = abs(phasor), np.angle(phasor)
    grid = 2 * np.pi * np.arange(PHASES) / PHASES
    first, second = (axis.reshape(-1, 1) for axis in np.meshgrid(grid, grid))
    sign = 1 if target == "addition" else -1
    last = (first - phase) + sign * (second - phase) + phase
    turn = 2 * np.pi * k * np.arange(p) / p
    waves = np.stack([np.cos(turn + angle) for angle in (first, second, last)], axis=1)
    return np.cbrt(8 * 2 * p / (p**2 * magnitude) / PHASES**2) * waves
