"""Phases read off made-up trajectories whose boundaries are known, and power laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particles import InvalidInput
from saddle_analysis.curves import find_stages, fit_power_law

FOUR = ["turning away", "turning point", "growth", "convergence"]


def made(t: np.ndarray, growth: float, fall: float, decay: float) -> tuple[np.ndarray, ...]:
    """Query 1 of three: A = growth·t², B to token 3 = −fall·t, L = e^{−t/decay}; others flat in B.

    −B − A peaks at fall/(2 growth), −2B − A at fall/growth; L is a quarter at decay·log 4.
    """
    own = growth * t[:, None] ** 2 * np.ones(3)
    others = np.zeros((t.size, 3, 3))
    others[:, 0, 2] = -fall * t
    return own, others, np.exp(-t / decay)[:, None] * np.ones(3)


@settings(max_examples=30, deadline=None)
@given(
    growth=st.floats(0.05, 0.2),
    late=st.floats(1.2, 3.0),
    offset=st.floats(-2, 2),
    logarithmic=st.booleans(),
)
def test_boundaries_where_they_were_put(
    growth: float, late: float, offset: float, logarithmic: bool
) -> None:
    t = np.geomspace(0.01, 100, 4000) if logarithmic else np.linspace(0, 100, 20_001)
    t = np.concatenate([[0.0], t[1:]])
    fall, rapid = 1.0, 1.0 / growth
    decay = late * rapid / np.log(4)
    own, others, losses = made(t, growth, fall, decay)
    # Where the logits start from plays no part.
    under, *balanced = find_stages(t, own + offset, others - offset, losses, prominence=1e-4)
    assert under.dominant == 2
    assert [stage.name for stage in under.stages] == FOUR
    np.testing.assert_allclose(under.boundaries, [rapid / 2, rapid, late * rapid], rtol=3e-3)
    assert under.converges == under.boundaries[-1]
    for query in balanced:
        assert query.dominant is None
        assert [stage.name for stage in query.stages] == ["growth", "convergence"]
        np.testing.assert_allclose(query.boundaries, [late * rapid], rtol=3e-3)
    for query in (under, *balanced):  # consecutive, from the first record to the last
        ends = [query.stages[0].start, *(stage.end for stage in query.stages)]
        assert ends == [0.0, *query.boundaries, t[-1]]


@pytest.mark.parametrize(("horizon", "names"), [(3.0, FOUR[:1]), (8.0, FOUR[:2]), (12.0, FOUR[:3])])
def test_phases_that_are_not_reached_are_left_out(horizon: float, names: list[str]) -> None:
    t = np.linspace(0, horizon, 500)
    query = find_stages(t, *made(t, 0.1, 1.0, 20.0))[0]
    assert [stage.name for stage in query.stages] == names
    assert query.stages[-1].end == horizon
    assert query.converges == np.inf


def test_a_loss_that_falls_first_cuts_the_phases_short() -> None:
    t = np.linspace(0, 20, 2001)
    query = find_stages(t, *made(t, 0.1, 1.0, 5.0))[0]  # L is a quarter at 6.9, before t = 10
    assert [stage.name for stage in query.stages] == [*FOUR[:2], FOUR[3]]
    np.testing.assert_allclose(query.boundaries, [5.0, 5 * np.log(4)], rtol=3e-3)


def test_floors_are_not_waited_for() -> None:
    t = np.linspace(0, 20, 2001)
    own, others, losses = made(t, 0.1, 0.0, 1.0)
    raised = 0.5 + 0.5 * losses
    assert find_stages(t, own, others, raised)[1].converges == np.inf
    found = find_stages(t, own, others, raised, floors=0.5)[1].converges
    assert found == pytest.approx(np.log(4), abs=0.02)


def test_a_fall_that_hardly_shows_is_no_phase() -> None:
    t = np.linspace(0, 20, 2001)
    trajectory = made(t, 0.1, 0.5, 9.0)  # −B − A peaks at 0.625, A ends at 40
    assert len(find_stages(t, *trajectory)[0].stages) == 4
    assert len(find_stages(t, *trajectory, prominence=0.02)[0].stages) == 2


def test_words() -> None:
    t = np.linspace(0, 30, 3001)
    said = str(find_stages(t, *made(t, 0.1, 1.0, 10.0))[0])
    assert said == (
        "query 1: turning away t = 0 to 5, turning point t = 5 to 10, growth t = 10 to 13.86, "
        "convergence t = 13.86 to 30"
    )


T = np.linspace(0, 1, 9)
REFUSED = {
    r"^times has shape \(8,\), own \(9, 3\)": lambda: find_stages(T[:8], *made(T, 1, 1, 1)),
    r"^times has 9 records.*increase": lambda: find_stages(T[::-1], *made(T, 1, 1, 1)),
    r"^lead is 1": lambda: find_stages(T, *made(T, 1, 1, 1), lead=1.0),
    r"share 1.5": lambda: find_stages(T, *made(T, 1, 1, 1), share=1.5),
    r"^x has shape \(2,\)": lambda: fit_power_law(np.ones(2), np.ones(2)),
    r"at least three different x": lambda: fit_power_law(np.ones(5), np.ones(5)),
    r"^x and y must be positive": lambda: fit_power_law(T, T),
}


@pytest.mark.parametrize(("message", "call"), REFUSED.items())
def test_bad_input_is_refused_by_name(message, call) -> None:
    with pytest.raises(InvalidInput, match=message):
        call()


def test_power_law_intervals_cover() -> None:
    """A 90 % interval holds the true exponent in about 90 % of repetitions."""
    rng, x, repetitions = np.random.default_rng(0), np.geomspace(1, 100, 8), 2000
    held = 0
    for _ in range(repetitions):
        law = fit_power_law(x, 3 * x**-1.5 * np.exp(0.1 * rng.normal(size=8)), confidence=0.9)
        held += law.contains(-1.5)
    error = np.sqrt(0.9 * 0.1 / repetitions)
    assert abs(held / repetitions - 0.9) < 4 * error


def test_power_law_is_its_own_function() -> None:
    law = fit_power_law(np.array([1.0, 10.0, 100.0]), np.array([2.0, 20.0, 200.0]))
    np.testing.assert_allclose(law(np.array([5.0, 50.0])), [10.0, 100.0])
    assert law.used == (1.0, 10.0, 100.0)
    assert str(law).startswith("exponent 1 (between 1 and 1)")
