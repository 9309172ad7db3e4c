"""What a step costs: the formula beside closed forms, the compiled program and the roofline."""

import json
import math
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from commands import meanfield
from jax import lax

from landscapes import Interaction, RegressionLandscape, Sum, neuron_start
from meanfield import GradientFlow
from meanfield.costs import (
    ACCELERATORS,
    compiled_cost,
    device_named,
    devices_needed,
    evaluation,
    kernels_of,
    sized,
    step_cost,
    times_on,
    total_of,
)
from meanfield.costs._cache import recall, remember
from meanfield.problems import PROBLEMS, build_problem
from particles import Ensemble, InvalidInput

KEY = jax.random.key(0)


def network(samples: int = 64, inputs: int = 7, outputs: int = 3, activation: str = "tanh"):
    x = jax.random.normal(KEY, (samples, inputs))
    return RegressionLandscape(x, x[:, :outputs], activation)


def counted(fn: Any, *values: Any) -> Any:
    return total_of(tuple(kernels_of(fn, *values)))


@pytest.mark.optimized  # what the compiler counts once it has fused
@pytest.mark.parametrize(
    "name", ["attention", "regression", "softmax-attention", "modular-arithmetic"]
)
def test_formula_and_compiled_program_agree(name: str) -> None:
    problem = build_problem(PROBLEMS[name](), 0)
    ensemble = sized(problem.start(KEY, 2), 256)
    formula = counted(evaluation, problem.landscape, ensemble)
    compiled = compiled_cost(evaluation, problem.landscape, ensemble)
    assert formula.flops == pytest.approx(compiled.flops, rel=0.2)
    assert formula.bytes == pytest.approx(compiled.bytes, rel=0.2)


@pytest.mark.parametrize(("activation", "functions"), [("tanh", 2), ("erf", 3), ("relu", 0)])
def test_a_network_costs_six_products(activation: str, functions: int) -> None:
    """6NM(d + k) operations of products, and σ in both passes; σ' of erf is an exponential.

    In one chunk of double precision the second pass takes σ, and its product, from the first one.
    """
    landscape, size = network(activation=activation), 512
    mu = sized(neuron_start(KEY, landscape, 2), size)
    for reuse, spared in ((False, 0), (True, 1)):
        kernels = kernels_of(evaluation, landscape, mu, reuse=reuse)
        products = sum(k.flops for k in kernels if k.name == "dot_general")
        expected = (6 * (7 + 3) - 2 * 7 * spared) * size * 64
        assert products == pytest.approx(expected, rel=1e-3)
        found = total_of(tuple(kernels)).activations
        assert found == (functions - spared if functions else 0) * size * 64
    several = step_cost(
        GradientFlow(landscape, scheme="euler"), neuron_start(KEY, landscape, 2), size, chunk=100
    )
    assert several.cost.activations == functions * size * 64


def test_loops_branches_and_what_nobody_reads() -> None:
    x = jax.ShapeDtypeStruct((8, 8), jnp.float32)
    product = 2 * 8**3
    assert counted(lambda x: lax.fori_loop(0, 5, lambda i, y: y @ x, x), x).flops == 5 * product
    assert counted(lambda x: jax.jit(jnp.matmul)(x, x), x).flops == product
    branches = lambda x: lax.cond(x[0, 0] > 0, lambda y: y @ y @ y, lambda y: y @ y, x)  # noqa: E731
    assert counted(branches, x).flops == pytest.approx(2 * product, abs=2)
    assert counted(lambda x: (x @ x, x + 1)[1], x).flops == 64


def test_fused_operations_move_what_goes_in_and_comes_out() -> None:
    x = jax.ShapeDtypeStruct((100,), jnp.float32)
    assert counted(lambda x: jnp.tanh(x) * x + 1, x).bytes == 2 * 400
    assert counted(lambda x: jnp.sum(jnp.tanh(x) ** 2), x).bytes == 400 + 4


@pytest.mark.parametrize(("scheme", "evaluations"), [("euler", 1), ("heun", 2), ("tsit5", 6)])
def test_the_evaluations_of_a_scheme(scheme: str, evaluations: int) -> None:
    landscape = network()
    found = step_cost(GradientFlow(landscape, scheme=scheme), neuron_start(KEY, landscape, 2), 32)
    assert found.evaluations == evaluations


@pytest.mark.optimized  # what is fused takes no memory
@pytest.mark.parametrize("scheme", ["euler", "heun"])
def test_memory_is_that_of_the_compiled_step(scheme: str) -> None:
    landscape = network(samples=256)
    flow = GradientFlow(landscape, scheme=scheme, chunk=128)
    mu = neuron_start(KEY, landscape, 2)
    found = step_cost(flow, mu, 50_000)
    state = jax.eval_shape(flow.start, sized(mu, 50_000), jnp.asarray(0.1))
    arrays, rest = eqx.partition((flow, state), lambda leaf: hasattr(leaf, "shape"))

    def step(arrays: Any) -> Any:
        flow, state = eqx.combine(arrays, rest)
        return eqx.filter(flow.step(state), eqx.is_array)

    held: Any = jax.jit(step).lower(arrays).compile().memory_analysis()
    size = held.argument_size_in_bytes + held.output_size_in_bytes + held.temp_size_in_bytes
    assert found.memory() == pytest.approx(size, rel=0.2)


