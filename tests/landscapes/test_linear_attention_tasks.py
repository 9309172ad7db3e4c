"""Tasks of general covariance: Monte Carlo, differences, linear solves, exact saddles, flows."""

import equinox as eqx
import jax
import jax.flatten_util
import numpy as np
import pytest
import scipy.integrate
from helpers import close
from linear_attention_cases import EIGENVALUES, LENGTH, distribution, heads, landscape

from landscapes import SeparateLinearAttentionLandscape
from landscapes.linear_attention import (
    Convention,
    PopulationMoments,
    PromptDistribution,
    SeparateHead,
    data_moments,
    head_saddle_index,
    head_start,
    in_context_optimum,
    learned_heads,
    plateau_curvature,
    plateau_level,
    plateau_levels,
    principal_component_regression,
    transition_curve,
    transition_time,
)
from particles import Ensemble
from particles.internal import to_device
from saddle_analysis import criticality_report

COVARIANCE = np.asarray(distribution().covariance)
BASIS = np.linalg.eigh(COVARIANCE)[1][:, ::-1]  # the largest eigenvalue first, as EIGENVALUES
# λt is (.25, .9, .2): the most is in the second direction. λ²t is (.125, .27, .04).
PAIRED = (0.5, 3.0, 1.0)
MIXED = np.array([[2.0, 0.6, -0.3], [0.6, 0.7, 0.4], [-0.3, 0.4, 1.5]])
TASKS = {
    "commuting": BASIS @ np.diag(PAIRED) @ BASIS.T,
    "mixed": MIXED,
    "rank one": np.outer([1.0, -2.0, 0.5], [1.0, -2.0, 0.5]),
}
every_task = pytest.mark.parametrize("tasks", TASKS.values(), ids=list(TASKS))


def population(tasks, length=LENGTH, convention=Convention()):  # noqa: B008
    return PopulationMoments(
        PromptDistribution(COVARIANCE, length, task_covariance=tasks), convention
    )


def separate(tasks, rank=1, size=4):
    return SeparateLinearAttentionLandscape(population(tasks), rank, heads=size)


def second_moments(tasks, length=LENGTH):
    """E[y β x_qᵀ] = ΛTΛ, E[ββᵀ] and E[y²] = tr(ΛT), by hand."""
    cross, energy = COVARIANCE @ tasks @ COVARIANCE, np.trace(COVARIANCE @ tasks)
    return cross, (1 + 1 / length) * cross + energy / length * COVARIANCE, energy


@eqx.filter_jit
def risk_and_slope(moments, read):
    return jax.value_and_grad(moments.risk)(read)


@every_task
def test_moments_are_means_over_prompts(tasks):
    """E[ββᵀ], E[y β x_qᵀ], E[y²] and the loss of heads, in units of the standard error."""
    source = distribution(task_covariance=tasks)
    prompts = source.draw(jax.random.key(3), 40_000)
    x, y = map(np.asarray, prompts)
    beta = np.einsum("pn,pna->pa", y[:, :-1], x[:, :-1]) / LENGTH
    cross, gram, energy = second_moments(tasks)
    exact = landscape("separate", PopulationMoments(source))
    mu = heads(exact)
    error = y[:, -1] - np.asarray(exact.predict(mu, *prompts))
    for sample, truth in (
        (np.einsum("pa,pb->pab", beta, beta), gram),
        (np.einsum("p,pa,pb->pab", y[:, -1], beta, x[:, -1]), cross),
        (y[:, -1] ** 2, energy),
        (0.5 * error**2, float(exact.value(mu))),
    ):
        spread = sample.std(axis=0) / len(x) ** 0.5
        assert (abs(sample.mean(axis=0) - truth) < 4 * spread).all()
    isotropic = landscape("separate", PopulationMoments(distribution()))
    assert abs(float(isotropic.value(mu)) - float(exact.value(mu))) > 10 * spread


def test_empirical_moments_approach_the_population_as_prompts_grow():
    exact = PopulationMoments(distribution(task_covariance=MIXED))
    cross, gram, energy = second_moments(MIXED)
    truth = np.concatenate([np.kron(gram, COVARIANCE).ravel(), cross.ravel(), [energy]])
    read, errors = to_device(np.random.default_rng(1).normal(size=(3, 3))), []
    risk = lambda moments: float(risk_and_slope(moments, read)[0])  # noqa: E731
    for count in (400, 40_000):
        drawn = exact.fresh(jax.random.key(2), count)
        found = np.concatenate([np.ravel(drawn.gram), drawn.cross, [drawn.energy]])
        errors.append([np.linalg.norm(found - truth), abs(risk(drawn) - risk(exact))])
    # 100 times the prompts, a tenth of the error, up to chance.
    assert (np.array(errors[1]) < 0.3 * np.array(errors[0])).all()
    assert errors[1][0] < 0.05 * np.linalg.norm(truth)


