"""Extreme eigenpairs, Morse indices and spectral densities of operators with known spectra."""

import helpers
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saddle_analysis_spectra import diagonal, rotated

from particles import InvalidInput
from particles.internal import to_device
from saddle_analysis import (
    HessianOperator,
    extreme_eigenpairs,
    morse_index,
    negative_eigenpairs,
    smallest_eigenpair,
    spectral_density,
)
from saddle_analysis.spectra import Budget, MatrixOperator, unstable_eigenpairs

SPARSE = Budget(dense_below=0)
#: Of one size, so that all share their programs; so are the others, of 400.
SPECTRA = {
    "97 times one half": [0.5] * 97 + [1.0, 2.0, 3.0],
    "identity": [1.0] * 100,
    "zero": [0.0] * 100,
    "one negative among zeros": [-1.0] + [0.0] * 98 + [2.0],
    "repeated negatives": [-2.0] * 6 + [-1.0] * 3 + [0.0] * 90 + [5.0],
    "spread": list(np.linspace(-1, 1, 100)),
}


def ends(values: list[float], count: int, which: str) -> np.ndarray:
    ordered = np.sort(values)
    low, high = ordered[:count], ordered[-count:]
    return {"smallest": low, "largest": high, "both": np.concatenate([low, high])}[which]


@pytest.mark.parametrize("which", ["smallest", "largest", "both"])
@pytest.mark.parametrize("name", SPECTRA)
def test_prescribed_spectra(name: str, which: str) -> None:
    operator = diagonal(SPECTRA[name])
    pairs = extreme_eigenpairs(operator, 4, which=which, budget=SPARSE)
    np.testing.assert_allclose(pairs.values, ends(SPECTRA[name], 4, which), atol=1e-7)
    assert pairs.converged
    assert np.all(pairs.residuals <= 1e-7)
    assert np.all(np.abs(pairs.values - ends(SPECTRA[name], 4, which)) <= pairs.bounds + 1e-14)
    fields = np.asarray(pairs.fields)
    np.testing.assert_allclose(fields @ fields.T, np.eye(len(fields)), atol=1e-7)


