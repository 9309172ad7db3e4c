"""How long softmax attention takes: against the number of features, time, and imbalance (HCL23)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from landscapes import SoftmaxAttentionLandscape
from landscapes.softmax_attention import (
    BalancedSoftmax,
    feature_probabilities,
)
from particles import Ensemble, InvalidInput
from saddle_analysis.curves import PowerLaw, crossing, find_stages, fit_power_law

from ..flows import GradientFlow
from ..runs import log_spaced, simulate

if TYPE_CHECKING:
    import xarray

PER_DECADE = 40  # records: interpolation between them finds a crossing to a few thousandths


@dataclass(frozen=True)
class SoftmaxGrowth:
    """Growth times of balanced features against their number K.

    Args:
        sizes: K.
        times: for each K, when every query's loss falls to a quarter of its start.
        predicted: the exact time, `BalancedSoftmax.growth_time`.
        law: power law fitted to the times of all queries of all K.
        predicted_law: the same fit to the predicted times.
    """

    sizes: np.ndarray
    times: list[np.ndarray]
    predicted: np.ndarray
    law: PowerLaw
    predicted_law: PowerLaw

    @property
    def means(self) -> np.ndarray:
        """Mean time over queries for each K."""
        return np.array([times.mean() for times in self.times])


@dataclass(frozen=True)
class SoftmaxTail:
    """Late losses of balanced features: L_k against t, and against K at the same t.

    Args:
        sizes: K.
        times: records.
        losses: mean of L_k over queries; shape `(sizes, times)`.
        predicted: the exact losses, `BalancedSoftmax.losses`.
        window: times between which the tail is fitted.
        time_laws: for each K, power law of L_k in t over the window.
        size_law: power law of t·L_k at the last record in K − 1; predicted exponent 1, prefactor ¼.
    """

    sizes: np.ndarray
    times: np.ndarray
    losses: np.ndarray
    predicted: np.ndarray
    window: tuple[float, float]
    time_laws: list[PowerLaw]
    size_law: PowerLaw


@dataclass(frozen=True)
class SoftmaxImbalance:
    """When queries converge, against the probability of the dominant feature.

    Args:
        features: K.
        dominant: p_1.
        dominant_times: when the dominant feature's loss falls to a quarter of its start.
        other_times: the same of the under-represented ones.
        phases: number of phases that an under-represented query goes through.
        law: power law of the under-represented times in their p_k = (1 − p_1)/(K − 1).
    """

    features: int
    dominant: np.ndarray
    dominant_times: np.ndarray
    other_times: np.ndarray
    phases: np.ndarray
    law: PowerLaw


def zero_head(landscape: SoftmaxAttentionLandscape) -> Ensemble:
    """One head at Q = 0, HCL23's start.

    Example:
        >>> zero_head(SoftmaxAttentionLandscape.of_length([0.5, 0.5])).particles.tolist()
        [[[0.0, 0.0], [0.0, 0.0]]]
    """
    shape = landscape.particle
    return Ensemble(jnp.zeros((1, *shape.shape), shape.dtype))


def softmax_growth_study(
    sizes: Sequence[int],
    *,
    length: float = math.inf,
    prompts: int | None = None,
    key: Key[Array, ""] | None = None,
    progress: bool = False,
) -> SoftmaxGrowth:
    """Growth time against K for balanced features, from Q = 0 (theory.md, section 6; HCL23).

    All sizes run as one compiled program: features of probability zero pad the smaller ones.

    Args:
        sizes: numbers of features, at least three different ones.
        length: prompt length n.
        prompts: sampled prompts; `None` for the exact expectation.
        key: draws them.
        progress: show bars.

    Raises:
        InvalidInput: fewer than three sizes, or bad prompts.

    Example:
        >>> study = softmax_growth_study([4, 6, 8])
        >>> bool(abs(study.means / study.predicted - 1).max() < 0.02)
        True
    """
    different = _checked_sizes(sizes)
    times, predicted = [], []
    for index, size in enumerate(different):
        theory = BalancedSoftmax(int(size), length)
        expected = theory.growth_time()
        drawn = None if key is None else jax.random.fold_in(key, index)
        trajectory = _train(
            _padded(feature_probabilities(int(size)), int(different[-1])),
            horizon=3 * expected,
            length=length,
            prompts=prompts,
            key=drawn,
            progress=progress,
            label=f"K = {size}",
        )
        times.append(_converging(trajectory, floor=theory.floor)[:size])
        predicted.append(expected)
    return SoftmaxGrowth(
        sizes=different,
        times=times,
        predicted=np.array(predicted),
        law=fit_power_law(np.repeat(different, different).astype(float), np.concatenate(times)),
        predicted_law=fit_power_law(different.astype(float), np.array(predicted)),
    )


def softmax_tail_study(
    sizes: Sequence[int], *, horizon: float | None = None, progress: bool = False
) -> SoftmaxTail:
    """Late losses of balanced features in the large-prompt limit: (K − 1)/(4t).

    (theory.md, section 6; HCL23)

    Args:
        sizes: numbers of features, at least three different ones.
        horizon: last time; by default 10⁴ times the longest growth time. The tail is fitted over
            the last two decades.
        progress: show bars.

    Raises:
        InvalidInput: fewer than three sizes.
    """
    different = _checked_sizes(sizes)
    theories = [BalancedSoftmax(int(size)) for size in different]
    horizon = 1e4 * theories[-1].growth_time() if horizon is None else horizon
    runs = [
        _train(
            _padded(feature_probabilities(int(size)), int(different[-1])),
            horizon,
            progress=progress,
            label=f"K = {size}",
        )
        for size in different
    ]
    times = runs[0]["time"].values
    curves = np.stack(
        [
            run["query_loss"].values[:, :size].mean(axis=1)
            for run, size in zip(runs, different, strict=True)
        ]
    )
    window = (horizon / 100, horizon)
    late = times >= window[0]
    return SoftmaxTail(
        sizes=different,
        times=times,
        losses=curves,
        predicted=np.stack([theory.losses(times) for theory in theories]),
        window=window,
        time_laws=[fit_power_law(times[late], curve[late]) for curve in curves],
        size_law=fit_power_law(different - 1.0, curves[:, -1] * times[-1]),
    )


def softmax_imbalance_study(
    features: int, dominant: Sequence[float], *, progress: bool = False
) -> SoftmaxImbalance:
    """Convergence of the dominant and the other features against p_1, in the large-prompt limit.

    (theory.md, section 6; HCL23)

    Args:
        features: K.
        dominant: probabilities p_1, at least three.
        progress: show bars.

    Raises:
        InvalidInput: fewer than three probabilities, or one outside (0, 1).
    """
    shares = np.unique(np.asarray(dominant, float))
    if shares.size < 3:
        raise InvalidInput(f"dominant is {list(dominant)}; give at least three different ones.")
    own, others, phases = [], [], []
    for share in shares:
        probabilities = feature_probabilities(features, float(share))
        # As slow as balanced features of the same probability would be, or a few times slower.
        slowest = BalancedSoftmax(max(2, round(1 / probabilities[-1]))).growth_time()
        trajectory = _train(
            probabilities, horizon=4 * slowest, progress=progress, label=f"p = {share:.2f}"
        )
        first, *rest = _converging(trajectory)
        own.append(first)
        others.append(np.mean(rest))
        t, a, b, loss = (trajectory[name].values for name in ("time", "A", "B", "query_loss"))
        phases.append(len(find_stages(t, a, b, loss)[1].stages))
    law = fit_power_law((1 - shares) / (features - 1), np.array(others))
    return SoftmaxImbalance(
        features, shares, np.array(own), np.array(others), np.array(phases), law
    )


def _train(
    probabilities: np.ndarray,
    horizon: float,
    *,
    length: float = math.inf,
    prompts: int | None = None,
    key: Array | None = None,
    progress: bool = False,
    label: str = "",
) -> xarray.Dataset:
    """One head from Q = 0 with error control, recorded evenly in log t."""
    landscape = SoftmaxAttentionLandscape.of_length(probabilities, length, prompts=prompts, key=key)
    record = log_spaced(horizon / 1e4, per_decade=PER_DECADE)
    flow = GradientFlow(landscape, scheme="adaptive")
    run = simulate(
        flow,
        zero_head(landscape),
        horizon=horizon,
        dt=0.1,
        record=record,
        progress=progress,
        label=label,
    )
    return run.trajectory


def _converging(trajectory: xarray.Dataset, floor: float = 0.0) -> np.ndarray:
    """When each query's loss above the floor falls to a quarter of its start, interpolated."""
    t, loss = trajectory["time"].values, trajectory["query_loss"].values - floor
    levels = 0.25 * loss[0]
    curves = zip(loss.T, levels, strict=True)
    return np.array([crossing(t, curve, float(level), rising=False) for curve, level in curves])


def _padded(probabilities: np.ndarray, size: int) -> np.ndarray:
    return np.pad(probabilities, (0, size - probabilities.size))


def _checked_sizes(sizes: Sequence[int]) -> np.ndarray:
    different = np.unique(np.asarray(sizes, int))
    if different.size < 3:
        raise InvalidInput(f"sizes is {list(sizes)}; give at least three different ones.")
    return different
