"""`spectrum` and `diagnose` of a network in a file of tensors."""

import json
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytest
from commands import meanfield
from safetensors.numpy import save_file

from meanfield.problems import LinearAttention, Regression, SoftmaxAttention, TensorMap
from meanfield.problems import from_tensors as read
from particles import InvalidInput

MAP = ["--map.hidden", "fc1.weight", "--map.bias", "fc1.bias", "--map.output", "fc2.weight"]
DATA = ["--problem", "regression", "--problem.bias"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with biases, and data that it fits exactly."""
    folder, rng = tmp_path_factory.mktemp("trained"), np.random.default_rng(0)
    state = {
        "fc1.weight": rng.normal(size=(4, 2)),
        "fc1.bias": rng.normal(size=4),
        "fc2.weight": rng.normal(size=(1, 4)),
        "fc2.bias": np.array([0.3]),
    }
    x = rng.normal(size=(40, 2))
    hidden = np.tanh(x @ state["fc1.weight"].T + state["fc1.bias"])
    save_file(state, folder / "model.safetensors")
    np.savez(folder / "data.npz", x=x, f=hidden @ state["fc2.weight"].T + state["fc2.bias"])
    return folder


def test_a_network_that_fits_is_at_a_minimum(trained: Path, tmp_path: Path) -> None:
    words = [*DATA, "--data", trained / "data.npz", *MAP, "--map.output-bias", "fc2.bias"]
    words += ["--probes", "0", "--json", "--out", tmp_path / "out"]
    ran = meanfield("spectrum", trained / "model.safetensors", *words)
    assert ran.code == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["kind"] == "local minimum", found
    written = tomllib.loads((tmp_path / "out/config.toml").read_text())
    assert written["map"]["output_bias"] == "fc2.bias"
    # What it wrote is enough to run it again.
    again = meanfield(
        *("spectrum", trained / "model.safetensors", "--config", tmp_path / "out/config.toml"),
        *("--json", "--out", tmp_path / "again"),
    )
    assert json.loads(again.stdout)["kind"] == found["kind"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([*MAP], "tensor 'fc1.weight' is of 2 inputs and a bias; the samples have 2 coordinates"),
        (MAP[:4], "map.output is empty; name the tensor of problem 'regression'."),
        ([*MAP, "--map.key", "k"], "map.key is 'k', but it does nothing for problem 'regression'"),
        ([*MAP, "--map.output-bias", "fc1.bias"], "tensor 'fc1.bias' has shape (4,); it must be ("),
    ],
)
def test_refusals(words: list[str], sentence: str, trained: Path, tmp_path: Path) -> None:
    given = ["--problem", "regression", "--data", trained / "data.npz", "--out", tmp_path / "o"]
    ran = meanfield("diagnose", trained / "model.safetensors", *given, *words)
    assert ran.code == 2
    assert sentence in ran.sentence
    assert not (tmp_path / "o").exists()


def test_a_map_without_a_file_and_a_bias_without_data(tmp_path: Path) -> None:
    ran = meanfield("spectrum", "--map.hidden", "w", "--out", tmp_path / "o")
    assert "map.hidden is given, but source is None" in ran.sentence
    ran = meanfield("spectrum", "--problem.bias", "--out", tmp_path / "o")
    assert "problem.bias is True, but the samples are drawn" in ran.sentence


def test_an_output_bias_needs_the_data(trained: Path) -> None:
    problem = Regression(dim=2, samples=8, spectrum=(1.0,)).build(jax.random.key(0))
    names = TensorMap(hidden="fc1.weight", output="fc2.weight", output_bias="fc2.bias")
    with pytest.raises(InvalidInput, match="but the targets are drawn"):
        read(problem, trained / "model.safetensors", names)


def test_heads_and_problems_without_a_map(tmp_path: Path) -> None:
    file, key = tmp_path / "heads.npz", jax.random.key(0)
    np.savez(file, k=np.ones((6, 4)), q=np.ones((6, 4)), v=np.ones(3), o=np.ones((3, 6)))
    linear = LinearAttention(rank=2, parameters="separate").build(key)
    problem, heads = read(linear, file, TensorMap(key="k", query="q", value="v"))
    assert (problem is linear, heads.size) == (True, 3)
    soft = SoftmaxAttention(features=4, prompts=8).build(key)
    assert read(soft, file, TensorMap(key="k", query="q", heads=2))[1].size == 2
    with pytest.raises(InvalidInput, match="tensor 'k' is of 4 inputs"):
        read(Regression(samples=8).build(key), file, TensorMap(hidden="k", output="o"))
