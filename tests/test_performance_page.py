"""docs/performance.md says what the committed figures of the benchmarks hold."""

import json

import pytest
from benchmarks.accuracy_curves import Curve, Point
from benchmarks.page import FIGURES, PAGE, TOPICS, page

CONTENT = json.loads(FIGURES.read_text("utf-8"))


def test_the_page_is_that_of_the_figures() -> None:
    assert PAGE.read_text("utf-8") == page(CONTENT), "run python -m benchmarks.page in tests/"


def test_every_figure_is_on_the_page() -> None:
    assert {entry["topic"] for entry in CONTENT["figures"]} <= set(TOPICS)
    text = page(CONTENT)
    assert all(entry["what"] in text for entry in CONTENT["figures"])


def test_what_was_not_met_is_said() -> None:
    entry = {"what": "a", "topic": "step", "value": 2.0, "unit": "×", "date": "2026-01-01"}
    missed = entry | {"target": "≤ 1", "met": False}
    assert "≤ 1 (not met)" in page(CONTENT | {"figures": [missed]})
    assert "not met" not in page(CONTENT | {"figures": [missed | {"met": True}]})


def test_time_to_an_error_is_read_between_points() -> None:
    """Straight lines in logarithms: seconds 10 and error 0.1 at N = 16, 1000 and 0.001 at 1600."""
    points = [Point(16, 0.1, 0.0, 10.0), Point(1600, 0.001, 0.0, 1000.0)]
    curve = Curve("a", tuple(points))
    assert curve.seconds_at(0.01) == pytest.approx(100)
    assert curve.seconds_at(0.2) == 10
    assert curve.seconds_at(1e-4) is None
    assert curve.extrapolated(1e-4) == pytest.approx(10_000)
    assert curve.slope == pytest.approx(-1)
    assert curve.fitted(1) == pytest.approx(0.001)
    assert Curve.read("a", curve.data()) == curve


def test_why_a_target_was_missed_is_said() -> None:
    entry = {"what": "KS24: a", "topic": "accuracy", "value": 2.0, "unit": "×"}
    missed = entry | {"date": "2026-01-01", "target": "≥ 3", "met": False, "why": "for a reason."}
    assert "Not met, KS24: for a reason." in page(CONTENT | {"figures": [missed]})
