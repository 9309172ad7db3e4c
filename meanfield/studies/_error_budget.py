"""The error of one flow's final loss, part by part, each measured by a halving of its own."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from landscapes import AbstractLandscape
from landscapes.networks import samples_of
from particles import Ensemble, InvalidInput
from saddle_analysis.curves import student_quantile

from ..flows import AbstractFlow
from ..results import Estimate
from ..runs import Progress
from ._exponents import CONFIDENCE
from ._levels import losses_at

Flow = TypeVar("Flow", bound=AbstractFlow)

TIGHTER = 10.0  # how much smaller the tolerances of an adaptive scheme are, in place of dt/2


@dataclass(frozen=True)
class ErrorBudget:
    """L(μ_T) of N particles, and how far it is from that of all particles, samples and steps.

    Args:
        estimate: the loss of the run itself; parts of its error are `particles`, `samples` where
            the landscape has any, `step` and `round-off`.
        particle_halves: losses of N/2 particles, two for each split.
        sample_halves: losses on M/2 samples, two for each split; `None` without samples.
        finer: loss at dt/2, or at a tenth of the tolerances of an adaptive scheme.
        other: loss in the other precision, float32 or float64.
        seconds: taken, compilation included.
    """

    estimate: Estimate
    particle_halves: Float[np.ndarray, "splits 2"]
    sample_halves: Float[np.ndarray, "splits 2"] | None
    finer: float
    other: float
    seconds: float


def error_budget(
    flow: AbstractFlow,
    start: Ensemble,
    *,
    key: Key[Array, ""],
    horizon: float,
    dt: float,
    splits: int = 8,
    progress: bool = False,
) -> ErrorBudget:
    """The loss of a flow at its horizon, with the error that is left by every cause.

    Particles and samples are split into halves at random, several times. Two halves of one split
    differ by twice the chance error of the whole, and lie above or below it by its bias of order
    1/N or 1/M; both count. The step is halved, and its scheme's order says how much of the
    difference is the error. The same run in the other precision gives the round-off: in float64
    what float32 would lose, times the ratio of their last digits. (theory.md, section 8)

    Args:
        flow: without random steps.
        start: N i.i.d. particles of equal weights, N even.
        key: draws the splits.
        horizon: flow time.
        dt: step size.
        splits: into halves, of particles and of samples.
        progress: show a bar.

    Raises:
        InvalidInput: a flow with random steps, an odd number of particles or fewer than four,
            weights, fewer than two splits or four samples, or a run into numbers that are not
            finite.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import RegressionLandscape, neuron_start
        >>> from meanfield import GradientFlow
        >>> x = jnp.linspace(-1, 1, 8)[:, None]
        >>> landscape = RegressionLandscape(x, jnp.sin(3 * x))
        >>> start = neuron_start(jax.random.key(0), landscape, 64)
        >>> flow = GradientFlow(landscape, scheme="euler")
        >>> found = error_budget(flow, start, key=jax.random.key(1), horizon=0.5, dt=0.1, splits=2)
        >>> list(found.estimate.parts)
        ['particles', 'samples', 'step', 'round-off']
    """
    began = time.monotonic()
    samples = samples_of(flow.landscape)
    require_halves(flow, start)
    _check(horizon, dt, splits, samples)
    keys = jax.random.split(key, 2)
    with Progress("halves", 0, 4, progress) as bar:
        value = float(_losses(flow, start, horizon, dt))
        rows = _halves(keys[0], start.size, splits).reshape(2 * splits, -1)
        cut = start.with_particles(jax.tree.map(lambda leaf: leaf[rows], start.particles))
        particle_halves = _losses(flow, cut, horizon, dt).reshape(splits, 2)
        parts = {"particles": _from_halves(value, particle_halves)}
        bar.update(1, "samples")
        sample_halves = None
        if samples is not None:
            x, f = samples
            found = [
                _losses(_on(flow, flow.landscape.replace(x=x[own], f=f[own])), start, horizon, dt)
                for own in _halves(keys[1], len(f), splits).reshape(2 * splits, -1)
            ]
            sample_halves = np.array(found, float).reshape(splits, 2)
            parts["samples"] = _from_halves(value, sample_halves)
        bar.update(2, "step")
        finer_flow, finer_dt, share = _finer(flow, dt)
        finer = float(_losses(finer_flow, start, horizon, finer_dt))
        parts["step"] = share * abs(value - finer)
        bar.update(3, "round-off")
        double = jax.tree.leaves(start.particles)[0].dtype == np.float64
        with jax.enable_x64(True):
            cast_flow, cast_start = _cast((flow, start), not double)
            other = float(_losses(cast_flow, cast_start, horizon, dt))
        ratio = np.finfo(np.float64).eps / np.finfo(np.float32).eps if double else 1.0
        # The loss itself is rounded too.
        last = float(np.finfo(np.float64 if double else np.float32).eps) * abs(value)
        parts["round-off"] = float(ratio) * abs(value - other) + last
    return ErrorBudget(
        Estimate(value, parts),
        particle_halves,
        sample_halves,
        finer,
        other,
        time.monotonic() - began,
    )


def require_halves(flow: AbstractFlow, start: Ensemble) -> None:
    """Refuse a flow or a start whose error halves do not tell.

    Raises:
        InvalidInput: random steps, weights, or an odd number of particles or fewer than four.
    """
    if flow.random:
        raise InvalidInput(
            "flow has random steps, whose error is that of many runs; use `multilevel_estimate` "
            "(meanfield converge --tolerance)."
        )
    if start.weights is not None:
        raise InvalidInput("start is weighted; halves need equal weights.")
    if start.size < 4 or start.size % 2:
        raise InvalidInput(f"start has {start.size} particles; give an even number, at least 4.")


def _check(horizon: float, dt: float, splits: int, samples: tuple[Array, Array] | None) -> None:
    for name, value in (("horizon", horizon), ("dt", dt)):
        if not 0 < value < math.inf:
            raise InvalidInput(f"{name} is {value}; it must be positive and finite.")
    if splits < 2:
        raise InvalidInput(f"splits is {splits}; a spread needs at least 2.")
    if samples is not None and len(samples[1]) < 4:
        raise InvalidInput(f"landscape has {len(samples[1])} samples; halves need at least 4.")


def _losses(flow: AbstractFlow, start: Ensemble, horizon: float, dt: float) -> np.ndarray:
    """L at the horizon, of one ensemble or of a batch of them."""
    known = jax.tree.leaves(start.particles)[0]
    one = known.ndim == jax.tree.leaves(flow.landscape.particle)[0].ndim + 1
    stacked = jax.tree.map(lambda leaf: leaf[None], start) if one else start
    scalars = (jnp.asarray(number, known.dtype) for number in (dt, horizon))
    losses, sound = losses_at(flow, stacked, None, *scalars)
    if not bool(jnp.all(sound)):
        raise InvalidInput(
            f"dt is {dt:g}, with which the flow, or one of its halves, met numbers that are not "
            "finite; take a smaller one."
        )
    return np.asarray(losses[0] if one else losses, float)


def _halves(key: Array, size: int, splits: int) -> Int[np.ndarray, "splits 2 half"]:
    """Numbers of the members of two halves, at random; an odd one is left out."""
    keys = jax.random.split(key, splits)
    drawn = [np.asarray(jax.random.permutation(own, size))[: 2 * (size // 2)] for own in keys]
    return np.stack(drawn).reshape(splits, 2, -1)


def _from_halves(value: float, halves: Float[np.ndarray, "splits 2"]) -> float:
    """Chance (95 %) and bias of the whole, from the losses of its halves.

    With a loss of mean L + b/N and variance s²/N two halves differ by a variance of 4s²/N, and
    their mean lies above the whole's by b/N.
    """
    chance = math.sqrt(np.mean((halves[:, 0] - halves[:, 1]) ** 2) / 4)
    bias = abs(float(halves.mean()) - value)
    return student_quantile(CONFIDENCE, len(halves)) * chance + bias


def _on(flow: Flow, landscape: AbstractLandscape) -> Flow:
    return eqx.tree_at(lambda own: own.landscape, flow, landscape)


def _finer(flow: AbstractFlow, dt: float) -> tuple[AbstractFlow, float, float]:
    """Half of the step, or tighter tolerances; and the share of the change that is the error."""
    scheme = flow.scheme  # pyright: ignore
    if not flow.controlled:
        return flow, dt / 2, 2.0**scheme.order / (2.0**scheme.order - 1)
    tighter = eqx.tree_at(
        lambda own: (own.scheme.rtol, own.scheme.atol),
        flow,
        (scheme.rtol / TIGHTER, scheme.atol / TIGHTER),
    )
    return tighter, dt, TIGHTER / (TIGHTER - 1)


def _cast(tree: PyTree, double: bool) -> PyTree:
    """All real numbers in the other precision."""
    dtype = jnp.float64 if double else jnp.float32
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, tree)
