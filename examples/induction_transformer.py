# %% [markdown]
# # A real two-layer Transformer beside the induction circuit
#
# The landscape `induction` reduces in-context recall to three numbers of a circuit. Here a plain
# Transformer of two attention layers (softmax, causal, one head a layer, learned embeddings and
# positions, residual stream) learns the same task by Adam: N item–label pairs in random order, then
# one item again; the answer is its label. Every token can be an item or a label, so that nothing
# can be known but from the prompt. The loss is the landscape's, ½‖output − one-hot answer‖².
#
# Run it with `python examples/induction_transformer.py` (needs optax); it takes a few minutes on
# two cores, prints what was found and draws a figure.

# %%
from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Key
from matplotlib.figure import Figure

from landscapes import CausalInductionLandscape, rank_measures
from landscapes.induction import circuits, plateau_level
from meanfield import GradientFlow, plots, simulate
from meanfield.runs import log_spaced
from saddle_analysis.curves import crossing

FIGURE = Path(__file__).parent / "figures" / "induction_transformer.png"
CIRCUITS = {
    "copy": "layer 2 copies what it reads (γ)",
    "match": "layer 2 attends to the right label (β)",
    "previous": "layer 1 attends to the previous token (α)",
}
MATRICES = {"qk1": "QK, layer 1", "ov1": "OV, layer 1", "qk2": "QK, layer 2", "ov2": "OV, layer 2"}


class Head(eqx.Module):
    """One causal softmax head: x + softmax(x Q Kᵀ xᵀ/√d) x V O."""

    q: Array
    k: Array
    v: Array
    o: Array

    def __init__(self, key: Key[Array, ""], width: int):
        shapes = jax.random.normal(key, (4, width, width)) / np.sqrt(width)
        self.q, self.k, self.v, self.o = shapes

    def __call__(self, x: Array) -> tuple[Array, Array]:
        logits = (x @ self.q) @ (x @ self.k).T / np.sqrt(x.shape[1])
        seen = np.tri(len(x), dtype=bool)
        attention = jax.nn.softmax(jnp.where(seen, logits, -jnp.inf), axis=1)
        return x + attention @ x @ self.v @ self.o, attention


class Transformer(eqx.Module):
    """Embedding and position, two heads, read-out."""

    tokens: Array
    positions: Array
    heads: tuple[Head, Head]
    read: Array

    def __init__(self, key: Key[Array, ""], vocabulary: int, length: int, width: int):
        first, second, third, fourth, fifth = jax.random.split(key, 5)
        self.tokens = jax.random.normal(first, (vocabulary, width)) / np.sqrt(width)
        self.positions = jax.random.normal(second, (length, width)) / np.sqrt(width)
        self.heads = Head(third, width), Head(fourth, width)
        self.read = jax.random.normal(fifth, (width, vocabulary)) / width

    def __call__(self, prompt: Array) -> tuple[Array, tuple[Array, Array]]:
        x = self.tokens[prompt] + self.positions
        x, first = self.heads[0](x)
        x, second = self.heads[1](x)
        return x[-1] @ self.read, (first, second)


# %% [markdown]
# ## The task, and what is measured along training
#
# The circuit's α, β and γ have counterparts that are read off the Transformer: the attention of
# labels to the token before them in layer 1, the attention of the query to the right label in
# layer 2, and how much a token that layer 2 reads raises its own logit.


# %%
def prompts(key: Key[Array, ""], count: int, pairs: int, vocabulary: int) -> tuple[Array, Array]:
    """Prompts x₁ y₁ … x_N y_N x_j of distinct tokens, and j."""
    key_tokens, key_query = jax.random.split(key)
    keys = jax.random.split(key_tokens, count)
    drawn = jax.vmap(lambda k: jax.random.permutation(k, vocabulary)[: 2 * pairs])(keys)
    j = jax.random.randint(key_query, (count,), 0, pairs)
    return jnp.concatenate([drawn, drawn[jnp.arange(count), 2 * j][:, None]], axis=1), j


def loss_of(model: Transformer, prompt: Array, j: Array) -> Array:
    """½‖output − one-hot label‖², mean over prompts."""
    said, _ = jax.vmap(model)(prompt)
    label = prompt[jnp.arange(len(prompt)), 2 * j + 1]
    wanted = jax.nn.one_hot(label, said.shape[1])
    return 0.5 * jnp.mean(jnp.sum((said - wanted) ** 2, axis=1))


class Measures(NamedTuple):
    """What one record holds.

    Args:
        loss: on fresh prompts.
        accuracy: share of prompts whose largest output is the label.
        previous: attention of labels to the token before, layer 1.
        match: attention of the query to the right label, layer 2.
        copy: by how much a token read by layer 2 raises its own output over the others'.
        ranks: effective rank of the four matrices of `MATRICES`.
        participation: their participation ratio.
    """

    loss: Array
    accuracy: Array
    previous: Array
    match: Array
    copy: Array
    ranks: Array
    participation: Array


