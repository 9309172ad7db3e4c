"""The same trajectory again and again, with meshes, compilations and host reads interleaved."""

import jax
import numpy as np
import pytest
from flow_cases import assert_same_bits, flat, smooth_attention
from helpers import cloud

from meanfield import GradientFlow, Run, every, simulate
from particles import particle_mesh, placed


def run(devices: int, chunk: int, snapshots: bool = False) -> Run:
    mu = cloud(size=16)
    return simulate(
        GradientFlow(smooth_attention(), scheme="adaptive", chunk=chunk),
        placed(mu, particle_mesh(devices)) if devices else mu,
        horizon=1.0,
        dt=0.02,
        record=every(0.1),
        snapshots=every(0.2) if snapshots else None,
    )


@pytest.mark.slow
def test_interleaved_runs_repeat_bit_for_bit() -> None:
    """First calls compile between runs on other meshes; equal runs must not notice."""
    seen: dict[tuple[int, int], Run] = {}
    one = run(0, 3)
    for round_ in range(2):
        for chunk, meshes in ((3, (4, 0, 8)), (5, (2, 0))):
            for devices in meshes:
                found = run(devices, chunk, snapshots=bool(round_ % 2))
                first = seen.setdefault((devices, chunk), found)
                assert_same_bits(found.state, first.state)
                np.testing.assert_array_equal(found.trajectory.loss, first.trajectory.loss)
                np.testing.assert_allclose(
                    flat(found.ensemble), flat(one.ensemble), rtol=1e-9, atol=1e-9
                )
        jax.clear_caches()  # so that the next round meets first calls again
