"""Problems on all Gaussian inputs: they run, state what they miss, refuse idle options."""

import jax
import pytest

from meanfield import GradientFlow, simulate
from meanfield.problems import PROBLEMS, build_problem
from particles import InvalidInput

SMALL = {"dim": 2, "activation": "erf", "teacher_neurons": 4, "spectrum": (1.0, 0.5)}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("attention", {"inputs": "gaussian-modes", "degree": 3}),
        ("regression", {"inputs": "gaussian-modes", "degree": 3}),
        ("regression", {"inputs": "gaussian-pairs"}),
    ],
)
def test_a_run_states_what_its_modes_miss(kind, options):
    problem = build_problem(PROBLEMS[kind](**SMALL, **options), 0)
    flow = GradientFlow(problem.landscape, scheme="euler")
    run = simulate(flow, problem.start(jax.random.key(1), 64), horizon=0.2, dt=0.1)
    claims = [] if problem.claims is None else problem.claims(run)
    assert all(claim.holds for claim in claims), claims
    stated = [claim for claim in claims if "degrees up to 3" in claim.statement]
    assert len(stated) == (options["inputs"] == "gaussian-modes")
    assert problem.redraws == {}


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("attention", {"inputs": "gaussian-pairs"}, "no sum over pairs"),
        ("attention", {"inputs": "gaussian-modes", "context_length": 9.0}, "infinite prompts"),
        ("regression", {"inputs": "gaussian-modes", "activation": "tanh"}, "'tanh'"),
        ("regression", {"inputs": "gaussian-modes", "whiten": True}, "problem.whiten is True"),
        ("regression", {"inputs": "gaussian-pairs", "degree": 7}, "problem.degree is 7"),
        ("regression", {"degree": 7}, "problem.inputs is 'samples'"),
        ("regression", {"inputs": "gaussian-modes", "dim": 200}, "Hermite modes"),
    ],
)
def test_options_without_effect_are_refused(kind, options, message):
    with pytest.raises(InvalidInput, match=message):
        build_problem(PROBLEMS[kind](**(SMALL | options)), 0)
