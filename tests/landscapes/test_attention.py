"""The in-context loss: exact over prompts, reduced by the fast attention matrix."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import OUTPUTS, SAMPLES, all_prompts, attention, attention_matrix, close, cloud
from helpers import prompt_losses as losses

from landscapes import MLPAttentionLandscape, Neuron, NoLimitWarning, neuron_start
from landscapes.mlp_attention import SingularWarning, learned_fractions, output_signal
from particles import Ensemble

W, KEY = attention_matrix(), jax.random.key(0)


def outputs(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(size, OUTPUTS)), rng.normal(size=(size, OUTPUTS))


@pytest.mark.parametrize("length", [1, 2])
def test_the_risk_is_the_mean_over_every_prompt(length):
    """All 4^(n+1) prompts and queries on four samples, each with its expectation over tasks."""
    f, h = outputs(np.random.default_rng(0), 4)
    landscape = MLPAttentionLandscape(np.eye(4), f, context_length=length)
    rows, query = all_prompts(4, length)
    expected = losses(f, h, np.asarray(W), rows, query).mean()
    close(landscape.risk(jnp.asarray(h), W), expected)


def test_the_risk_is_the_mean_of_drawn_prompts():
    """Five examples on 24 samples: 24^5 prompts, so drawn; in units of the standard error."""
    rng, length, count = np.random.default_rng(1), 5, 100_000
    f, h = outputs(rng, SAMPLES)
    f[:, 0] *= 3
    rows, query = rng.integers(SAMPLES, size=(count, length)), rng.integers(SAMPLES, size=count)
    drawn = losses(f, h, np.asarray(W), rows, query)
    error = drawn.std() / np.sqrt(count)
    landscape, infinite = (
        MLPAttentionLandscape(np.eye(SAMPLES), f, context_length=n) for n in (length, np.inf)
    )
    exact = float(landscape.risk(jnp.asarray(h), W))
    assert abs(drawn.mean() - exact) < 4 * error
    assert abs(drawn.mean() - float(infinite.risk(jnp.asarray(h), W))) > 10 * error


def test_the_ridge_is_noise_on_the_querys_features():
    """Noise of variance ρ added to h_μ(x_q), over every prompt of one example."""
    rng = np.random.default_rng(2)
    (f, h), ridge = outputs(rng, 4), 0.3
    landscape = MLPAttentionLandscape(np.eye(4), f, ridge=ridge, context_length=1)
    rows, query = all_prompts(4, 1)
    clean = losses(f, h, np.asarray(W), rows, query).mean()
    # E_ξ adds ½ρ E‖A W‖² for the read A = f_i h_iᵀ of the one example.
    reads = np.einsum("mk,ml,lp->mkp", f, h, np.asarray(W))
    close(landscape.risk(jnp.asarray(h), W), clean + 0.5 * ridge * np.mean((reads**2).sum((1, 2))))


@pytest.mark.parametrize("ridge", [0.0, 0.2])
def test_the_reduced_value_and_its_feature_decomposition(ridge):
    """L = ½ tr(Σ°° − Σ°μ (Σμμ + ρ)⁻¹ Σμ°) = ½ Σ_j λ_j (1 − fraction_j)."""
    landscape, mu = attention(ridge=ridge), cloud()
    f, h = np.asarray(landscape.f), np.asarray(landscape.moments(mu))
    target, cross, gram = (u.T @ v / SAMPLES for u, v in ((f, f), (f, h), (h, h)))
    reduced = 0.5 * np.trace(target - cross @ np.linalg.inv(gram + ridge * np.eye(2)) @ cross.T)
    close(landscape.value(mu), reduced)
    close(landscape.target_moment, target)
    fractions = np.asarray(learned_fractions(landscape, jnp.asarray(h)))
    close(0.5 * np.linalg.eigvalsh(target)[::-1] @ (1 - fractions), reduced)
    assert (fractions > 0).all()
    assert (fractions < 1).all()
    close(landscape.observables(jnp.asarray(h))["learned_fraction"].value, fractions)


def test_the_fast_equilibrium_at_infinite_prompts_is_the_inverse():
    landscape, mu = attention(ridge=0.2), cloud()
    h = np.asarray(landscape.moments(mu))
    close(
        landscape.solve_fast(jnp.asarray(h)), np.linalg.inv(h.T @ h / SAMPLES + 0.2 * np.eye(2)), 10
    )


def test_the_value_in_float32_near_the_minimum():
    """A residual of 1e-4 costs 1e-8, which differences of traces in float32 (1e-7) would lose."""
    f, h = outputs(np.random.default_rng(0), SAMPLES)
    f = f.astype("float32")
    landscape = MLPAttentionLandscape(np.eye(SAMPLES, dtype="float32"), f)
    h = (f + 1e-4 * h).astype("float32")
    value = float(landscape.energy(jnp.asarray(h)))
    exact, wide = MLPAttentionLandscape(np.eye(SAMPLES), f.astype(float)), h.astype(float)
    assert value == pytest.approx(float(exact.energy(jnp.asarray(wide))), rel=1e-3)


def test_the_signal_of_a_start_tells_zero_mean_outputs_from_others():
    landscape = attention()

    def signal(mean, size):
        start = neuron_start(KEY, landscape, size, output_mean=mean)
        return output_signal(landscape, start)

    sizes = (64, 512, 4096)
    zero, proper = ([signal(mean, size) for size in sizes] for mean in (0.0, 1.0))
    assert max(zero) < 4  # order one: about a chi-square variable over its mean
    slopes = np.diff(np.log(proper)) / np.diff(np.log(sizes))
    assert (abs(slopes - 1) < 0.35).all()
    assert proper[0] > 2


def test_concerns_about_a_start():
    start = neuron_start(KEY, attention(), 64, output_mean=0.0)
    (concern,) = attention().concerns(start)
    assert isinstance(concern, NoLimitWarning)
    assert "no limit as N → ∞" in str(concern)
    assert attention(ridge=0.1).concerns(start) == []
    assert attention().concerns(neuron_start(KEY, attention(), 64)) == []


def test_fewer_neurons_than_outputs_need_a_ridge():
    """h_μ of one neuron spans one dimension, so Σμμ is singular for k = 2."""
    mu = cloud(size=1)
    (concern,) = attention().concerns(mu)
    assert isinstance(concern, SingularWarning)
    assert attention(ridge=0.1).concerns(mu) == []
    assert np.isfinite(attention(ridge=0.1).value(mu))


def test_parameters_may_be_changed_and_mapped_over():
    """ρ and 1/n are leaves of the landscape: a sweep is one vmap."""
    mu, ridges = cloud(), jnp.array([0.05, 0.1, 0.2])

    def value(ridge):
        return attention().replace(ridge=ridge).value(mu)

    close(
        eqx.filter_vmap(value)(ridges),
        [float(attention(ridge=r).value(mu)) for r in (0.05, 0.1, 0.2)],
    )


def test_neuron_start_correlates_outputs_with_inputs():
    """Moments of (a, w) in standard errors: w of variance s²/d, a = mean·P w̃ + scale·noise."""
    size, landscape = 20_000, attention()
    mu = neuron_start(KEY, landscape, size, output_mean=2.0, scale_a=0.5, scale_w=3.0)
    a, w = map(np.asarray, mu.particles)
    covariance = a.T @ w / size / (3 / np.sqrt(3))  # estimates 2 P, rows of norm 2
    norms = np.linalg.norm(covariance, axis=1)
    assert (abs(norms - 2) < 4 * 2.5 / np.sqrt(size)).all()
    assert abs(covariance[0] @ covariance[1]) < 4 * 6 / np.sqrt(size)
    variance = np.mean(w**2)
    assert abs(variance - 3) < 4 * 3 * np.sqrt(2 / w.size)
    assert abs(np.mean(a**2) - (4 + 0.25)) < 4 * 4.25 * np.sqrt(2 / a.size)


def test_whitened_neurons_have_the_second_moments_of_their_law():
    landscape = attention()
    mu = neuron_start(KEY, landscape, 64, scale_a=0.5, scale_w=3.0, whiten=True, points="sobol")
    a, w = map(np.asarray, mu.particles)
    directions = a.T @ w / 64 / np.sqrt(3)
    for found, expected in (
        (w.T @ w / 64, 3 * np.eye(3)),
        (directions @ directions.T, np.eye(2)),
        (a.T @ a / 64, 1.25 * np.eye(2)),
        (a.mean(axis=0), 0),
        (w.mean(axis=0), 0),
    ):
        np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-12)


def test_attention_on_one_output_is_one_minus_a_correlation():
    """k = 1: L = ½ E f² (1 − corr²), uncentred; a case to check by eye."""
    rng = np.random.default_rng(0)
    x, f = rng.normal(size=(30, 2)), rng.normal(size=(30, 1))
    neurons = Neuron(a=jnp.asarray(rng.normal(size=(5, 1))), w=jnp.asarray(rng.normal(size=(5, 2))))
    h = np.tanh(x @ np.asarray(neurons.w).T) @ np.asarray(neurons.a) / 5
    correlation = float(np.sum(f * h) / np.sqrt(np.sum(f**2) * np.sum(h**2)))
    value = float(MLPAttentionLandscape(x, f).value(Ensemble(neurons)))
    assert value == pytest.approx(0.5 * np.mean(f**2) * (1 - correlation**2), rel=1e-12)
