"""What is no ensemble, no features or no risk is refused with one sentence, as a user meets it."""

from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import regression
from jaxtyping import config

from landscapes import Confined, Landscape, RegressionLandscape
from landscapes.linear_attention import data_moments
from particles import Ensemble, InvalidInput


@pytest.fixture(autouse=True)
def as_users_run() -> Iterator[None]:
    """Without the type checks of the tests, which would refuse some of this before the library."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


class Odd(Landscape):
    """Returns what a test asks for."""

    of_particle: Callable[[Any], Any] = lambda particle: particle
    of_moments: Callable[[Any], Any] = jnp.sum

    def features(self, particle):
        return self.of_particle(particle)

    def risk(self, moments, fast=None):
        return self.of_moments(moments)


MU = Ensemble(jnp.ones((3, 2)))
CALLS = {
    "value": lambda landscape, mu: landscape.value(mu),
    "velocity": lambda landscape, mu: landscape.velocity(mu),
    "first_variation": lambda landscape, mu: landscape.first_variation(mu),
    "curvature": lambda landscape, mu: landscape.curvature(mu),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("features", "words"),
    [
        (lambda particle: None, "returned None"),
        (lambda particle: {}, "returned a dict of 0 arrays"),
        (lambda particle: jnp.round(particle).astype(int), r"shape \(2,\) and dtype int64"),
        (lambda particle: particle + 1j, "dtype complex128"),
        (lambda particle: particle > 0, "dtype bool"),
    ],
)
def test_features_are_floating_point_arrays(features, words: str, call: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^features of Odd .*{words}; they must"):
        CALLS[call](Odd(of_particle=features), MU)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("risk", "words"),
    [
        (lambda moments: None, "returned None"),
        (lambda moments: moments, r"returned an array of shape \(2,\)"),
        (lambda moments: {"loss": jnp.sum(moments)}, "returned a dict of 1 arrays"),
        (lambda moments: jnp.sum(moments).astype(int), "dtype int64"),
        (lambda moments: jnp.sum(moments) + 0j, "dtype complex128"),
    ],
)
def test_the_risk_is_one_number(risk, words: str, wrapped: bool, call: str) -> None:
    landscape = Odd(of_moments=risk)
    with pytest.raises(InvalidInput, match=rf"^risk of Odd .*{words}"):
        CALLS[call](Confined(landscape, 0.1) if wrapped else landscape, MU)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("start", [jnp.ones((3, 2)), [1.0, 2.0], None])
def test_an_ensemble_is_an_ensemble(start: Any, call: str) -> None:
    with pytest.raises(InvalidInput, match=r"^ensemble is .*; give an Ensemble"):
        CALLS[call](Odd(), start)


@pytest.mark.parametrize(
    ("particles", "words"),
    [
        (jnp.ones((3, 2)) + 1j, "^particles has dtype complex128; give real numbers"),
        ({"w": jnp.ones((3, 2), jnp.float16)}, "^particles.w has dtype float16"),
        (jnp.ones((3, 2), jnp.bfloat16), "^particles has dtype bfloat16"),
        (np.array(["a", "b"]), "^particles has dtype <U1; give numbers"),
    ],
)
def test_particles_are_real_numbers(particles: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Ensemble(particles)


def test_weights_and_data_are_real_numbers() -> None:
    with pytest.raises(InvalidInput, match=r"^weights has dtype complex128"):
        Ensemble(jnp.ones((2, 1)), np.ones(2) + 0j)
    with pytest.raises(InvalidInput, match=r"^x has dtype complex128; give real numbers"):
        RegressionLandscape(np.ones((2, 1)) + 0j, np.ones((2, 1)))
    with pytest.raises(InvalidInput, match=r"^f has dtype float16"):
        RegressionLandscape(np.ones((2, 1)), np.ones((2, 1), np.float16))
    with pytest.raises(InvalidInput, match=r"^y has dtype complex128"):
        data_moments(np.ones((4, 3, 2)), np.ones((4, 3)) + 0j)


def test_nothing_of_it_is_left_in_compiled_code() -> None:
    """The checks happen once, while a call is traced."""
    landscape = regression()
    looks = []

    class Counted(Odd):
        def features(self, particle):
            looks.append(1)
            return particle

    counted = Counted()
    counted.value(MU)
    before = len(looks)
    counted.value(Ensemble(2 * jnp.ones((3, 2))))
    assert len(looks) == before
    assert landscape.unwrapped is landscape
