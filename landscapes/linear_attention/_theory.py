"""What theory knows of linear attention: optimum, levels, time courses, regression (ZSLS25)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
from jaxtyping import Array, ArrayLike, Float

from particles import InvalidInput

from ._prompts import checked_covariance, checked_length

Eigenvalues = Sequence[float] | np.ndarray | Array

# Everything here is at the convention of theory.md: β = (1/N) Σ y_n x_n and L = ½ E(y − ŷ)².


def in_context_optimum(
    covariance: Float[Array, "dim dim"], context_length: float
) -> Float[Array, "dim dim"]:
    """A* = ((1 + 1/N) Λ + (trΛ/N) I)⁻¹, the least-squares read-out; shares Λ's eigenvectors.

    Example:
        >>> import jax.numpy as jnp
        >>> in_context_optimum(jnp.diag(jnp.array([0.5, 0.5])), 1).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    identity = jnp.eye(covariance.shape[0], dtype=covariance.dtype)
    inverse = 1 / context_length
    ridge = inverse * jnp.trace(covariance) * identity
    return jnp.linalg.inv((1 + inverse) * covariance + ridge)


def plateau_curvature(eigenvalues: Eigenvalues, context_length: float) -> np.ndarray:
    """c_d = λ_d³ (1 + (1 + trΛ/λ_d)/N): L = ½ Σ_d (λ_d − 2 λ_d² a_d + c_d a_d²) for diagonal A.

    Raises:
        InvalidInput: eigenvalues that are not positive, or a context length below one.
    """
    values = _positive(eigenvalues)
    return values**3 * (1 + (1 + values.sum() / values) / checked_length(context_length))


def plateau_level(eigenvalues: Eigenvalues, context_length: float, learned: Iterable[int]) -> float:
    """L where the eigen-directions `learned` are (numbered from 0, as the eigenvalues are given).

    L = ½ (trΛ − Σ_{d learned} λ_d / (1 + (1 + trΛ/λ_d)/N)): a critical value of the separate
    landscape at rank one for each of the 2^D sets, and of the merged one for none and for all.

    Raises:
        InvalidInput: a direction that does not exist; see `plateau_curvature`.

    Example:
        >>> round(plateau_level([0.1, 0.2, 0.3, 0.4], 32, learned=[3, 2]), 6)
        0.187608
    """
    values, curvature = _positive(eigenvalues), plateau_curvature(eigenvalues, context_length)
    learned = sorted(set(learned))
    if any(not 0 <= d < values.size for d in learned):
        raise InvalidInput(f"learned is {learned}; directions run from 0 to {values.size - 1}.")
    return 0.5 * float(values.sum() - (values**4 / curvature)[learned].sum())


def plateau_levels(eigenvalues: Eigenvalues, context_length: float) -> np.ndarray:
    """The plateau levels L_0 > … > L_D: the m largest eigen-directions learned (ZSLS25).

    Raises:
        InvalidInput: see `plateau_curvature`.

    Example:
        >>> plateau_levels([0.1, 0.2, 0.3, 0.4], 32).round(6).tolist()
        [0.5, 0.319718, 0.187608, 0.103398, 0.066188]
    """
    values = np.sort(_positive(eigenvalues))[::-1]
    return np.array(
        [plateau_level(values, context_length, range(m)) for m in range(values.size + 1)]
    )


def head_saddle_index(
    eigenvalues: Eigenvalues, context_length: float, learned: Iterable[int]
) -> int:
    """Morse index at rank one, one head on each learned direction and the others at zero.

    A head on direction l turns towards a missing direction d with λ_d > λ_l: the number of such
    pairs. It is zero where the largest directions are learned; those saddles are degenerate.

    Raises:
        InvalidInput: a direction that does not exist; see `plateau_curvature`.

    Example:
        >>> head_saddle_index([0.4, 0.3, 0.2, 0.1], 32, learned=[1, 3])
        3
    """
    learned = sorted(set(learned))
    plateau_level(eigenvalues, context_length, learned)
    values = _positive(eigenvalues)
    missing = [d for d in range(values.size) if d not in learned]
    return sum(bool(values[d] > values[one]) for one, d in itertools.product(learned, missing))


