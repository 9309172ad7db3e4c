"""The problem of one hidden direction, and its reproduction, small."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from results import written

from meanfield.problems import SingleIndex
from meanfield.reproductions import REPRODUCTIONS
from meanfield.reproductions import _single_index_degrees as own
from meanfield.reproductions import _single_index_link as link
from meanfield.reproductions._seeds import seed_keys
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


def test_parts(tmp_path: Path) -> None:
    keys = seed_keys(jax.random.key(1), 2)
    with jax.enable_x64(True):
        found = own.degrees(keys, 8, (1e-11, 1e-12, 1e-13))
        # The second plateau comes near its level for a smaller ε only, as the report says.
        [far] = [claim for claim in found.claims if "degrees 2 and 3" in claim.statement]
        assert 0.85 < far.measured < 0.95
        found.claims.remove(far)
        written(found, tmp_path)
        written(own.equations(keys[0], 12), tmp_path)
        written(link.escapes(keys, (2,), (10_000, 100_000, 1_000_000)), tmp_path)
        written(link.ratios(), tmp_path)


def test_options_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at least three different ones"):
        REPRODUCTIONS["single-index"].configured(ratios=(1e-3, 1e-4))
    with pytest.raises(InvalidInput, match="exponents is empty"):
        REPRODUCTIONS["single-index"].configured(exponents=())
