"""Many softmax heads on regression: the reproduction, small, and what the problem predicts."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from results import written

from landscapes import MultiHeadLandscape
from meanfield.problems import MultiHeadSoftmax, build_problem
from meanfield.reproductions import _multi_head_prompts as drawn
from meanfield.reproductions import _multi_head_runs as runs
from meanfield.reproductions import _multi_head_saddle as saddle
from meanfield.reproductions._seeds import seed_keys
from particles import Ensemble, InvalidInput

LANDSCAPE = MultiHeadLandscape(10, 200, 0.3)


def test_parts(tmp_path: Path) -> None:
    keys = seed_keys(jax.random.key(0), 2)
    with jax.enable_x64(True):
        for result in (
            saddle.one_head(LANDSCAPE),
            saddle.among(LANDSCAPE, keys),
            runs.pair(LANDSCAPE, 2000.0),
            runs.many(LANDSCAPE, keys, saddle.HEADS, 200.0),
            drawn.long_prompts(4, 0.2),
        ):
            written(result, tmp_path)


def test_drawn_prompts_with_and_without_their_scores() -> None:
    """So few prompts say nothing of orders; whole draws and averages agree all the same."""
    found = drawn.prompts(LANDSCAPE, seed_keys(jax.random.key(0), 2), 64)
    assert len(found.claims) == 6
    assert all(claim.holds for claim in found.claims[:2])
    assert found.figures[0].draw().axes[0].get_legend() is not None


def test_what_the_problem_predicts() -> None:
    problem = build_problem(MultiHeadSoftmax(), 0)
    landscape, predicted = problem.landscape, problem.require("predicted", "a test")
    assert isinstance(landscape, MultiHeadLandscape)
    place = problem.require("saddle", "a test")
    for size in (2, 5):
        found = predicted(place(jax.random.key(0), size, ()))
        assert found.name == "one head"
        assert (found.level, found.index) == (landscape.one_head_level, size // 2)
    mu = landscape.one_head(3)
    assert predicted(mu).index == 0
    assert predicted(mu.with_particles(jax.tree.map(jnp.zeros_like, mu.particles))).index == 3
    assert predicted(mu.with_particles(jax.tree.map(lambda leaf: 1.1 * leaf, mu.particles))) is None
    with pytest.raises(InvalidInput, match="missing is \\(1,\\), but heads have no features"):
        place(jax.random.key(0), 4, (1,))
    with pytest.raises(InvalidInput, match="particles is 1; the saddle has heads of both signs"):
        place(jax.random.key(0), 1, ())
    assert isinstance(problem.start(jax.random.key(0), 3), Ensemble)
