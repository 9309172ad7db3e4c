"""What theory knows of linear attention: optimum, levels, time courses, regression (ZSLS25)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
from jaxtyping import Array, ArrayLike, Float

from particles import InvalidInput

from ._directions import is_identity, shared_directions
from ._prompts import checked_covariance, checked_length, checked_tasks

Eigenvalues = Sequence[float] | np.ndarray | Array
ROUNDING = 1e-12

# Everything here is at the convention of theory.md: β = (1/N) Σ y_n x_n and L = ½ E(y − ŷ)².
# Tasks are w ~ N(0, T). Functions of eigenvalues take those t_d of a T that shares the
# eigenvectors of Λ, paired with λ_d; without them T = I.


def in_context_optimum(
    covariance: Float[Array, "dim dim"],
    context_length: float,
    task_covariance: Float[Array, "dim dim"] | None = None,
) -> Float[Array, "dim dim"]:
    """A* = T^½ ((1 + 1/N) T^½ Λ T^½ + (tr(ΛT)/N) I)⁻¹ T^½, the least-squares read-out.

    It is symmetric, and Λ and T need not commute. For T = I it is ((1 + 1/N) Λ + (trΛ/N) I)⁻¹,
    which shares Λ's eigenvectors. Where a singular T and an infinite N leave a choice, it is the
    one that vanishes on the kernel of T. (theory.md, section 4)

    Args:
        covariance: Λ.
        context_length: N.
        task_covariance: T; `None` is the identity.

    Example:
        >>> import jax.numpy as jnp
        >>> in_context_optimum(jnp.diag(jnp.array([0.5, 0.5])), 1).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    plain = task_covariance is None or is_identity(task_covariance)
    inverse = 1 / context_length
    return _optimum(covariance, 1 + inverse, inverse, None if plain else task_covariance)


@jax.jit
def _optimum(
    covariance: Array, more: Array | float, inverse: Array | float, task_covariance: Array | None
) -> Array:
    """A* for 1 + 1/N and 1/N."""
    identity = jnp.eye(covariance.shape[0], dtype=covariance.dtype)
    if task_covariance is None:
        ridge = inverse * jnp.trace(covariance) * identity
        return jnp.linalg.inv(more * covariance + ridge)
    values, vectors = jnp.linalg.eigh(task_covariance)
    root = (vectors * jnp.sqrt(jnp.maximum(values, 0))) @ vectors.T
    ridge = inverse * jnp.sum(covariance * task_covariance) * identity
    inner = more * (root @ covariance @ root) + ridge
    return root @ jnp.linalg.pinv(inner, hermitian=True) @ root


def plateau_curvature(
    eigenvalues: Eigenvalues, context_length: float, task_eigenvalues: Eigenvalues | None = None
) -> np.ndarray:
    """c_d = λ_d³ (t_d + (t_d + tr(ΛT)/λ_d)/N), the curvature of L along direction d.

    For diagonal A, L = ½ Σ_d (λ_d t_d − 2 λ_d² t_d a_d + c_d a_d²).

    Args:
        eigenvalues: λ of Λ, positive.
        context_length: N, labelled tokens of a prompt.
        task_eigenvalues: t of T, paired with λ, not negative; `None` for T = I.

    Raises:
        InvalidInput: eigenvalues that are not positive, task eigenvalues that are negative, all
            zero or not as many, or a context length below one.

    Example:
        >>> plateau_curvature([1.0, 0.5], 1).round(4).tolist()  # trΛ = 1.5
        [3.5, 0.625]
    """
    values = _positive(eigenvalues)
    tasks = _paired(task_eigenvalues, values)
    mean = (tasks + (values * tasks).sum() / values) / checked_length(context_length)
    return values**3 * (tasks + mean)