def measured(model: Transformer, prompt: Array, j: Array) -> Measures:
    """All measures of one model."""
    said, (first, second) = jax.vmap(model)(prompt)
    rows = jnp.arange(len(prompt))
    label = prompt[rows, 2 * j + 1]
    labels = np.arange(1, prompt.shape[1] - 1, 2)
    one, two = model.heads
    copied = model.tokens @ two.v @ two.o @ model.read
    size = len(copied)
    others = (copied.sum() - jnp.trace(copied)) / (size * (size - 1))
    products = one.q @ one.k.T, one.v @ one.o, two.q @ two.k.T, two.v @ two.o
    ranks = rank_measures(jnp.stack(products))
    return Measures(
        loss=loss_of(model, prompt, j),
        accuracy=jnp.mean(jnp.argmax(said, axis=1) == label),
        previous=jnp.mean(first[:, labels, labels - 1]),
        match=jnp.mean(second[rows, -1, 2 * j + 1]),
        copy=jnp.trace(copied) / size - others,
        ranks=ranks.effective,
        participation=ranks.participation,
    )


# %% [markdown]
# ## Training: several models at once, Adam on fresh prompts


# %%
def train(
    key: Key[Array, ""],
    *,
    models: int,
    pairs: int,
    steps: int,
    records: int,
    batch: int,
    width: int,
) -> tuple[np.ndarray, Measures]:
    """Steps of the records, and all measures over records and models."""
    vocabulary, length = 4 * pairs, 2 * pairs + 1
    made = eqx.filter_vmap(lambda k: Transformer(k, vocabulary, length, width))
    optimiser = optax.adam(1e-3)
    between = steps // records

    def one(model: Transformer, key: Key[Array, ""]) -> Measures:
        test = prompts(jax.random.fold_in(key, 1), 512, pairs, vocabulary)

        def step(carry: tuple, key: Key[Array, ""]) -> tuple[tuple, None]:
            model, state = carry
            drawn = prompts(key, batch, pairs, vocabulary)
            updates, state = optimiser.update(jax.grad(loss_of)(model, *drawn), state)
            return (eqx.apply_updates(model, updates), state), None

        def record(carry: tuple, key: Key[Array, ""]) -> tuple[tuple, Measures]:
            found = measured(carry[0], *test)
            return jax.lax.scan(step, carry, jax.random.split(key, between))[0], found

        begun = model, optimiser.init(eqx.filter(model, eqx.is_array))
        carry, found = jax.lax.scan(record, begun, jax.random.split(key, records))
        last = measured(carry[0], *test)
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), found, last)

    keys = jax.random.split(key, models)
    found = jax.jit(jax.vmap(one))(made(keys), jax.random.split(jax.random.fold_in(key, 1), models))
    courses = jax.tree.map(lambda leaf: np.moveaxis(np.asarray(leaf), 0, 1), found)
    return between * np.arange(records + 1.0), courses


# %% [markdown]
# ## What the reduced landscape says
#
# It has no rate in common with Adam: its time is scaled so that both losses reach half of their
# start together. Levels have nothing to adjust: ½(1 − 1/(n + 2)) is the circuit's plateau with even
# attention, ½(1 − 1/N) the loss of one that tells labels from items by their position, which the
# circuit cannot and a Transformer with positions can.
#
# What agrees (N = 4, four models): the copy comes first, then the match, then the previous token,
# in all four; recall is learned at once, after a time in which little happens.
#
# What differs: the Transformer does not wait at the circuit's saddle. Within 200 steps layer 2
# attends to all labels alike, by their positions (0.23 to 0.24 on the right one, 1/N = 0.25), and
# the loss is slowest at 0.39 to 0.40, near the level of labels alone, 0.375. It ends at zero, where
# the causal circuit is left with 1/(4N), the error of the first pair. Before layer 1 attends to the
# previous token, its attention to it falls, for positions are learned first. And what no single
# circuit has: the participation ratio of both QK falls from 10 to below 2 long before the drop, as
# MT25 says of nonlinear models; those of OV move with the drop.


# %%
def circuit(pairs: int) -> dict[str, np.ndarray]:
    """Course of the causal circuit from zero: loss, α, β and γ."""
    run = simulate(
        GradientFlow(CausalInductionLandscape(pairs), scheme="adaptive"),
        circuits(1),
        horizon=100.0 * pairs,
        dt=0.1,
        record=log_spaced(0.5, per_decade=100),
    )
    found = run.trajectory
    names = ("time", "loss", "alpha", "beta", "gamma")
    return {name: found[name].values for name in names}


