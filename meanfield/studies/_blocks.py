"""References cut into blocks, run, and compared with them: what an N → ∞ study measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from particles import Ensemble, InvalidInput
from particles.internal import stacked

from ..flows import AbstractFlow, FlowState, SharedNoise
from ..runs import Checkpoints, at, map_batch, simulate

Draw = Callable[[Key[Array, ""], int], Ensemble]


def drawn(draw: Draw, key: Array, seeds: int, size: int) -> Ensemble:
    """One reference for each seed, stacked."""
    drawn = [draw(jax.random.fold_in(key, seed), size) for seed in range(seeds)]
    if drawn[0].weights is not None:
        raise InvalidInput("draw gives weighted particles; the study needs equal weights.")
    return stacked(drawn)


@eqx.filter_jit
def blocks_of(whole: Ensemble, size: int) -> Ensemble:
    """Every reference cut into blocks of `size` particles: one batch of ensembles."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[2:]), whole)


def noise_of(
    flow: AbstractFlow, keys: Sequence[Array], reference: int, size: int
) -> SharedNoise | None:
    """Noise that blocks of `size` particles share with their references, one key for each."""
    if not flow.random:
        return None
    own = [SharedNoise.of(key, reference).blocks(size) for key in keys]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *own)


def advanced(
    flow: AbstractFlow,
    start: Ensemble | FlowState,
    time: float,
    dt: float,
    checkpoints: Checkpoints | None = None,
    noise: SharedNoise | None = None,
) -> FlowState:
    """The ensembles at a time: from a state, or from a start by way of its checkpoints."""
    run = simulate(
        flow,
        start,
        horizon=time,
        dt=dt if isinstance(start, Ensemble) else None,
        record=at(time),
        key=noise if isinstance(start, Ensemble) else None,
        batch=True,
        checkpoints=checkpoints,
        resume=checkpoints is not None and checkpoints.latest() is not None,
    )
    return run.state


class Summary(NamedTuple):
    """Losses and moments of ensembles, one of each."""

    loss: Array
    moments: PyTree


@eqx.filter_jit
def summaries(flow: AbstractFlow, ensembles: Ensemble) -> Summary:
    """Loss and moments of every reference."""
    return jax.lax.map(lambda one: _summary(flow, one), ensembles)


@eqx.filter_jit
def compared(
    flow: AbstractFlow, whole: Ensemble, far: Summary, blocks: Ensemble, kept: int
) -> dict[str, Any]:
    """Per seed, averages over blocks; the losses of the first blocks too.

    Args:
        flow: gives landscape and chunk.
        whole: the references.
        far: `summaries` of them.
        blocks: as many of them to each reference.
        kept: losses of single blocks to keep.
    """
    seeds = far.loss.shape[0]

    def one(seed: tuple[Ensemble, Summary, Ensemble]) -> dict[str, Any]:
        reference, far, own = seed
        near = map_batch(flow.landscape, lambda block: _summary(flow, block), own)
        count = near.loss.shape[0]
        moved = jax.tree.map(
            lambda x, y: jnp.sum((x.reshape(y.shape) - y) ** 2) / reference.size,
            own.particles,
            reference.particles,
        )
        error = jax.tree.map(lambda m, r: jnp.sum((m - r) ** 2) / count, near.moments, far.moments)
        return {
            "coupling": sum(jax.tree.leaves(moved)),
            "moments": sum(jax.tree.leaves(error)),
            "bias": jnp.mean(near.loss) - far.loss,
            "fluctuation": jnp.var(near.loss, ddof=1),
            "loss": near.loss[:kept],
            "reference_loss": far.loss,
        }

    own = jax.tree.map(lambda leaf: leaf.reshape(seeds, -1, *leaf.shape[1:]), blocks)
    return jax.lax.map(one, (whole, far, own))


def _summary(flow: AbstractFlow, ensemble: Ensemble) -> Summary:
    return Summary(*flow.landscape.value_and_moments(ensemble, chunk=flow.chunk))
