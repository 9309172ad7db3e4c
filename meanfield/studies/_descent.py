"""Stochastic gradient descent on fresh prompts: its noise, and its distance from the flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from landscapes import AbstractLandscape
from particles import Ensemble, InvalidInput
from saddle_analysis.curves import PowerLaw

from ..flows import GradientFlow
from ..runs import at, simulate
from ._exponents import fit_exponent

if TYPE_CHECKING:
    import xarray


def gradient_noise(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    batch_size: int,
    *,
    key: Key[Array, ""],
    draws: int = 64,
    chunk: int | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """E‖∇_batch − ∇‖² in L²(μ): how far a batch's velocity scatters about the flow's.

    Falls as 1/B; over ‖∇‖² it says how many prompts make a step worth taking.

    Args:
        landscape: one with `minibatch`.
        ensemble: where.
        batch_size: prompts per batch B.
        key: draws the batches.
        draws: batches.
        chunk: particles held at once.

    Returns:
        The mean over the draws, and its standard error; (particle / time)².

    Raises:
        InvalidInput: the landscape draws no batches, or fewer than two draws.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.eye(4), jnp.arange(4.0)[:, None])
        >>> mu = Ensemble(Neuron(a=jnp.ones((1, 1)), w=jnp.ones((1, 4))))
        >>> few, _ = gradient_noise(landscape, mu, 4, key=jax.random.key(0))
        >>> many, _ = gradient_noise(landscape, mu, 400, key=jax.random.key(0))
        >>> bool(many < few / 30)
        True
    """
    if draws < 2:
        raise InvalidInput(f"draws is {draws}; a mean with an error needs at least 2.")
    squares = _scatter(jax.random.split(key, draws), landscape, ensemble, batch_size, chunk)
    return jnp.mean(squares), jnp.std(squares, ddof=1) / draws**0.5


@eqx.filter_jit
def _scatter(
    keys: Array,
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    batch_size: int,
    chunk: int | None,
) -> Float[Array, " draws"]:
    exact = landscape.velocity(ensemble, chunk=chunk)

    def one(key: Array) -> Array:
        drawn = landscape.minibatch(key, batch_size).velocity(ensemble, chunk=chunk)
        gap = jax.tree.map(jnp.subtract, drawn, exact)
        return ensemble.inner(gap, gap)

    return jax.lax.map(one, keys)


@dataclass(frozen=True)
class Descent:
    """How SGD approaches the flow.

    Args:
        data: mean squared distance `error` of the particles from the flow's at the horizon, in
            L²(μ), per seed, batch size and step.
        in_batch: exponent of the root mean square error against the batch size, at the smallest
            step: −1/2 in theory, until the step's own error shows.
        in_step: its exponent against the step, at the smallest batch: +1/2 in theory, since
            horizon/step draws average out.
    """

    data: xarray.Dataset
    in_batch: PowerLaw
    in_step: PowerLaw


def descent_study(
    landscape: AbstractLandscape,
    start: Ensemble,
    *,
    key: Key[Array, ""],
    horizon: float,
    steps: Sequence[float],
    batches: Sequence[int],
    seeds: int = 16,
    ratio: float | None = None,
) -> Descent:
    """SGD with explicit Euler steps against the gradient flow, over batch sizes and steps.

    Over a fixed horizon T the noise of T/dt batches of B prompts adds up to a deviation of order
    (dt/B)^½, besides the O(dt) of Euler's scheme: SGD converges to the flow as the batch grows and
    the step shrinks. The flow itself is integrated with the fifth-order scheme at the smallest
    step.

    Args:
        landscape: one with `minibatch`.
        start: N particles.
        key: draws the batches; seeds are split from it.
        horizon: flow time.
        steps: step sizes (learning rates in flow time), at least four for a fit.
        batches: prompts per step, at least four for a fit.
        seeds: runs for every pair, in one vmapped call.
        ratio: timescale ratio, as in `GradientFlow`.

    Raises:
        InvalidInput: the landscape draws no batches, or fewer than two seeds.
    """
    if seeds < 2:
        raise InvalidInput(f"seeds is {seeds}; at least 2 are needed.")
    import xarray

    steps, batches = sorted(steps, reverse=True), sorted(batches)
    exact = simulate(
        GradientFlow(landscape, scheme="tsit5", ratio=ratio),
        start,
        horizon=horizon,
        dt=steps[-1],
        record=at(horizon),
    ).ensemble
    many = jax.tree.map(lambda leaf: jnp.stack([leaf] * seeds), start)

    def error(step: float, batch: int) -> np.ndarray:
        flow = GradientFlow(landscape, scheme="euler", ratio=ratio, batch_size=batch)
        run = simulate(
            flow, many, horizon=horizon, dt=step, key=key, batch=True, record=at(horizon)
        )
        gap = jax.tree.map(jnp.subtract, run.ensemble.particles, exact.particles)
        return np.asarray(jax.vmap(lambda u: exact.inner(u, u))(gap))

    table = np.array([[error(step, batch) for batch in batches] for step in steps])
    data = xarray.Dataset(
        {"error": (("step", "batch", "seed"), table, {"units": "particle²"})},
        {"step": ("step", steps, {"units": "flow time"}), "batch": batches},
        {"horizon": horizon},
    )
    in_batch = fit_exponent(np.array(batches, float), table[-1].T, power=0.5, correction=False)
    in_step = fit_exponent(np.array(steps), table[:, 0].T, power=0.5, correction=False)
    return Descent(data, in_batch, in_step)
