"""The limit N → ∞ itself: losses of a few sizes, extrapolated in 1/N."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from saddle_analysis.curves import student_quantile

from ..results import Estimate
from ._exponents import CONFIDENCE

if TYPE_CHECKING:
    import xarray


def extrapolated(scales: Float[np.ndarray, " sizes"], values: np.ndarray) -> np.ndarray:
    """The polynomial in `scales` through all values, at zero (Richardson).

    Args:
        scales: distinct, such as 1/N.
        values: the last axis goes with `scales`.

    Example:
        >>> import numpy as np
        >>> n = np.array([10.0, 20.0])
        >>> round(float(extrapolated(1 / n, 5 + 3 / n)), 9)
        5.0
    """
    weights = [
        math.prod(other / (other - own) for k, other in enumerate(scales) if k != i)
        for i, own in enumerate(scales)
    ]
    return np.asarray(values @ np.array(weights))


def limit_of(data: xarray.Dataset, time: int = -1) -> Estimate:
    """The loss of the mean-field flow at one of the recorded times of a study.

    The bias of order 1/N is removed with the reference and the largest size, seed by seed. What it
    leaves is estimated by what the next order would change. (theory.md, section 7)

    Args:
        data: of a convergence study.
        time: number of the record.
    """
    seen = data.isel(time=time)
    reference = seen["reference_loss"].values
    sizes = np.sort(seen["size"].values)[::-1][:2]
    scales = 1 / np.array([data.attrs["reference"], *sizes], float)
    blocks = [reference + seen["bias"].sel(size=size).values for size in sizes]
    losses = np.stack([reference, *blocks], axis=-1)
    rows = losses[np.isfinite(losses).all(axis=1)]
    if len(rows) < 2:
        return Estimate(math.nan, {"draws": math.nan})
    found = extrapolated(scales[:2], rows[:, :2])
    other = extrapolated(scales, rows) if sizes.size > 1 else rows[:, 0]
    spread = found.std(ddof=1) / math.sqrt(len(found))
    return Estimate(
        float(found.mean()),
        {
            "draws": float(student_quantile(CONFIDENCE, len(found) - 1) * spread),
            "extrapolation": float(abs((found - other).mean())),
        },
    )
