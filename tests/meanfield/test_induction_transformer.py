"""The example of a Transformer on item–label pairs, against attention position by position."""

import importlib
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def test_induction_transformer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The forward pass position by position; then a short training and its figure."""
    monkeypatch.syspath_prepend(EXAMPLES)
    example = importlib.import_module("induction_transformer")
    model = example.Transformer(jax.random.key(0), 8, 5, 6)
    prompt, j = example.prompts(jax.random.key(1), 3, 2, 8)
    assert all(len(set(row[:-1].tolist())) == 4 for row in np.asarray(prompt))
    np.testing.assert_array_equal(prompt[:, -1], prompt[np.arange(3), 2 * np.asarray(j)])
    losses, match = [], []
    for tokens, queried in zip(np.asarray(prompt), np.asarray(j), strict=True):
        weights = np.zeros(5)
        x = np.asarray(model.tokens)[tokens] + np.asarray(model.positions)
        for head in model.heads:
            q, k, v, o = (np.asarray(part) for part in (head.q, head.k, head.v, head.o))
            read = np.zeros_like(x)
            for t in range(5):
                weights = softmax(np.array([x[t] @ q @ k.T @ x[s] for s in range(t + 1)]) / 6**0.5)
                read[t] = weights @ x[: t + 1] @ v @ o
            x = x + read
        match.append(weights[2 * queried + 1])
        wanted = np.eye(8)[tokens[2 * queried + 1]]
        losses.append(0.5 * np.sum((x[-1] @ np.asarray(model.read) - wanted) ** 2))
    found = eqx.filter_jit(example.measured)(model, prompt, j)
    assert float(found.loss) == pytest.approx(np.mean(losses), rel=1e-4)
    assert float(found.match) == pytest.approx(np.mean(match), rel=1e-4)
    steps, courses = example.train(
        jax.random.key(0), models=2, pairs=2, steps=40, records=4, batch=8, width=8
    )
    assert steps.tolist() == [0, 10, 20, 30, 40]
    assert courses.loss.shape == (5, 2)
    assert courses.ranks.shape == (5, 2, 4)
    assert np.all(courses.loss[-1] < courses.loss[0])
    canvas = example.draw(steps, courses, 2)
    canvas.savefig(tmp_path / "figure.png")
    assert all(ax.get_xlabel() and ax.get_ylabel() and ax.get_title() for ax in canvas.axes)
    assert set(example.summary(steps, courses, 2)["half-way (steps)"]) == {
        "loss", "copy", "match", "previous",
    }  # fmt: skip
