"""Shared test setup: float64 by default, eight CPU devices, no display."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import matplotlib
import pytest
from costs import Costs
from faults.processes import Server
from quickly import compile_quickly, draw_quickly, lower_quickly, solve_quickly

# Set before any computation starts: devices are fixed once the backend is up. Config values are not
# inherited by the subprocesses some tests start, so those see what a user sees.
if "JAX_PLATFORMS" not in os.environ:
    jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")
# Tracing makes many small objects: collected every 700, the default, they cost a tenth of all work.
gc.set_threshold(10_000)
# No test depends on which chunk is the fastest here; subprocesses inherit this.
os.environ["MEANFIELD_CHUNKS"] = "default"


#: Renews what programs are lowered in.
RENEW = pytest.StashKey[Callable[[], None]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    passes = parser.getgroup("passes", "the two passes of `make test`")
    passes.addoption(
        "--quick",
        action="store_true",
        help="compile without optimizing; leave out the tests marked `optimized`",
    )
    passes.addoption("--optimized", action="store_true", help="only the tests marked `optimized`")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Costs(), "costs")
    if config.getoption("--quick") or config.getoption("--optimized"):
        solve_quickly()
        config.stash[RENEW] = lower_quickly()
    if config.getoption("--quick"):
        compile_quickly()
        draw_quickly()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests of the other pass."""
    quick, optimized = config.getoption("--quick"), config.getoption("--optimized")
    if quick and optimized:
        raise pytest.UsageError("--quick and --optimized are two passes: choose one.")
    if quick or optimized:
        marked = [item.get_closest_marker("optimized") is not None for item in items]
        others = [item for item, own in zip(items, marked, strict=True) if own != optimized]
        items[:] = [item for item, own in zip(items, marked, strict=True) if own == optimized]
        config.hook.pytest_deselected(items=others)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A pass in which a choice such as `-k demo` leaves no test has not failed."""
    one = session.config.getoption("--quick") or session.config.getoption("--optimized")
    if one and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


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


@pytest.fixture(scope="session")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Forks processes that have all imports behind them, most of what a small one costs."""
    config = request.config
    own = Server(tmp_path_factory.mktemp("programs"), quick=config.getoption("--quick"))
    config.pluginmanager.get_plugin("costs").server = own
    yield own
    own.close()


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """No figure outlives its test."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


#: How many programs were compiled when the memory maps were last looked at.
LOOKED = pytest.StashKey[int]()


@pytest.fixture(autouse=True)
def few_compiled_programs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Lets go of compiled programs: each takes memory maps, of which a process has 65,530.

    Without this the compiler crashes after some thousand programs. Those that stay, and what was
    traced for them, are hidden from the garbage collector, which would visit them again and again.
    """
    yield
    stash, costs = request.config.stash, request.config.pluginmanager.get_plugin("costs")
    if costs.programs - stash.get(LOOKED, 0) < 100:  # looking takes a while
        return
    stash[LOOKED] = costs.programs
    stash.get(RENEW, lambda: None)()  # it keeps the constants of all programs
    maps = Path("/proc/self/maps")  # Linux
    if maps.exists() and len(maps.read_text().splitlines()) > 30_000:
        gc.unfreeze()
        jax.clear_caches()
        gc.collect()
    gc.freeze()
