"""Softmax attention at its source's size: 10,000 steps of descent. Run with `make bench`."""

import jax
import pytest

from landscapes.softmax_attention import (
    SoftmaxAttentionLandscape,
    feature_probabilities,
    softmax_head_start,
)
from meanfield import GradientFlow, simulate

FEATURES, TOKENS, PROMPTS, STEPS = 20, 200, 1_000, 10_000


@pytest.mark.parametrize("dominant", [None, 0.5], ids=["balanced", "imbalanced"])
def test_descent(benchmark, measured, dominant: float | None) -> None:
    key = jax.random.key(0)
    with jax.enable_x64(True):
        landscape = SoftmaxAttentionLandscape.of_length(
            feature_probabilities(FEATURES, dominant), TOKENS, prompts=PROMPTS, key=key
        )
        flow, start = GradientFlow(landscape, scheme="euler"), softmax_head_start(key, landscape)

        def train():
            return simulate(flow, start, horizon=float(STEPS), dt=1.0)

        run = benchmark.pedantic(train, rounds=1)
    assert int(run.state.step) == STEPS
    assert float(run.trajectory["loss"][-1]) < 0.02 * float(run.trajectory["loss"][0])
    kind = "balanced" if dominant is None else "imbalanced"
    measured(
        f"{STEPS:,} steps of softmax attention, {kind} features, compilation included",
        benchmark.stats.stats.min,
        "s",
        target="≤ 60",
    )