@every_task
def test_the_gradient_of_the_loss_is_its_difference_quotient(tasks):
    moments, rng = population(tasks), np.random.default_rng(0)
    read = rng.normal(size=(3, 3))
    risk = lambda read: float(risk_and_slope(moments, to_device(read))[0])  # noqa: E731
    slope = np.asarray(risk_and_slope(moments, to_device(read))[1])
    cross, gram, _ = second_moments(tasks)
    close(slope, gram @ read @ COVARIANCE - cross, 10)
    for direction in rng.normal(size=(4, 3, 3)):
        # A quadratic: a central difference of any step is exact.
        quotient = (risk(read + direction) - risk(read - direction)) / 2
        assert quotient == pytest.approx(np.sum(slope * direction), rel=1e-11)


@every_task
@pytest.mark.parametrize("length", [1, LENGTH, np.inf])
def test_the_optimum_solves_the_least_squares_problem(tasks, length):
    best = in_context_optimum(to_device(COVARIANCE), length, to_device(tasks))
    cross, gram, energy = second_moments(tasks, length)
    solution = np.linalg.lstsq(np.kron(gram, COVARIANCE), cross.ravel(), rcond=1e-12)[0]
    moments = population(tasks, length)
    lowest = 0.5 * (energy - cross.ravel() @ solution)
    assert float(risk_and_slope(moments, best)[0]) == pytest.approx(lowest, abs=1e-12)
    best = np.asarray(best)
    np.testing.assert_allclose(gram @ best @ COVARIANCE, cross, atol=1e-12)
    np.testing.assert_allclose(best, best.T, atol=1e-13)
    unique = np.isfinite(length) or np.linalg.matrix_rank(tasks) == 3
    if unique:
        np.testing.assert_allclose(best.ravel(), solution, rtol=1e-8, atol=1e-10)
    else:
        kernel = np.linalg.svd(tasks)[2][1:]
        np.testing.assert_allclose(best @ kernel.T, 0, atol=1e-12)


def test_the_optimum_is_found_by_regression_on_drawn_prompts():
    source = distribution(task_covariance=MIXED)
    drawn = data_moments(*source.draw(jax.random.key(7), 100_000))
    fitted = np.linalg.solve(drawn.gram, drawn.cross).reshape(3, 3)
    best = in_context_optimum(source.covariance, LENGTH, source.task_covariance)
    best = np.asarray(best)
    assert np.abs(fitted - best).max() < 0.03 * np.abs(best).max()


@pytest.mark.parametrize("learned", [(), (0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)])
def test_learned_heads_are_critical_with_the_predicted_level_and_index(learned):
    ls = separate(TASKS["commuting"])
    point = learned_heads(ls, learned, 4)
    found = criticality_report(ls, point, count=8, expected=4)
    assert found.gradient_norm < 1e-14
    level = plateau_level(EIGENVALUES, LENGTH, learned, PAIRED)
    assert found.value == pytest.approx(level, rel=1e-12)
    energy = np.multiply(EIGENVALUES, PAIRED)
    index = sum(energy[d] > energy[one] for one in learned for d in {0, 1, 2} - set(learned))
    assert found.index == index == head_saddle_index(EIGENVALUES, LENGTH, learned, PAIRED)
    degenerate = len(learned) < 3 and not index
    assert found.kind == (
        "strict saddle" if index else "degenerate saddle" if degenerate else "local minimum"
    )


def test_plateau_levels_are_the_lowest_of_so_many_directions():
    levels = plateau_levels(EIGENVALUES, LENGTH, PAIRED)
    sets = [[(0,), (1,), (2,)], [(0, 1), (0, 2), (1, 2)]]
    lowest = [
        min(plateau_level(EIGENVALUES, LENGTH, one, PAIRED) for one in learned) for learned in sets
    ]
    np.testing.assert_allclose(levels[1:3], lowest, rtol=1e-14)
    assert levels[0] == pytest.approx(0.5 * np.dot(EIGENVALUES, PAIRED))
    moments = population(TASKS["commuting"])
    best = in_context_optimum(moments.covariance, LENGTH, moments.task_covariance)
    assert levels[3] == pytest.approx(float(risk_and_slope(moments, best)[0]), rel=1e-12)


