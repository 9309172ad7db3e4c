"""Distances between blocks and other particles of their references, at the horizon."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array

from particles import (
    Ensemble,
    self_transport,
    sinkhorn_divergence,
    sliced_wasserstein,
    wasserstein,
)
from particles.internal import to_host

from ..runs import Progress
from ._measures import MEASURES
from ._saved import SavedStudy


def distances(
    keys: Sequence[Array],
    whole: Ensemble,
    blocks: dict[int, Ensemble],
    *,
    most: int,
    exact: int,
    projections: int,
    epsilon: float | None,
    bar: Progress,
    parts: SavedStudy,
) -> dict[str, np.ndarray]:
    """At the horizon, the first block of some seeds against other particles of its reference.

    W2 and Sinkhorn against the last `most` particles, the sliced distance against the second half:
    always disjoint from the block, so that the two samples are independent but for the flow.
    """
    # Slices on the host: on devices each shape would be a program.
    whole, blocks = to_host((whole, blocks))
    seeds, reference = jax.tree.leaves(whole)[0].shape[:2]
    names = [measure.name for measure in MEASURES if measure.at_horizon]
    found = {name: np.full((seeds, len(blocks)), np.nan) for name in names}
    owns: dict[int, float] = {}
    for place, (size, block) in enumerate(blocks.items()):
        known = parts.part(f"distances-{size}")
        if known is not None:
            for name in names:
                found[name][:, place] = known[name]
            continue
        own = jax.tree.map(lambda x, n=size: x.reshape(seeds, -1, n, *x.shape[2:])[:, 0], block)
        for seed, key in enumerate(keys):
            bar.update(bar.end, f"distances, N = {size}, seed {seed}")
            mu = jax.tree.map(lambda x, s=seed: x[s], own)
            everyone = jax.tree.map(lambda x, s=seed: x[s], whole)
            half = jax.tree.map(lambda x: x[reference // 2 :], everyone)
            if size <= reference // 2:
                distance = sliced_wasserstein(key, mu, half, projections=projections)
                found["sliced"][seed, place] = distance**2
            if size <= most:
                last = jax.tree.map(lambda x: x[reference - most :], everyone)
                blur = _variance(everyone) if epsilon is None else epsilon
                if seed not in owns:
                    owns[seed] = self_transport(last, blur)
                found["sinkhorn"][seed, place] = sinkhorn_divergence(mu, last, blur, own=owns[seed])
                if most % size == 0 and seed < exact:
                    found["w2"][seed, place] = wasserstein(mu, last)
        parts.keep(f"distances-{size}", {name: found[name][:, place] for name in names})
    return found


def _variance(ensemble: Ensemble) -> float:
    return float(sum(leaf.var(axis=0).sum() for leaf in jax.tree.leaves(ensemble.particles)))