def plateau_level(
    eigenvalues: Eigenvalues,
    context_length: float,
    learned: Iterable[int],
    task_eigenvalues: Eigenvalues | None = None,
) -> float:
    """L where the eigen-directions `learned` are (numbered from 0, as the eigenvalues are given).

    L = ½ (tr(ΛT) − Σ_{d learned} λ_d t_d² / (t_d + (t_d + tr(ΛT)/λ_d)/N)): a critical value of
    the separate landscape at rank one for each of the 2^D sets, and of the merged one for none
    and for all.

    Args:
        eigenvalues: of Λ, positive.
        context_length: N, labelled tokens of a prompt.
        learned: the set of learned directions.
        task_eigenvalues: t of T, paired with λ; `None` for T = I.

    Raises:
        InvalidInput: a direction that does not exist; see `plateau_curvature`.

    Example:
        >>> round(plateau_level([0.1, 0.2, 0.3, 0.4], 32, learned=[3, 2]), 6)
        0.187608
    """
    values, learned = _positive(eigenvalues), sorted(set(learned))
    tasks = _paired(task_eigenvalues, values)
    curvature = plateau_curvature(values, context_length, tasks)
    if any(not 0 <= d < values.size for d in learned):
        raise InvalidInput(f"learned is {learned}; directions run from 0 to {values.size - 1}.")
    worth = _quotient(values**4 * tasks**2, curvature)
    return 0.5 * float((values * tasks).sum() - worth[learned].sum())


def plateau_levels(
    eigenvalues: Eigenvalues, context_length: float, task_eigenvalues: Eigenvalues | None = None
) -> np.ndarray:
    """The plateau levels L_0 > … > L_D: the m directions of largest λ_d t_d learned (ZSLS25).

    No other m directions have a lower level, and no other m have `head_saddle_index` zero. For
    T = I they are the m largest eigen-directions, in the order in which a small start learns them.

    Args:
        eigenvalues: of Λ, positive.
        context_length: N, labelled tokens of a prompt.
        task_eigenvalues: t of T, paired with λ; `None` for T = I.

    Raises:
        InvalidInput: see `plateau_curvature`.

    Example:
        >>> plateau_levels([0.1, 0.2, 0.3, 0.4], 32).round(6).tolist()
        [0.5, 0.319718, 0.187608, 0.103398, 0.066188]
    """
    values = _positive(eigenvalues)
    tasks = _paired(task_eigenvalues, values)
    order = np.argsort(values * tasks)[::-1]
    values, tasks = values[order], tasks[order]
    return np.array(
        [plateau_level(values, context_length, range(m), tasks) for m in range(values.size + 1)]
    )


