"""Bad input to the linear attention landscapes is refused by name."""

import jax
import numpy as np
import pytest
from linear_attention_cases import distribution, heads, landscape, sequences

from landscapes import (
    MergedLinearAttentionLandscape,
    SeparateLinearAttentionLandscape,
    principal_angles,
)
from landscapes.linear_attention import (
    Convention,
    PopulationMoments,
    PromptDistribution,
    data_moments,
    exact_dynamics,
    head_start,
    learned_heads,
    merged_growth,
    plateau_level,
    plateau_levels,
    principal_component_regression,
    transition_curve,
    transition_time,
)
from meanfield import GradientFlow, simulate
from particles import InvalidInput

X, Y = map(np.asarray, sequences(6))
POPULATION = PopulationMoments(distribution())
FULL = data_moments(X, Y, blocks="full")
UNSYMMETRIC = np.array([[1.0, 0.5], [0.0, 1.0]])
EXCHANGE = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
KEY = jax.random.key(0)


def with_nan(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed[(0,) * array.ndim] = np.nan
    return changed


def tasks(covariance) -> PromptDistribution:
    return distribution(task_covariance=covariance)


def separate(prompts=POPULATION, rank=1, **options):
    return SeparateLinearAttentionLandscape(prompts, rank, **options)


REFUSED = {
    r"^covariance has shape \(2, 3\)": lambda: PromptDistribution(np.ones((2, 3)), 4),
    r"^covariance must be symmetric .* asymmetric by 0.5": lambda: PromptDistribution(
        UNSYMMETRIC, 4
    ),
    r"^covariance must .* smallest eigenvalue is -1": lambda: PromptDistribution([1.0, -1.0], 4),
    r"^covariance must .* smallest eigenvalue is 0": lambda: PromptDistribution([1.0, 0.0], 4),
    r"^covariance\[0, 0\] is nan": lambda: PromptDistribution([np.nan, 1.0], 4),
    r"^task_covariance has shape \(2, 2\); it must be \(3, 3\)": lambda: tasks(np.eye(2)),
    r"^task_covariance has shape \(2, 2, 2\)": lambda: tasks(np.ones((2, 2, 2))),
    r"^task_covariance must be symmetric positive semidefinite; it is asymmetric by 0.5": lambda: (
        PromptDistribution([1.0, 2.0], 4, task_covariance=UNSYMMETRIC)
    ),
    r"^task_covariance must .* smallest eigenvalue is -0.1": lambda: tasks([1.0, 2.0, -0.1]),
    r"^task_covariance\[0, 0\] is nan": lambda: tasks([np.nan, 1.0, 1.0]),
    r"^task_covariance is zero": lambda: tasks(np.zeros((3, 3))),
    r"^task_covariance .* does not commute with covariance, by 0.*; give one": lambda: (
        learned_heads(separate(PopulationMoments(tasks([1.0, 2.0, 3.0]))), [0], 2)
    ),
    r"^task_covariance .* does not commute with covariance, by 1, so": lambda: (
        principal_component_regression(X, Y, [3.0, 2.0, 1.0], 1, np.eye(3) + EXCHANGE)
    ),
    r"^task_eigenvalues has shape \(1,\); it must have one for each of the 2": lambda: (
        plateau_level([1.0, 2.0], 4, [], [1.0])
    ),
    r"^task_eigenvalues is \[1.0, -1.0\]": lambda: plateau_levels([1.0, 2.0], 4, [1.0, -1.0]),
    r"^task_eigenvalues is \[0.0, 0.0\]": lambda: plateau_levels([1.0, 2.0], 4, [0.0, 0.0]),
    r"^direction is 1, whose task eigenvalue is 0": lambda: transition_time(
        [1.0, 2.0], 4, 1, 0.1, 0.5, [1.0, 0.0]
    ),
    r"^context_length is 0;": lambda: PromptDistribution([1.0], 0),
    r"^context_length is 2.5": lambda: PromptDistribution([1.0], 2.5),
    r"^context_length is nan": lambda: PromptDistribution([1.0], np.nan),
    r"^context_length is -inf": lambda: plateau_level([1.0], -np.inf, []),
    r"^fraction is 1.5": lambda: distribution(fixed_task=np.ones(3), fraction=1.5),
    r"^fraction is 0.5, but fixed_task is missing": lambda: distribution(fraction=0.5),
    r"^fixed_task has shape \(2,\); it must be \(3,\)": lambda: distribution(fixed_task=[1.0, 1]),
    r"^count is 0": lambda: distribution().draw(KEY, 0),
    r"^count is 2 and context_length inf": lambda: PromptDistribution([1.0], np.inf).draw(KEY, 2),
    r"^x has shape \(6, 5, 3\) and y has shape \(6, 4\)": lambda: data_moments(X, Y[:, :-1]),
    r"^x has shape \(6, 1, 3\)": lambda: data_moments(X[:, :1], Y[:, :1]),
    r"^x\[0, 0, 0\] is nan": lambda: data_moments(with_nan(X), Y),
    r"^y\[0, 0\] is nan": lambda: data_moments(X, with_nan(Y)),
    r"^blocks is 'all'": lambda: data_moments(X, Y, blocks="all"),
    r"^divide is 'N'": lambda: PopulationMoments(distribution(), Convention(divide="N")),
    r"^source draws 9 labelled tokens of dimension 1; the data have 4 of dimension 3": lambda: (
        data_moments(X, Y, source=PromptDistribution([1.0], 9))
    ),
    r"^source has uninformative prompts": lambda: PopulationMoments(
        distribution(fixed_task=np.ones(3), fraction=1.0, uninformative=True)
    ),
    r"^context_length is inf, so divide": lambda: PopulationMoments(
        PromptDistribution([1.0], np.inf), Convention(divide="none")
    ),
    r"^batch_size is 4, but the moments are of given data": lambda: landscape(
        "merged", FULL
    ).minibatch(KEY, 4),
    r"^rank is 4; it must lie between 1 and D = 3": lambda: separate(rank=4),
    r"^rank is 0": lambda: separate(rank=0),
    r"^heads is 0": lambda: MergedLinearAttentionLandscape(POPULATION, heads=0),
    r"^tests\['other'\] has full blocks": lambda: separate(tests={"other": FULL}),
    r"^ensemble holds 3 heads; this landscape sums 5": lambda: simulate(
        GradientFlow(separate(heads=5)), heads(separate()), horizon=1.0, dt=0.1
    ),
    r"^ensemble holds particles of shapes": lambda: separate().require_fit(heads(separate(rank=2))),
    r"^size is 0": lambda: head_start(KEY, separate(), 0),
    r"^landscape has full token blocks": lambda: learned_heads(separate(FULL), [0], 2),
    r"^learned is \[3\]": lambda: learned_heads(separate(), [3], 4),
    r"^learned is \[1\] and aligned is \[1\]": lambda: learned_heads(
        separate(), [1], 4, aligned=[1]
    ),
    r"^size is 1; it must be at least the 2": lambda: learned_heads(separate(), [0, 1], 1),
    r"^learned is \[2\]; directions run from 0 to 1": lambda: plateau_level([1.0, 2], 4, [2]),
    r"^eigenvalues is \[1.0, 0.0\]": lambda: plateau_level([1.0, 0.0], 4, []),
    r"^eigenvalues is \[\[1.0\]\]": lambda: exact_dynamics([1.0], np.eye(1), 4, 0.1, 0.1),
    r"^start is 0 and dim is 3": lambda: merged_growth([1.0], 1.0, 3, 4, start=0),
    r"^learned is 1.0; it must lie between that of the start, 3e-06": lambda: transition_time(
        [1.0], 1, 0, start=0.01, learned=1.0
    ),
    r"^learned is 0.1; .* of the start, 3": lambda: transition_time([1.0], 1, 0, 1.0, learned=0.1),
    r"^start is -1": lambda: transition_curve([1.0], [1.0], 4, 0, start=-1.0),
    r"^components is 4": lambda: principal_component_regression(X, Y, np.eye(3), 4),
    r"^rank is 3, for matrices of shapes \(2, 4\)": lambda: principal_angles(
        np.ones((2, 4)), np.ones((2, 4)), 3
    ),
}


@pytest.mark.parametrize(("message", "act"), REFUSED.items(), ids=list(REFUSED))
def test_refused(message, act):
    with pytest.raises(InvalidInput, match=message):
        act()