def merged_growth(
    times: ArrayLike | Sequence[float],
    eigenvalue: float,
    dim: int,
    context_length: float,
    start: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The logistic course of the merged landscape at Λ = λI: σ(t) and the loss.

    A = σ(t) I/√D from a small balanced start, σ_0 = Σ_i v_i² over summed heads (their mean over
    averaged ones) with ‖U_i‖ = v_i along I. From a small random start it is the same with
    σ_0 = Σ_i ((v_i + tr U_i/√D)/2)², the growing part. Time is that of dθ/dt = −∇_θ L: with N
    summed heads, N times the flow time of the ensemble. (theory.md, section 4; ZSLS25)

    Args:
        times: where to evaluate.
        eigenvalue: λ.
        dim: D.
        context_length: N.
        start: σ_0 > 0.

    Raises:
        InvalidInput: numbers that are not positive.

    Example:
        >>> sigma, loss = merged_growth([0.0, 1e3], 0.25, 4, 32, start=1e-4)
        >>> loss.round(6).tolist()
        [0.499988, 0.067568]
    """
    if not (start > 0 and dim >= 1):
        raise InvalidInput(f"start is {start} and dim is {dim}; both must be positive.")
    curvature = plateau_curvature([eigenvalue] * dim, context_length)[0]
    gain = dim**0.5 * eigenvalue**2
    ratio = gain / (curvature * start) - 1
    sigma = gain / curvature / (1 + ratio * np.exp(-2 * gain * np.asarray(times, float)))
    return sigma, 0.5 * (dim * eigenvalue - 2 * gain * sigma + curvature * sigma**2)


def transition_time(
    eigenvalues: Eigenvalues, context_length: float, direction: int, start: float, learned: float
) -> float:
    """Time for one rank-one head to learn one eigen-direction up to a fraction of its optimum.

    The head is balanced and aligned, v = |k| = |q|, and dv/dt = λ_d² v² − c_d v⁵ from v = `start`:
    hyperbolic growth, about 1/(λ_d² v_0). Time is that of dθ/dt = −∇_θ L: with N summed heads, N
    times the flow time of the ensemble. (theory.md, section 4; ZSLS25)

    Args:
        eigenvalues: of Λ.
        context_length: N.
        direction: d, numbered from 0.
        start: v at time zero.
        learned: the fraction of the optimum v³ = λ_d²/c_d to reach, below 1.

    Raises:
        InvalidInput: a fraction that is not between the start's and 1; see `plateau_level`.

    Example:
        >>> round(transition_time([0.6, 0.4], 32, 0, start=0.01, learned=0.5), 1)
        275.7
    """
    plateau_level(eigenvalues, context_length, [direction])
    square = float(_positive(eigenvalues)[direction] ** 2)
    curvature = float(plateau_curvature(eigenvalues, context_length)[direction])
    end = (learned * square / curvature) ** (1 / 3)
    if not (0 < start < end and learned < 1):
        raise InvalidInput(
            f"learned is {learned}; it must lie between that of the start, "
            f"{start**3 * curvature / square:.3g}, and 1."
        )
    # In s = 1/v the hyperbolic part is constant.
    time, _ = scipy.integrate.quad(
        lambda s: 1 / (square - curvature / s**3), 1 / end, 1 / start, epsrel=1e-10, limit=200
    )
    return float(time)


def transition_curve(
    times: ArrayLike | Sequence[float],
    eigenvalues: Eigenvalues,
    context_length: float,
    direction: int,
    start: float,
) -> np.ndarray:
    """v(t) of the scalar equation dv/dt = λ_d² v² − c_d v⁵; see `transition_time`.

    Raises:
        InvalidInput: a start that is not positive; see `plateau_level`.
    """
    if not start > 0:
        raise InvalidInput(f"start is {start}; it must be positive.")
    plateau_level(eigenvalues, context_length, [direction])
    square = float(_positive(eigenvalues)[direction] ** 2)
    curvature = float(plateau_curvature(eigenvalues, context_length)[direction])

    def slope(time: Array, v: Array, args: tuple[Array, Array]) -> Array:
        return args[0] * v**2 - args[1] * v**5

    return solve_exactly(slope, np.asarray(start), times, (square, curvature))


def principal_component_regression(
    x: Float[Array | np.ndarray, "sequences tokens dim"],
    y: Float[Array | np.ndarray, "sequences tokens"],
    covariance: ArrayLike | Sequence,
    components: int,
) -> np.ndarray:
    """ŷ for every last token by in-context regression on the first m principal components of Λ.

    ŷ = Σ_{d≤m} a_d (e_dᵀβ)(e_dᵀx_q) with β = (1/N) Σ_n y_n x_n and the least-squares gains
    a_d = 1/(λ_d (1 + (1 + trΛ/λ_d)/N)): the estimator that the model is at plateau m. As N → ∞
    it is the ordinary one, a_d = 1/λ_d. (theory.md, section 4; ZSLS25)

    Args:
        x: tokens, the query last.
        y: labels; the query's is not looked at.
        covariance: Λ.
        components: m, between 0 and D.

    Raises:
        InvalidInput: Λ is not symmetric positive definite, or `components` outside 0 … D.
    """
    matrix = np.asarray(checked_covariance(covariance), float)
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = values[::-1], vectors[:, ::-1]
    if not 0 <= components <= values.size:
        raise InvalidInput(
            f"components is {components}; it must lie between 0 and D = {values.size}."
        )
    x, y = np.asarray(x, float), np.asarray(y, float)
    length = x.shape[1] - 1
    gains = values**2 / plateau_curvature(values, length)
    context = np.einsum("pn,pna->pa", y[:, :-1], x[:, :-1]) / length @ vectors
    kept = slice(components)
    return np.sum((context * (x[:, -1] @ vectors) * gains)[:, kept], axis=1)


def solve_exactly(
    slope: diffrax.AbstractTerm | object,
    start: ArrayLike,
    times: ArrayLike | Sequence[float],
    args: object,
) -> np.ndarray:
    """y(times) of dy/dt = slope(t, y, args) to a relative 1e-12, in float64 whatever the default.

    Args:
        slope: the right-hand side.
        start: y at time zero.
        times: not negative, increasing.
        args: passed on.
    """
    times = np.asarray(times, float)
    with jax.enable_x64(True):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),  # pyright: ignore
            diffrax.Dopri8(),
            t0=0.0,
            t1=float(times.max()),
            dt0=None,
            y0=jnp.asarray(start, jnp.float64),
            args=jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), args),
            saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
            stepsize_controller=diffrax.PIDController(rtol=1e-12, atol=1e-14),
            max_steps=1_000_000,
        )
        return np.asarray(solution.ys)


def _positive(eigenvalues: Eigenvalues) -> np.ndarray:
    values = np.asarray(eigenvalues, float)
    if values.ndim != 1 or values.size == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise InvalidInput(f"eigenvalues is {values.tolist()}; it must hold positive numbers.")
    return values
