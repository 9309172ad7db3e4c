"""Networks trained elsewhere: outputs by hand are those of the measure; refusals name tensors."""

from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from landscapes import (
    RegressionLandscape,
    SeparateLinearAttentionLandscape,
    SoftmaxAttentionLandscape,
)
from landscapes.linear_attention import PromptDistribution, data_moments, heads_from
from landscapes.networks import neurons_from, with_constant
from landscapes.softmax_attention import head_matrices, predict_from_tokens, softmax_heads_from
from particles import HalfPrecisionWarning, InvalidInput, load_ensemble, read_tensors

RNG = np.random.default_rng(0)
NAMES = {"hidden": "fc1.weight", "output": "fc2.weight", "bias": "fc1.bias"}


def state(inputs: int = 3, neurons: int = 5, outputs: int = 2) -> dict[str, np.ndarray]:
    return {
        "fc1.weight": RNG.normal(size=(neurons, inputs)),
        "fc1.bias": RNG.normal(size=neurons),
        "fc2.weight": RNG.normal(size=(outputs, neurons)),
    }


def forward(tensors: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    hidden = np.tanh(x @ tensors["fc1.weight"].T + tensors["fc1.bias"])
    return hidden @ tensors["fc2.weight"].T


def flax(tensors: dict[str, np.ndarray]) -> dict:
    """The same network as Flax keeps it: nested, and weights transposed."""
    first = {"kernel": tensors["fc1.weight"].T, "bias": tensors["fc1.bias"]}
    return {"params": {"Dense_0": first, "Dense_1": {"kernel": tensors["fc2.weight"].T}}}


FLAX = {
    "hidden": "params.Dense_0.kernel",
    "bias": "params.Dense_0.bias",
    "output": "params.Dense_1.kernel",
}


@pytest.mark.parametrize("scaling", ["sum", "mean"])
@pytest.mark.parametrize("axes", ["out-in", "in-out"])
def test_a_network_with_biases(axes: str, scaling: str) -> None:
    tensors, x = state(), RNG.normal(size=(7, 3))
    given, names = (tensors, NAMES) if axes == "out-in" else (flax(tensors), FLAX)
    mu = neurons_from(given, **names, axes=axes, scaling=scaling)  # pyright: ignore
    landscape = RegressionLandscape(with_constant(x), jnp.zeros((7, 2)))
    expected = forward(tensors, x) / (1 if scaling == "sum" else 5)
    np.testing.assert_allclose(landscape.moments(mu), expected, rtol=1e-12)


@pytest.mark.parametrize("blocks", ["useful", "full"])
@pytest.mark.parametrize("summed", [False, True])
def test_heads_of_linear_attention(blocks: str, summed: bool) -> None:
    """ŷ = Σ_h v_h · Σ_tokens s (k_h·s)ᵀ(q_h·x_q), by loops over heads and tokens."""
    heads, rank, dim = 3, 2, 2
    rows = dim + (blocks == "full")
    x, y = PromptDistribution([0.4, 0.6], 4).draw(jax.random.key(0), 6)
    prompts = data_moments(x, y, blocks=blocks)  # pyright: ignore
    landscape = SeparateLinearAttentionLandscape(prompts, rank, heads=heads if summed else 1)
    tensors = {
        "k": RNG.normal(size=(heads * rank, rows)),
        "q": RNG.normal(size=(heads * rank, rows)),
        "v": RNG.normal(size=(heads, rows) if blocks == "full" else heads),
    }
    ensemble = heads_from(landscape, tensors, key="k", query="q", value="v")
    found = landscape.predict(ensemble, x, y)
    k, q = (tensors[name].reshape(heads, rank, rows) for name in "kq")
    expected = []
    for inputs, labels in zip(np.asarray(x), np.asarray(y), strict=True):
        labels = np.append(labels[:-1], 0.0)
        length, total = len(labels) - 1, 0.0
        tokens = np.column_stack([inputs, labels])
        query = tokens[-1] if blocks == "full" else inputs[-1]
        for h in range(heads):
            for token, row in zip(tokens, inputs, strict=True):
                seen = token if blocks == "full" else row
                score = (k[h] @ seen) @ (q[h] @ query)
                value = tensors["v"][h] @ token if blocks == "full" else tensors["v"][h] * token[-1]
                total += value * score / length
        expected.append(total)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_heads_of_softmax_attention() -> None:
    heads, rank, features, width = 2, 3, 3, 4
    embedding = np.linalg.qr(RNG.normal(size=(width, features)))[0].T
    tensors = {
        "k": RNG.normal(size=(heads * rank, width)),
        "q": RNG.normal(size=(heads * rank, width)),
        "e": embedding,
    }
    landscape = SoftmaxAttentionLandscape.of_length([0.5, 0.3, 0.2], 4)
    names = {"key": "k", "query": "q", "embedding": "e"}
    mu = softmax_heads_from(landscape, tensors, **names, heads=heads)
    tokens, labels, query = [0, 2, 2, 1], np.array([0.3, -1.0, 2.0, 0.5]), 1
    expected = 0.0
    for h in range(heads):
        k, q = (tensors[name].reshape(heads, rank, width)[h] for name in "kq")
        scores = np.array([(k @ embedding[t]) @ (q @ embedding[query]) / rank**0.5 for t in tokens])
        attention = np.exp(scores) / np.exp(scores).sum()
        expected += attention @ labels / heads
    matrices = head_matrices(mu.particles, jnp.asarray(embedding))
    found = predict_from_tokens(
        matrices, jnp.asarray(embedding)[jnp.array(tokens)], jnp.asarray(labels), embedding[query]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_files(suffix: str, tmp_path: Path) -> None:
    tensors, path = state(), tmp_path / f"model.{suffix}"
    np.savez(path, **tensors) if suffix == "npz" else save_file(tensors, path)
    read = read_tensors(path)
    assert set(read) == set(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(read[name], array)


def test_an_ensemble_in_safetensors(tmp_path: Path) -> None:
    save_file({"a": np.ones((4, 2))}, tmp_path / "mu.safetensors")
    assert load_ensemble(tmp_path / "mu.safetensors").size == 4


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_widened_and_said(half: type, tmp_path: Path) -> None:
    save_file({n: a.astype(half) for n, a in state().items()}, tmp_path / "m.safetensors")
    with pytest.warns(HalfPrecisionWarning) as said:
        mu = neurons_from(read_tensors(tmp_path / "m.safetensors"), **NAMES)
    kind = np.dtype(half).name
    assert {f"tensor {name!r} is {kind}: it is " for name in NAMES.values()} == {
        str(warning.message).split("converted")[0] for warning in said
    }
    assert mu.particles.w.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fc2.weight": None}, "output is 'fc2.weight', but there is no such tensor; there are "),
        ({"fc1.bias": np.ones((5, 1))}, "tensor 'fc1.bias' has shape (5, 1); it must be (5,)."),
        ({"fc2.weight": np.ones((5, 2))}, "tensor 'fc2.weight' has shape (5, 2); it must be (ou"),
        ({"fc1.weight": np.ones(5)}, "tensor 'fc1.weight' has shape (5,); it must be (neurons, "),
        ({"fc1.bias": np.ones(5, np.float32)}, "tensors have different types, {"),
        ({"fc1.bias": np.full(5, np.nan)}, "tensor 'fc1.bias' is nan at [0]; all entries must"),
    ],
)
def test_refusals_name_the_tensor(change: dict, sentence: str) -> None:
    tensors = {n: a for n, a in (state() | change).items() if a is not None}
    with pytest.raises(InvalidInput) as refused:
        neurons_from(tensors, **NAMES)
    assert str(refused.value).startswith(sentence)


def test_whole_numbers_are_no_weights() -> None:
    with pytest.raises(InvalidInput, match=r"tensor 'fc1.weight' has dtype int64; give float32"):
        neurons_from({n: a.astype(int) for n, a in state().items()}, **NAMES)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("model.pt", "may hold code (a pickle) and is not opened; save its tensors with"),
        ("model.safetensors", "is not a .safetensors file ("),
        ("model.npz", "is not an .npz file of named arrays."),
    ],
)
def test_junk_is_refused_and_never_unpickled(name: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"cos\nabort\n(tR." * 9)  # as a pickle it would end the process
    with pytest.raises(InvalidInput) as refused:
        read_tensors(tmp_path / name)
    assert sentence in str(refused.value)


def test_objects_in_an_npz_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", w=np.array([{}], dtype=object))
    with pytest.raises(InvalidInput, match=r"is not an \.npz file"):
        read_tensors(tmp_path / "m.npz")


def test_rows_that_do_not_split_into_heads() -> None:
    landscape = SoftmaxAttentionLandscape.of_length([0.5, 0.5])
    with pytest.raises(InvalidInput, match="tensor 'k' has 3 rows; heads is 2"):
        softmax_heads_from(
            landscape, {"k": np.ones((3, 2)), "q": np.ones((3, 2))}, key="k", query="q", heads=2
        )


def test_another_number_of_heads_than_are_summed() -> None:
    x, y = PromptDistribution([0.4, 0.6], 4).draw(jax.random.key(0), 6)
    landscape = SeparateLinearAttentionLandscape(data_moments(x, y), 1, heads=2)
    tensors = {"k": np.ones((3, 2)), "q": np.ones((3, 2)), "v": np.ones(3)}
    with pytest.raises(InvalidInput, match="'v' of 3 heads, but the landscape sums 2"):
        heads_from(landscape, tensors, key="k", query="q", value="v")
