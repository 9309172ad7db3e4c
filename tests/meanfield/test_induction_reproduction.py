"""The reproduction of induction circuits, part by part and small."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from landscapes.induction import MarkovHead, draw_chains
from meanfield.reproductions import REPRODUCTIONS
from meanfield.reproductions import _induction_causal as causal
from meanfield.reproductions import _induction_circuit as circuit
from meanfield.reproductions import _induction_markov as markov
from meanfield.results import Result
from particles import Ensemble, InvalidInput

SIZES = (4, 8)


def checked(result: Result, *names: str) -> list[str]:
    """The statements of claims that fail; figures have labels and titles."""
    assert [figure.name for figure in result.figures] == list(names)
    for figure in result.figures:
        canvas = figure.draw()
        for axes in canvas.axes:
            assert all((axes.get_xlabel(), axes.get_ylabel(), axes.get_title()))
        canvas.draw_without_rendering()
    return [claim.statement for claim in result.claims if not claim.holds]


def test_the_plateau_is_left_at_its_rate() -> None:
    with jax.enable_x64(True):
        result = circuit.saddle(SIZES)
    assert not checked(result, "rates")
    assert len(result.claims) == 6 * len(SIZES)


def test_emergence_has_one_course_in_the_time_of_the_saddle() -> None:
    with jax.enable_x64(True):
        result = circuit.emergence(SIZES)
    (local,) = checked(result, "emergence")
    assert "Θ(N²)" in local  # 1/|h| is of order N² for large N alone
    times = [circuit.half_time(circuit.emerging(count)) for count in SIZES]
    assert np.log(times[1] / times[0]) / np.log(2) == pytest.approx(1.631, abs=1e-3)


def test_the_blow_up_by_integration_in_time() -> None:
    def speed(time: float, state: np.ndarray) -> list[float]:
        return [state[1] * np.exp(state[0]), np.expm1(state[0])]

    def far(time: float, state: np.ndarray) -> float:
        return state[0] - 20

    far.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
    found = scipy.integrate.solve_ivp(
        speed, (0, 10), [1e-3, 1e-3], method="DOP853", rtol=1e-10, atol=1e-12, events=far
    )
    assert circuit.blow_up_time(1e-3) == pytest.approx(found.t[-1], abs=1e-6)


def test_under_a_mask_the_readout_comes_first() -> None:
    with jax.enable_x64(True):
        result = causal.causal(SIZES)
    (local,) = checked(result, "causal")
    assert "Θ(N)" in local  # n² log(…)/(n + 2) is of order N for large N alone
    assert str(result.body[0]).count("\n| ") == 1 + len(SIZES)


def test_markov_chains_have_two_levels() -> None:
    with jax.enable_x64(True):
        found = [markov.learn(jax.random.key(seed), 48, 24) for seed in (0, 1)]
        result = markov.markov(found)
    checked(result, "markov")
    assert [claim.predicted for claim in result.claims] == [1.0, 1.0, 1.0, 2, 2]
    for one in found:
        assert one.levels["bigram"] < one.at_plateau < one.levels["uniform"]
        # With v free, the flow ends below all that even attention can do.
        assert one.end < one.levels["uniform attention"] <= one.levels["unigram"] + 1e-9


def test_no_w_does_better_with_even_attention() -> None:
    with jax.enable_x64(True):
        landscape = draw_chains(jax.random.key(2), 32, 12, 2)
        level = markov.uniform_attention_level(landscape)
        for seed in range(20):
            w = 10 * jax.random.normal(jax.random.key(seed), (1, 2, 2))
            head = Ensemble(MarkovHead(jnp.zeros((1, 12)), w))
            assert float(landscape.value(head)) > level


def test_sizes_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"pairs is \(8, 4\); give at least two numbers"):
        REPRODUCTIONS["induction"].configured(pairs=(8, 4))
