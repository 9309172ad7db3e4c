"""Birth and death against the replicator equation; resampling against its promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flow_cases import end
from helpers import attention, cloud, regression

from landscapes import Landscape
from meanfield import GradientFlow, every, simulate
from meanfield.flows import Resampling
from particles import Ensemble

DT = jnp.array(0.1)


class Ladder(Landscape):
    """L = ∫ V dμ with V constant where the particles are: they stay, only weights move."""

    def features(self, particle: jax.Array) -> jax.Array:
        return jnp.round(particle)[0]

    def risk(self, moments: jax.Array, fast: None = None) -> jax.Array:
        return moments


@pytest.mark.parametrize("scheme", ["tsit5", "adaptive"])
@pytest.mark.parametrize("weights", [None, [1.0, 5.0, 2.0]])
def test_weights_follow_the_replicator_equation(scheme: str, weights: list | None) -> None:
    """p_i(t) ∝ p_i(0) exp(−α V_i t)."""
    mu = Ensemble(jnp.array([[0.0], [1.0], [3.0]]), None if weights is None else jnp.array(weights))
    run = end(GradientFlow(Ladder(), scheme=scheme, birth_death=0.7), mu, 2.0, 0.02)
    expected = np.asarray(mu.probabilities) * np.exp(-0.7 * 2.0 * np.array([0, 1, 3]))
    np.testing.assert_allclose(run.ensemble.weights, expected / expected.sum(), rtol=2e-6)
    np.testing.assert_array_equal(run.ensemble.particles, mu.particles)


@pytest.mark.parametrize("landscape", [regression(), attention(ridge=0.1)])
def test_the_energy_balances(landscape: Landscape) -> None:
    """L(0) − L(t) = ∫∫ ‖∇V‖² + α Var(V): the Wasserstein–Fisher–Rao dissipation."""
    flow = GradientFlow(landscape, scheme="tsit5", birth_death=2.0)
    run = simulate(flow, cloud(), horizon=1.0, dt=0.01, record=every(0.25))
    loss, spent = run.trajectory["loss"].values, run.trajectory["dissipated"].values
    np.testing.assert_allclose(loss[0] - loss, spent, rtol=1e-7, atol=1e-9)
    without = simulate(
        GradientFlow(landscape, scheme="tsit5"), cloud(), horizon=1.0, dt=0.01, record=every(0.25)
    )
    assert loss[-1] < without.trajectory["loss"].values[-1]
    assert run.trajectory["effective_size"].values[-1] < 7


def test_zero_particles_count_for_nothing() -> None:
    """A particle of weight zero stays so and moves nobody."""
    some = cloud(size=4, weighted=True)
    zero = Ensemble(some.particles, some.probabilities.at[2].set(0))
    rest = Ensemble(
        jax.tree.map(lambda leaf: jnp.delete(leaf, 2, axis=0), some.particles),
        jnp.delete(some.probabilities, 2),
    )
    flow = GradientFlow(regression(), birth_death=1.0)
    long, short = (end(flow, mu, 0.5, 0.05).ensemble for mu in (zero, rest))
    np.testing.assert_allclose(jnp.delete(long.weights, 2), short.weights, rtol=1e-10)
    assert float(long.weights[2]) == 0


def test_resampling_keeps_the_measure_on_average() -> None:
    """Each particle appears ⌊Np⌋ or ⌈Np⌉ times, Np on average; weights become equal."""
    rng = np.random.default_rng(0)
    size, draws = 12, 4000
    mu = Ensemble(jnp.arange(size, dtype=float)[:, None], jnp.asarray(rng.exponential(size=size)))
    keys = jax.random.split(jax.random.key(1), draws)
    found = jax.vmap(lambda key: Resampling(1.0)(key, DT, mu))(keys)
    counts = np.stack([(found.particles[:, :, 0] == i).sum(axis=1) for i in range(size)], axis=1)
    wanted = size * np.asarray(mu.weights)
    assert np.all((counts == np.floor(wanted)) | (counts == np.ceil(wanted)))
    error = np.sqrt((wanted % 1) * (1 - wanted % 1) / draws)
    assert np.all(np.abs(counts.mean(axis=0) - wanted) < 4.5 * error + 1e-12)
    np.testing.assert_allclose(found.weights, 1 / size)


def test_resampling_waits_until_it_is_needed() -> None:
    mu = Ensemble(jnp.arange(4.0)[:, None], jnp.array([1.0, 1.0, 1.0, 2.0]))  # effective 3.57
    key = jax.random.key(0)
    same = Resampling(0.8)(key, DT, mu)
    np.testing.assert_array_equal(same.weights, mu.weights)
    np.testing.assert_allclose(Resampling(0.95)(key, DT, mu).weights, 0.25)
    equal = Ensemble(mu.particles)
    assert Resampling(1.0)(key, DT, equal) is equal


def test_resampling_within_a_flow() -> None:
    options = {"birth_death": 5.0, "scheme": "heun"}
    key = jax.random.key(0)
    start = cloud(size=64)
    record = {"horizon": 2.0, "dt": 0.05, "record": every(0.1)}
    free = simulate(GradientFlow(regression(), **options), start, **record)
    kept = simulate(
        GradientFlow(regression(), jumps=(Resampling(0.6),), **options), start, key=key, **record
    )
    assert free.trajectory["effective_size"].values[-1] < 0.6 * 64
    assert kept.trajectory["effective_size"].values.min() > 0.5 * 64
