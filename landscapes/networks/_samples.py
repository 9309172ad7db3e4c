"""Samples (x, f) of network landscapes: checked, drawn, symmetrised, in canonical form."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

from particles import InvalidInput, Points
from particles.internal import (
    compiled_once,
    normal_points,
    require_finite,
    require_points,
    require_real,
    to_device,
    uniform_points,
)

from ._modes import HermiteModes


def _uniform(key: Array, size: int, dim: int, dtype: jnp.dtype, points: Points) -> Array:
    return 3**0.5 * (2 * uniform_points(key, size, dim, dtype, points) - 1)


def _rademacher(key: Array, size: int, dim: int, dtype: jnp.dtype, points: Points) -> Array:
    return jnp.where(uniform_points(key, size, dim, dtype, points) < 0.5, 1.0, -1.0).astype(dtype)


#: Input distributions by name: functions of (key, shape, dtype), all of unit variance.
DISTRIBUTIONS: dict[str, Callable[..., Array]] = {
    name: compiled_once(draw, static_argnums=(1, 2))
    for name, draw in {
        "normal": jax.random.normal,
        "uniform": lambda key, shape, dtype: 3**0.5 * jax.random.uniform(key, shape, dtype, -1, 1),
        "rademacher": jax.random.rademacher,
    }.items()
}
#: The same laws on evenly spread points: functions of (key, size, dim, dtype, points).
EVENLY: dict[str, Callable[..., Array]] = {
    "normal": normal_points,
    "uniform": _uniform,
    "rademacher": _rademacher,
}


def checked_samples(
    x: ArrayLike | HermiteModes, f: ArrayLike
) -> tuple[Array | HermiteModes, Array]:
    """Inputs and targets as finite floating-point matrices of equal length; modes for inputs.

    Raises:
        InvalidInput: not two matrices with the same number of rows, or numbers that are complex, of
            half precision or not finite.
    """
    require_real("f", f)
    f = jnp.asarray(f)
    if isinstance(x, HermiteModes):
        if f.ndim != 2 or f.shape[0] != x.shape[0]:
            raise InvalidInput(
                f"f has shape {f.shape}; it must be (modes, outputs) for {x.shape[0]} Hermite "
                "modes: make it with `HermiteModes.targets`, or `teach` with a measure of neurons."
            )
        require_finite("f", f)
        return x.astype(f.dtype), f
    require_real("x", x)
    x = jnp.asarray(x)
    if x.ndim != 2 or f.ndim != 2 or x.shape[0] != f.shape[0] or 0 in x.shape + f.shape:
        raise InvalidInput(
            f"x has shape {x.shape} and f has shape {f.shape}; they must be (samples, inputs) and "
            "(samples, outputs) with the same, non-zero number of samples."
        )
    dtype = jnp.promote_types(jnp.result_type(x, f), jnp.float32)
    x, f = x.astype(dtype), f.astype(dtype)
    require_finite("x", x)
    require_finite("f", f)
    return x, f


def draw_inputs(
    key: Key[Array, ""],
    samples: int,
    dim: int,
    distribution: str | Callable[..., Array] = "normal",
    *,
    symmetric: Sequence[int] = (),
    points: Points = "random",
    whiten: bool = False,
) -> Float[Array, "samples dim"]:
    """Draw inputs, optionally evenly spread, whitened, and closed under sign flips.

    A set that the flips map to itself makes the subspace where those input weights vanish
    invariant under the flow. (theory.md, section 2)

    Args:
        key: random key.
        samples: number of rows M; a multiple of 2^s for s symmetric coordinates.
        dim: number of columns d.
        distribution: a name, or a callable of (key, shape, dtype).
        symmetric: coordinates whose sign flips must leave the set of rows unchanged.
        points: how rows are drawn, see `particles.gaussian`; averages over `"sobol"` or
            `"stratified"` rows err less. With symmetric coordinates the flips act on M/2^s of them.
        whiten: map the rows linearly so that their mean is zero and their covariance the identity.

    Raises:
        InvalidInput: unknown distribution, sizes not positive, M no multiple of 2^s or not suited
            to `points`, a symmetric coordinate that does not exist or is named twice, a callable
            distribution with `points`, or too few rows (or rows of ±1) to whiten.

    Example:
        >>> import jax
        >>> draw_inputs(jax.random.key(0), 8, 3, symmetric=[2])[:, 2].sum().item()
        0.0
    """
    if isinstance(distribution, str) and distribution not in DISTRIBUTIONS:
        raise InvalidInput(
            f"distribution is {distribution!r}; choose one of {sorted(DISTRIBUTIONS)} "
            "or give a callable."
        )
    if samples < 1 or dim < 1:
        raise InvalidInput(f"samples is {samples} and dim is {dim}; both must be positive.")
    if any(not 0 <= axis < dim for axis in symmetric) or len(set(symmetric)) < len(symmetric):
        raise InvalidInput(
            f"symmetric is {list(symmetric)}; coordinates run from 0 to {dim - 1}, each named once."
        )
    copies = 2 ** len(symmetric)
    if samples % copies:
        raise InvalidInput(
            f"samples is {samples}; with {len(symmetric)} symmetric coordinates it must be a "
            f"multiple of {copies}."
        )
    dtype = jnp.result_type(float)
    rows = samples // copies
    require_points(points, rows, dim)
    if points == "random":
        draw = distribution if callable(distribution) else DISTRIBUTIONS[distribution]
        base = np.asarray(draw(key, (rows, dim), dtype))
    elif callable(distribution):
        raise InvalidInput(
            f"points is {points!r}, but distribution is a callable, which draws its own; name one "
            f"of {sorted(DISTRIBUTIONS)}."
        )
    else:
        base = np.asarray(_evenly(distribution, key, rows, dim, dtype, points))
    if whiten:
        base = _whitened(base, symmetric, distribution)
    flips = np.ones((copies, dim), base.dtype)
    if symmetric:
        flips[:, list(symmetric)] = list(itertools.product((1.0, -1.0), repeat=len(symmetric)))
    return to_device((flips[:, None, :] * base[None]).reshape(samples, dim))


@functools.partial(compiled_once, static_argnums=(0, 2, 3, 4, 5))
def _evenly(
    distribution: str, key: Array, size: int, dim: int, dtype: np.dtype, points: Points
) -> Array:
    return EVENLY[distribution](key, size, dim, dtype, points)


def _whitened(
    base: Float[np.ndarray, "rows dim"], symmetric: Sequence[int], distribution: str | Callable
) -> Float[np.ndarray, "rows dim"]:
    """Rows of mean zero and covariance one once the flips have acted on them."""
    rows, dim = base.shape
    if distribution == "rademacher":
        raise InvalidInput("whiten is true, but rows of ±1 would not stay so; do not whiten them.")
    if rows <= dim:
        raise InvalidInput(
            f"whiten is true, but {rows} rows before sign flips do not span {dim} dimensions; "
            f"draw at least {dim + 1}."
        )
    # The flips make a symmetric coordinate's mean and its correlations zero.
    free = np.ones(dim, base.dtype)
    free[list(symmetric)] = 0
    together = np.outer(free, free) + np.diag(1 - free)
    base = base - free * np.mean(base, axis=0)
    values, vectors = np.linalg.eigh(together * (base.T @ base) / rows)
    return base @ (together * ((vectors / np.sqrt(values)) @ vectors.T))


def canonical_form(
    f: Float[Array, "samples outputs"],
    spectrum: Sequence[float] | Float[Array, " rank"] | None = None,
    *,
    tolerance: float = 1e-9,
) -> tuple[Float[Array, "samples rank"], Float[Array, "outputs rank"]]:
    """Rotate and rescale targets so that Σ°° = E[f°f°ᵀ] is diagonal with a prescribed spectrum.

    Args:
        f: targets.
        spectrum: wanted eigenvalues of Σ°°, positive; `None` keeps the targets' own, without
            those below `tolerance` times the largest.
        tolerance: relative size below which an eigenvalue counts as zero.

    Returns:
        The new targets f T, and T. Columns are ordered by decreasing original eigenvalue.

    Raises:
        InvalidInput: the spectrum has a non-positive entry, or more entries than Σ°° has rank.

    Example:
        >>> import jax.numpy as jnp
        >>> g, _ = canonical_form(jnp.array([[1.0, 1.0], [1.0, -2.0]]), [1.0, 0.5])
        >>> jnp.diag(g.T @ g / 2).round(6).tolist()
        [1.0, 0.5]
    """
    # Dense algebra in NumPy: eagerly, JAX would compile each of these operations.
    targets: np.ndarray = np.asarray(f)
    values, vectors = np.linalg.eigh(targets.T @ targets / len(targets))
    values, vectors = values[::-1], vectors[:, ::-1]
    floor = max(tolerance, 100 * float(np.finfo(targets.dtype).eps)) * float(values[0])
    rank = int(np.sum(values > floor))
    if spectrum is None:
        transform = vectors[:, :rank]
    else:
        wanted = np.asarray(spectrum, targets.dtype)
        if wanted.ndim != 1 or wanted.size == 0 or not bool(np.all(wanted > 0)):
            raise InvalidInput(f"spectrum is {wanted.tolist()}; its entries must be positive.")
        if wanted.size > rank:
            raise InvalidInput(
                f"spectrum has {wanted.size} entries, but the targets span only {rank} dimensions "
                f"on {f.shape[0]} samples: ask for at most {rank}, or give more samples."
            )
        transform = vectors[:, : wanted.size] * np.sqrt(wanted / values[: wanted.size])
    # Columns of an eigenbasis have free signs; fix them so that equal input gives equal output.
    largest = np.argmax(np.abs(transform), axis=0, keepdims=True)
    transform = transform * np.sign(np.take_along_axis(transform, largest, axis=0))
    return to_device(targets @ transform), to_device(transform)
