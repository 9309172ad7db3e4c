"""Landscapes of all Gaussian inputs: modes against pairs, samples, and each other."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import close

from landscapes import MLPAttentionLandscape, Neuron, RegressionLandscape, canonical_form
from landscapes.mlp_attention import saddle_ensemble, saddle_index, saddle_level, teach
from landscapes.networks import (
    GaussianRegressionLandscape,
    HermiteModes,
    hermite_expansion,
    truncation,
)
from particles import Ensemble, InvalidInput
from particles.internal import to_device
from saddle_analysis import criticality_report

KEY = jax.random.key(0)
COVARIANCE = np.array([[1.0, 0.3], [0.3, 0.5]])
NAMES = ["erf", "relu", "quadratic", "cosine"]


def neurons(seed: int, size: int, outputs: int = 2, dim: int = 2, scale: float = 0.6) -> Ensemble:
    rng = np.random.default_rng(seed)
    a, w = rng.normal(size=(size, outputs)), scale * rng.normal(size=(size, dim))
    return Ensemble(Neuron(to_device(a), to_device(w)))


TEACHER, STUDENT = neurons(0, 4), neurons(1, 4)
FIELD = neurons(2, 4).particles


@eqx.filter_jit
def derivatives(landscape) -> tuple:
    """Value, slope and curvature of the student, in one program."""
    return (
        landscape.value(STUDENT),
        landscape.velocity(STUDENT),
        landscape.curvature(STUDENT)(FIELD),
    )


@pytest.mark.parametrize("name", NAMES)
def test_modes_and_pairs_are_one_landscape_up_to_the_stated_truncation(name):
    exact = derivatives(GaussianRegressionLandscape(TEACHER, name, COVARIANCE))
    errors = []
    for degree in (2, 6):
        modes = HermiteModes(2, degree, name, COVARIANCE)
        landscape = RegressionLandscape(modes, teach(TEACHER, modes, name), name)
        found = derivatives(landscape)
        bound = truncation(landscape, STUDENT, target=float(modes.remainder(TEACHER, name)))
        assert float(found[0]) - 1e-12 <= float(exact[0]) <= float(found[0]) + bound.loss + 1e-12
        pairs = zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True)
        errors.append(
            max(np.abs(np.asarray(one) - np.asarray(other)).max() for one, other in pairs)
        )
    if name == "quadratic":
        assert max(errors) < 1e-12
    else:  # geometric but for ReLU, whose coefficients fall as k^(-5/4)
        assert errors[1] < errors[0] / {"erf": 8, "relu": 1.5, "cosine": 100}[name]


def test_samples_come_to_the_exact_population_as_the_root_of_their_number():
    """Value, slope and curvature within five standard errors; the error falls with slope −½."""
    exact = GaussianRegressionLandscape(TEACHER, "erf", COVARIANCE)

    def read(landscape):
        value, velocity, bent = derivatives(landscape)
        return jnp.stack([value, velocity.w[0, 0], bent.w[1, 1]])

    truth = np.asarray(jax.jit(read)(exact))
    sizes, errors = [64, 4096], []
    for size in sizes:
        keys = jax.random.split(jax.random.fold_in(KEY, size), 24)
        one = lambda key, size=size: read(exact.minibatch(key, size))  # noqa: E731
        drawn = np.asarray(jax.jit(lambda keys, one=one: jax.lax.map(one, keys))(keys))
        standard = drawn.std(axis=0, ddof=1) / 24**0.5
        assert (np.abs(drawn.mean(axis=0) - truth) < 5 * standard).all()
        errors.append(np.sqrt(np.mean((drawn - truth) ** 2, axis=0)))
    slopes = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    # 24 draws know a root mean square to 15 %, and the slope over ln 64 to 0.05.
    assert slopes == pytest.approx([-0.5] * 3, abs=4 * 0.05)


def test_fresh_samples_of_modes_are_unbiased():
    modes = HermiteModes(2, 5, "erf", COVARIANCE)
    landscape = RegressionLandscape(modes, teach(TEACHER, modes, "erf"), "erf")
    slope = lambda one: one.velocity(STUDENT).w  # noqa: E731
    keys = jax.random.split(KEY, 400)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: slope(landscape.minibatch(key, 64))))(keys))
    error = drawn.std(axis=0, ddof=1) / 20
    assert (np.abs(drawn.mean(axis=0) - np.asarray(slope(landscape))) < 5 * error).all()


def test_polynomials_are_orthonormal_and_give_the_values():
    """Values of h_μ at points from its coefficients: exact where the expansion is finite."""
    modes = HermiteModes(2, 2, "quadratic", COVARIANCE)
    z = jax.random.normal(KEY, (5, 2))
    h = teach(STUDENT, modes, "quadratic")
    direct = teach(STUDENT, z @ modes.root, "quadratic")
    close(eqx.filter_jit(modes.polynomials)(z) @ h, direct)


@pytest.mark.parametrize("missing", [[1], [0], [0, 1]])
def test_saddles_levels_and_indices_hold_without_samples(missing):
    """On modes the KS24 statements are those of a population: nothing is left to the draw."""
    modes = HermiteModes(3, 3, "erf")
    teacher = neurons(3, 6, dim=3)
    f, _ = canonical_form(teach(teacher, modes, "erf"), [1.0, 0.4])
    landscape = MLPAttentionLandscape(modes, f, "erf")
    saddle = saddle_ensemble(KEY, landscape, teacher.particles.w, missing, 8, spread=0.3)
    report = criticality_report(landscape, saddle)
    assert report.gradient_norm < 1e-10
    assert float(landscape.value(saddle)) == pytest.approx(saddle_level([1.0, 0.4], missing))
    assert report.index == saddle_index([1.0, 0.4], missing)


def test_attention_on_modes_is_what_inner_products_of_pairs_give():
    """½tr(Σ°° − Σ°μ Σμμ⁻¹ Σμ°) with every moment a sum over pairs of neurons."""
    inner = jax.jit(jax.vmap(jax.vmap(hermite_expansion("cosine").inner, (None, 0)), (0, None)))

    def gram(left, right):
        table = inner(left.particles.w, right.particles.w) / (left.size * right.size)
        return np.einsum("ia,ij,jb->ab", left.particles.a, table, right.particles.a)

    cross = gram(TEACHER, STUDENT)
    reduced = gram(TEACHER, TEACHER) - cross @ np.linalg.inv(gram(STUDENT, STUDENT)) @ cross.T
    modes = HermiteModes(2, 10, "cosine")
    landscape = MLPAttentionLandscape(modes, teach(TEACHER, modes, "cosine"), "cosine")
    assert float(landscape.value(STUDENT)) == pytest.approx(0.5 * np.trace(reduced), abs=1e-6)
    assert truncation(landscape, STUDENT, target=1e-3).loss < 1e-5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HermiteModes(200, 3), "1373701 Hermite modes.*lower the degree"),
        (lambda: HermiteModes(2, 0), "degree is 0"),
        (lambda: HermiteModes(2, 3, "tanh"), "activation is 'tanh'"),
        (lambda: HermiteModes(2, 3, "erf", np.eye(3)), r"shape \(3, 3\)"),
        (lambda: HermiteModes(2, 3, "erf", -np.eye(2)), "positive semi-definite"),
        (lambda: HermiteModes(2, 3, "erf").targets([{(5, 0): 1.0}]), r"term \(5, 0\).*\[1, 3\]"),
        (lambda: RegressionLandscape(HermiteModes(2, 3), np.ones((4, 1)), "erf"), "10 Hermite"),
        (lambda: RegressionLandscape(HermiteModes(1, 1), np.ones((2, 1)), "tanh"), "'tanh'"),
        (
            lambda: MLPAttentionLandscape(
                HermiteModes(1, 1), np.ones((2, 1)), "erf", context_length=9
            ),
            "context_length is 9, but x is Hermite modes",
        ),
        (lambda: teach(jnp.tanh, HermiteModes(1, 1)), "no measure of neurons"),
        (
            lambda: MLPAttentionLandscape(HermiteModes(1, 1), np.ones((2, 1)), "erf").minibatch(
                KEY, 4
            ),
            "no prompts are drawn",
        ),
    ],
)
def test_what_has_no_exact_population_is_refused(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()
