"""Plateaus found in loss curves of every spacing, with and without noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particles import InvalidInput
from saddle_analysis import find_plateaus

LEVELS = [0.5, 0.319718, 0.187608, 0.103398, 0.0661884]  # theory.md, section 4


def staircase(t: np.ndarray, times: list[float], widths: list[float]) -> np.ndarray:
    steps = np.diff(LEVELS)[: len(times)]
    with np.errstate(over="ignore"):
        rises = [
            step / (1 + np.exp(-(t - at) / width))
            for step, at, width in zip(steps, times, widths, strict=True)
        ]
    return LEVELS[0] + np.sum(rises, axis=0)


@settings(max_examples=25, deadline=None)
@given(
    noise=st.sampled_from([0.0, 1e-4, 2e-3]),
    logarithmic=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_level_of_a_staircase(noise: float, logarithmic: bool, seed: int) -> None:
    if logarithmic:
        t = np.geomspace(1, 1e5, 1500)
        loss = staircase(t, [30, 300, 3e3, 2e4], [1, 10, 100, 700])
    else:
        t = np.linspace(0, 100, 1500)
        loss = staircase(t, [20, 40, 60, 80], [0.5, 0.5, 0.5, 0.5])
    loss = loss + noise * np.random.default_rng(seed).normal(size=t.size)
    found = find_plateaus(t, loss, LEVELS)
    assert [plateau.predicted for plateau in found.plateaus] == LEVELS
    assert max(abs(plateau.deviation) for plateau in found.plateaus) < 0.01
    assert found.unvisited == []
    assert len(found.drops) == 4
    heights = [drop.height for drop in found.drops]
    np.testing.assert_allclose(heights, -np.diff(LEVELS), atol=0.01)
    if not logarithmic:
        for plateau, middle in zip(found.plateaus, [10, 30, 50, 70, 90], strict=True):
            assert plateau.start < middle < plateau.end
        assert found.plateaus[1].duration == pytest.approx(15, abs=5)


def test_a_skipped_level_is_named() -> None:
    t = np.linspace(0, 60, 600)
    loss = 0.5 / (1 + np.exp(t - 20)) + 0.5 / (1 + np.exp(t - 40))
    found = find_plateaus(t, loss, [1.0, 0.75, 0.5, 0.0])
    assert found.unvisited == [0.75]
    assert "predicted 0.5" in str(found)


def test_a_plain_decay_has_no_plateau_but_its_end() -> None:
    t = np.linspace(0, 20, 500)
    found = find_plateaus(t, np.exp(-t))
    assert len(found.plateaus) == 1
    assert found.plateaus[0].level == pytest.approx(0, abs=0.02)


def test_a_straight_fall_dwells_nowhere_longer_than_elsewhere() -> None:
    t = np.linspace(0, 1, 300)
    assert len(find_plateaus(t, 1 - t).plateaus) <= 1


def test_a_constant_and_mere_noise_are_one_plateau() -> None:
    t = np.linspace(0, 1, 300)
    (only,) = find_plateaus(t, np.full(300, 0.3)).plateaus
    assert (only.start, only.end, only.level) == (0, 1, 0.3)
    noise = 0.3 + 1e-3 * np.random.default_rng(0).normal(size=300)
    (only,) = find_plateaus(t, noise, [0.3]).plateaus
    assert only.level == pytest.approx(0.3, abs=1e-3)


def test_bad_records_are_refused() -> None:
    t = np.arange(9.0)
    with pytest.raises(InvalidInput, match="at least 5"):
        find_plateaus(t[:3], t[:3])
    with pytest.raises(InvalidInput, match="increase strictly"):
        find_plateaus(0 * t, t)
    with pytest.raises(InvalidInput, match="width is 2"):
        find_plateaus(t, t, width=2.0)