def test_a_direction_without_tasks_is_never_learned():
    """It has no worth, no head and no part in the index, whatever the context length."""
    tasks = (2.0, 0.0, 1.0)
    ls = separate(BASIS @ np.diag(tasks) @ BASIS.T)
    point = learned_heads(ls, [1, 2], 4)
    assert np.asarray(point.particles.v)[0] == 0
    found = criticality_report(ls, point, count=6, expected=2)
    assert found.gradient_norm < 1e-14
    assert found.index == head_saddle_index(EIGENVALUES, LENGTH, [1, 2], tasks) == 1
    assert plateau_level(EIGENVALUES, np.inf, [0, 1, 2], tasks) == pytest.approx(0, abs=1e-15)
    best = in_context_optimum(ls.prompts.covariance, LENGTH, ls.prompts.task_covariance)
    fractions = ls.observables(best)["learned_fraction"].value
    np.testing.assert_allclose(fractions, [1, 0, 1], atol=1e-12)


def test_equal_products_make_no_direction_unstable():
    # In floating point 0.1 · 3 is above 0.3.
    assert head_saddle_index([0.3, 0.1], LENGTH, [0], [1.0, 3.0]) == 0


def test_within_an_eigenspace_tasks_give_the_directions():
    """Λ = diag(.5, .3, .3), turned; T tells the two equal directions apart."""
    values, tasks = np.array([0.5, 0.3, 0.3]), np.array([0.2, 1.0, 3.0])
    source = PromptDistribution(
        BASIS @ np.diag(values) @ BASIS.T,
        LENGTH,
        task_covariance=BASIS @ np.diag(tasks) @ BASIS.T,
    )
    ls = SeparateLinearAttentionLandscape(PopulationMoments(source), 1, heads=4)
    point = learned_heads(ls, [1], 4)  # the larger task eigenvalue first
    assert float(point.norm(ls.velocity(point))) < 1e-14
    level = plateau_level(values, LENGTH, [2], tasks)
    assert float(ls.value(point)) == pytest.approx(level, rel=1e-12)
    fractions = ls.observables(ls.moments(point))["learned_fraction"].value
    np.testing.assert_allclose(fractions, [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize("learned", [(0,), (1,), (0, 2), (1, 2)])
def test_saddles_of_tasks_that_do_not_commute(learned):
    """theory.md, section 4: singular directions of C^-½ ΛTΛ^½ take the place of eigenvectors."""
    ls, (cross, gram, energy) = separate(MIXED), second_moments(MIXED)
    white = np.linalg.inv(np.linalg.cholesky(gram))
    right = np.linalg.inv(np.linalg.cholesky(COVARIANCE))
    left_vectors, worth, right_vectors = np.linalg.svd(white @ cross @ right.T)
    zeros, v = np.zeros((4, 1, 3)), np.zeros(4)
    k, q = zeros.copy(), zeros.copy()
    for head, d in enumerate(learned):
        v[head] = worth[d]
        k[head, 0], q[head, 0] = white.T @ left_vectors[:, d], right.T @ right_vectors[d]
    point = Ensemble(SeparateHead(*map(to_device, (v, k, q))))
    found = criticality_report(ls, point, count=8, expected=4)
    assert found.gradient_norm < 1e-12
    level = 0.5 * (energy - np.sum(worth[list(learned)] ** 2))
    assert found.value == pytest.approx(level, rel=1e-12)
    assert found.index == sum(d < one for one in learned for d in {0, 1, 2} - set(learned))


def test_a_direction_is_learned_unlearned_and_learned_again():
    """Fast but worth less: λ²t is (1, .75) and λt is (1, 1.5)."""
    values, tasks = (1.0, 0.5), (1.0, 3.0)
    source = PromptDistribution(values, 32, task_covariance=tasks)
    ls = SeparateLinearAttentionLandscape(PopulationMoments(source), 1)
    unit = head_start(jax.random.key(0), ls, 3, scale=1.0)
    flat, shaped = jax.flatten_util.ravel_pytree(unit.particles)

    @jax.jit
    def slope(z):
        return jax.flatten_util.ravel_pytree(ls.velocity(unit.with_particles(shaped(z))))[0]

    @jax.jit
    def seen(z):
        return ls.observables(ls.moments(unit.with_particles(shaped(z))))["learned_fraction"].value

    nearest = []
    for scale in (1e-3, 1e-5):
        run = scipy.integrate.solve_ivp(
            lambda t, z: np.asarray(slope(z)),
            (0, 60 / scale),
            scale * np.asarray(flat),
            method="LSODA",
            rtol=1e-9,
            atol=1e-13,
        )
        fractions = np.stack([seen(z) for z in run.y.T])
        stages = np.array([[1, 0], [0, 1], [1, 1]])
        far = np.abs(fractions - stages[:, None]).max(axis=2)
        assert (np.diff(far.argmin(axis=1)) > 0).all()  # one stage after the other
        nearest.append(far.min(axis=1))
    assert (nearest[0] < 0.15).all()
    assert nearest[1][0] < 0.5 * nearest[0][0]
    assert (nearest[1] < 0.05).all()
    index = [head_saddle_index(values, 32, learned, tasks) for learned in ([0], [1], [0, 1])]
    assert index == [1, 0, 0]


def test_an_aligned_head_follows_the_scalar_equation():
    mu = learned_heads(separate(TASKS["commuting"]), [0], 4, aligned=[1, 2], scale=0.3)
    v, k, _ = jax.tree.map(
        lambda leaf: np.asarray(leaf) / 4, separate(TASKS["commuting"]).velocity(mu)
    )
    square = np.square(EIGENVALUES) * PAIRED
    curvature = plateau_curvature(EIGENVALUES, LENGTH, PAIRED)
    slope = square * 0.3**2 - curvature * 0.3**5
    np.testing.assert_allclose(v[1:3], slope[1:], rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(k[1:3, 0], axis=1), slope[1:], rtol=1e-12)
    assert abs(v[0]) < 1e-14
    time = transition_time(EIGENVALUES, LENGTH, 1, 0.05, 0.5, PAIRED)
    end = transition_curve([time], EIGENVALUES, LENGTH, 1, 0.05, PAIRED)[0]
    assert end**3 == pytest.approx(0.5 * square[1] / curvature[1], rel=1e-8)


def test_principal_component_regression_is_what_learned_heads_predict():
    ls = separate(TASKS["commuting"])
    source = distribution(task_covariance=TASKS["commuting"])
    x, y = source.draw(jax.random.key(2), 30)
    for components in range(4):
        model = ls.predict(learned_heads(ls, range(components), 4), x, y)
        estimate = principal_component_regression(x, y, COVARIANCE, components, TASKS["commuting"])
        close(model, estimate, 10)


def test_saddles_and_fractions_in_another_convention():
    ls = SeparateLinearAttentionLandscape(
        population(TASKS["commuting"], convention=Convention(divide="none")), 2
    )
    point = learned_heads(ls, [2, 0], 5)
    level = plateau_level(EIGENVALUES, LENGTH, [0, 2], PAIRED)
    assert float(ls.value(point)) == pytest.approx(level, rel=1e-12)
    fractions = ls.observables(ls.moments(point))["learned_fraction"].value
    np.testing.assert_allclose(fractions, [1, 0, 1], atol=1e-12)


def test_a_fixed_task_adds_its_share():
    source = distribution(task_covariance=MIXED, fixed_task=[1.0, -2.0, 0.5], fraction=0.25)
    np.testing.assert_allclose(source.task_moment, 0.25 * TASKS["rank one"] + 0.75 * MIXED)


def test_the_identity_changes_no_bit():
    """T = I, given or not: prompts, moments, loss, flow, optimum, levels and saddles."""

    def everything(tasks, paired):
        source = distribution(task_covariance=tasks, fixed_task=[1.0, -2.0, 0.5], fraction=0.4)
        plain = PopulationMoments(distribution(task_covariance=tasks))
        ls = landscape("separate", PopulationMoments(source))
        mu = heads(ls)
        small = SeparateLinearAttentionLandscape(plain, 1, heads=4)
        matrix = None if tasks is None else to_device(tasks)
        return (
            source.draw(jax.random.key(0), 20),
            ls.value_and_velocity(mu),
            ls.observables(ls.moments(mu)),
            ls.minibatch(jax.random.key(1), 5).velocity(mu),
            learned_heads(small, [2, 0], 4, aligned=[1], scale=0.1).particles,
            in_context_optimum(plain.covariance, LENGTH, matrix),
            plateau_curvature(EIGENVALUES, LENGTH, paired),
            plateau_levels(EIGENVALUES, LENGTH, paired),
            head_saddle_index(EIGENVALUES, LENGTH, [1, 2], paired),
            transition_curve([0.0, 40.0], EIGENVALUES, LENGTH, 1, 0.05, paired),
            transition_time(EIGENVALUES, LENGTH, 1, 0.05, 0.5, paired),
        )

    one, two = everything(None, None), everything(np.eye(3), np.ones(3))
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_saddles_in_either_precision(precision):
    ls = separate(TASKS["commuting"])
    point = learned_heads(ls, [0, 2], 4)
    assert point.particles.v.dtype == precision
    close(ls.value(point), plateau_level(EIGENVALUES, LENGTH, [0, 2], PAIRED), 20)
    close(ls.observables(ls.moments(point))["learned_fraction"].value, [1, 0, 1], 100)
