"""Schedules: ends, spacing, order, and nothing outside the run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meanfield import at, every, log_spaced
from particles import InvalidInput

times = st.floats(0.0, 1e6)
spans = st.tuples(times, st.floats(1e-3, 1e6)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(spans, st.floats(1e-3, 2.0))
def test_every_hits_both_ends_and_all_multiples(span: tuple[float, float], share: float) -> None:
    start, end = span
    interval = share * (end - start)
    due = every(interval)(start, end)
    assert due[0] == start
    assert due[-1] == end
    assert np.all(np.diff(due) > 1e-10 * (end - start))
    assert np.all(np.diff(due) <= interval * (1 + 1e-6) + 1e-9 * end)
    inside = due[1:-1] / interval
    np.testing.assert_allclose(inside, np.round(inside), rtol=1e-9, atol=1e-6)
    assert len(due) <= (end - start) / interval + 3


@given(st.integers(1, 400), st.floats(1e-3, 1e3))
def test_every_counts_rightly_when_the_interval_divides_the_run(count: int, end: float) -> None:
    np.testing.assert_allclose(every(end / count)(0.0, end), np.linspace(0, end, count + 1))


@given(spans, st.lists(st.floats(0.0, 1.0)))
def test_at_keeps_what_lies_ahead(span: tuple[float, float], shares: list[float]) -> None:
    start, end = span
    wanted = [share * end for share in shares]
    due = at(*wanted)(start, end)
    assert set(due.tolist()) <= {*wanted, end}
    assert set(due.tolist()) >= {time for time in wanted if start <= time <= end}
    assert np.all(due >= start - 1e-8 * (end - start))


@given(st.floats(1e-6, 1e3), st.integers(1, 30), st.floats(1.0, 1e6))
def test_log_spaced_has_a_constant_ratio(first: float, per_decade: int, factor: float) -> None:
    due = log_spaced(first, per_decade)(0.0, first * factor)
    assert due[0] == 0.0
    assert due[-1] == first * factor
    ratios = due[2:-1] / due[1:-2]
    np.testing.assert_allclose(ratios, 10 ** (1 / per_decade), rtol=1e-9)
    assert np.all(np.diff(due) > 0)


def test_log_spaced_needs_no_run_beyond_its_first_time() -> None:
    assert log_spaced(10.0)(0.0, 1.0).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("interval", [0.0, -1.0, float("nan"), float("inf")])
def test_every_refuses(interval: float) -> None:
    with pytest.raises(InvalidInput, match=f"interval is {interval}"):
        every(interval)


@pytest.mark.parametrize(("first", "per_decade"), [(0.0, 20), (float("nan"), 20), (1.0, 0)])
def test_log_spaced_refuses(first: float, per_decade: int) -> None:
    with pytest.raises(InvalidInput, match=f"first is {first} and per_decade is {per_decade}"):
        log_spaced(first, per_decade)
