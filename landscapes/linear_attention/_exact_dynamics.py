"""The exact learning dynamics of one merged head: a closed ODE, its invariant, its end (MT25)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float

from ._theory import Eigenvalues, plateau_curvature, solve_exactly


class ExactDynamics(NamedTuple):
    """A solution of the closed ODE.

    Args:
        times: shape `(times,)`.
        p: value weight, shape `(times,)`.
        u: eigenvalues of W_Q in the eigenbasis of Λ, shape `(times, dim)`.
        loss: ½ E(y − ŷ)², shape `(times,)`.
    """

    times: np.ndarray
    p: np.ndarray
    u: np.ndarray
    loss: np.ndarray

    @property
    def invariant(self) -> Float[np.ndarray, " times"]:
        """p² − ‖W_Q‖_F², constant under the flow."""
        return self.p**2 - np.sum(self.u**2, axis=1)

    @property
    def read(self) -> Float[np.ndarray, "times dim"]:
        """The products p u_d: what multiplies each eigen-direction in ŷ."""
        return self.p[:, None] * self.u


def exact_dynamics(
    times: ArrayLike | Sequence[float],
    eigenvalues: Eigenvalues,
    context_length: float,
    p: float,
    u: ArrayLike | Sequence[float],
) -> ExactDynamics:
    """The expected gradient dynamics of ŷ = p βᵀ W_Q x_q from a start diagonal in Λ's eigenbasis.

    dp/dt = Σ_d λ_d² u_d − p Σ_d c_d u_d²,   du_d/dt = p λ_d² − p² c_d u_d, integrated in float64
    to a relative 1e-12. It is the flow of `MergedLinearAttentionLandscape` with one head.
    (theory.md, section 5; MT25)

    Args:
        times: not negative, increasing.
        eigenvalues: λ of Λ, shape `(dim,)`.
        context_length: N.
        p: start of the value weight.
        u: start of the diagonal of W_Q, shape `(dim,)` or one number.

    Raises:
        InvalidInput: eigenvalues that are not positive, or a context length below one.

    Example:
        >>> run = exact_dynamics([0.0, 400.0], [0.7, 0.3], 32, p=0.1, u=[0.05, 0.05])
        >>> bool(abs(run.invariant[1] - run.invariant[0]) < 1e-9)
        True
    """
    values = np.asarray(eigenvalues, float)
    curvature = plateau_curvature(values, context_length)
    start = np.concatenate([[p], np.broadcast_to(np.asarray(u, float), values.shape)])
    square = values**2

    def slope(time: float, y: np.ndarray) -> np.ndarray:
        p, u = y[0], y[1:]
        pull = curvature * u
        return np.concatenate([[square @ u - p * (pull @ u)], p * (square - p * pull)])

    y = solve_exactly(slope, start, times)
    p_t, u_t = y[:, 0], y[:, 1:]
    read = p_t[:, None] * u_t
    loss = 0.5 * np.sum(values - 2 * values**2 * read + curvature * read**2, axis=1)
    return ExactDynamics(np.asarray(times, float), p_t, u_t, loss)


def exact_fixed_point(
    eigenvalues: Eigenvalues, context_length: float, invariant: float = 0.0
) -> tuple[float, np.ndarray]:
    """The end (p, u) with p > 0: p u_d = λ_d²/c_d, at the given p² − ‖W_Q‖².

    The other fixed points are its mirror image and the origin. (theory.md, section 5; MT25)

    Args:
        eigenvalues: of Λ, positive.
        context_length: N, labelled tokens of a prompt.
        invariant: p² − ‖W_Q‖², which the flow conserves.

    Raises:
        InvalidInput: see `exact_dynamics`.

    Example:
        >>> p, u = exact_fixed_point([0.7, 0.3], 32)
        >>> bool(np.isclose(p**2, np.sum(u**2)))
        True
    """
    read = np.asarray(eigenvalues, float) ** 2 / plateau_curvature(eigenvalues, context_length)
    half = 0.5 * float(invariant)
    p = np.sqrt(half + np.hypot(half, np.linalg.norm(read)))
    return float(p), read / p


class ExactTimescales(NamedTuple):
    """Times on which one merged head learns.

    Args:
        escape: of leaving the origin, 1/√Σ_d λ_d⁴.
        learning: of each eigen-direction at a value weight p, 1/(p² c_d): the larger λ_d, the
            sooner.
        relaxation: the exact ones at the fixed point, ascending: reciprocals of the eigenvalues
            of the Hessian there but the one zero that the invariant leaves. They interlace with
            `learning` at the final p.
    """

    escape: float
    learning: np.ndarray
    relaxation: np.ndarray


def exact_timescales(
    eigenvalues: Eigenvalues, context_length: float, invariant: float = 0.0
) -> ExactTimescales:
    """The timescales of the closed ODE, at the fixed point with the given p² − ‖W_Q‖².

    (theory.md, section 5; MT25)

    Args:
        eigenvalues: of Λ, positive.
        context_length: N, labelled tokens of a prompt.
        invariant: p² − ‖W_Q‖², which the flow conserves.

    Raises:
        InvalidInput: see `exact_dynamics`.

    Example:
        >>> times = exact_timescales([0.7, 0.2, 0.1], 32)
        >>> bool(np.all(np.diff(times.learning) > 0))
        True
    """
    values = np.asarray(eigenvalues, float)
    curvature = plateau_curvature(values, context_length)
    p, u = exact_fixed_point(values, context_length, invariant)
    # L = ½ Σ_d c_d (p u_d − s_d)² + const, so the Hessian there is JᵀJ, J = ∂(√c_d p u_d)/∂(p, u).
    jacobian = np.sqrt(curvature)[:, None] * np.concatenate([u[:, None], p * np.eye(u.size)], 1)
    rates = np.linalg.svd(jacobian, compute_uv=False) ** 2
    return ExactTimescales(
        float(1 / np.sqrt(np.sum(values**4))), 1 / (p**2 * curvature), np.sort(1 / rates)
    )