def head_saddle_index(
    eigenvalues: Eigenvalues,
    context_length: float,
    learned: Iterable[int],
    task_eigenvalues: Eigenvalues | None = None,
) -> int:
    """Morse index at rank one, one head on each learned direction and the others at zero.

    A head on direction l turns towards a missing direction d with λ_d t_d > λ_l t_l: the number of
    such pairs. It is zero where the directions of largest λ_d t_d are learned; those saddles are
    degenerate. A direction with t_l = 0 has nothing to learn, and no head on it.

    Args:
        eigenvalues: of Λ, positive.
        context_length: N, labelled tokens of a prompt.
        learned: the set of learned directions.
        task_eigenvalues: t of T, paired with λ; `None` for T = I.

    Raises:
        InvalidInput: a direction that does not exist; see `plateau_curvature`.

    Example:
        >>> head_saddle_index([0.4, 0.3, 0.2, 0.1], 32, learned=[1, 3])
        3
        >>> head_saddle_index([0.4, 0.3], 32, learned=[0], task_eigenvalues=[1.0, 2.0])
        1
    """
    learned = sorted(set(learned))
    plateau_level(eigenvalues, context_length, learned, task_eigenvalues)
    values = _positive(eigenvalues)
    energy = values * _paired(task_eigenvalues, values)
    missing = [d for d in range(values.size) if d not in learned]
    pairs = itertools.product(learned, missing)
    # Products that are equal but for rounding make no direction unstable.
    return sum(bool(0 < energy[one] * (1 + ROUNDING) < energy[d]) for one, d in pairs)


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
    eigenvalues: Eigenvalues,
    context_length: float,
    direction: int,
    start: float,
    learned: float,
    task_eigenvalues: Eigenvalues | None = None,
) -> float:
    """Time for one rank-one head to learn one eigen-direction up to a fraction of its optimum.

    The head is balanced and aligned, v = |k| = |q|, and dv/dt = λ_d² t_d v² − c_d v⁵ from
    v = `start`: hyperbolic growth, about 1/(λ_d² t_d v_0). Time is that of dθ/dt = −∇_θ L: with N
    summed heads, N times the flow time of the ensemble. (theory.md, section 4; ZSLS25)

    Args:
        eigenvalues: of Λ.
        context_length: N.
        direction: d, numbered from 0.
        start: v at time zero.
        learned: the fraction of the optimum v³ = λ_d² t_d/c_d to reach, below 1.
        task_eigenvalues: t of T, paired with λ; `None` for T = I.

    Raises:
        InvalidInput: a fraction that is not between the start's and 1; see `plateau_level`.

    Example:
        >>> round(transition_time([0.6, 0.4], 32, 0, start=0.01, learned=0.5), 1)
        275.7
    """
    square, curvature = _growth(eigenvalues, context_length, direction, task_eigenvalues)
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
    task_eigenvalues: Eigenvalues | None = None,
) -> np.ndarray:
    """v(t) of the scalar equation dv/dt = λ_d² t_d v² − c_d v⁵; see `transition_time`.

    Args:
        times: flow times t ≥ 0.
        eigenvalues: of Λ, positive.
        context_length: N, labelled tokens of a prompt.
        direction: d, numbered from 0.
        start: v(0) > 0.
        task_eigenvalues: t of T, paired with λ; `None` for T = I.

    Raises:
        InvalidInput: a start that is not positive; see `plateau_level`.

    Example:
        >>> bool(transition_curve([0.0, 50.0], [0.7, 0.3], 32, 0, 0.1)[1] > 1)  # the drop is over
        True
    """
    if not start > 0:
        raise InvalidInput(f"start is {start}; it must be positive.")
    square, curvature = _growth(eigenvalues, context_length, direction, task_eigenvalues)

    def slope(time: float, v: np.ndarray) -> np.ndarray:
        return square * v**2 - curvature * v**5

    return solve_exactly(slope, [start], times)[:, 0]


def principal_component_regression(
    x: Float[Array | np.ndarray, "sequences tokens dim"],
    y: Float[Array | np.ndarray, "sequences tokens"],
    covariance: ArrayLike | Sequence,
    components: int,
    task_covariance: ArrayLike | Sequence | None = None,
) -> np.ndarray:
    """ŷ for every last token by in-context regression on the first m principal components of Λ.

    ŷ = Σ_{d≤m} a_d (e_dᵀβ)(e_dᵀx_q) with β = (1/N) Σ_n y_n x_n and the least-squares gains
    a_d = λ_d² t_d/c_d, for T = I 1/(λ_d (1 + (1 + trΛ/λ_d)/N)): the estimator that the model is
    with those directions learned. As N → ∞ it is the ordinary one, a_d = 1/λ_d. (theory.md,
    section 4; ZSLS25)

    Args:
        x: tokens, the query last.
        y: labels; the query's is not looked at.
        covariance: Λ.
        components: m, between 0 and D.
        task_covariance: T, which must commute with Λ; `None` is the identity.

    Raises:
        InvalidInput: Λ is not symmetric positive definite, T is not symmetric positive
            semidefinite or does not commute with Λ, or `components` outside 0 … D.

    Example:
        >>> x, y = np.array([[[1.0], [2.0], [3.0]]]), np.array([[2.0, 4.0, 0.0]])  # y = 2x
        >>> float(principal_component_regression(x, y, [[5.0]], 0)[0])  # no component: zero
        0.0
    """
    matrix = checked_covariance(covariance)
    values, tasks, vectors = shared_directions(matrix, checked_tasks(task_covariance, matrix))
    if not 0 <= components <= values.size:
        raise InvalidInput(
            f"components is {components}; it must lie between 0 and D = {values.size}."
        )
    x, y = np.asarray(x, float), np.asarray(y, float)
    length = x.shape[1] - 1
    gains = optimal_gains(values, length, tasks)
    context = np.einsum("pn,pna->pa", y[:, :-1], x[:, :-1]) / length @ vectors
    kept = slice(components)
    return np.sum((context * (x[:, -1] @ vectors) * gains)[:, kept], axis=1)


