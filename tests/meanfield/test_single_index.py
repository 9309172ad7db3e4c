"""The problem of one hidden direction: starts, levels, refusals."""

import jax
import jax.numpy as jnp
import pytest

from meanfield.problems import SingleIndex
from particles import InvalidInput

KEY = jax.random.key(0)


def test_starts_and_levels() -> None:
    problem = SingleIndex(teacher=(0.2, 1.0, 0.0, 1.0)).build(KEY)
    assert list(problem.levels) == [
        "nothing learned",
        "degree 0 learned",
        "degree 1 learned",
        "minimum",
    ]
    assert problem.levels["degree 1 learned"] == pytest.approx(0.5)
    start = problem.start(KEY, 1000).particles
    assert not jnp.any(start.angle)
    assert float(jnp.std(start.readout)) == pytest.approx(0.1, rel=0.1)  # √0.01
    shared = SingleIndex(readout="shared", dimension=100).build(KEY)
    overlaps = jnp.sin(shared.start(KEY, 1000).particles)
    assert float(jnp.std(overlaps)) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"teacher": (1.0, 0.0)}, "there is no direction to learn"),
        ({"teacher": (0.0, 0.0, 1.0)}, "stay there, and nothing is learned"),
        ({"activation": (0.0, 1.0, 1.0, 0.0)}, "no degree 3, which problem.teacher has"),
        ({"activation": (1.0,)}, "teacher has 4 coefficients and activation 1"),
        ({"dimension": 1}, "dimension is 1"),
        ({"readout": "shared"}, "nothing moves; give a dimension"),
        ({"readout": "shared", "dimension": 9, "ratio": 0.1}, "problem.ratio is 0.1"),
        ({"readout": "shared", "dimension": 9, "activation": (0.0, 1.0)}, "which has none"),
    ],
)
def test_refusals(options: dict, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        SingleIndex(**options).build(KEY)
