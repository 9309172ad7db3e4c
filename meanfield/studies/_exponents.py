"""Exponents of convergence in N, with confidence intervals over seeds."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from saddle_analysis.curves import PowerLaw, fit_line, student_quantile

CONFIDENCE = 0.95
FEWEST = 4  # sizes that leave every fit a degree of freedom
RESOLVED = 2.0  # standard errors that a mean must be away from zero to have a logarithm


def fit_exponent(
    sizes: np.ndarray,
    samples: Float[np.ndarray, "seeds sizes"],
    *,
    power: float = 1.0,
    correction: bool = True,
) -> PowerLaw:
    """The exponent b of mean(samples)^power ∝ N^b (1 + c/N), and its interval over seeds.

    The correction c/N takes up what is left of the next order at the smallest sizes, which would
    bend a straight line. Points are weighted by their errors; the interval is that of a jackknife
    over seeds, with Student's t. Sizes whose mean lies within two standard errors of zero, with
    seeds of either sign, are left out and named; with fewer than four left there is no fit.

    Args:
        sizes: N, increasing.
        samples: one row for each seed; only their mean over seeds must have a sign.
        power: of the mean, such as ½ for a root mean square.
        correction: false for a plain straight line, where sizes are few.

    Example:
        >>> import numpy as np
        >>> sizes = np.array([64, 128, 256, 512, 1024])
        >>> noise = 1 + 0.01 * np.random.default_rng(0).standard_normal((16, 5))
        >>> fit_exponent(sizes, noise / sizes).contains(-1.0)
        True
    """
    seeds = samples.shape[0]
    if seeds < 2 or not sizes.size:
        had = f"{sizes.size} sizes of {seeds} seed{'' if seeds == 1 else 's'} have values"
        return _unresolved(seeds, (), f"{had}, and a fit needs {FEWEST} of at least 2")
    mean = samples.mean(axis=0)
    error = samples.std(axis=0, ddof=1) / math.sqrt(seeds)
    signed = (samples > 0).all(axis=0) | (samples < 0).all(axis=0)  # such as squares: never zero
    resolved = np.isfinite(mean) & (signed | (np.abs(mean) > RESOLVED * error))
    if resolved.any():  # one sign only: the one of the best resolved size
        best = int(np.argmax(np.where(resolved, np.abs(mean) / np.maximum(error, 1e-300), 0)))
        resolved &= np.sign(mean) == np.sign(mean[best])
    used = tuple(float(n) for n in sizes[resolved])
    if len(used) < FEWEST:
        return _unresolved(
            seeds,
            used,
            f"of {sizes.size} sizes {len(used)} have a mean that {seeds} seeds tell from zero, and "
            f"a fit needs {FEWEST}",
        )
    scales, rows = sizes[resolved].astype(float), np.abs(mean[resolved])
    spread = np.maximum(error[resolved] / rows, 1e-12)
    columns = np.stack([np.ones_like(scales), np.log(scales), scales.min() / scales], axis=1)
    solve = np.linalg.pinv(columns / spread[:, None])

    def fit(values: np.ndarray) -> tuple[float, float]:
        logs = power * np.log(np.abs(values))
        if correction:
            offset, slope = (solve @ (logs / spread))[:2]
            return float(offset), float(slope)
        line = fit_line(np.log(scales), logs, spread**-2)
        return line.intercept, line.slope

    offset, value = fit(mean[resolved])
    left_out = (samples.sum(axis=0) - samples)[:, resolved] / (seeds - 1)
    slopes = np.array([fit(row)[1] for row in left_out])
    deviation = math.sqrt((seeds - 1) * float(np.mean((slopes - slopes.mean()) ** 2)))
    half = student_quantile(CONFIDENCE, seeds - 1) * deviation
    return PowerLaw(
        float(value),
        float(value - half),
        float(value + half),
        math.exp(offset),
        deviation,
        seeds - 1,
        used,
        f"exponent {value:.3f} ± {half:.3f} (95 %, {seeds} seeds, over {used[0]:.4g} to "
        f"{used[-1]:.4g})",
    )


def _unresolved(seeds: int, used: tuple[float, ...], why: str) -> PowerLaw:
    statement = f"the data cannot resolve an exponent: {why}"
    return PowerLaw(*[math.nan] * 5, freedom=max(seeds - 1, 0), used=used, statement=statement)
