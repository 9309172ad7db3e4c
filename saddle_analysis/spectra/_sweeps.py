"""When a Lanczos sweep may stop: wanted pairs converged, or nothing left to be missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Key

from ._budget import Spending
from ._lanczos import Lanczos, Ritz
from ._precision import require_resolved, resolved_residual
from ._symmetric import SymmetricOperator, dtype_of

#: Bytes of basis vectors held when no capacity is given.
BASIS_BUDGET = 256 * 2**20
#: A basis this many times as long as the steps since the last look is looked at again.
SELDOM = 8


def default_capacity(operator: SymmetricOperator, wanted: int) -> int:
    """Basis vectors that fit the memory budget: at least what a restart needs, at most 240."""
    fitting = BASIS_BUDGET // (operator.size * dtype_of(operator).itemsize)
    return max(2 * wanted + 20, min(240, int(fitting)))


@dataclass(frozen=True)
class SweepRule:
    """Which Ritz pairs a sweep is after, and how well.

    Args:
        count: pairs at either asked end.
        which: `"smallest"`, `"largest"` or `"both"`.
        target: residual aimed at, relative to ‖H‖ if `relative`.
        low: with `high`, the sweep looks only for eigenvalues below `low` or above `high`.
        certainty: probability of having missed none at which such a sweep may stop.
        asked: name of the argument that an absolute target comes from.
        scale: that argument, in units of the target.
    """

    count: int
    which: str
    target: float
    relative: bool = True
    low: float | None = None
    high: float | None = None
    certainty: float = 0.99
    asked: str = "residual"
    scale: float = 1.0

    def target_for(self, norm: float) -> float:
        """The residual aimed at, in absolute terms."""
        return self.target * norm if self.relative else self.target

    def require_resolved(self, dtype: np.dtype, norm: float) -> None:
        """Refuse an absolute target below what the precision resolves."""
        if not self.relative:
            least = self.scale * resolved_residual(dtype, norm)
            require_resolved(self.asked, self.scale * self.target, least, dtype, norm)

    def select(self, values: np.ndarray) -> np.ndarray:
        """Indices of the wanted ones among values in increasing order."""
        count = min(self.count, values.size)
        low, high = np.arange(count), np.arange(values.size - count, values.size)
        chosen = {"smallest": low, "largest": high, "both": np.concatenate([low, high])}
        return np.unique(chosen[self.which])

    def missing(self, values: np.ndarray, norm: float) -> SweepRule:
        """The rule of a sweep for what was missed: anything beyond the innermost wanted values."""
        ordered = np.sort(values)
        margin = max(1e-4 * norm, 10 * self.target_for(norm))
        low = float(ordered[self.count - 1]) - margin if self.which != "largest" else -np.inf
        high = float(ordered[-self.count]) + margin if self.which != "smallest" else np.inf
        return SweepRule(self.count, self.which, self.target, self.relative, low, high)


class Sweep(NamedTuple):
    """What a sweep found.

    Args:
        values: Ritz values of the wanted pairs.
        vectors: their unit vectors.
        others: the other Ritz values nearby, for gaps.
        norm: lower bound of ‖H‖.
        finished: whether the rule was met (a limit stopped it otherwise).
        failure: bound of the probability that a sweep for missed pairs overlooked one.
    """

    values: np.ndarray
    vectors: Float[np.ndarray, "count size"]
    others: np.ndarray
    norm: float
    finished: bool
    failure: float


def certain_sweep(
    operator: SymmetricOperator,
    key: Key[Array, ""],
    capacity: int,
    locked: Float[Array | np.ndarray, "locked size"] | None,
    rule: SweepRule,
    spending: Spending,
    start: Float[Array, " size"] | None = None,
) -> Sweep:
    """Run Lanczos from a random start (or the one given) until the rule is met or the budget spent.

    Raises:
        InvalidInput: an absolute residual below what the precision resolves.
    """
    lanczos = Lanczos(operator, key, capacity, locked, start)
    due = 1
    while True:
        lanczos.step()
        spending.products += 1
        stop = lanczos.exhausted or spending.spent
        if not (stop or lanczos.full) and lanczos.steps < due:
            continue
        ritz = lanczos.ritz()
        target, norm = rule.target_for(lanczos.norm), lanczos.norm
        if not rule.relative:
            least = resolved_residual(lanczos.dtype, norm)
            require_resolved(
                rule.asked, rule.scale * target, rule.scale * least, lanczos.dtype, norm
            )
        if rule.low is None:
            chosen = rule.select(ritz.values)
            best = lanczos.refined(ritz, chosen, target) if rule.count == 1 else ritz
            done, failure = _all_converged(best, rule, chosen, target), 0.0
        else:
            best = ritz
            done, failure, chosen = _none_missed(ritz, rule, target, lanczos)
        worst = float(np.max(best.residuals[chosen], initial=0.0))
        spending.report(worst, target)
        if done or stop:
            break
        if lanczos.full:
            keep = _kept(rule, ritz.values.size)
            if rule.low is not None and chosen.size > keep.size // 2:
                # More of them than a restart could carry: hand over what has converged.
                ready = chosen[ritz.residuals[chosen] <= target]
                if ready.size:
                    chosen, done, failure = ready, True, 1.0
                    break
            lanczos.restart(ritz, keep)
        due = lanczos.steps + (1 if lanczos.steps < 4 else max(4, lanczos.steps // SELDOM))
    others = np.delete(ritz.values, chosen)
    vectors = lanczos.vectors(best.coordinates[:, chosen])
    return Sweep(best.values[chosen], vectors, others, lanczos.norm, bool(done), failure)


def _all_converged(ritz: Ritz, rule: SweepRule, chosen: np.ndarray, target: float) -> bool:
    enough = chosen.size >= rule.count * (2 if rule.which == "both" else 1)
    return enough and bool(np.all(ritz.residuals[chosen] <= target))


def _none_missed(
    ritz: Ritz, rule: SweepRule, target: float, lanczos: Lanczos
) -> tuple[bool, float, np.ndarray]:
    """Are all Ritz values beyond the limits converged, and is nothing hidden beyond them?

    The first Ritz vector x inside the limits is p(H)v/‖p(H)v‖, v a random unit vector of n
    unknowns, with p(λ) = Π_i (λ − θ_i)/(θ − θ_i) over the other Ritz values and ‖p(H)v‖ ≤ 1. A
    hidden unit eigenvector u with λ beyond the limit therefore has |x·u| ≥ |p(limit)| |v·u|,
    while ‖Hx − θx‖ = r forces |x·u| ≤ r/|θ − limit|; and a random v has |v·u| ≤ t only with
    probability √(2n/π) t. After a restart or a breakdown |p| is replaced by its bound, one.
    """
    assert rule.low is not None
    assert rule.high is not None
    below, above = ritz.values < rule.low, ritz.values > rule.high
    chosen = np.flatnonzero(below | above)
    if not np.all(ritz.residuals[chosen] <= target):
        return False, 1.0, chosen
    inside = np.flatnonzero(~(below | above))
    if inside.size == 0:
        return lanczos.exhausted, 0.0 if lanczos.exhausted else 1.0, chosen
    failure = 0.0
    ends = [(inside[0], rule.low), (inside[-1], rule.high)]
    for index, limit in ends:
        if np.isinf(limit):
            continue
        if (residual := ritz.residuals[index]) == 0:
            continue
        distance = abs(ritz.values[index] - limit)
        overlap = residual / distance if distance > 0 else np.inf
        if chosen.size == 0 and lanczos.plain:
            overlap *= np.exp(-_amplification(ritz.values, int(index), float(limit)))
        failure += float(np.sqrt(2 * lanczos.operator.size / np.pi) * overlap)
    failure = 0.0 if lanczos.exhausted else min(1.0, failure)
    # While there is still something to lock a further sweep will follow: no need to be certain.
    accepted = 0.5 if chosen.size else 1 - rule.certainty
    return bool(failure <= accepted), failure, chosen


def _amplification(values: np.ndarray, index: int, limit: float) -> float:
    """Log of |p(limit)|: how much more of what lies at the limit x holds than v did."""
    others = np.delete(values, index)
    near = np.maximum(np.abs(values[index] - others), np.finfo(float).tiny)
    return float(np.sum(np.log(np.maximum(np.abs(limit - others) / near, 1.0))))


def _kept(rule: SweepRule, size: int) -> np.ndarray:
    """Ritz vectors that survive a restart: the better half, at the asked end or ends."""
    keep = min(max(size // 2, rule.count + 2), size - 2)
    if rule.which == "smallest":
        return np.arange(keep)
    if rule.which == "largest":
        return np.arange(size - keep, size)
    half = keep // 2
    return np.concatenate([np.arange(half), np.arange(size - half, size)])
