"""Levels of (N, dt) against landscapes whose mean-field loss is known in closed form."""

import json
import math
import re

import jax
import numpy as np
import pytest
from commands import meanfield
from flow_cases import Springs

from meanfield import GradientFlow
from meanfield.flows import Diffusion, Resampling
from meanfield.studies import multilevel_estimate
from meanfield.studies._levels import Sampler
from particles import Ensemble, InvalidInput, gaussian

PULL, SPRING, TEMPERATURE = 0.6, 0.5, 0.4
OPTIONS: dict = {"horizon": 0.5, "dt": 0.25, "smallest": 4, "particles": 1024}


def draw(key: jax.Array, size: int) -> Ensemble:
    return gaussian(key, size, jax.ShapeDtypeStruct((2,), float), mean=1.0)


def langevin() -> GradientFlow:
    landscape = Springs(pull=PULL, spring=SPRING)
    return GradientFlow(landscape, scheme="euler", jumps=(Diffusion(TEMPERATURE),))


def exact(horizon: float) -> float:
    """½(α + κ)|E θ|² + ½κ·d·v of the Ornstein–Uhlenbeck process, in two dimensions."""
    mean = math.exp(-(PULL + SPRING) * horizon)
    own = TEMPERATURE / SPRING
    own += (1 - own) * math.exp(-2 * SPRING * horizon)
    return (PULL + SPRING) * mean**2 + SPRING * own


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return Sampler(langevin(), draw, jax.random.key(3), 0.5, 2, 4, 1024)


def test_the_error_covers_the_truth(sampler) -> None:
    """Twenty keys at a loose tolerance: at 95 % and beyond, three standard errors allowed."""
    hits, errors = 0, []
    for seed in range(20):
        key = jax.random.fold_in(jax.random.key(7), seed)
        found = multilevel_estimate(langevin(), draw, key=key, tolerance=0.1, **OPTIONS)
        assert found.reached
        assert found.estimate.error <= 0.1
        hits += found.estimate.contains(exact(0.5))
        errors.append(found.estimate.value - exact(0.5))
    assert hits >= 19 - 3 * math.sqrt(20 * 0.95 * 0.05)
    assert abs(np.mean(errors)) < 4 * np.std(errors, ddof=1) / math.sqrt(20) + 0.01


def test_mean_and_variance_fall_as_theory_says(sampler) -> None:
    """With N and 1/dt doubled: means halve, variances of differences fall four times."""
    levels = [np.concatenate([sampler.sample(level, c) for c in range(4)]) for level in range(1, 5)]
    variances = np.array([values.var(ddof=1) for values in levels])
    spread = [
        ((v - v.mean()) ** 2).std() / v.size**0.5 / s
        for v, s in zip(levels, variances, strict=True)
    ]
    slopes = np.diff(np.log2(variances))
    tolerance = 4 * np.hypot(spread[:-1], spread[1:]) / math.log(2) + 0.3
    np.testing.assert_array_less(np.abs(slopes + 2), tolerance)
    # The mean of a difference, by Euler's recursion for the moments of N particles.
    for level, values in enumerate(levels, start=1):
        expected = _mean(4 * 2**level, 2 * 2**level) - _mean(2 * 2**level, 2**level)
        assert abs(values.mean() - expected) < 4 * values.std() / values.size**0.5


def _mean(size: int, steps: int) -> float:
    """E L of N particles after some steps of Euler–Maruyama, exactly."""
    dt, mean, own, together = 0.5 / steps, 1.0, 1.0, 1.0
    for _ in range(steps):
        mean *= 1 - (PULL + SPRING) * dt
        own = own * (1 - SPRING * dt) ** 2 + 2 * TEMPERATURE * dt
        together = together * (1 - (PULL + SPRING) * dt) ** 2 + 2 * TEMPERATURE * dt
    square = mean**2 + together / size  # E of the mean's square, in one dimension
    return PULL * square + SPRING * (square + own * (1 - 1 / size))


def test_a_study_goes_on_bit_for_bit_and_keeps_a_partial_answer(tmp_path) -> None:
    options = {"key": jax.random.key(1), "tolerance": 0.05} | OPTIONS
    whole = multilevel_estimate(langevin(), draw, **options)
    assert whole.spent >= sum(level.cost * level.values.size for level in whole.levels)
    cheaper, plain = whole.work(0.05)
    assert 0.5 * cheaper < whole.predicted < 3 * cheaper + 1e5
    assert whole.work(0.025)[1] >= 4 * plain * 0.999
    part = multilevel_estimate(langevin(), draw, saved=tmp_path, budget=1e-9, **options)
    assert not part.reached
    assert "the budget of 1e-09 s is spent" in part.shortfall
    assert math.isfinite(part.estimate.error)
    resumed = multilevel_estimate(langevin(), draw, saved=tmp_path, resume=True, **options)
    assert resumed.estimate == whole.estimate
    small = multilevel_estimate(
        langevin(), draw, **options | {"tolerance": 1e-3, "largest": 16, "budget": 2.0}
    )
    assert not small.reached
    assert re.search("budget of 2 s is spent|more than largest = 16", small.shortfall)
    assert small.estimate.error > 1e-3


def test_the_command_answers_and_says_what_it_spent(tmp_path) -> None:
    options = ["--problem", "regression", "--problem.samples", 16, "--horizon", 0.25, "--dt", 0.125]
    options += ["--smallest", 16, "--largest", 128, "--out", tmp_path / "levels"]
    run = meanfield("converge", "--tolerance", 0.5, *options, "--json")
    assert run.code == 0, run.stderr
    limit = json.loads(run.stdout)["limit"]
    assert limit["error"] <= 0.5
    assert limit["spent"] > 0
    assert "Spent: " in (tmp_path / "levels" / "report.md").read_text("utf-8")
    assert (tmp_path / "levels" / "levels.png").exists()
    for wrong, words in (
        (["--budget", 5], "budget is 5.0, but tolerance is 0"),
        (["--tolerance", 0.5, "--transport", 8], "transport is 8, but with a tolerance no"),
        (["--tolerance", 0.5, "--times", 8], "times is 8, but with a tolerance the horizon"),
    ):
        assert words in meanfield("converge", *wrong, *options[:-1], tmp_path / "new").sentence
    assert not (tmp_path / "new").exists()


def test_refusals() -> None:
    options = {"key": jax.random.key(0), "tolerance": 0.1} | OPTIONS
    for changed, words in (
        ({"tolerance": 0.0}, "tolerance is 0.0; it must be positive"),
        ({"tolerance": 1e-16}, "resolves no less than"),
        ({"budget": 0.0}, "budget is 0.0; it must be positive"),
        ({"dt": 1.0}, "dt is 1.0, longer than horizon = 0.5"),
        ({"largest": 8}, "largest is 8, but 3 levels from 4 particles on have up to 16"),
        ({"pilot": 1}, "pilot is 1; it must be at least 2"),
    ):
        with pytest.raises(InvalidInput, match=words):
            multilevel_estimate(langevin(), draw, **options | changed)
    with pytest.raises(InvalidInput, match="scheme is adaptive; levels halve a fixed step"):
        multilevel_estimate(GradientFlow(Springs(), scheme="adaptive"), draw, **options)
    redrawn = GradientFlow(Springs(), scheme="euler", birth_death=1.0, jumps=(Resampling(0.5),))
    with pytest.raises(InvalidInput, match="that ensembles cannot share"):
        multilevel_estimate(redrawn, draw, **options)
