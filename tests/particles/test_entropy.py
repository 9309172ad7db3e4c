"""The entropy estimate against closed forms, in units of its spread over seeds."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from particles import Ensemble, InvalidInput, entropy

SEEDS, SIZE = 12, 2000


@pytest.mark.parametrize(
    ("draw", "exact"),
    [
        (lambda k: 2 * jax.random.normal(k, (SIZE, 3)), 1.5 * math.log(2 * math.pi * math.e * 4)),
        (lambda k: jax.random.exponential(k, (SIZE, 1)), 1.0),
        (lambda k: 3 * jax.random.uniform(k, (SIZE, 2)), 2 * math.log(3)),
    ],
)
def test_against_closed_forms(draw, exact: float) -> None:
    found = [entropy(Ensemble(draw(jax.random.key(seed)))) for seed in range(SEEDS)]
    error = np.std(found, ddof=1) / math.sqrt(SEEDS)
    bias = 2 / math.sqrt(SIZE)  # of the estimator, at the edges of the uniform law above all
    assert abs(np.mean(found) - exact) < 4 * error + bias


def test_shifts_and_stretches_are_exact() -> None:
    mu = Ensemble(jax.random.normal(jax.random.key(0), (200, 3)))
    moved = mu.with_particles(5 * mu.particles + 1)
    assert entropy(moved) == pytest.approx(entropy(mu) + 3 * math.log(5), rel=1e-9)


def test_refusals() -> None:
    mu = Ensemble(jnp.arange(5.0))
    with pytest.raises(InvalidInput, match="neighbours is 5"):
        entropy(mu, neighbours=5)
    with pytest.raises(InvalidInput, match="unequal weights"):
        entropy(Ensemble(jnp.arange(5.0), jnp.arange(1.0, 6.0)))
    with pytest.raises(InvalidInput, match="coincide"):
        entropy(Ensemble(jnp.zeros(8)))
