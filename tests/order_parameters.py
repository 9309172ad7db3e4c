"""The order-parameter equations of SS95: an erf network seen through its overlaps, by SciPy.

Shares no code with the library: no sample, no particle and no derivative of a landscape enters.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

from landscapes import Neuron


class Overlaps:
    """Student and teacher as Gaussian fields u = √2 wᵀx, in which erf(wᵀx) = g(u) of SS95.

    Args:
        student: neurons (a, w) with one output.
        teacher: likewise.
        trained: whether the second layer a moves too.
        rate: dt·d/B of descent with steps dt on batches of B fresh samples; 0 for the flow. What
            its noise adds is exact as d → ∞ at a fixed rate.
    """

    def __init__(self, student: Neuron, teacher: Neuron, trained: bool = True, rate: float = 0.0):
        a, w = (np.asarray(leaf, float) for leaf in student)
        b, v = (np.asarray(leaf, float) for leaf in teacher)
        self.start = np.concatenate([a[:, 0], 2 * (w @ w.T).ravel(), 2 * (w @ v.T).ravel()])
        self.size, self.output, self.own = len(a), b[:, 0] / len(b), 2 * v @ v.T
        self.trained, self.rate = trained, rate

    def at(self, time: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """a, Q = w wᵀ, R = w w°ᵀ and the loss."""
        options = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-14}
        end = solve_ivp(lambda _, y: self._rates(y), (0, time), self.start, **options).y[:, -1]
        a, covariance, signed = self._fields(end)
        size = self.size
        loss = 0.5 * signed @ two(covariance) @ signed
        return a, covariance[:size, :size] / 2, covariance[:size, size:] / 2, float(loss)

    def _fields(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """a, the covariance of all fields, and f − h_μ as weights of g(u)."""
        k = self.size
        a, q, r = y[:k], y[k : k + k * k].reshape(k, k), y[k + k * k :].reshape(k, -1)
        return a, np.block([[q, r], [r.T, self.own]]), np.concatenate([-a / k, self.output])

    def _rates(self, y: np.ndarray) -> np.ndarray:
        a, covariance, signed = self._fields(y)
        k = self.size
        # The velocity of a particle is N times that of a weight: no 1/N is left.
        drift = a[:, None] * (three(covariance) @ signed)[:k]
        q = 2 * (drift[:, :k] + drift[:, :k].T)
        if self.rate:
            noise = np.einsum("ijkl,k,l", four(covariance, k), signed, signed)
            q = q + 4 * self.rate * np.outer(a, a) * noise
        moved = two(covariance)[:k] @ signed if self.trained else np.zeros(k)
        return np.concatenate([moved, q.ravel(), 2 * drift[:, k:].ravel()])


def two(c: np.ndarray) -> np.ndarray:
    """E[g(u_i) g(u_j)]."""
    scale = np.sqrt(1 + np.diag(c))
    return 2 / np.pi * np.arcsin(c / np.outer(scale, scale))


def three(c: np.ndarray) -> np.ndarray:
    """E[g'(u_i) u_j g(u_k)]."""
    own = np.diag(c)
    i, j, k = np.ix_(*[np.arange(len(c))] * 3)
    volume = (1 + own[i]) * (1 + own[k]) - c[i, k] ** 2
    top = c[j, k] * (1 + own[i]) - c[i, j] * c[i, k]
    return 2 / np.pi * top / (np.sqrt(volume) * (1 + own[i]))


def four(c: np.ndarray, size: int) -> np.ndarray:
    """E[g'(u_i) g'(u_j) g(u_k) g(u_l)], i and j of the student."""
    own, every = 1 + np.diag(c), np.arange(len(c))
    i, j, k, m = np.ix_(every[:size], every[:size], every, every)
    volume = own[i] * own[j] - c[i, j] ** 2

    def between(k: np.ndarray, m: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        return (
            volume * covariance
            - c[j, k] * c[j, m] * own[i]
            - c[i, k] * c[i, m] * own[j]
            + c[i, j] * (c[i, k] * c[j, m] + c[i, m] * c[j, k])
        )

    scale = between(k, k, own[k]) * between(m, m, own[m])
    angle = np.arcsin(between(k, m, c[k, m]) / np.sqrt(scale))
    return 4 / np.pi**2 * angle / np.sqrt(volume)
