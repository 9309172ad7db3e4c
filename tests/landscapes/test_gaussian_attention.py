"""Attention over pairs of neurons against that on Hermite modes, exact for quadratic neurons."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import close

from landscapes import MLPAttentionLandscape, Neuron
from landscapes.mlp_attention import GaussianAttentionLandscape, teach
from landscapes.networks import HermiteModes
from particles import Ensemble, InvalidInput

COVARIANCE = np.array([[1.0, 0.3], [0.3, 0.5]])
RIDGE, CHUNK = 0.1, 3


def neurons(seed: int, size: int) -> Ensemble:
    rng = np.random.default_rng(seed)
    a, w = rng.normal(size=(size, 2)), 0.6 * rng.normal(size=(size, 2))
    return Ensemble(Neuron(jnp.asarray(a), jnp.asarray(w)))


TEACHER, FIELD = neurons(0, 3), neurons(2, 5).particles
STUDENT = neurons(1, 5).with_weights(jnp.array([0.1, 0.3, 0.2, 0.3, 0.1]))
ONE, OTHER = (jax.tree.map(lambda leaf, i=i: leaf[i], neurons(3, 2).particles) for i in (0, 1))


@eqx.filter_jit
def derivatives(landscape, chunk: int | None = None) -> tuple:
    """All that a landscape gives of itself at the student, in one program."""
    variation = landscape.first_variation(STUDENT, chunk=chunk)
    curved = landscape.curvature(STUDENT, chunk=chunk)
    bend = landscape.second_variation(STUDENT, chunk=chunk)
    found = landscape.first_order(STUDENT, potential=True, chunk=chunk)
    potential = found.potential - jnp.sum(STUDENT.probabilities * found.potential)
    return (
        found.value,
        landscape.value(STUDENT, chunk=chunk),
        found.gradient,
        potential,
        variation(ONE),
        curved(FIELD),
        curved(FIELD, "interaction"),
        # Up to what a centring removes: mixed differences are free of it.
        bend(ONE, OTHER) - bend(ONE, ONE) - bend(OTHER, OTHER) + bend(OTHER, ONE),
    )


def test_pairs_give_what_modes_give_where_these_are_exact():
    modes = HermiteModes(2, 2, "quadratic", COVARIANCE)
    f = teach(TEACHER, modes, "quadratic")
    expected = derivatives(MLPAttentionLandscape(modes, f, "quadratic", ridge=RIDGE))
    landscape = GaussianAttentionLandscape(TEACHER, "quadratic", ridge=RIDGE, covariance=COVARIANCE)
    found = derivatives(landscape, CHUNK)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        close(one, other)


def test_modes_come_to_the_pairs_as_their_degree_grows():
    exact = GaussianAttentionLandscape(TEACHER, "erf", ridge=RIDGE).velocity(STUDENT).w
    errors = []
    for degree in (3, 9):
        modes = HermiteModes(2, degree, "erf")
        landscape = MLPAttentionLandscape(modes, teach(TEACHER, modes, "erf"), "erf", ridge=RIDGE)
        errors.append(float(jnp.abs(landscape.velocity(STUDENT).w - exact).max()))
    assert errors[1] < errors[0] / 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "tanh"}, "activation is 'tanh'"),
        ({"ridge": -1.0}, "ridge is -1.0"),
        ({"covariance": np.eye(3)}, r"shape \(3, 3\)"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(InvalidInput, match=message):
        GaussianAttentionLandscape(TEACHER, **options)
