"""The criticality report: every class, every order, and its sentences."""

import itertools
import warnings

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddle_analysis_spectra import (
    EIGENVALUES,
    Polynomial,
    RankOneAttention,
    at,
    heads,
    neurons,
    realisable,
)

from landscapes.mlp_attention import saddle_ensemble, saddle_index, saddle_level
from particles import Ensemble, InvalidInput
from saddle_analysis import HessianOperator, NotCriticalWarning, criticality_report, displaced

KINDS = {
    "cubic": (lambda m: 0.5 * m[0] ** 2 + m[1] ** 3, "degenerate saddle", 3),
    "quartic descent": (lambda m: 0.5 * m[0] ** 2 - m[1] ** 4, "degenerate saddle", 4),
    "quartic rise": (lambda m: 0.5 * m[0] ** 2 + m[1] ** 4, "local minimum", 0),
    "curved valley": (lambda m: 0.5 * (m[0] - m[1] ** 2) ** 2, "local minimum", 0),
    # Along the straight line it rises (0.4 y⁴); along the valley floor x = y² it descends.
    "descent along a curve": (
        lambda m: 0.5 * (m[0] - m[1] ** 2) ** 2 - 0.1 * m[1] ** 4,
        "degenerate saddle",
        4,
    ),
    "bowl": (lambda m: 0.5 * m[0] ** 2 + m[1] ** 2, "local minimum", 0),
    "strict": (lambda m: 0.5 * m[0] ** 2 - m[1] ** 2, "strict saddle", 2),
    "constant": (lambda m: 0 * m[0], "local minimum", 0),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_class_and_the_order_of_known_points(name: str) -> None:
    function, kind, order = KINDS[name]
    report = criticality_report(Polynomial(function), at(0.0, 0.0))
    assert (report.kind, report.descent_order) == (kind, order)
    assert kind.split()[0].lower() in report.sentence.lower()


@pytest.mark.parametrize("name", ["descent along a curve", "curved valley"])
def test_large_problems_follow_the_valley_by_iteration(name: str, monkeypatch) -> None:
    """Beyond DENSE_BELOW unknowns the valley floor is found by MINRES; the verdict is the same."""
    monkeypatch.setattr("saddle_analysis.spectra._null_space.DENSE_BELOW", 1)
    function, kind, order = KINDS[name]
    report = criticality_report(Polynomial(function), at(0.0, 0.0))
    assert (report.kind, report.descent_order) == (kind, order)


def test_the_downhill_direction_of_a_degenerate_saddle_leads_down() -> None:
    landscape, mu = Polynomial(KINDS["cubic"][0]), at(0.0, 0.0)
    report = criticality_report(landscape, mu)
    (best, *_) = [d for d in report.null_directions if d.descends]
    assert best.third == pytest.approx(-6, rel=1e-6)
    step = jax.tree.map(lambda u: 0.1 * u, best.field)
    assert float(landscape.value(displaced(mu, step))) < float(landscape.value(mu)) - 5e-4


def test_a_rotation_symmetry_is_flat() -> None:
    circle = Polynomial(lambda m: 0.125 * (jnp.sum(m**2) - 1) ** 2)
    report = criticality_report(circle, at(1.0, 0.0))
    assert report.kind == "local minimum"
    assert report.flat == len(report.null_directions) >= 1
    assert "symmetry" in report.sentence


@pytest.mark.parametrize("size", [1, 6])
def test_rank_one_attention_is_degenerate_at_the_origin(size: int) -> None:
    landscape = RankOneAttention(jnp.array([0.4, 0.3, 0.2]), 32.0)
    report = criticality_report(landscape, heads(0, size, 3, 0.0))
    assert report.kind == "degenerate saddle"
    assert report.descent_order == 3
    assert "order 3" in report.sentence
    # The steepest cubic: one head with v = |k| = |q| along the first eigenvector. With weights
    # 1/N a single head of unit L²(μ) norm has |θ_i|² = N, so D³L = −6 λ² √N/3^{3/2}. The power
    # method finds a local maximum, not always the largest.
    steepest = min(direction.third for direction in report.null_directions)
    bound = -6 * 0.16 * size**0.5 / 3**1.5
    assert 1.0001 * bound <= steepest <= 0.2 * bound


@pytest.mark.parametrize(
    "missing", [s for r in range(4) for s in itertools.combinations(range(3), r)]
)
def test_every_saddle_of_the_attention_landscape(missing: tuple[int, ...]) -> None:
    landscape, positions = realisable()
    mu = saddle_ensemble(jax.random.key(1), landscape, positions, missing, 36)
    report = criticality_report(landscape, mu)
    dense = np.linalg.eigvalsh(np.asarray(HessianOperator(landscape, mu).dense()))
    assert report.index == saddle_index(EIGENVALUES, missing)
    norm = np.abs(dense).max()
    assert report.index == np.sum(dense < -1e-6 * norm)
    assert report.kind == ("strict saddle" if missing else "local minimum")
    assert report.value == pytest.approx(saddle_level(EIGENVALUES, missing), rel=1e-9, abs=1e-12)
    assert report.smallest.values[0] == pytest.approx(dense[0], abs=1e-6 * norm)
    assert report.gradient_norm < 1e-10


def test_flat_directions_of_the_minimum_are_symmetries() -> None:
    landscape, positions = realisable()
    mu = saddle_ensemble(jax.random.key(1), landscape, positions, (), 36)
    report = criticality_report(landscape, mu)
    assert report.null_directions
    assert all(direction.order in (0, 4) for direction in report.null_directions)
    assert not any(direction.descends for direction in report.null_directions)


def test_far_from_critical_is_said_and_the_spectrum_given() -> None:
    landscape, _ = realisable()
    mu = Ensemble(neurons(1, 36, outputs=3, inputs=5))  # shapes of the saddles: compiled once
    with pytest.warns(NotCriticalWarning, match="not at a critical point"):
        report = criticality_report(landscape, mu)
    assert report.kind == "not critical"
    assert report.descent_order == 1
    dense = np.linalg.eigvalsh(np.asarray(HessianOperator(landscape, mu).dense()))
    np.testing.assert_allclose(report.smallest.values[0], dense[0], rtol=1e-6)
    assert "Not critical" in str(report)


def test_single_precision(precision: str) -> None:
    landscape = Polynomial(KINDS["cubic"][0])
    report = criticality_report(landscape, at(0.0, 0.0))
    assert (report.kind, report.descent_order) == ("degenerate saddle", 3)
    assert report.smallest.fields[0].dtype == precision


def test_bad_input_is_refused() -> None:
    with pytest.raises(InvalidInput, match="gradient_tolerance is -1"):
        criticality_report(helpers.attention(), helpers.cloud(), gradient_tolerance=-1)
    broken = Ensemble(jnp.array([[np.nan, 0.0]]))
    with pytest.raises(InvalidInput, match=r"ensemble\[0, 0\] is nan"):
        criticality_report(Polynomial(KINDS["cubic"][0]), broken)


def test_no_warning_at_a_critical_point() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        criticality_report(Polynomial(KINDS["bowl"][0]), at(0.0, 0.0))
