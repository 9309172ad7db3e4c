"""Straight lines against NumPy's, and first crossings of a level."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particles import InvalidInput
from saddle_analysis.curves import crossing, fit_line


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(4, 40), weighted=st.booleans())
def test_lines_are_those_of_polyfit(seed: int, count: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    x = np.sort(rng.normal(size=count))
    y = 2 * x - 1 + rng.normal(size=count)
    weights = rng.uniform(0.1, 10, count) if weighted else None
    line = fit_line(x, y, weights)
    root = None if weights is None else np.sqrt(weights)
    (slope, intercept), covariance = np.polyfit(x, y, 1, w=root, cov=True)
    assert line.slope == pytest.approx(slope, rel=1e-9, abs=1e-12)
    assert line.intercept == pytest.approx(intercept, rel=1e-9, abs=1e-12)
    assert line.error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-9)
    assert line.half_width(0.99) > line.half_width(0.9) > 0


def test_two_points_leave_no_error() -> None:
    assert fit_line(np.array([0.0, 1.0]), np.array([1.0, 3.0])).half_width() == np.inf
    with pytest.raises(InvalidInput, match="two different x"):
        fit_line(np.ones(3), np.arange(3.0))
    with pytest.raises(InvalidInput, match="must be finite"):
        fit_line(np.arange(3.0), np.array([0.0, np.nan, 1.0]))


def test_crossings() -> None:
    times, falling = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.0, 0.0, 0.0])
    assert crossing(times, falling, 0.5) == pytest.approx(1.5)
    assert crossing(times, -falling, -0.5) == pytest.approx(1.5)
    assert np.isnan(crossing(times, falling, -1.0))
    assert crossing(times, falling, 2.0, rising=False) == 0.0
    assert np.isnan(crossing(times, falling, 2.0, rising=True))
    grown = np.exp(3 * times)
    assert crossing(times, grown, np.exp(4.0), log=True) == pytest.approx(4 / 3)
    with pytest.raises(InvalidInput, match="must be positive"):
        crossing(times, falling, 0.5, log=True)
    with pytest.raises(InvalidInput, match="equal-length"):
        crossing(times, falling[1:], 0.5)
