"""Softmax attention on prompts of features, against attention written out token by token."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from helpers import close
from hypothesis import given, settings
from hypothesis import strategies as st

from landscapes import Landscape, SoftmaxAttentionLandscape
from landscapes.softmax_attention import (
    draw_counts,
    every_prompt,
    feature_directions,
    feature_probabilities,
    head_logits,
    head_matrices,
    predict_from_tokens,
    softmax_head_start,
)
from particles import Ensemble, InvalidInput
from particles.internal import to_device
from saddle_analysis import HessianOperator

K, D, N, HEADS = 3, 5, 4, 2
P = np.array([0.5, 0.3, 0.2])
KEY = jax.random.key(0)


def exact() -> SoftmaxAttentionLandscape:
    return SoftmaxAttentionLandscape.of_length(P, N)


def heads(seed: int = 1, *, weighted: bool = False) -> Ensemble:
    rng = np.random.default_rng(seed)
    weights = to_device(rng.uniform(0.2, 1, HEADS)) if weighted else None
    return Ensemble(to_device(rng.normal(size=(HEADS, K, K))), weights)


def token_loss(matrices: jax.Array, directions: jax.Array) -> jax.Array:
    """½ E(y_q − ŷ)² over all K^n prompts and K queries in full dimension.

    With w ~ N(0, I) the square of w·r has mean |r|²: the sum over the tasks w = e_1, …, e_d.
    """
    sequences = np.array(list(itertools.product(range(K), repeat=N)))
    chances = np.prod(P[sequences], axis=1)
    total = jnp.zeros(())
    for query in range(K):
        x_query = directions[query]

        def one(rows: jax.Array, x_query: jax.Array = x_query) -> jax.Array:
            tokens = directions[rows]  # (n, d); the labels of task e_j are its column j
            scores = jnp.stack([tokens @ matrix @ x_query for matrix in matrices])
            weights = jnp.exp(scores) / jnp.sum(jnp.exp(scores), axis=1, keepdims=True)
            predicted = jnp.mean(weights, axis=0) @ tokens
            return 0.5 * jnp.sum((x_query - predicted) ** 2)

        total += P[query] * jnp.sum(chances * jax.vmap(one)(jnp.asarray(sequences)))
    return total


token_descent = jax.jit(jax.value_and_grad(token_loss))


@pytest.fixture(scope="module")
def directions() -> jax.Array:
    return feature_directions(jax.random.key(5), K, D)


def test_value_and_velocity_token_by_token(directions: jax.Array) -> None:
    """A full d×d matrix by automatic differentiation, off the span of the features too."""
    mu, rng = heads(), np.random.default_rng(2)
    outside = np.eye(D) - np.asarray(directions).T @ np.asarray(directions)
    noise = np.stack([outside @ rng.normal(size=(D, D)) for _ in range(HEADS)])
    full = to_device(np.asarray(head_matrices(mu.particles, directions)) + noise)
    close(head_logits(full, directions), mu.particles)
    loss, gradient = token_descent(full, directions)
    value, velocity = exact().value_and_velocity(mu)
    close(value, loss)
    close(head_matrices(velocity, directions), -HEADS * np.asarray(gradient))


def test_training_of_the_full_matrix_is_the_flow_of_the_logits(directions: jax.Array) -> None:
    full, mu = to_device(np.zeros((1, D, D))), softmax_head_start(KEY, exact())
    for _ in range(30):
        loss, gradient = token_descent(full, directions)
        value, velocity = exact().value_and_velocity(mu)
        close(value, loss)
        full = to_device(np.asarray(full) - 2.0 * np.asarray(gradient))
        logits = np.asarray(mu.particles) + 2.0 * np.asarray(velocity)
        mu = mu.with_particles(to_device(logits))
    close(head_logits(full, directions), mu.particles)
    assert float(value) < 0.8 * float(exact().value(softmax_head_start(KEY, exact())))


def test_prediction_from_tokens(directions: jax.Array) -> None:
    mu, rng = heads(), np.random.default_rng(3)
    rows, query, task = rng.integers(0, K, N), 1, rng.normal(size=D)
    tokens = np.asarray(directions)[rows]
    predicted = predict_from_tokens(
        head_matrices(mu.particles, directions),
        to_device(tokens),
        to_device(tokens @ task),
        to_device(np.asarray(directions)[query]),
    )
    counts = np.bincount(rows, minlength=K)[None]
    attention = np.asarray(SoftmaxAttentionLandscape(P, counts).moments(mu).attention)[query, 0]
    close(predicted, attention @ (np.asarray(directions) @ task))


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
def test_matrix_products_are_the_plain_sums(precision: str, weighted: bool) -> None:
    landscape, mu = exact(), heads(weighted=weighted)
    p = mu.probabilities

    @eqx.filter_jit
    def summed(landscape, particles, p):
        kinds = SoftmaxAttentionLandscape.feature_sum, Landscape.feature_sum
        return [kind(landscape, particles, p) for kind in kinds]

    own, default = summed(landscape, mu.particles, p)
    close(own, default)
    rng = np.random.default_rng(4)
    dual = jax.tree.map(lambda leaf: to_device(rng.normal(size=leaf.shape)), own)

    @eqx.filter_jit
    def paired(landscape, particles, dual):
        kinds = SoftmaxAttentionLandscape.pairing, Landscape.pairing
        square = lambda q, kind: jnp.sum(kind(landscape, q, dual) ** 2)  # noqa: E731
        return [jax.value_and_grad(square)(particles, kind) for kind in kinds]

    close(*paired(landscape, mu.particles, dual))


def test_hessian_is_the_hessian_of_the_plain_loss() -> None:
    landscape, mu = exact(), heads()

    def plain(q: jax.Array) -> jax.Array:
        return landscape.risk(Landscape.feature_sum(landscape, q, mu.probabilities))

    dense = np.asarray(jax.jit(jax.hessian(plain))(mu.particles)).reshape(HEADS * K * K, -1)
    close(HessianOperator(landscape, mu).dense(), HEADS * dense)


def test_large_logits_do_not_overflow(precision: str) -> None:
    landscape, mu = exact(), Ensemble(to_device(200.0 + 40.0 * np.eye(K)[None]))
    value, velocity = landscape.value_and_velocity(mu)
    # All attention on the query's feature where there is any: what is left are the prompts without.
    absent = np.array([0.5 * P[k] * (1 - P[k]) ** N for k in range(K)]).sum()
    assert absent < float(value) < 2 * absent
    assert np.isfinite(velocity).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), shift=st.floats(-3, 3))
def test_invariances(seed: int, shift: float) -> None:
    """Order of features, order of heads, and constants added to rows, which the flow conserves."""
    landscape, mu = exact(), heads(seed)
    order = np.random.default_rng(seed).permutation(K)
    value, velocity = map(np.asarray, landscape.value_and_velocity(mu))
    close(velocity.sum(axis=-1), np.zeros((HEADS, K)))
    logits = np.asarray(mu.particles)
    shifted = mu.with_particles(to_device(logits + shift * np.arange(1.0, K + 1)[:, None]))
    close(landscape.value_and_velocity(shifted), (value, velocity), scale=10)
    relabelled = SoftmaxAttentionLandscape(
        P[order], np.asarray(landscape.counts)[:, order], landscape.weights, length=N
    )
    swapped = Ensemble(to_device(logits[::-1][:, order][:, :, order]))
    expected = velocity[::-1][:, order][:, :, order]
    close(relabelled.value_and_velocity(swapped), (value, expected))


def test_features_that_never_occur_change_nothing() -> None:
    padded = SoftmaxAttentionLandscape.of_length([*P, 0.0])
    limit, mu = SoftmaxAttentionLandscape.of_length(P), heads()
    edge = ((0, 0), (0, 1), (0, 1))
    wide = Ensemble(to_device(np.pad(mu.particles, edge, constant_values=0.3)))
    value, velocity = limit.value_and_velocity(mu)
    expected = np.pad(velocity, edge)
    close(padded.value_and_velocity(wide), (value, expected))


@eqx.filter_jit
def observed(landscape, moments):
    return landscape.observables(moments)


def test_observables() -> None:
    landscape, mu = exact(), heads(weighted=True)
    moments = landscape.moments(mu)
    declared = observed(landscape, moments)
    seen = {name: np.asarray(observable.value) for name, observable in declared.items()}
    mean = np.tensordot(mu.probabilities, mu.particles, 1)
    close(seen["A"], np.diag(mean))
    close(seen["B"], mean - np.diag(np.diag(mean)))
    close(P @ seen["query_loss"], landscape.value(mu))
    close(seen["attention"].sum(axis=1), np.ones(K))
    for name, observable in declared.items():
        assert len(observable.dims) == seen[name].ndim


# --- prompts --------------------------------------------------------------------------------------


def test_enumeration_counts_every_sequence_once() -> None:
    counts, chances = every_prompt(P, N)
    sequences = np.array(list(itertools.product(range(K), repeat=N)))
    tally: dict[tuple, float] = {}
    for row in sequences:
        found = tuple(np.bincount(row, minlength=K))
        tally[found] = tally.get(found, 0.0) + float(np.prod(P[row]))
    listed = dict(zip(map(tuple, counts.astype(int)), chances, strict=True))
    assert listed.keys() == tally.keys()
    assert all(listed[row] == pytest.approx(tally[row]) for row in tally)


def test_enumeration_leaves_out_what_cannot_occur() -> None:
    counts, chances = every_prompt(np.array([1.0, 0.0]), 5)
    assert counts.tolist() == [[5.0, 0.0]]
    assert chances.tolist() == pytest.approx([1.0])


def test_drawn_counts_are_multinomial(precision: str) -> None:
    """Chi-square over all distinct prompts; p-values are uniform under the law."""
    draws = 20_000
    counts = np.asarray(draw_counts(jax.random.key(7), jnp.asarray(P), N, draws)).astype(int)
    assert counts.min() >= 0
    assert np.all(counts.sum(axis=1) == N)
    listed, chances = every_prompt(P, N)
    seen = [(counts == row).all(axis=1).sum() for row in listed.astype(int)]
    assert scipy.stats.chisquare(seen, draws * chances).pvalue > 1e-3


def test_sampled_prompts_approach_the_exact_expectation() -> None:
    mu, prompts = heads(), 4_000
    sampled = SoftmaxAttentionLandscape.of_length(P, N, prompts=prompts, key=jax.random.key(8))
    attention, value = np.asarray(sampled.moments(mu).attention), float(sampled.value(mu))
    losses = P @ (0.5 * np.sum((attention - np.eye(K)[:, None]) ** 2, axis=-1))
    close(np.mean(losses), value)
    error = np.std(losses, ddof=1) / prompts**0.5
    assert abs(value - float(exact().value(mu))) < 4 * error


def test_long_prompts_approach_the_limit() -> None:
    """The difference falls like 1/n: the variance of the share of each feature in a prompt."""
    mu = heads()
    limit = float(SoftmaxAttentionLandscape.of_length(P).value(mu))
    away = [
        float(SoftmaxAttentionLandscape.of_length(P, n).value(mu)) - limit for n in (50, 100, 200)
    ]
    assert away[0] / away[1] == pytest.approx(2, rel=0.05)
    assert away[1] / away[2] == pytest.approx(2, rel=0.03)


@pytest.mark.parametrize("length", [N, np.inf])
def test_minibatch_gradients_are_unbiased(length: float) -> None:
    landscape, mu, batches = SoftmaxAttentionLandscape.of_length(P, length), heads(), 4_000
    keys = jax.random.split(jax.random.key(9), batches)

    @jax.jit
    @jax.vmap
    def drawn(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return landscape.minibatch(key, 8).value_and_velocity(mu)

    found = map(np.asarray, (*drawn(keys), *landscape.value_and_velocity(mu)))
    values, velocities, value, velocity = found
    for sample, exactly in ((values, value), (velocities, velocity)):
        error = np.std(sample, axis=0, ddof=1) / batches**0.5
        score = (np.mean(sample, axis=0) - exactly) / error
        # Rows of velocities sum to zero, so there are 2·3·2 free numbers.
        assert np.abs(score).max() < 4


REFUSED = {
    r"^probabilities sum to 1.1": lambda: SoftmaxAttentionLandscape.of_length([0.5, 0.6]),
    r"^probabilities\[1\] is -0.5": lambda: SoftmaxAttentionLandscape.of_length([1.5, -0.5]),
    r"^probabilities\[0\] is nan": lambda: SoftmaxAttentionLandscape.of_length([np.nan, 1.0]),
    r"^probabilities has shape \(1,\)": lambda: SoftmaxAttentionLandscape.of_length([1.0]),
    r"^length is 0": lambda: SoftmaxAttentionLandscape.of_length(P, 0),
    r"^length is 2.5": lambda: SoftmaxAttentionLandscape.of_length(P, 2.5),
    r"^length is nan": lambda: SoftmaxAttentionLandscape.of_length(P, np.nan),
    r"^prompts is None.*give `prompts`": lambda: SoftmaxAttentionLandscape.of_length(
        np.full(20, 0.05), 200
    ),
    r"^prompts is 0": lambda: SoftmaxAttentionLandscape.of_length(P, 4, prompts=0, key=KEY),
    r"^prompts is 5 and key is None": lambda: SoftmaxAttentionLandscape.of_length(P, 4, prompts=5),
    r"^features is 6 and dim is 5": lambda: feature_directions(KEY, 6, 5),
    r"^tokens has length 0": lambda: predict_from_tokens(
        jnp.zeros((1, 2, 2)), jnp.zeros((0, 2)), jnp.zeros(0), jnp.zeros(2)
    ),
    r"^features is 1": lambda: feature_probabilities(1),
    r"^dominant is 1.0": lambda: feature_probabilities(4, 1.0),
    r"^counts has shape \(2, 2\)": lambda: SoftmaxAttentionLandscape(P, np.ones((2, 2))),
    r"^counts\[1, 2\] is inf": lambda: SoftmaxAttentionLandscape(P, [[1, 1, 1], [1, 1, np.inf]]),
    r"^counts has a smallest entry -1": lambda: SoftmaxAttentionLandscape(P, [[1, 1, -1]]),
    r"^counts has .* prompt of 0 tokens": lambda: SoftmaxAttentionLandscape(P, [[0, 0, 0]]),
    r"^weights has shape \(1,\) and sum 0.5": lambda: SoftmaxAttentionLandscape(P, [P], [0.5]),
    r"^batch_size is 0": lambda: exact().minibatch(KEY, 0),
    r"^size is 0": lambda: softmax_head_start(KEY, exact(), 0),
}


@pytest.mark.parametrize(("message", "call"), REFUSED.items())
def test_bad_input_is_refused_by_name(message, call) -> None:
    with pytest.raises(InvalidInput, match=message):
        call()


def test_heads_of_another_size_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"holds particles of shapes \(4, 4\)"):
        exact().require_fit(Ensemble(jnp.zeros((1, 4, 4))))
