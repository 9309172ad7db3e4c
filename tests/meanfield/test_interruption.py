"""Ctrl-C and SIGTERM stop a run between chunks, and keep what is done."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flow_cases import Springs, assert_same_bits, points

from meanfield import Checkpoints, GradientFlow, Outcome, RunInterrupted, every, simulate

ROOT = Path(__file__).parents[2]

SLOW_RUN = """
import jax.numpy as jnp
from landscapes import Neuron, RegressionLandscape
from meanfield import GradientFlow, RunInterrupted, every, simulate
from particles import Ensemble

landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[1.0]]))
mu = Ensemble(Neuron(a=jnp.array([[0.5]]), w=jnp.array([[0.5]])))
say = lambda seen: print("recorded", flush=True)
try:
    simulate(GradientFlow(landscape), mu, horizon=1e6, dt=1e-3, record=every(10.0), stop=say)
except RunInterrupted as stopped:
    run = stopped.run
    print(run.outcome.name, run.trajectory.sizes["time"], float(run.state.time), run.signal)
    raise
"""


@pytest.fixture(autouse=True)
def as_from_a_terminal() -> Iterator[None]:
    """A shell that starts the tests in the background has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_control_c_keeps_the_trajectory_and_resumes(tmp_path: Path) -> None:
    flow, start = GradientFlow(Springs()), points()
    options = {"horizon": 1.0, "dt": 1e-3, "record": every(0.01)}
    whole = simulate(flow, start, **options)

    looks = 0

    def press(seen: dict[str, np.ndarray]) -> bool:
        nonlocal looks
        looks += 1
        if looks == 40:
            sender = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
            sender.start()
            sender.join()
        return False

    with pytest.raises(RunInterrupted, match="was interrupted; everything") as stopped:
        simulate(flow, start, stop=press, checkpoints=Checkpoints(tmp_path), **options)
    run = stopped.value.run
    assert run.outcome is Outcome.INTERRUPTED
    assert run.signal == signal.SIGINT
    assert 0.38 < float(run.state.time) < 1.0
    seen = run.trajectory
    assert seen.sizes["time"] >= 40
    np.testing.assert_array_equal(seen.loss[:40], whole.trajectory.loss[:40])

    rest = simulate(flow, start, checkpoints=Checkpoints(tmp_path), resume=True, **options)
    assert rest.outcome is Outcome.HORIZON
    assert rest.signal == 0
    assert_same_bits(rest.state, whole.state)
    np.testing.assert_array_equal(rest.trajectory.time, whole.trajectory.time)
    np.testing.assert_array_equal(rest.trajectory.loss, whole.trajectory.loss)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_control_c_within_a_long_stretch(tmp_path: Path) -> None:
    """Nothing is due for a long time: the loop still looks up now and then."""
    timer = threading.Timer(1.0, os.kill, args=(os.getpid(), signal.SIGINT))
    timer.start()
    began = time.monotonic()
    settings = {"horizon": 1e6, "dt": 1e-3, "record": every(5e5)}
    run = simulate(GradientFlow(Springs()), points(), throw=False, **settings)
    assert run.outcome is Outcome.INTERRUPTED
    assert time.monotonic() - began < 30
    assert run.trajectory.sizes["time"] == 2
    assert float(run.trajectory.time[-1]) == float(run.state.time) > 0


def test_sigterm_from_outside() -> None:
    """A script ends there: it does not take half a run for a whole one."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline() == "recorded\n"
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    outcome, rows, reached, number = printed.splitlines()[-1].split()
    assert int(number) == signal.SIGTERM
    assert outcome == "INTERRUPTED"
    assert process.returncode != 0
    assert int(rows) >= 3
    assert 20 <= float(reached) < 1e6


def test_the_second_signal_acts_as_usual() -> None:
    def press(seen: dict[str, np.ndarray]) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        return False

    with pytest.raises(KeyboardInterrupt):
        simulate(GradientFlow(Springs()), points(), horizon=1.0, dt=0.1, stop=press)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_runs_outside_the_main_thread_leave_signals_alone() -> None:
    runs = []

    def work() -> None:
        runs.append(simulate(GradientFlow(Springs()), points(), horizon=1.0, dt=0.1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert runs[0].outcome is Outcome.HORIZON
