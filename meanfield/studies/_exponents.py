"""Exponents of convergence in N, with confidence intervals over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

CONFIDENCE = 0.95
FEWEST = 4  # sizes that leave every fit a degree of freedom
RESOLVED = 2.0  # standard errors that a mean must be away from zero to have a logarithm


@dataclass(frozen=True)
class Exponent:
    """A fitted power law, |quantity| ≈ amplitude · N^value for large N.

    Args:
        value: the exponent; `nan` where the data cannot resolve it.
        low: lower end of its 95 % confidence interval over seeds.
        high: upper end.
        amplitude: the constant in front.
        error: standard error of the exponent.
        seeds: what the error rests on.
        used: the abscissae whose mean is distinguishable from zero, which the fit rests on.
        statement: the same in a sentence.
    """

    value: float
    low: float
    high: float
    amplitude: float
    error: float
    seeds: int
    used: tuple[float, ...]
    statement: str

    def contains(self, theory: float) -> bool:
        """Whether the interval holds a predicted exponent."""
        return self.low <= theory <= self.high

    def half_width(self, confidence: float) -> float:
        """Of the interval at another confidence, as for several statements at once."""
        return self.error * _quantile(confidence, self.seeds - 1)


def fit_exponent(
    sizes: np.ndarray,
    samples: Float[np.ndarray, "seeds sizes"],
    *,
    power: float = 1.0,
    correction: bool = True,
) -> Exponent:
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
    columns = columns if correction else columns[:, :2]
    solve = np.linalg.pinv(columns / spread[:, None])

    def fit(values: np.ndarray) -> np.ndarray:
        return solve @ (power * np.log(np.abs(values)) / spread)

    offset, value = fit(mean[resolved])[:2]
    left_out = (samples.sum(axis=0) - samples)[:, resolved] / (seeds - 1)
    slopes = np.array([fit(row)[1] for row in left_out])
    deviation = math.sqrt((seeds - 1) * float(np.mean((slopes - slopes.mean()) ** 2)))
    half = _quantile(CONFIDENCE, seeds - 1) * deviation
    return Exponent(
        float(value),
        float(value - half),
        float(value + half),
        math.exp(offset),
        deviation,
        seeds,
        used,
        f"exponent {value:.3f} ± {half:.3f} (95 %, {seeds} seeds, over {used[0]:.4g} to "
        f"{used[-1]:.4g})",
    )


def _unresolved(seeds: int, used: tuple[float, ...], why: str) -> Exponent:
    statement = f"the data cannot resolve an exponent: {why}"
    return Exponent(*[math.nan] * 5, seeds=seeds, used=used, statement=statement)


def _quantile(confidence: float, freedom: int) -> float:
    import scipy.stats  # takes a second to import, and few need it

    return float(scipy.stats.t.ppf(0.5 + confidence / 2, freedom))