def test_a_roofline_by_hand() -> None:
    """A step is bound by arithmetic on one device, by the sums over devices on very many."""
    landscape = network(samples=4096)
    mu = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), neuron_start(KEY, landscape, 2))
    flow = GradientFlow(landscape, scheme="euler")
    found, device = step_cost(flow, mu, 10**6), ACCELERATORS["h200"]
    one = times_on(device, found, "float32")
    assert one.step == one.products == found.cost.flops / 67e12
    assert one.link == 0
    many = times_on(device, found, "float32", 10**6)
    assert many.step == many.link == pytest.approx(2 * found.sent / 450e9, rel=1e-5)
    assert one.between > one.traffic


def test_pairs_pass_their_particles_round_the_devices() -> None:
    landscape = Interaction(lambda x, y: x @ y)
    mu = Ensemble(jnp.ones((4, 3), jnp.float32))
    found = step_cost(GradientFlow(landscape, scheme="euler"), mu, 10**6)
    device = ACCELERATORS["h200"]
    assert found.passed == found.ensemble == 10**6 * 3 * 4
    two = times_on(device, found, "float32", 2).link
    assert two == pytest.approx((found.passed / 2 + found.sent) / 450e9)
    assert Sum(network(), landscape).pairwise
    assert not network().pairwise


def test_a_prediction_is_measured_beside(tmp_path: Path) -> None:
    """The claim is there; whether it holds depends on the load of the machine."""
    words = "--problem regression --particles 64 --device cpu --measure 2 --json"
    shown = meanfield("plan", *words.split(), "--out", tmp_path / "plan")
    assert shown.code == 0
    claims = json.loads(shown.stdout)["claims"]
    [claim] = [one for one in claims if "over its prediction" in one["statement"]]
    assert 0 < claim["measured"] < math.inf


def test_devices_are_as_few_as_the_memory_allows() -> None:
    landscape = network()
    found = step_cost(GradientFlow(landscape), neuron_start(KEY, landscape, 2), 10**11)
    device = ACCELERATORS["h200"]
    needed = devices_needed(device, found)
    assert needed is not None
    assert found.memory(needed) <= device.memory < found.memory(needed - 1)


def test_devices_that_cannot_do_it_are_refused() -> None:
    with pytest.raises(InvalidInput, match="'float64', which a Cloud TPU v5p does not have"):
        device_named("tpu-v5p", "float64")
    with pytest.raises(InvalidInput, match="device is 'abacus'; choose one of"):
        device_named("abacus", "float32")


def test_the_cache_is_a_convenience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file counts as none; a folder that cannot be written is no error."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    remember("rates", "a", 1.0)
    remember("rates", "b", [2, 3])
    assert (recall("rates", "a"), recall("rates", "b"), recall("rates", "c")) == (1.0, [2, 3], None)
    file = tmp_path / "meanfield-flows" / "rates.json"
    for damaged in ("{", "[]", "", "\0"):
        file.write_text(damaged)
        assert recall("rates", "a") is None
    remember("rates", "a", 4)
    assert json.loads(file.read_text()) == {"a": 4}
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember("rates", "a", 5)
    assert recall("rates", "a") is None


def test_rates_of_this_machine_are_taken_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    trials: list[str] = []

    def rates(dtype: str, special: list[str]) -> dict[str, float]:
        trials.append(dtype)
        return dict.fromkeys(["product", "bandwidth", "overhead", *special], 1e9)

    monkeypatch.setattr("meanfield.costs._devices._rates", rates)
    first, second = (device_named("cpu", "float32", ["tanh", "unheard-of"]) for _ in range(2))
    assert trials == ["float32"]
    assert first == second
    assert first.measured
    found = step_cost(GradientFlow(network()), neuron_start(KEY, network(), 2), 1000)
    assert 0 < times_on(first, found, "float32").step < math.inf


def test_the_command(tmp_path: Path) -> None:
    words = "--problem regression --samples 64 --problem.dim 3 --particles 100000000000"
    words += " --precision float32 --device h200 --flow.scheme heun --horizon 1 --dt 0.1 --json"
    shown = meanfield("plan", *words.split(), "--out", tmp_path / "plan")
    assert shown.code == 0
    found = json.loads(shown.stdout)
    assert found["devices"] > 1
    assert found["bound"]
    assert found["run_seconds"] == pytest.approx(10 * found["step_seconds"])
    assert found["memory_bytes"] <= 141e9
    assert all(claim["holds"] for claim in found["claims"])
    page = (tmp_path / "plan" / "report.md").read_text("utf-8")
    assert "Bounds from the maker's figures (NVI24), not measurements" in page
    refused = meanfield("plan", "--device", "tpu-v5p", "--out", tmp_path / "none")
    assert refused.code == 2
    assert "precision is 'float64'" in refused.sentence
    assert not (tmp_path / "none").exists()
