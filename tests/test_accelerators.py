"""Programs lower for GPUs and TPUs: single precision stays single, nothing calls the host."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from flow_cases import seeds
from helpers import attention, cloud
from jax import export

from landscapes import Landscape
from meanfield import GradientFlow
from particles import Ensemble, particle_mesh, placed
from saddle_analysis import HessianOperator

#: What a program may call besides plain operations: factorisations of k × k matrices, shardings.
ALLOWED = {
    "cuda": {"cusolver_potrf_ffi", "Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape"},
    "tpu": {"Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape"},
}
#: How each solves with a k × k matrix; TPUs have an operation for it.
SOLVES = {"cuda": "custom_call @cusolver_potrf_ffi", "tpu": "stablehlo.cholesky"}
PLATFORMS = pytest.mark.parametrize("platform", ALLOWED)


@pytest.fixture(autouse=True)
def single_precision() -> Iterator[None]:
    """As `--precision float32` sets it; the data of the small problems is cast on the way in."""
    with jax.enable_x64(False):
        yield


def single(tree: Any) -> Any:
    """The same arrays in single precision."""

    def cast(leaf: Any) -> Any:
        wide = eqx.is_array(leaf) and leaf.dtype == jnp.float64
        return leaf.astype(jnp.float32) if wide else leaf

    return jax.tree.map(cast, tree)


def lowered(platform: str, fn: Callable, *values: Any) -> export.Exported:
    """The program that `fn` is on a platform, lowered without having one."""
    arrays, rest = eqx.partition(values, eqx.is_array)

    def program(arrays: Any) -> Any:
        return eqx.filter(fn(*eqx.combine(arrays, rest)), eqx.is_array)

    # Exports are refused where a call may change between releases; these are read, not kept.
    calls = [export.DisabledSafetyCheck.custom_call(name) for name in ALLOWED[platform]]
    return export.export(jax.jit(program), platforms=[platform], disabled_checks=calls)(arrays)


def custom_calls(text: str) -> set[str]:
    return set(re.findall(r"custom_call @([\w.]+)", text))


def assert_fits(platform: str, text: str) -> None:
    assert "f32" in text
    assert not re.search(r"\bf64\b|xf64\b", text)
    assert custom_calls(text) <= ALLOWED[platform]
    assert not re.search("callback|infeed|outfeed|stablehlo.send|stablehlo.recv", text)


def flow_of(landscape: Landscape, **options: Any) -> GradientFlow:
    return single(GradientFlow(landscape, chunk=4, **options))


def started(flow: GradientFlow, mu: Ensemble) -> Any:
    return single(flow.start(mu, jnp.float32(0.1)))


@PLATFORMS
def test_a_flow_step(platform: str) -> None:
    flow = flow_of(attention(ridge=0.1), scheme="adaptive")
    state = started(flow, single(cloud(size=8)))
    program = lowered(platform, lambda flow, state: flow.step(state), flow, state)
    text = str(program.mlir_module())
    assert_fits(platform, text)
    assert SOLVES[platform] in text


@PLATFORMS
def test_the_hessian_product(platform: str) -> None:
    mu = single(cloud(size=8))
    operator = HessianOperator(single(attention(ridge=0.1)), mu, chunk=4)
    program = lowered(platform, lambda op, u: op.apply(u), operator, mu.particles)
    assert_fits(platform, str(program.mlir_module()))


@PLATFORMS
def test_a_step_over_devices(platform: str) -> None:
    """Two devices: sums are all that travels."""
    flow = flow_of(attention(ridge=0.1), scheme="euler")
    state = started(flow, placed(single(cloud(size=8)), particle_mesh(2)))
    program = lowered(platform, lambda flow, state: flow.step(state), flow, state)
    text = str(program.mlir_module())
    assert program.nr_devices == 2
    assert_fits(platform, text)
    travels = {"all_reduce", "all_gather", "all_to_all", "collective_permute", "reduce_scatter"}
    assert {name for name in travels if f"stablehlo.{name}" in text} == {"all_reduce"}


@PLATFORMS
def test_the_runs_of_a_study(platform: str) -> None:
    """All seeds advance in one vmapped loop."""
    flow = flow_of(attention(ridge=0.1), scheme="heun")
    mus = single(seeds(3, size=8))
    states = jax.vmap(lambda mu: started(flow, mu))(mus)

    def study(flow: GradientFlow, states: Any) -> Any:
        return jax.vmap(lambda s: flow.advance(s, jnp.float32(1), jnp.int32(5)))(states)

    assert_fits(platform, str(lowered(platform, study, flow, states).mlir_module()))


def test_a_callback_is_found() -> None:
    """The check can fail."""
    program = jax.jit(lambda x: jax.pure_callback(lambda y: y, x, x))
    text = program.lower(jnp.ones(2, jnp.float32)).as_text()
    assert "callback" in text
    with pytest.raises(AssertionError):
        assert_fits("cuda", text)