def half_way(steps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """When each column first is half-way from its start to its end."""
    moved = (values - values[0]) / (values[-1] - values[0])
    return np.array([crossing(steps, column, 0.5, rising=True) for column in moved.T])


def summary(steps: np.ndarray, found: Measures, pairs: int) -> dict[str, object]:
    """Numbers of all models: events, levels, ends."""
    events = {name: half_way(steps, getattr(found, name)) for name in ("loss", *CIRCUITS)}
    names = list(CIRCUITS)
    orders = [
        " ".join(sorted(names, key=lambda name: events[name][i]))
        for i in range(found.loss.shape[1])
    ]
    # The plateau: where the loss falls slowest, from even attention to half of its start.
    plateaus = []
    for column in found.loss.T:
        rate = -np.gradient(column, steps)
        before = (column > 0.5 * column[0]) & (column < plateau_level(pairs))
        plateaus.append(float(column[np.argmin(np.where(before, rate, np.inf))]))
    return {
        "half-way (steps)": {name: when.tolist() for name, when in events.items()},
        "order": orders,
        "match before the drop": found.match[
            np.argmin(np.abs(steps - 0.7 * np.median(events["loss"])))
        ].tolist(),
        "lowest participation of QK": {
            "layer 1": found.participation[..., 0].min(axis=0).tolist(),
            "layer 2": found.participation[..., 2].min(axis=0).tolist(),
            "at step": steps[found.participation[..., 0].argmin(axis=0)].tolist(),
        },
        "plateau": plateaus,
        "levels": {"even attention": plateau_level(pairs), "labels": 0.5 * (1 - 1 / pairs)},
        "final loss": found.loss[-1].tolist(),
        "final accuracy": found.accuracy[-1].tolist(),
    }


def draw(steps: np.ndarray, found: Measures, pairs: int) -> Figure:
    """Loss, the three parts of the circuit, ranks: the Transformer, and the landscape over it."""
    canvas = Figure(figsize=(17, 4.6), layout="constrained")
    loss, parts, ranks = canvas.subplots(1, 3)
    reduced = circuit(pairs)
    half = np.median([crossing(steps, column, 0.25) for column in found.loss.T])
    half = half if np.isfinite(half) else steps[-1]  # no model is half-way
    own = crossing(reduced["time"], reduced["loss"], 0.25)
    clock = reduced["time"] * half / own
    shown = (clock > 0) & (clock <= steps[-1])
    plots.plot_courses(
        loss,
        {"Transformer, all models": (steps, found.loss)},
        {"": (clock[shown], reduced["loss"][shown])},
        levels={
            "even\nattention": plateau_level(pairs),
            "labels\nonly": 0.5 * (1 - 1 / pairs),
            "first\npair": 1 / (4 * pairs),
        },
        theory_label="circuit, time scaled to the same half",
    )
    loss.set(xlabel="step of Adam", ylabel="loss ½‖error‖²", title=f"Recall of N = {pairs} pairs")
    plots.plot_courses(
        parts,
        {
            label: (steps, getattr(found, name) / getattr(found, name)[-1])
            for name, label in CIRCUITS.items()
        },
        {
            name: (clock[shown], reduced[name][shown] / reduced[name][shown][-1])
            for name in ("gamma", "beta", "alpha")
        },
        theory_label="circuit: γ, β, α",
        place="below",
    )
    parts.set(
        xlabel="step of Adam", ylabel="share of the final value", title="Parts of the circuit"
    )
    plots.plot_courses(
        ranks,
        {label: (steps, found.participation[..., i]) for i, label in enumerate(MATRICES.values())},
        place="below",
    )
    ranks.axvline(float(half), color=plots.QUIET, lw=1, ls="--")
    ranks.set(
        xlabel="step of Adam", ylabel="participation ratio (directions)", title="Rank of QK and OV"
    )
    return canvas


# %%
def main() -> None:
    """Train, print the numbers, draw the figure."""
    parser = argparse.ArgumentParser(description="A two-layer Transformer on item–label pairs.")
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--records", type=int, default=80)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, default=FIGURE)
    chosen = parser.parse_args()
    steps, found = train(
        jax.random.key(chosen.seed),
        models=chosen.models,
        pairs=chosen.pairs,
        steps=chosen.steps,
        records=chosen.records,
        batch=chosen.batch,
        width=chosen.width,
    )
    chosen.figure.parent.mkdir(parents=True, exist_ok=True)
    draw(steps, found, chosen.pairs).savefig(chosen.figure, dpi=110)
    print(json.dumps(summary(steps, found, chosen.pairs), indent=1))


if __name__ == "__main__":
    main()
