"""Standard points behind every draw: independent, scrambled Sobol, stratified, antithetic.

Averages of smooth functions over the last three err less than over independent points. All are
drawn by compiled code, so that a draw can be mapped over keys and split over devices.
"""

from __future__ import annotations

import functools
import warnings
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt32

from ._errors import InvalidInput

Points = Literal["random", "sobol", "stratified", "antithetic"]
POINTS: tuple[str, ...] = ("random", "sobol", "stratified", "antithetic")

BITS = 32  # of a coordinate: the finest grid that a 32-bit word holds
MOST_COORDINATES = 21201  # scipy has direction numbers of so many


class UnbalancedWarning(UserWarning):
    """A number of Sobol points that is no power of two: they are not evenly spread."""


def normal_points(
    key: Key[Array, ""], size: int, dim: int, dtype: jnp.dtype, points: Points
) -> Float[Array, "size dim"]:
    """Points of the standard normal law.

    Args:
        key: random key; another key gives another scrambling.
        size: number of points.
        dim: coordinates of a point.
        dtype: of the points.
        points: how they are drawn, see `uniform_points`.

    Raises:
        InvalidInput: see `uniform_points`.
    """
    if points == "random":
        return jax.random.normal(key, (size, dim), dtype)
    if points == "antithetic":
        half = jax.random.normal(key, (size // 2, dim), dtype)
        return jnp.concatenate([half, -half])
    lower, upper = _cells(key, size, dim, dtype, points)
    # The quantile of the nearer end: its rounding error is relative, so no point is infinite.
    near = jax.scipy.special.ndtri(jnp.minimum(lower, upper))
    return jnp.where(lower <= upper, near, -near).astype(dtype)


def uniform_points(
    key: Key[Array, ""], size: int, dim: int, dtype: jnp.dtype, points: Points
) -> Float[Array, "size dim"]:
    """Points of the uniform law on [0, 1).

    Args:
        key: random key; another key gives another scrambling.
        size: number of points.
        dim: coordinates of a point.
        dtype: of the points.
        points: `"random"` for independent points; `"sobol"` for a scrambled Sobol sequence
            (SOB67, MAT98), balanced where `size` is a power of two; `"stratified"` for a Latin
            hypercube (MBC79): every coordinate once in each of `size` equal intervals;
            `"antithetic"` for pairs mirrored at the centre.

    Raises:
        InvalidInput: an unknown way, an odd number of antithetic points, or more coordinates than
            there are direction numbers.
    """
    if points == "random":
        return jax.random.uniform(key, (size, dim), dtype)
    if points == "antithetic":
        half = jax.random.uniform(key, (size // 2, dim), dtype)
        drawn = jnp.concatenate([half, 1 - half])
    else:
        drawn, _ = _cells(key, size, dim, dtype, points)
    # Rounding must not lift a point to the excluded end.
    return jnp.minimum(drawn, 1 - jnp.finfo(dtype).epsneg).astype(dtype)


def require_points(points: str, size: int, dim: int) -> None:
    """Refuse an unknown way of drawing, and sizes that it has no points of.

    Raises:
        InvalidInput: see `uniform_points`.
    """
    if points not in POINTS:
        raise InvalidInput(f"points is {points!r}; choose one of {list(POINTS)}.")
    if points == "antithetic" and size % 2:
        raise InvalidInput(f"size is {size}; antithetic points come in pairs: give an even number.")
    if points != "sobol":
        return
    if dim > MOST_COORDINATES:
        raise InvalidInput(
            f"a point has {dim} coordinates; Sobol points have at most {MOST_COORDINATES}: choose "
            "another way of drawing points."
        )
    if size >= 2**BITS:
        raise InvalidInput(f"size is {size}; there are fewer than 2^{BITS} Sobol points.")
    if size & (size - 1):
        below = 1 << (size.bit_length() - 1)
        warnings.warn(
            f"size is {size}, no power of two: Sobol points are then not evenly spread, and much "
            f"of their gain is lost; {below} or {2 * below} would keep it.",
            UnbalancedWarning,
            stacklevel=4,
        )


def _cells(
    key: Array, size: int, dim: int, dtype: jnp.dtype, points: Points
) -> tuple[Float[Array, "size dim"], Float[Array, "size dim"]]:
    """Distances of uniform points from 0 and from 1, each to its own rounding error."""
    if points == "sobol":
        bits = _sobol(key, size, dim)
        width = 2.0**-BITS
        return (
            (bits.astype(dtype) + 0.5) * width,
            ((~bits).astype(dtype) + 0.5) * width,
        )
    order_key, within_key = jax.random.split(key)
    rows = jnp.broadcast_to(jnp.arange(size)[:, None], (size, dim))
    strata = jax.random.permutation(order_key, rows, independent=True)
    tiny = jnp.finfo(dtype).eps
    within = jax.random.uniform(within_key, (size, dim), dtype, tiny, 1 - tiny)
    return (strata + within) / size, (size - 1 - strata + (1 - within)) / size


def _sobol(key: Array, size: int, dim: int) -> UInt32[Array, "size dim"]:
    """The first Sobol points as 32-bit words, scrambled by a random linear map and a shift."""
    columns = max((size - 1).bit_length(), 1)
    matrix_key, shift_key = jax.random.split(key)
    # Digit i of a scrambled number: parity of the digits up to i that a random mask picks, i
    # itself among them, so that the map is one to one.
    place = np.uint32(1) << np.arange(BITS - 1, -1, -1, dtype=np.uint32)
    above = ~(place | (place - np.uint32(1)))
    masks = (jax.random.bits(matrix_key, (dim, BITS), jnp.uint32) & above) | place
    kept = masks[:, None, :] & jnp.asarray(_directions(dim, columns))[:, :, None]
    digits = jax.lax.population_count(kept) & np.uint32(1)
    scrambled = jnp.sum(digits * place, axis=-1, dtype=jnp.uint32)
    words = jax.random.bits(shift_key, (1, dim), jnp.uint32)
    index = jnp.arange(size, dtype=jnp.uint32)[:, None]
    words = jnp.broadcast_to(words, (size, dim))
    for column in range(columns):
        chosen = (index >> np.uint32(column)) & np.uint32(1)
        words = words ^ (chosen * scrambled[:, column])
    return words


@functools.lru_cache(maxsize=32)
def _directions(dim: int, columns: int) -> UInt32[np.ndarray, "dim columns"]:
    """Direction numbers of scipy's Sobol sequence, read off its unscrambled points."""
    from scipy.stats import qmc  # slow to import, and of use here alone

    sequence = qmc.Sobol(dim, scramble=False, bits=BITS)
    found = np.empty((dim, columns), np.uint32)
    for column in range(columns):
        # The sequence runs in Gray code: point 2^(j+1) − 1 is direction number j alone.
        sequence.reset()
        sequence.fast_forward(2 ** (column + 1) - 1)
        found[:, column] = np.round(sequence.random(1)[0] * 2.0**BITS).astype(np.uint32)
    return found
