"""The modular arithmetic problem: its saddles and levels agree, mistakes are said."""

from typing import Any

import jax
import numpy as np
import pytest

from meanfield.problems import ModularArithmetic, Problem
from particles import InvalidInput

KEY = jax.random.key(0)


def build(**options: Any) -> Problem:
    return ModularArithmetic(**options).build(KEY)


def test_features_are_ordered_by_magnitude_and_saddles_lie_on_the_levels() -> None:
    problem = build(p=7, fraction=1.0, magnitudes=(0.0, 1.0, 2.0))
    assert problem.features is not None
    np.testing.assert_allclose(problem.features.eigenvalues, [2.0, 0.5])
    assert problem.saddle is not None
    assert problem.predicted is not None
    saddle, level = problem.saddle(KEY, 12, (1,)), problem.levels["1 learned"]
    assert abs(float(problem.landscape.value(saddle)) - level) < 1e-12
    predicted = problem.predicted(saddle)
    assert predicted is not None
    assert (predicted.name, predicted.index) == ("frequencies {3}", 0)
    assert abs(predicted.level - level) < 1e-12
    assert problem.predicted(problem.start(KEY, 5)) is None


@pytest.mark.parametrize(
    "options",
    [{}, {"p": 9, "fraction": 1.0}, {"p": 5, "fraction": 1.0, "activation": "relu"}],
    ids=["part of the pairs", "no prime", "relu"],
)
def test_theory_is_silent_where_it_does_not_apply(options: dict[str, Any]) -> None:
    problem = build(**options)
    assert problem.levels == {}
    with pytest.raises(InvalidInput, match="has no `saddle`, which an escape needs"):
        problem.require("saddle", "an escape")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"p": 5, "fraction": 0.001}, "fraction is 0.001; it must be at most 1 and leave at least"),
        ({"p": 5, "magnitudes": (1.0,)}, "problem.magnitudes has 1 entries and problem.p is 5"),
        ({"p": 5, "magnitudes": (0.0, 0.0)}, "problem.magnitudes is zero everywhere"),
        (
            {"p": 5, "magnitudes": (1.0, 0.5), "loss": "cross-entropy"},
            "loss is 'cross-entropy', but a template is given",
        ),
    ],
)
def test_refusals(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        build(**options)


def test_a_saddle_that_cannot_be_built_is_refused() -> None:
    saddle = build(p=5, fraction=1.0).require("saddle", "a test")
    with pytest.raises(InvalidInput, match=r"size is 9, but frequencies .1. need 10"):
        saddle(KEY, 9, (1,))
    with pytest.raises(InvalidInput, match="there is no feature 2; they run from 0 to 1"):
        saddle(KEY, 10, (2,))
