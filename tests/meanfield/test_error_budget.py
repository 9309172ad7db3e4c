"""The error of a final loss covers the truth where that is known in closed form."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import meanfield
from flow_cases import Springs

from landscapes import Neuron, RegressionLandscape, draw_inputs
from landscapes.mlp_attention import teach
from landscapes.networks import GaussianRegressionLandscape
from meanfield import GradientFlow
from meanfield.flows import Diffusion
from meanfield.studies import error_budget
from particles import Ensemble, InvalidInput, gaussian

PULL, SPRING, HORIZON = 0.6, 0.5, 1.0
KEY = jax.random.key(0)


class TypedSprings(Springs):
    @property
    def particle(self):
        return jax.ShapeDtypeStruct((2,), self.pull.dtype)


def springs(**options) -> GradientFlow:
    return GradientFlow(TypedSprings(pull=PULL, spring=SPRING), **options)


def start(seed: int, size: int = 256) -> Ensemble:
    struct = jax.ShapeDtypeStruct((2,), jnp.result_type(float))
    return gaussian(jax.random.fold_in(KEY, seed), size, struct, mean=1.0)


def exact() -> float:
    """½(α + κ)|E θ|² + ½κ·d·v: the mean decays at α + κ, deviations at κ."""
    mean = math.exp(-(PULL + SPRING) * HORIZON)
    return (PULL + SPRING) * mean**2 + SPRING * math.exp(-2 * SPRING * HORIZON)


def test_the_error_of_particles_and_step_covers_the_exact_limit():
    """Over starts: at 95 % each, so 18 of 20 or more but for one in 13, and never far out."""
    found = [
        error_budget(
            springs(scheme="euler"), start(seed), key=KEY, horizon=HORIZON, dt=0.1
        ).estimate
        for seed in range(20)
    ]
    apart = np.array([abs(one.value - exact()) / one.error for one in found])
    assert np.sum(apart < 1) >= 18
    assert apart.max() < 2
    # No wider than it must be: the spread of the values themselves is a quarter of it or more.
    assert np.std([one.value for one in found]) > np.mean([one.error for one in found]) / 8


def test_the_step_is_what_the_scheme_leaves():
    """N particles have an exact solution of their own."""
    mu = start(0)
    points = np.asarray(mu.particles)
    mean = points.mean(axis=0)
    spread = np.mean(np.sum((points - mean) ** 2, axis=1)) * math.exp(-2 * SPRING * HORIZON)
    mean = mean * math.exp(-(PULL + SPRING) * HORIZON)
    truth = 0.5 * (PULL + SPRING) * np.sum(mean**2) + 0.5 * SPRING * spread
    for scheme, order in (("euler", 1), ("heun", 2)):
        found = error_budget(springs(scheme=scheme), mu, key=KEY, horizon=HORIZON, dt=0.1, splits=2)
        part = found.estimate.parts["step"]
        # Up to the next order, a dt of it.
        assert part == pytest.approx(abs(found.estimate.value - truth), rel=0.1), order
    assert 0 < found.estimate.parts["round-off"] < 1e-14


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_samples_covers_all_gaussian_inputs(seed):
    """Against the flow of the same particles on the exact landscape."""
    rng = np.random.default_rng(seed)

    def neurons(size):
        w = rng.normal(size=(size, 2))
        return Ensemble(Neuron(rng.normal(1, 0.3, size=(size, 1)), w))

    teacher, mu = neurons(2), neurons(8)
    x = draw_inputs(jax.random.key(seed), 256, 2)
    flow = GradientFlow(RegressionLandscape(x, teach(teacher, x, "erf"), "erf"), scheme="heun")
    found = error_budget(flow, mu, key=KEY, horizon=2.0, dt=0.1, splits=8)
    whole = GradientFlow(GaussianRegressionLandscape(teacher, "erf"), scheme="heun")
    truth = error_budget(whole, mu, key=KEY, horizon=2.0, dt=0.1, splits=2).estimate
    assert list(truth.parts) == ["particles", "step", "round-off"]
    part = found.estimate.parts["samples"]
    assert abs(found.estimate.value - truth.value) < part < found.estimate.value


def test_float32_knows_its_round_off():
    with jax.enable_x64(False):
        flow = GradientFlow(TypedSprings(PULL, SPRING, "float32"), scheme="heun")
        found = error_budget(flow, start(0), key=KEY, horizon=HORIZON, dt=0.1, splits=2)
    assert found.estimate.value != found.other
    assert abs(found.estimate.value - found.other) <= found.estimate.parts["round-off"] < 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": start(0, 7)}, "start has 7 particles"),
        ({"splits": 1}, "splits is 1"),
        ({"dt": -1.0}, "dt is -1.0"),
        ({"flow": springs(scheme="euler", jumps=(Diffusion(0.1),))}, "random steps"),
        ({"start": Ensemble(np.ones((4, 2)), np.ones(4))}, "weighted"),
        ({"flow": springs(scheme="euler"), "dt": 1e200, "horizon": 1e201}, "not finite"),
    ],
)
def test_what_has_no_budget_is_refused(change, message):
    given = {"flow": springs(), "start": start(0, 8), "key": KEY, "horizon": 1.0, "dt": 0.1}
    with pytest.raises(InvalidInput, match=message):
        error_budget(**(given | change))


def test_the_command_states_the_loss_with_its_error(tmp_path):
    small = "--problem.samples 32 --problem.dim 2 --problem.spectrum 1.0 --particles 32"
    words = f"simulate --problem regression {small} --horizon 0.5 --flow.scheme euler --errors"
    ran = meanfield(*words.split(), "--json", "--quiet", "--out", tmp_path)
    assert ran.code == 0, ran.stderr
    stated = json.loads(ran.stdout)["final_loss"]
    assert list(stated["parts"]) == ["particles", "samples", "step", "round-off"]
    assert stated["error"] == pytest.approx(sum(stated["parts"].values()))
    assert "| round-off |" in (tmp_path / "report.md").read_text("utf-8")
    assert (tmp_path / "errors.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--start.points sobol", "no i.i.d. draw"),
        ("--devices 2", "devices is 2"),
    ],
)
def test_the_command_refuses_before_the_run(words, message, tmp_path):
    small = "--problem.samples 32 --problem.dim 2 --problem.spectrum 1.0 --problem regression"
    ran = meanfield("simulate", *small.split(), *words.split(), "--errors", "--out", tmp_path / "a")
    assert ran.code == 2
    assert message in ran.sentence
    assert not (tmp_path / "a").exists()
