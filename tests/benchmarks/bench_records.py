"""What records cost: 6,000 steps of linear attention, each one recorded. Run with `make bench`."""

import time

import jax
import numpy as np

from meanfield import GradientFlow, at, every, simulate
from meanfield.problems import LinearAttention

PARTICLES, STEPS, DT, ROUNDS = 16, 6_000, 1e-3, 7


def test_records_at_every_step(measured) -> None:
    with jax.enable_x64(True):
        problem = LinearAttention().build(jax.random.key(0))
        start = problem.start(jax.random.key(1), PARTICLES)
        flow = GradientFlow(problem.landscape, scheme="euler")

        def seconds(record) -> float:
            begin = time.perf_counter()
            run = simulate(flow, start, horizon=STEPS * DT, dt=DT, record=record)
            assert int(run.state.step) == STEPS
            return time.perf_counter() - begin

        def pair() -> tuple[float, float]:
            return seconds(at(STEPS * DT)), seconds(every(DT))

        pair()  # compiles
        times = [pair() for _ in range(ROUNDS)]  # interleaved: load falls on both alike
    without, recorded = np.median(times, axis=0)
    measured(
        f"{STEPS:,} steps of linear attention with a record at every one, of a run without",
        recorded / without,
        target="≤ 2",
        recorded=recorded,
        without=without,
    )
