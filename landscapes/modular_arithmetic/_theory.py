"""What is known exactly of modular addition: levels, and the growth of one frequency."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.integrate
from jaxtyping import Float, Int

from particles import InvalidInput

from ._fourier import Numbers, checked_template, require_odd_prime, template_phasors


def frequency_order(template: Numbers) -> Int[np.ndarray, " frequencies"]:
    """Frequencies 1 … (p−1)/2, the strongest in the template first; equal ones by number.

    Example:
        >>> n = np.arange(7)
        >>> x = np.cos(2 * np.pi * n / 7) + 3 * np.cos(6 * np.pi * n / 7)
        >>> frequency_order(x).tolist()
        [3, 1, 2]
    """
    size = np.asarray(template).size
    magnitudes = np.abs(template_phasors(np.asarray(template)))[1 : (size + 1) // 2]
    rounded = np.round(magnitudes / np.max(magnitudes, initial=1e-300), 9)  # ties by number
    return 1 + np.argsort(-rounded, kind="stable")


def frequency_level(
    p: int,
    learned: Iterable[int],
    *,
    template: Numbers | None = None,
    constant: bool = True,
) -> float:
    """Squared loss on all pairs of the predictor that has learned some frequencies exactly.

    L = m_0² [constant missing] + ½ Σ m_k² over the missing frequencies; with one-hot residues
    (1 [constant missing] + 2 #missing) / p². (theory.md, section 10, found here)

    Args:
        p: an odd prime.
        learned: frequencies among 1 … (p−1)/2.
        template: x, shape `(p,)`; one-hot by default.
        constant: whether the mean is learned.

    Raises:
        InvalidInput: p is no odd prime, or there is no such frequency.

    Example:
        >>> frequency_level(11, [1, 2, 3, 4]) * 121  # one frequency missing
        2.0
    """
    require_odd_prime(p)
    known = checked_frequencies(p, learned)
    magnitudes = np.abs(template_phasors(checked_template(p, template)))
    missing = [k for k in range(1, (p + 1) // 2) if k not in known]
    return float((not constant) * magnitudes[0] ** 2 + 0.5 * np.sum(magnitudes[missing] ** 2))


def checked_frequencies(p: int, frequencies: Iterable[int]) -> tuple[int, ...]:
    """Frequencies, each once and in order.

    Raises:
        InvalidInput: there is no such frequency modulo p.
    """
    found = tuple(sorted(set(frequencies)))
    for k in found:
        if not 1 <= k <= (p - 1) // 2:
            raise InvalidInput(f"frequency {k} is not among 1 … {(p - 1) // 2}, those of p = {p}.")
    return found


@dataclass(frozen=True)
class FrequencyGrowth:
    """A neuron with one frequency beside a predictor that lacks it: three amplitudes and a phase.

    u_n = α_u cos(2πkn/p + φ_u), v and w alike with α_v, β and φ_v, φ_w. While its own output is
    negligible, the flow of addition with the quadratic activation is

        α̇_u = g α_v β cos Δ,  α̇_v = g α_u β cos Δ,  β̇ = g α_u α_v cos Δ,
        Δ̇ = −g (α_v β/α_u + α_u β/α_v + α_u α_v/β) sin Δ,   Δ = φ_u + φ_v − φ_w − ψ_k,

    ψ_k the template's phase. Conserved: α_u² − β², α_v² − β², α_u α_v β sin Δ. From equal
    amplitudes r and Δ = 0, r(t) = 1/(1/r_0 − g t): growth is hyperbolic, not exponential, as at
    every degenerate saddle. Neurons with u = v tied have α² − 2β² instead. (theory.md,
    section 10, found here)

    Args:
        rate: g.
    """

    rate: float

    def velocity(self, state: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 4"]:
        """Time derivative of (α_u, α_v, β, Δ)."""
        u, v, b, angle = state
        pull = np.array([v * b, u * b, u * v])
        turn = pull / np.array([u, v, b])
        return self.rate * np.append(pull * np.cos(angle), -turn.sum() * np.sin(angle))

    def solve(
        self, start: Numbers, times: Float[np.ndarray, " times"]
    ) -> Float[np.ndarray, "times 4"]:
        """(α_u, α_v, β, Δ) at increasing times from the start at time zero.

        Example:
            >>> path = FrequencyGrowth(1.0).solve([1.0, 1.0, 1.0, 0.0], np.array([0.5]))
            >>> path[0, 0].round(6).item()
            2.0
        """
        solved = scipy.integrate.solve_ivp(
            lambda t, y: self.velocity(y),
            (0.0, float(np.max(times))),
            np.asarray(start, float),
            t_eval=np.asarray(times, float),
            method="DOP853",
            rtol=1e-11,
            atol=1e-13,
        )
        return solved.y.T

    @staticmethod
    def conserved(states: Float[np.ndarray, "*any 4"]) -> Float[np.ndarray, "*any 3"]:
        """α_u² − β², α_v² − β² and α_u α_v β sin Δ.

        Example:
            >>> FrequencyGrowth.conserved(np.array([2.0, 1.0, 1.0, 0.0])).tolist()
            [3.0, 0.0, 0.0]
        """
        u, v, b, angle = np.moveaxis(np.asarray(states, float), -1, 0)
        return np.stack([u**2 - b**2, v**2 - b**2, u * v * b * np.sin(angle)], axis=-1)

    def blow_up(self, amplitude: float) -> float:
        """Time 1/(g r_0) at which equal amplitudes r_0 in phase would reach infinity.

        Example:
            >>> FrequencyGrowth(2.0).blow_up(0.1)
            5.0
        """
        return 1 / (self.rate * amplitude)


def frequency_growth(p: int, frequency: int, template: Numbers | None = None) -> FrequencyGrowth:
    """The growth of one frequency of modular addition on all pairs: g = m_k³/8.

    One-hot residues have g = 1/p³ for every frequency. (theory.md, section 10, found here)

    Args:
        p: an odd prime.
        frequency: k among 1 … (p−1)/2.
        template: x, shape `(p,)`; one-hot by default.

    Raises:
        InvalidInput: p is no odd prime, or there is no such frequency.

    Example:
        >>> round(frequency_growth(5, 1).rate * 5**3, 9)
        1.0
    """
    require_odd_prime(p)
    checked_frequencies(p, [frequency])
    magnitude = abs(template_phasors(checked_template(p, template))[frequency])
    return FrequencyGrowth(float(magnitude**3 / 8))
