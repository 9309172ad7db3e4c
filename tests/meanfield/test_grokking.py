"""The reproduction `grokking`, part by part and small."""

from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from results import written

from meanfield.reproductions import _grokking_saddles as grokking_saddles


def test_levels_and_kinds_of_the_constructed_saddles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kinds are those that a test of the landscape finds."""
    curved = SimpleNamespace(values=[0.0])
    kinds = [
        SimpleNamespace(kind=kind, index=0, descent_order=order, smallest=curved, largest=curved)
        for kind, order in [("degenerate saddle", 3)] * 2 + [("local minimum", 0)]
    ]
    reports = iter(kinds)
    monkeypatch.setattr(grokking_saddles, "criticality_report", lambda *_: next(reports))
    found = written(grokking_saddles.saddles([5]), tmp_path)
    assert sum("Morse index" in claim.statement for claim in found.claims) == 3


def test_escape_is_hyperbolic(tmp_path: Path) -> None:
    sizes = 0.32, 0.16, 0.08, 0.04
    found = grokking_saddles.escapes(jax.random.key(0), 2, sizes[-2:], sizes)
    # Half a frequency is an amplitude of about 2, where 1/r is small beside 1/r_0.
    np.testing.assert_allclose(found.in_phase, 125 / found.amplitudes, rtol=0.05)
    written(grokking_saddles.escape(found), tmp_path)