def optimal_gains(
    eigenvalues: Eigenvalues, context_length: float, task_eigenvalues: Eigenvalues | None = None
) -> np.ndarray:
    """a_d = λ_d² t_d/c_d, the eigenvalues of A*; zero where a direction has nothing to learn.

    Raises:
        InvalidInput: see `plateau_curvature`.
    """
    values = _positive(eigenvalues)
    tasks = _paired(task_eigenvalues, values)
    return _quotient(values**2 * tasks, plateau_curvature(values, context_length, tasks))


def solve_exactly(
    slope: Callable[[float, np.ndarray], ArrayLike | Sequence],
    start: ArrayLike | Sequence,
    times: ArrayLike | Sequence[float],
) -> Float[np.ndarray, "times size"]:
    """y(times) of dy/dt = slope(t, y) to a relative 1e-12, in float64 whatever the default.

    The equations are small: SciPy solves them in a fraction of the time it takes to compile them.

    Args:
        slope: the right-hand side.
        start: y at time zero.
        times: not negative, increasing.

    Raises:
        RuntimeError: the step became too small, as where y grows without bound.
    """
    times = np.asarray(times, float)
    solution = scipy.integrate.solve_ivp(
        slope,
        (0.0, times.max() or 1.0),
        np.asarray(start, float),
        method="DOP853",
        t_eval=times,
        rtol=1e-12,
        atol=1e-14,
    )
    if not solution.success:
        raise RuntimeError(solution.message)
    return solution.y.T


def _positive(eigenvalues: Eigenvalues) -> np.ndarray:
    values = np.asarray(eigenvalues, float)
    if values.ndim != 1 or values.size == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise InvalidInput(f"eigenvalues is {values.tolist()}; it must hold positive numbers.")
    return values


def _quotient(worth: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Their ratio; zero where both are, without tasks and with an infinite context."""
    return np.divide(worth, curvature, out=np.zeros_like(worth), where=curvature > 0)


def _paired(task_eigenvalues: Eigenvalues | None, values: np.ndarray) -> np.ndarray:
    """T's eigenvalues, one for each of Λ's; ones where there are none."""
    if task_eigenvalues is None:
        return np.ones_like(values)
    tasks = np.asarray(task_eigenvalues, float)
    if tasks.shape != values.shape:
        raise InvalidInput(
            f"task_eigenvalues has shape {tasks.shape}; it must have one for each of the "
            f"{values.size} eigenvalues."
        )
    if not (np.isfinite(tasks) & (tasks >= 0)).all() or not tasks.any():
        raise InvalidInput(
            f"task_eigenvalues is {tasks.tolist()}; it must hold numbers that are not negative, "
            "and a positive one."
        )
    return tasks


def _growth(
    eigenvalues: Eigenvalues,
    context_length: float,
    direction: int,
    task_eigenvalues: Eigenvalues | None,
) -> tuple[float, float]:
    """λ_d² t_d and c_d of one direction that has something to learn."""
    plateau_level(eigenvalues, context_length, [direction], task_eigenvalues)
    values = _positive(eigenvalues)
    tasks = _paired(task_eigenvalues, values)
    if tasks[direction] == 0:
        raise InvalidInput(f"direction is {direction}, whose task eigenvalue is 0: never learned.")
    curvature = plateau_curvature(values, context_length, tasks)[direction]
    return float(values[direction] ** 2 * tasks[direction]), float(curvature)
