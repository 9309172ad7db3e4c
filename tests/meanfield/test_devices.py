"""One run over many devices and processes: the same call, the same numbers."""

import math
import socket
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from commands import meanfield
from faults.processes import Child, Server, forked
from flow_cases import assert_same_bits, flat
from helpers import cloud, regression

from landscapes import neuron_start
from meanfield import Checkpoints, GradientFlow, Run, every, simulate
from meanfield.flows import Diffusion, FlowState, Resampling
from particles import drawn_on, particle_mesh, placed

KEY = jax.random.key(1)
RUN: dict[str, Any] = {"horizon": 1.0, "dt": 0.05, "record": every(0.25)}


def without_estimates(flow: GradientFlow, state: FlowState) -> FlowState:
    """Without the errors that a controller estimates: small differences, which magnify bits."""
    if not flow.controlled:
        return state
    return eqx.tree_at(lambda s: s.carried, state, state.carried[0])


@pytest.mark.parametrize(
    "options",
    [
        {"scheme": "adaptive"},
        {"jumps": (Diffusion(0.1),)},
        {"birth_death": 9.0, "jumps": (Resampling(0.9),), "batch_size": 4},
    ],
)
def test_eight_devices_equal_one(options: dict) -> None:
    """Trajectories to 1e-10 of the largest number: summation order is all that differs."""
    flow, mu = GradientFlow(regression(), **options), cloud(size=16)
    one = simulate(flow, mu, key=KEY if flow.random else None, **RUN)
    many = simulate(flow, placed(mu, particle_mesh()), key=KEY if flow.random else None, **RUN)
    assert len(many.ensemble.particles.w.sharding.device_set) == 8
    ends = [without_estimates(flow, run.state) for run in (many, one)]
    np.testing.assert_allclose(*map(flat, ends), rtol=1e-10, atol=1e-10)
    for name, values in one.trajectory.drop_vars("dt").items():  # the controller magnifies bits
        np.testing.assert_allclose(many.trajectory[name], values, rtol=1e-10, atol=1e-12)


def test_float32_on_devices() -> None:
    """In single precision the order of summation shows at 1e-6."""
    with jax.enable_x64(False):
        landscape = regression()
        flow = GradientFlow(landscape)
        mu = neuron_start(KEY, landscape, 4096)
        mesh = particle_mesh()
        split = drawn_on(mesh, lambda: neuron_start(KEY, landscape, 4096))
        one, many = (simulate(flow, e, **RUN) for e in (mu, split))
    np.testing.assert_allclose(flat(many.state), flat(one.state), rtol=1e-5, atol=2e-6)


def test_noise_is_equal_exactly() -> None:
    """One step of pure noise: no sum enters, so every bit agrees."""
    landscape = regression()
    flow = GradientFlow(landscape, scheme="euler", jumps=(Diffusion(1.0),))
    mu = cloud(size=16)
    dt = 1e-30  # velocities vanish beside the noise
    runs = [
        simulate(flow, e, horizon=dt, dt=dt, key=KEY).ensemble.particles
        for e in (mu, placed(mu, particle_mesh(8)), placed(mu, particle_mesh(2)))
    ]
    for other in runs[1:]:
        np.testing.assert_array_equal(other.w, runs[0].w)
        np.testing.assert_array_equal(other.a, runs[0].a)


@pytest.mark.parametrize("scheme", ["heun", "tsit5"])
def test_checkpoints_restore_onto_other_devices(scheme: str, tmp_path: Path) -> None:
    flow, mu = GradientFlow(regression(), scheme=scheme), cloud(size=16)

    def run(devices: int, horizon: float, resume: bool) -> Run:
        mesh = particle_mesh(devices)
        return simulate(
            flow,
            placed(mu, mesh),
            horizon=horizon,
            dt=0.05,
            record=every(0.25),
            checkpoints=Checkpoints(tmp_path, 5),
            resume=resume,
        )

    whole = simulate(flow, placed(mu, particle_mesh(8)), **RUN)
    run(8, 0.5, False)
    rest = run(8, 1.0, True)
    assert_same_bits(rest.state, whole.state)
    again = tmp_path / "again"
    half = simulate(
        flow, placed(mu, particle_mesh(8)), horizon=0.5, dt=0.05, record=every(0.25),
        checkpoints=Checkpoints(again, 5),
    )  # fmt: skip
    assert int(half.state.step) == 10
    for devices in (2, 1):
        rest = simulate(
            flow, placed(mu, particle_mesh(devices)), **RUN, checkpoints=Checkpoints(again, 99),
            resume=True,
        )  # fmt: skip
        np.testing.assert_allclose(flat(rest.state), flat(whole.state), rtol=1e-11, atol=1e-12)
        assert len(rest.ensemble.particles.w.sharding.device_set) == devices
        latest = again / str(int(rest.state.step))
        assert latest.is_dir()
        for path in sorted(latest.rglob("*"), reverse=True):  # so that the next one resumes too
            path.unlink() if path.is_file() else path.rmdir()
        latest.rmdir()


CONFIG = """
devices = 0
particles = 32
[problem]
kind = "attention"
samples = 32
dim = 3
spectrum = [1.0, 0.5]
[flow]
scheme = "euler"
temperature = 0.01
[run]
horizon = 0.5
dt = 0.05
checkpoint_steps = 5
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.slow
def test_two_processes_find_each_other(tmp_path: Path, server: Server) -> None:
    """Two real processes with two devices each, over loopback; and this one, for comparison."""
    config, port = tmp_path / "config.toml", free_port()
    config.write_text(CONFIG)

    def start(index: int) -> Child:
        words = ["simulate", config, "--out", tmp_path / "two", "--quiet"]
        place = ["--distributed", f"127.0.0.1:{port}/2/{index}"]
        return forked(server, tmp_path, [*words, *place], devices=2)

    together = [start(index) for index in range(2)]
    alone = meanfield("simulate", config, "--devices", 1, "--out", tmp_path / "one", "--quiet")
    for process in together:
        assert process.wait(300) == 0, process.errors
    assert alone.code == 0, alone.stderr
    two, one = (np.load(tmp_path / name / "ensemble.npz") for name in ("two", "one"))
    for name in one.files:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-11, atol=1e-13)
    assert (tmp_path / "two" / "report.md").exists()
    assert not math.isclose(float(np.abs(one["w"]).max()), 0)


def test_refusals(tmp_path: Path) -> None:
    assert "needs the same --out" not in meanfield("simulate", "--help").stderr
    missing = meanfield("simulate", "--distributed", "auto")
    assert (missing.code, "out is missing" in missing.sentence) == (2, True)
    for where in ("here", "host/2/0", "host:1/2/two", "host:1/2/2"):
        wrong = meanfield("simulate", "--distributed", where, "--out", tmp_path / "x")
        assert wrong.code == 2
        assert f"distributed is {where!r}" in wrong.sentence
    many = meanfield("simulate", "--devices", 99, "--out", tmp_path / "y")
    assert (many.code, "devices is 99" in many.sentence) == (2, True)
