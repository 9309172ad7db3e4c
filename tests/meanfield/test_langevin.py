"""Entropic noise against the exact law of a discretised Ornstein–Uhlenbeck process."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flow_cases import Springs, assert_same_bits, end, never, points

from meanfield import GradientFlow, simulate
from meanfield.flows import Diffusion, Resampling, free_energy
from meanfield.runs import stable_step
from meanfield.studies import gradient_noise
from particles import Ensemble, InvalidInput, entropy

KEY = jax.random.key(5)
SPRING, TEMPERATURE, DT = 0.5, 0.3, 0.1


def langevin(scheme: str = "euler", **options) -> GradientFlow:
    springs = Springs(pull=0.0, spring=SPRING)
    return GradientFlow(springs, scheme=scheme, jumps=(Diffusion(TEMPERATURE),), **options)


@pytest.mark.parametrize("scheme", ["euler", "heun"])
def test_the_variance_of_every_step(scheme: str) -> None:
    """After n steps from a point: 2τdt Σ_j g^(2j), with g the scheme's factor per step."""
    size, steps = 20_000, 15
    start = Ensemble(jnp.zeros((size, 2)))
    run = end(langevin(scheme), start, steps * DT, DT, key=KEY)
    z = SPRING * DT
    growth = 1 - z if scheme == "euler" else 1 - z + z**2 / 2
    variance = 2 * TEMPERATURE * DT * sum(growth ** (2 * j) for j in range(steps))
    found = np.asarray(run.ensemble.particles)
    count = found.size
    assert abs(found.mean()) < 4 * np.sqrt(variance / count)
    assert abs(found.var() / variance - 1) < 4 * np.sqrt(2 / count)


def test_the_free_energy_falls_to_that_of_the_gibbs_measure() -> None:
    """Minimum of ∫½κ|θ|² + τ∫ log μ: N(0, τ/κ), with F = −τ p/2 log(2πτ/κ)."""
    size, dim = 4000, 2
    flow = langevin()
    start = Ensemble(2 + 0.5 * jax.random.normal(KEY, (size, dim)))
    run = end(flow, start, 12.0, DT, key=KEY)
    before, after = (free_energy(flow.landscape, mu, TEMPERATURE) for mu in (start, run.ensemble))
    exact = -TEMPERATURE * dim / 2 * np.log(2 * np.pi * TEMPERATURE / SPRING)
    assert before > exact + 0.5
    assert after == pytest.approx(exact, abs=0.02)
    value = float(flow.landscape.value(start))
    assert before == pytest.approx(value - TEMPERATURE * entropy(start))


@pytest.mark.parametrize(
    "options",
    [{"jumps": (Diffusion(0.1),)}, {"birth_death": 9.0, "jumps": (Resampling(0.99),)}],
)
def test_ten_steps_and_ten_more_are_twenty(options: dict) -> None:
    flow = GradientFlow(Springs(), scheme="bosh3", **options)
    whole = end(flow, points(), 1.0, 0.05, key=KEY)
    half = end(flow, points(), 0.5, 0.05, key=KEY)
    assert_same_bits(end(flow, half.state, 1.0).state, whole.state)
    other = end(flow, points(), 1.0, 0.05, key=jax.random.key(6))
    assert not np.array_equal(other.ensemble.particles, whole.ensemble.particles)


def test_seeds_of_a_batch_have_noise_of_their_own() -> None:
    many = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), points())
    flow = GradientFlow(Springs(), jumps=(Diffusion(0.1),))
    batch = end(flow, many, 1.0, 0.1, key=KEY, batch=True)
    keys = jax.random.split(KEY, 3)
    for seed in range(3):
        alone = end(flow, points(), 1.0, 0.1, key=keys[seed])
        np.testing.assert_allclose(
            batch.ensemble.particles[seed], alone.ensemble.particles, rtol=1e-12
        )
    assert len(np.unique(np.asarray(batch.ensemble.particles[:, 0, 0]))) == 3


def test_zero_temperature_is_the_flow() -> None:
    cold = end(GradientFlow(Springs(), jumps=(Diffusion(0.0),)), points(), 1.0, 0.1, key=KEY)
    plain = end(GradientFlow(Springs()), points(), 1.0, 0.1)
    np.testing.assert_array_equal(cold.ensemble.particles, plain.ensemble.particles)


def test_a_random_flow_has_a_stable_step_and_a_record() -> None:
    flow = langevin()
    assert stable_step(flow, points()) == pytest.approx(1 / SPRING, rel=0.02)
    run = simulate(flow, points(), horizon=1.0, dt=0.1, key=KEY)
    assert run.trajectory.attrs["temperature"] == pytest.approx(TEMPERATURE)


def test_refusals() -> None:
    with pytest.raises(InvalidInput, match="temperature is -1"):
        Diffusion(-1)
    with pytest.raises(InvalidInput, match="birth_death is nan"):
        GradientFlow(Springs(), birth_death=float("nan"))
    with pytest.raises(InvalidInput, match="below is 2"):
        Resampling(2)
    with pytest.raises(InvalidInput, match="batch_size is 0"):
        GradientFlow(Springs(), batch_size=0)
    with pytest.raises(InvalidInput, match="scheme is adaptive"):
        GradientFlow(Springs(), scheme="adaptive", jumps=(Diffusion(0.1),))
    with pytest.raises(InvalidInput, match="key is missing"):
        simulate(langevin(), points(), horizon=1.0, dt=0.1, record=never)
    state = langevin().start(points(), 0.1, key=KEY)
    with pytest.raises(InvalidInput, match="key is given, but start is a state"):
        simulate(langevin(), state, horizon=1.0, key=KEY)
    with pytest.raises(InvalidInput, match="draws is 1"):
        gradient_noise(Springs(), points(), 2, key=KEY, draws=1)
