"""Shared test setup: float64 by default, eight CPU devices, no display."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import matplotlib
import pytest
from costs import Costs

# Set before any computation starts: devices are fixed once the backend is up. Config values, unlike
# XLA_FLAGS, are not inherited by the subprocesses some tests start, so those see what a user sees.
if "JAX_PLATFORMS" not in os.environ:
    jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")
# No test depends on which chunk is the fastest here; subprocesses inherit this.
os.environ["MEANFIELD_CHUNKS"] = "default"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="compile without optimizing: faster, rounded otherwise"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Costs(), "costs")
    if config.getoption("--quick"):
        compile_quickly()


def compile_quickly() -> None:
    """Turns off what takes XLA most of its time and pays in long runs only.

    The flags are read once, with the first program; after it they leave the environment, so that
    the processes that tests start do not inherit them.
    """
    before = os.environ.get("XLA_FLAGS")
    quick = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] = f"{before or ''} {quick}"
    jax.jit(lambda x: x + 1)(1.0).block_until_ready()
    if before is None:
        del os.environ["XLA_FLAGS"]
    else:
        os.environ["XLA_FLAGS"] = before


@pytest.fixture(params=["float32", "float64"])
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once in each precision; the value is the name of the default float type."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture
def user_precision() -> Iterator[None]:
    """JAX as a user finds it (float32); an example may switch, which is undone after it."""
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """No figure outlives its test."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture(autouse=True, scope="module")
def few_compiled_programs() -> Iterator[None]:
    """Lets go of compiled programs: each takes memory maps, of which a process has 65,530.

    Without this the compiler crashes after some thousand programs.
    """
    yield
    maps = Path("/proc/self/maps")  # Linux
    if maps.exists() and len(maps.read_text().splitlines()) > 20_000:
        jax.clear_caches()
