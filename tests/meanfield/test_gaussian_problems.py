"""Problems on all Gaussian inputs: they run, state what they miss, refuse idle options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscapes.networks import HermiteModes, TruncationWarning, truncation
from meanfield import GradientFlow, simulate
from meanfield.problems import PROBLEMS, build_problem
from meanfield.problems._hermite_targets import hermite_targets
from meanfield.reports import parameters_result
from particles import InvalidInput
from saddle_analysis import CriticalityReport
from saddle_analysis.spectra import Eigenpairs

SMALL = {"dim": 2, "activation": "erf", "teacher_neurons": 4, "spectrum": (1.0, 0.5)}


MODES = {"inputs": "gaussian-modes", "degree": 3}
HERMITE = {"teacher_neurons": 12, "targets": ("1+1,2", "0,3")}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("attention", MODES),
        ("attention", MODES | HERMITE),
        ("regression", MODES | {"variances": (0.5, 0.3)}),
        ("regression", {"inputs": "gaussian-pairs", "variances": (0.5, 0.3)}),
    ],
)
@pytest.mark.filterwarnings("ignore::landscapes.networks.TruncationWarning")
def test_a_run_states_what_its_modes_miss(kind, options):
    problem = build_problem(PROBLEMS[kind](**(SMALL | options)), 0)
    flow = GradientFlow(problem.landscape, scheme="euler")
    run = simulate(flow, problem.start(jax.random.key(1), 64), horizon=0.2, dt=0.1)
    claims = [] if problem.claims is None else problem.claims(run)
    assert all(claim.holds for claim in claims), claims
    stated = [claim for claim in claims if "degrees up to 3" in claim.statement]
    assert len(stated) == (options["inputs"] == "gaussian-modes")
    assert problem.redraws == {}


@pytest.mark.parametrize("options", [{}, HERMITE], ids=["teacher", "targets"])
def test_fresh_samples_have_the_law_of_the_modes(options):
    """L on 2048 samples of N(0, Σ), the targets evaluated there, within five standard errors."""
    asked = SMALL | MODES | {"degree": 5, "variances": (0.5, 0.3)} | options
    problem = build_problem(PROBLEMS["regression"](**asked), 0)
    mu = problem.start(jax.random.key(1), 64)
    drawn = problem.fresh()
    each = 0.5 * jnp.sum((drawn.f - drawn.moments(mu)) ** 2, axis=1)
    error = float(jnp.std(each)) / len(each) ** 0.5
    low = float(problem.landscape.value(mu))
    assert (
        -5 * error < float(each.mean()) - low < truncation(problem.landscape, mu).loss + 5 * error
    )


def test_hermite_targets_are_the_polynomials_with_the_wanted_second_moment():
    f = hermite_targets(HermiteModes(2, 3, "erf"), ["1+1,2", "0,3"], [1.0, 0.5])
    z = jax.random.normal(jax.random.key(0), (5, 2))
    found = HermiteModes(2, 3, "erf").polynomials(z) @ f
    first = (z[:, 0] + z[:, 0] * (z[:, 1] ** 2 - 1) / 2**0.5) / 2**0.5
    second = (0.5 / 6) ** 0.5 * (z[:, 1] ** 3 - 3 * z[:, 1])
    np.testing.assert_allclose(found, jnp.stack([first, second], axis=1), atol=1e-12)
    np.testing.assert_allclose(f.T @ f / len(f), np.diag([1.0, 0.5]), atol=1e-14)


def test_a_degree_too_low_for_the_start_is_warned_of():
    problem = build_problem(PROBLEMS["attention"](**SMALL, **MODES), 0)
    concerns = problem.landscape.concerns(problem.start(jax.random.key(1), 64))
    assert [type(concern) for concern in concerns] == [TruncationWarning]
    assert "up to degree 3" in str(concerns[0])
    quadratic = SMALL | MODES | {"activation": "quadratic"}
    problem = build_problem(PROBLEMS["regression"](**quadratic), 0)
    assert problem.landscape.concerns(problem.start(jax.random.key(1), 64)) == []


def test_the_curvature_on_modes_is_followed_in_the_ridge_alone():
    """Modes know no prompts of finite length."""
    problem = build_problem(PROBLEMS["attention"](**SMALL, **MODES), 0)
    mu = problem.start(jax.random.key(1), 8)
    pairs = Eigenpairs(np.array([-1.0]), [mu.particles], np.zeros(1), 0, True, np.zeros(1), 1.0)
    report = CriticalityReport("not critical", 1.0, 1.0, 1e-6, pairs, pairs, 1e-8, None, [], 0)
    found = parameters_result(problem.landscape, mu, report)
    assert set(found.data) == {"by_ridge", "by_ratio"}


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("attention", {"inputs": "gaussian-pairs", "context_length": 9.0}, "infinite prompts"),
        ("attention", {"inputs": "gaussian-modes", "context_length": 9.0}, "infinite prompts"),
        ("regression", {"inputs": "gaussian-modes", "activation": "tanh"}, "'tanh'"),
        ("regression", {"inputs": "gaussian-modes", "whiten": True}, "problem.whiten is True"),
        ("regression", {"inputs": "gaussian-pairs", "degree": 7}, "problem.degree is 7"),
        ("regression", {"degree": 7}, "problem.inputs is 'samples'"),
        ("regression", {"inputs": "gaussian-modes", "dim": 200}, "Hermite modes"),
        ("regression", {"variances": (1.0, 1.0)}, "problem.inputs is 'samples'"),
        ("regression", MODES | {"variances": (1.0,)}, "1 entries.*each of the 2 inputs"),
        ("regression", MODES | HERMITE | {"teacher_neurons": 5}, "problem.targets are given"),
        ("regression", {"inputs": "gaussian-pairs", "targets": ("1", "0,1")}, "'gaussian-pairs'"),
        ("regression", MODES | HERMITE | {"targets": ("1",)}, "1 entries.*spectrum has 2"),
        ("regression", MODES | HERMITE | {"targets": ("2", "1")}, r"degree 2; .* \[1, 3\]"),
        ("regression", MODES | HERMITE | {"targets": ("1", "1+3")}, "term 1,0 twice"),
        ("regression", MODES | HERMITE | {"targets": ("x", "1")}, "'x'; give the degree"),
    ],
)
def test_options_without_effect_are_refused(kind, options, message):
    with pytest.raises(InvalidInput, match=message):
        build_problem(PROBLEMS[kind](**(SMALL | options)), 0)