@pytest.mark.parametrize("name", SPECTRA)
def test_residuals_are_true(name: str) -> None:
    operator = diagonal(SPECTRA[name])
    pairs = extreme_eigenpairs(operator, 2, which="both", budget=Budget(15, dense_below=0))
    for value, field, residual in zip(pairs.values, pairs.fields, pairs.residuals, strict=True):
        off = np.asarray(operator.matvec(field)) - value * np.asarray(field)
        assert np.linalg.norm(off) == pytest.approx(residual, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("name", SPECTRA)
def test_morse_index_of_prescribed_spectra(name: str) -> None:
    values = np.array(SPECTRA[name])
    found = morse_index(diagonal(values), threshold=1e-2, budget=SPARSE)
    assert found.index == np.sum(values < -1e-2)
    assert found.failure <= 0.01
    np.testing.assert_allclose(found.pairs.values, np.sort(values)[: found.index], atol=1e-3)
    dense = morse_index(diagonal(values), threshold=1e-2, budget=Budget(dense_below=1000))
    assert dense.index == found.index
    assert "exact" in dense.sentence


def test_asking_for_more_than_the_negative_ones_ends() -> None:
    operator = diagonal([-1.0], [0.0] * 299, np.geomspace(1e-6, 10, 100))
    pairs = extreme_eigenpairs(operator, 6, budget=SPARSE)
    # Which members of the cluster at zero are found is left open: within 1e-4 ‖H‖ they are equal.
    np.testing.assert_allclose(pairs.values, [-1, 0, 0, 0, 0, 0], atol=1e-3)
    assert pairs.products < 400
    negative = negative_eigenpairs(operator, threshold=1e-3, expected=4)
    np.testing.assert_allclose(negative.values, [-1.0], atol=1e-6)
    assert negative.converged


def test_restarts_change_nothing() -> None:
    values = np.concatenate([[-1.0, -0.5], np.linspace(0, 4, 398)])
    for which in ("smallest", "both"):
        whole = extreme_eigenpairs(diagonal(values), 2, which=which, budget=Budget(capacity=400))
        restarted = extreme_eigenpairs(diagonal(values), 2, which=which, budget=Budget(capacity=24))
        np.testing.assert_allclose(whole.values, restarted.values, atol=1e-7)
        assert restarted.converged
    assert morse_index(diagonal(values), threshold=1e-2, budget=Budget(capacity=24)).index == 2


def test_more_negatives_than_the_basis_holds() -> None:
    values = np.concatenate([-np.linspace(1, 2, 60), np.zeros(340)])
    assert morse_index(diagonal(values), threshold=1e-2, budget=Budget(capacity=30)).index == 60


@settings(max_examples=15, deadline=None)
@given(
    distinct=st.lists(st.floats(-4, 4).filter(lambda x: abs(x) > 0.1), min_size=1, max_size=4),
    copies=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    seed=st.integers(0, 100),
)
def test_any_multiplicities(distinct: list[float], copies: list[int], seed: int) -> None:
    parts = [[value] * count for value, count in zip(distinct, copies, strict=False)]
    values = np.concatenate([*parts, np.zeros(40)])
    values = np.concatenate([values, np.zeros(100 - values.size)])  # one shape to compile
    operator = rotated(values, seed)
    pairs = extreme_eigenpairs(operator, 5, budget=SPARSE, key=jax.random.key(seed))
    np.testing.assert_allclose(pairs.values, np.sort(values)[:5], atol=1e-6)
    # A search over many matrices would meet the one in a hundred that the default misses.
    index = morse_index(operator, threshold=0.05, confidence=1 - 1e-9, budget=SPARSE)
    assert index.index == np.sum(values < 0)
    assert index.failure <= 1e-9


def test_an_index_is_missed_no_more_often_than_stated() -> None:
    """One eigenvalue −1 among 99 zeros, hidden from one fixed start by a hundred rotations."""
    values = np.concatenate([[-1.0], np.zeros(99)])
    found = [morse_index(rotated(values, s), threshold=0.05, budget=SPARSE) for s in range(101)]
    assert max(one.failure for one in found) <= 0.01
    missed = sum(one.index == 0 for one in found)
    assert missed <= 3  # of 101 at 0.01: more has probability 0.02


def test_single_precision(precision: str) -> None:
    operator = diagonal(SPECTRA["one negative among zeros"])
    pairs = smallest_eigenpair(operator, budget=SPARSE)
    assert pairs.converged
    assert pairs.fields[0].dtype == precision
    np.testing.assert_allclose(pairs.values, [-1.0], atol=1e-5)
    assert morse_index(operator, threshold=1e-2, budget=SPARSE).index == 1


def test_progress_and_limits_keep_what_there_is() -> None:
    operator = rotated(np.linspace(-1, 1, 400))
    seen = []
    pairs = extreme_eigenpairs(operator, 3, budget=Budget(30, progress=seen.append))
    assert not pairs.converged
    assert "30 Hessian products" in pairs.stopped
    assert pairs.values.size == 3
    assert seen[-1].done == 30
    assert seen[-1].residual > seen[-1].target
    assert "not converged" in str(pairs)
    late = extreme_eigenpairs(operator, 3, budget=Budget(time_limit=1e-9))
    assert "time limit" in late.stopped
    found = morse_index(operator, threshold=1e-3, budget=Budget(10))
    assert found.failure == 1
    assert "at least" in found.sentence
    with pytest.warns(UserWarning, match="of 8 probes"):
        density = spectral_density(operator, budget=Budget(time_limit=1e-9))
    assert len(density.nodes) == 1


def test_bad_input_is_refused() -> None:
    operator = diagonal(np.linspace(0, 1, 400))
    for options, message in [
        ({"count": 401}, "the operator has 400 unknowns"),
        ({"count": 0}, "count is 0"),
        ({"count": 201, "which": "both"}, "ask for 1 to 200"),
        ({"tolerance": 0.0}, "tolerance is 0"),
        ({"residual": -1.0}, "residual is -1"),
        ({"budget": Budget(capacity=2)}, "capacity is 2"),
        ({"tolerance": 1e-20}, "tolerance is 1.0e-20, below the 4.4e-15 that float64 resolves"),
        ({"residual": 1e-20}, "residual is 1.0e-20, below"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            extreme_eigenpairs(operator, **options)
    for limits, message in [
        ({"max_products": 0}, "max_products is 0"),
        ({"time_limit": 0.0}, "time_limit is 0"),
        ({"capacity": 0}, "capacity is 0"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            Budget(**limits)
    with pytest.raises(InvalidInput, match="threshold is 0"):
        morse_index(operator, threshold=0.0)
    with pytest.raises(InvalidInput, match="confidence is 1"):
        morse_index(operator, threshold=1e-3, confidence=1.0)
    with pytest.raises(InvalidInput, match=r"threshold is 1.0e-17, below .* float64 resolves"):
        morse_index(operator, threshold=1e-17)
    with pytest.raises(InvalidInput, match="no eigenvalue below -1e-06"):
        unstable_eigenpairs(operator)
    with pytest.raises(RuntimeError, match="not finite"):
        extreme_eigenpairs(diagonal([np.nan] * 400))
    with pytest.raises(InvalidInput, match="probes is 0"):
        spectral_density(operator, probes=0)


def test_a_real_hessian_by_lanczos() -> None:
    landscape, mu = helpers.attention(), helpers.cloud(size=20, weighted=True)
    operator = HessianOperator(landscape, mu)
    dense = np.linalg.eigvalsh(np.asarray(operator.dense()))
    pairs = extreme_eigenpairs(operator, 3, which="both", budget=SPARSE)
    np.testing.assert_allclose(pairs.values, ends(list(dense), 3, "both"), atol=1e-8 * dense[-1])
    assert [float(mu.norm(field)) for field in pairs.fields] == pytest.approx([1] * 6)
    threshold = -0.5 * float(dense[0])
    assert morse_index(operator, threshold=threshold, budget=SPARSE).index == np.sum(
        dense < -threshold
    )


def test_the_density_counts_within_its_bounds() -> None:
    values = np.concatenate([np.full(100, -1.0), np.linspace(0, 3, 300)])
    density = spectral_density(rotated(values), probes=6, steps=40)
    points = np.array([-2.0, -0.5, 0.7, 1.9, 4.0])
    exact = np.array([np.mean(values < x) for x in points])
    estimate, lower, upper, deviation = density.fraction_below(points)
    assert np.all(lower - 4 * deviation <= exact)
    assert np.all(exact <= upper + 4 * deviation)
    assert np.all(upper - lower < 0.15)
    np.testing.assert_allclose(estimate, exact, atol=0.05)
    count, low, high = density.count_below(-0.5)
    assert low <= 100 <= high
    assert count == pytest.approx(100, abs=20)
    mean, error = density.moment()
    assert abs(mean - values.mean()) < 5 * error
    grid = np.linspace(-2, 4, 2001)
    curve, _ = density.density(grid, 0.1)
    assert np.trapezoid(curve, grid) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", ["97 times one half", "identity", "zero"])
def test_the_density_of_few_eigenvalues_is_exact(name: str) -> None:
    values = np.array(SPECTRA[name])
    density = spectral_density(diagonal(values), probes=4, steps=16)
    assert density.couplings == [0.0] * 4
    low, high = density.support
    assert (low, high) == pytest.approx((values.min(), values.max()), abs=1e-9)
    assert density.products <= 4 * 6
    estimate, lower, upper, _ = density.fraction_below(0.25)
    assert lower == estimate == upper
    density.density(np.linspace(-1, 4, 50))


def test_probes_agree_with_the_sampling_error() -> None:
    values = np.concatenate([np.zeros(100), np.ones(300)])
    density = spectral_density(diagonal(values), probes=60, steps=4)
    single = [
        float(np.sum(w[x < 0.5])) for x, w in zip(density.nodes, density.weights, strict=True)
    ]
    predicted = np.sqrt(2 * 0.25 * 0.75 / 402)
    assert np.std(single) == pytest.approx(predicted, rel=0.3)


def test_operators_of_one_s_own() -> None:
    class Shift:
        size = 400

        def matvec(self, vector: jax.Array) -> jax.Array:
            return vector - 2 * vector.mean()

        def to_field(self, vector: jax.Array) -> jax.Array:
            return vector.reshape(80, 5)

    pairs = smallest_eigenpair(Shift())
    np.testing.assert_allclose(pairs.values, [-1.0], atol=1e-9)
    assert pairs.fields[0].shape == (80, 5)
    assert MatrixOperator(to_device(np.eye(3))).size == 3


def test_a_start_from_a_nearby_operator_saves_products_and_hides_nothing() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([[-1.0], rng.uniform(0, 1, 398), [2.0]])
    before = extreme_eigenpairs(rotated(values), which="both", budget=SPARSE)
    cold = extreme_eigenpairs(rotated(values + 1e-3), which="both", budget=SPARSE)
    warm = extreme_eigenpairs(
        rotated(values + 1e-3), which="both", start=before.fields, budget=SPARSE
    )
    np.testing.assert_allclose(warm.values, cold.values, atol=1e-7)
    assert warm.converged
    assert warm.products < cold.products
    # The start is an exact eigenvector, and no longer the lowest one.
    swapped = diagonal([-1.0, -2.0] + [0.0] * 397 + [1.0])
    exact = to_device(np.eye(400)[0])
    assert smallest_eigenpair(swapped, start=[exact], budget=SPARSE).values == pytest.approx(-2.0)


def test_a_start_must_be_a_field() -> None:
    with pytest.raises(InvalidInput, match="start has a field of 100 unknowns and norm 0"):
        smallest_eigenpair(
            diagonal(SPECTRA["spread"]), start=[to_device(np.zeros(100))], budget=SPARSE
        )


def test_known_pairs_are_counted_and_not_looked_for_again() -> None:
    """Copies of a repeated eigenvalue that are not known are found, also after restarts."""
    values = np.concatenate([[-3.0, -2.0, -2.0, -2.0], np.linspace(0, 1, 396)])
    operator = diagonal(values)
    known = extreme_eigenpairs(operator, 2, verify=False)
    alone = morse_index(operator, threshold=1e-3, expected=2)
    budget = Budget(capacity=24)
    found = morse_index(operator, threshold=1e-3, expected=2, known=known, budget=budget)
    assert found.index == alone.index == 4
    np.testing.assert_allclose(np.sort(found.pairs.values), values[:4], atol=1e-6)
    full = morse_index(operator, threshold=1e-3, known=alone.pairs)
    assert full.index == 4
    assert full.pairs.products < alone.pairs.products
    assert full.failure < 0.01
