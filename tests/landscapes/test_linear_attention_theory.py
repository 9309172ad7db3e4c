"""What theory knows of linear attention, against flows, SciPy, dense Hessians and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from helpers import close
from linear_attention_cases import EIGENVALUES, LENGTH, distribution, heads, landscape

from landscapes import (
    MergedLinearAttentionLandscape,
    SeparateLinearAttentionLandscape,
    principal_angles,
    rank_measures,
)
from landscapes.linear_attention import (
    MergedHead,
    PopulationMoments,
    exact_dynamics,
    exact_fixed_point,
    exact_timescales,
    head_saddle_index,
    in_context_optimum,
    learned_heads,
    merged_growth,
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

MOMENTS = PopulationMoments(distribution())
SEPARATE = SeparateLinearAttentionLandscape(MOMENTS, 1, heads=4)
RNG = np.random.default_rng(0)


def test_the_optimum_minimises_the_population_loss():
    best = in_context_optimum(MOMENTS.covariance, LENGTH)
    risk, slope = jax.jit(jax.value_and_grad(MOMENTS.risk))(best)
    close(slope, np.zeros((3, 3)))
    close(risk, plateau_levels(EIGENVALUES, LENGTH)[-1])


def test_the_checked_levels():
    """Numbers of theory.md, section 4."""
    levels = plateau_levels([0.1, 0.2, 0.3, 0.4], 32)
    np.testing.assert_allclose(levels, [0.5, 0.319718, 0.187608, 0.103398, 0.0661884], atol=6e-7)
    assert plateau_level([0.1, 0.2, 0.3, 0.4], 32, [1, 3]) == pytest.approx(
        levels[1] - 0.5 * 0.2 / (1 + 6 / 32)
    )


@pytest.mark.parametrize("learned", [(), (1,), (0, 2), (0, 1, 2)])
def test_learned_heads_are_critical_with_the_predicted_level_and_index(learned):
    point = learned_heads(SEPARATE, learned, 4)
    found = criticality_report(SEPARATE, point, count=8, expected=4)
    assert found.gradient_norm < 1e-14
    assert found.value == pytest.approx(plateau_level(EIGENVALUES, LENGTH, learned), rel=1e-12)
    index = head_saddle_index(EIGENVALUES, LENGTH, learned)
    assert found.index == index
    if index:
        assert found.kind == "strict saddle"
    elif len(learned) < 3:
        assert (found.kind, found.descent_order) == ("degenerate saddle", 3)
    else:
        assert found.kind == "local minimum"


def test_learned_heads_in_another_convention_and_averaged():
    averaged = SeparateLinearAttentionLandscape(
        PopulationMoments(distribution(), MOMENTS.convention._replace(divide="none")), 2
    )
    point = learned_heads(averaged, [2, 0], 5)
    assert float(averaged.value(point)) == pytest.approx(
        plateau_level(EIGENVALUES, LENGTH, [0, 2]), rel=1e-12
    )
    assert float(point.norm(averaged.velocity(point))) < 1e-14


def test_the_logistic_solves_the_flow_of_balanced_heads():
    """Its slope is the velocity of A, for any number of heads."""
    size, dim = 3, 4
    prompts = PopulationMoments(type(distribution())([0.25] * dim, LENGTH))
    ls = MergedLinearAttentionLandscape(prompts, heads=size)
    times, step = np.array([3.0, 40.0, 90.0]), 1e-4
    for time in times:
        before, now, after = merged_growth(
            [time - step, time, time + step], 0.25, dim, LENGTH, start=1e-2
        )[0]
        v = np.full(size, np.sqrt(now / size))
        u = v[:, None, None] * np.eye(dim) / dim**0.5
        mu = Ensemble(MergedHead(to_device(v), to_device(u)))
        dv, du = map(np.asarray, ls.velocity(mu))
        # The velocity is N times the gradient; σ = Σ v ‖U‖ over heads.
        rate = np.sum(dv * v + v * np.einsum("naa->n", du) / dim**0.5) / size
        assert rate == pytest.approx((after - before) / (2 * step), rel=1e-6)
        _, loss = merged_growth([time], 0.25, dim, LENGTH, start=1e-2)
        assert float(ls.value(mu)) == pytest.approx(loss[0], rel=1e-12)


def test_the_transition_solves_the_scalar_equation():
    start, direction = 0.05, 1
    square = EIGENVALUES[direction] ** 2
    curvature = plateau_curvature(EIGENVALUES, LENGTH)[direction]
    solution = scipy.integrate.solve_ivp(
        lambda t, v: square * v**2 - curvature * v**5,
        (0, 400),
        [start],
        rtol=1e-11,
        atol=1e-13,
        dense_output=True,
    )
    times = np.linspace(0, 400, 9)
    curve = transition_curve(times, EIGENVALUES, LENGTH, direction, start)
    np.testing.assert_allclose(curve, solution.sol(times)[0], rtol=1e-8)
    half = transition_time(EIGENVALUES, LENGTH, direction, start, 0.5)
    assert solution.sol(half)[0] ** 3 == pytest.approx(0.5 * square / curvature, rel=1e-7)


def test_an_aligned_head_follows_the_scalar_equation():
    """Velocity of v, k and q of small heads beside learned ones."""
    mu = learned_heads(SEPARATE, [0], 4, aligned=[1, 2], scale=0.3)
    v, k, q = jax.tree.map(lambda leaf: np.asarray(leaf) / 4, SEPARATE.velocity(mu))
    values = np.array(EIGENVALUES)
    slope = values**2 * 0.3**2 - plateau_curvature(values, LENGTH) * 0.3**5
    np.testing.assert_allclose(v[1:3], slope[1:], rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(k[1:3, 0], axis=1), slope[1:], rtol=1e-12)
    np.testing.assert_allclose(q, k, atol=1e-15)
    assert abs(v[0]) < 1e-14


def test_principal_component_regression_is_what_learned_heads_predict():
    x, y = distribution().draw(jax.random.key(2), 30)
    for components in range(4):
        model = SEPARATE.predict(learned_heads(SEPARATE, range(components), 4), x, y)
        close(
            model,
            principal_component_regression(x, y, MOMENTS.covariance, components),
        )


def test_regression_on_all_components_of_a_long_context_is_least_squares():
    x, y = type(distribution())(EIGENVALUES, 2000).draw(jax.random.key(0), 30)
    predicted = principal_component_regression(x, y, EIGENVALUES, 3)
    exact = np.array(
        [np.linalg.lstsq(a[:-1], b[:-1])[0] @ a[-1] for a, b in zip(x, y, strict=True)]
    )
    assert np.mean((predicted - exact) ** 2) < 0.01 * np.mean(exact**2)


def test_exact_dynamics_against_scipy_and_the_landscape():
    values, p, u = np.array(EIGENVALUES), 0.2, np.array([0.05, 0.1, -0.02])
    square, curvature = values**2, plateau_curvature(values, LENGTH)

    def slope(t, z):
        a, b = z[0], z[1:]
        return [square @ b - a * curvature @ b**2, *(a * square - a**2 * curvature * b)]

    times = np.array([0.0, 5.0, 50.0, 300.0])
    run = exact_dynamics(times, values, LENGTH, p, u)
    reference = scipy.integrate.solve_ivp(
        slope, (0, 300), [p, *u], t_eval=times, rtol=1e-11, atol=1e-13, method="LSODA"
    )
    np.testing.assert_allclose(np.column_stack([run.p, run.u]), reference.y.T, rtol=1e-7)
    assert np.ptp(run.invariant) < 1e-10
    # The flow of the merged landscape with one head, in Λ's eigenbasis.
    ls = MergedLinearAttentionLandscape(PopulationMoments(type(distribution())(values, LENGTH)))
    head = MergedHead(to_device(run.p[1:2]), to_device(np.diag(run.u[1])[None]))
    dv, du = map(np.asarray, ls.velocity(Ensemble(head)))
    expected = slope(0, np.array([run.p[1], *run.u[1]]))
    np.testing.assert_allclose([float(dv[0]), *np.diag(du[0])], expected, rtol=1e-12)
    assert float(ls.value(Ensemble(head))) == pytest.approx(run.loss[1], rel=1e-12)


@pytest.mark.parametrize("invariant", [-0.7, 0.0, 2.0])
def test_fixed_points_and_timescales(invariant):
    p, u = exact_fixed_point(EIGENVALUES, LENGTH, invariant)
    assert p**2 - np.sum(u**2) == pytest.approx(invariant, abs=1e-12)
    curvature = plateau_curvature(EIGENVALUES, LENGTH)
    np.testing.assert_allclose(p * u, np.square(EIGENVALUES) / curvature, rtol=1e-12)

    def loss(z):
        values = np.array(EIGENVALUES)
        return 0.5 * jnp.sum(
            values - 2 * values**2 * z[0] * z[1:] + curvature * (z[0] * z[1:]) ** 2
        )

    hessian = jax.jit(jax.hessian(loss))
    rates = np.linalg.eigvalsh(hessian(np.array([p, *u])))
    times = exact_timescales(EIGENVALUES, LENGTH, invariant)
    assert rates[0] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(np.sort(1 / rates[1:]), times.relaxation, rtol=1e-8)
    assert (times.relaxation <= times.learning).all()
    assert (times.learning[:-1] <= times.relaxation[1:]).all()
    growth = np.linalg.eigvalsh(-np.asarray(hessian(np.zeros(4))))[-1]
    assert times.escape == pytest.approx(1 / growth, rel=1e-12)


@pytest.mark.parametrize("of", [jnp.asarray, np.asarray])  # compiled, and by NumPy
def test_rank_measures_of_known_spectra(of):
    basis = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    spectra = np.array([[1, 1, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0], [2, 1, 1, 0.0]])
    found = rank_measures(of(basis @ (spectra[:, :, None] * np.eye(4)) @ basis.T))
    shares = np.array([0.5, 0.25, 0.25])
    close(found.effective, [2, 1, 0, np.exp(-shares @ np.log(shares))], 10)
    close(found.stable, [2, 1, 0, 6 / 4])
    close(found.participation, [2, 1, 0, 36 / 18])


@pytest.mark.parametrize("of", [jnp.asarray, np.asarray])
def test_principal_angles_small_and_large(of):
    """Rotations by known angles in two planes, the small one far below √eps."""
    angles = np.array([1e-10, 0.9])
    basis = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    turned = np.stack(
        [np.cos(a) * basis[i] + np.sin(a) * basis[i + 2] for i, a in enumerate(angles)]
    )
    one, other = (of(rows.T @ np.diag([2.0, 1.0])) for rows in (basis[:2], turned))
    np.testing.assert_allclose(principal_angles(one, other, 2), angles, rtol=1e-4)


def test_merged_landscape_has_no_plateau_between():
    """At the level of a separate saddle the merged velocity is far from zero."""
    ls = landscape("merged", MOMENTS)
    values, vectors = np.linalg.eigh(MOMENTS.covariance)
    optimum = np.asarray(in_context_optimum(MOMENTS.covariance, LENGTH))
    partial = vectors[:, -1:] @ vectors[:, -1:].T @ optimum
    mu = heads(ls)
    mu = mu.with_particles(
        MergedHead(to_device(np.ones(3)), to_device(np.tile(partial / 3, (3, 1, 1))))
    )
    assert float(ls.value(mu)) == pytest.approx(plateau_levels(EIGENVALUES, LENGTH)[1])
    # The missing directions pull on U with v λ_d².
    pull = np.sqrt(np.sum(values[:-1] ** 4))
    assert float(mu.norm(ls.velocity(mu))) == pytest.approx(3 * pull, rel=1e-9)
