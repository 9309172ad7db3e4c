"""The induction circuit: against two layers of attention on explicit tokens, and its saddle."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscapes.induction import (
    CausalInductionLandscape,
    InductionLandscape,
    MarkovHead,
    MarkovInductionLandscape,
    circuit_start,
    circuits,
    draw_chains,
    escape_curvature,
    markov_head_start,
    plateau_level,
    plateau_readout,
)
from particles import Ensemble, InvalidInput
from saddle_analysis import HessianOperator


def softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x - x.max())
    return weights / weights.sum()


def brute_force(pairs: int, heads: np.ndarray, causal: bool) -> float:
    """The loss by attention over explicit one-hot tokens, all queried pairs enumerated."""
    n, losses = 2 * pairs + 1, []
    for j in range(pairs):
        tokens = np.eye(2 * pairs)[[*range(2 * pairs), 2 * j]]
        output = np.zeros(2 * pairs)
        for alpha, beta, gamma in heads:
            held = np.zeros_like(tokens)
            for s in range(n):
                logits = np.zeros(n)
                if s > 0:
                    logits[s - 1] = alpha
                elif not causal:
                    logits[2 * pairs - 1] = alpha  # the pairs stand in a circle
                if causal:
                    logits[s + 1 :] = -np.inf
                held[s] = softmax(logits) @ tokens
            output += gamma * softmax(beta * held @ tokens[-1]) @ tokens / len(heads)
        losses.append(0.5 * np.sum((output - np.eye(2 * pairs)[2 * j + 1]) ** 2))
    return float(np.mean(losses))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("pairs", [2, 3, 5])
def test_closed_form_is_two_layers_of_attention(pairs: int, causal: bool) -> None:
    landscape = CausalInductionLandscape(pairs) if causal else InductionLandscape(pairs)
    with jax.enable_x64(True):
        landscape = CausalInductionLandscape(pairs) if causal else InductionLandscape(pairs)
        start = circuit_start(jax.random.key(pairs), landscape, 3, scale=2.0)
        found = float(landscape.value(start))
    heads = np.stack([np.asarray(leaf) for leaf in start.particles], axis=1)
    assert found == pytest.approx(brute_force(pairs, heads, causal), rel=1e-12)


@pytest.mark.parametrize("pairs", [2, 4, 64])
def test_the_plateau_is_an_exact_strict_saddle(pairs: int) -> None:
    with jax.enable_x64(True):
        landscape = InductionLandscape(pairs)
        for size in (1, 3):
            saddle = landscape.saddle(size)
            value, velocity = landscape.value_and_velocity(saddle)
            assert float(value) == pytest.approx(plateau_level(pairs), rel=1e-14)
            assert max(float(jnp.abs(leaf).max()) for leaf in velocity) < 1e-12
            curvatures = np.linalg.eigvalsh(HessianOperator(landscape, saddle).dense())
            h, n = escape_curvature(pairs), 2 * pairs + 1
            readout = (n + 2) / n**2  # the curvature of L in the mean readout
            known = [h] * size + [0.0] * (size - 1) + [-h] * size + [readout]
            assert np.allclose(curvatures, np.sort(known), rtol=0, atol=1e-13)


def test_levels_of_the_source() -> None:
    assert plateau_level(64) == pytest.approx(0.4961832, abs=1e-7)
    assert -escape_curvature(4) == pytest.approx(9.1827e-3, rel=1e-4)
    assert plateau_readout(4) == pytest.approx(9 / 11)


def test_the_circuit_solves_the_task_and_the_first_pair_stays_hard_under_a_mask() -> None:
    with jax.enable_x64(True):
        solved = circuits(1, alpha=60.0, beta=80.0, gamma=1.0)
        assert float(InductionLandscape(4).value(solved)) < 1e-12
        assert float(CausalInductionLandscape(4).value(solved)) == pytest.approx(1 / 16, rel=1e-9)


def test_one_compilation_serves_every_number_of_pairs() -> None:
    landscape = InductionLandscape(4)
    assert float(landscape.replace(pairs=8.0).value(landscape.saddle())) == pytest.approx(
        float(InductionLandscape(8).value(landscape.saddle())), rel=1e-6
    )


@pytest.mark.parametrize("pairs", [1, float("inf"), float("nan")])
def test_too_few_pairs(pairs: float) -> None:
    with pytest.raises(InvalidInput, match="pairs is"):
        InductionLandscape(pairs)
    with pytest.raises(InvalidInput, match="pairs"):
        InductionLandscape(4).replace(pairs=pairs)


# --- Markov chains -----------------------------------------------------------------------------


def test_markov_features_token_by_token() -> None:
    with jax.enable_x64(True):
        landscape = draw_chains(jax.random.key(1), 4, 6, 3)
        mu = markov_head_start(jax.random.key(2), landscape, 2, scale=1.0)
        found = np.asarray(landscape.moments(mu))
    tokens = np.asarray(landscape.tokens)
    wanted = np.zeros((4, 3))
    for v, w in zip(*(np.asarray(leaf) for leaf in mu.particles), strict=True):
        for c, chain in enumerate(tokens):
            for j, token in enumerate(chain):
                mixing = softmax(np.array([v[j - i] for i in range(j + 1)]))
                match = sum(mixing[i] * w[chain[-1], chain[i]] for i in range(j + 1))
                wanted[c, token] += match / len(chain) / 2
    assert np.allclose(found, wanted, rtol=1e-12)


def test_levels_by_direct_counting() -> None:
    with jax.enable_x64(True):
        landscape = draw_chains(jax.random.key(3), 50, 20, 3)
        levels = landscape.levels()
    tokens, rows = np.asarray(landscape.tokens), np.asarray(landscape.rows)
    losses = {"unigram": 0.0, "bigram": 0.0}
    for chain, row in zip(tokens, rows, strict=True):
        single = [1 + sum(t == k for t in chain) for k in range(3)]
        steps = list(itertools.pairwise(chain))
        double = [1 + sum(step == (chain[-1], k) for step in steps) for k in range(3)]
        for name, counts in (("unigram", single), ("bigram", double)):
            losses[name] -= row @ np.log(np.array(counts) / sum(counts)) / len(tokens)
    assert levels["uniform"] == pytest.approx(np.log(3))
    assert levels["unigram"] == pytest.approx(losses["unigram"], rel=1e-12)
    assert levels["bigram"] == pytest.approx(losses["bigram"], rel=1e-12)
    assert levels["entropy"] < levels["bigram"] < levels["unigram"] < levels["uniform"]


def test_the_heads_of_the_head_levels() -> None:
    with jax.enable_x64(True):
        landscape = draw_chains(jax.random.key(4), 40, 16, 2)
        levels = landscape.head_levels()
        scales = np.linspace(0, 30, 301)
        flat, previous = jnp.zeros(16), jnp.zeros(16).at[1].set(200.0)
        for name, v, w in (("unigram", flat, np.ones((2, 2))), ("bigram", previous, np.eye(2))):
            heads = [Ensemble(MarkovHead(v[None], jnp.asarray(s * w)[None])) for s in scales]
            best = min(float(landscape.value(head)) for head in heads)
            assert best == pytest.approx(levels[name], abs=1e-4)
            assert best >= levels[name] - 1e-9


def test_chains_have_their_transitions() -> None:
    with jax.enable_x64(True):
        landscape = draw_chains(jax.random.key(5), 4000, 3, 2)
    # Leaving with p and q, uniform, a stationary chain repeats with mean 1 − E[2pq/(p + q)].
    known = 1 - 4 * (1 - np.log(2)) / 3
    repeats = np.asarray(landscape.tokens[:, 1] == landscape.tokens[:, 2])
    assert abs(repeats.mean() - known) < 4 * 0.5 / np.sqrt(4000)


@pytest.mark.parametrize(
    ("tokens", "rows", "said"),
    [
        ([[0, 1]], [[0.5, 0.6]], "no probabilities"),
        ([[0, 2]], [[0.5, 0.5]], "states from 0 to 2"),
        ([[0]], [[0.5, 0.5]], "shape"),
        ([[0, 1]], [[0.5, np.nan]], "rows"),
    ],
)
def test_data_that_is_refused(tokens: list, rows: list, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        MarkovInductionLandscape(tokens, rows)


def test_no_chains() -> None:
    with pytest.raises(InvalidInput, match="chains is 0"):
        draw_chains(jax.random.key(0), 0, 5, 2)
