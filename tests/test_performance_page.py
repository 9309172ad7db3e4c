"""docs/performance.md says what the committed figures of the benchmarks hold."""

import json

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
