"""A mobility multiplies velocities: normalised attention against plain NumPy, any in general."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from helpers import close

from landscapes import (
    Confined,
    Confinement,
    Constrained,
    ConstrainedPairs,
    Landscape,
    Sphere,
    Sum,
    TokenLandscape,
)
from landscapes.interactions import equal_angles, merging_time, orthogonal_cosine, sphere_grid
from meanfield import GradientFlow, simulate
from meanfield.flows import AcceleratedFlow, Diffusion
from particles import Ensemble, InvalidInput, particle_mesh, placed
from saddle_analysis import HessianOperator, criticality_report, dissipation
from saddle_analysis.spectra import interaction_spectrum

BETA = 2.0
POINTS = np.random.default_rng(5).normal(size=(8, 3))
POINTS /= np.linalg.norm(POINTS, axis=1, keepdims=True)


def attention(x: np.ndarray) -> np.ndarray:
    """P_x Σ_j softmax(β⟨x_i, x_j⟩) x_j, as written in GLPR25."""
    logits = np.exp(BETA * x @ x.T)
    mean = logits @ x / logits.sum(1, keepdims=True)
    return mean - np.sum(mean * x, axis=1, keepdims=True) * x


class Bowl(Landscape):
    """½‖∫θ dμ‖², slower far out and where the mean is."""

    mobile = True

    def features(self, particle):
        return particle

    def risk(self, moments, fast=None):
        return 0.5 * jnp.sum(moments**2)

    def mobility(self, particle, moments, potential):
        return 1 / (1 + jnp.sum(particle**2) + jnp.sum(moments**2) + potential**2)


def test_normalised_attention_moves_as_written() -> None:
    with jax.enable_x64(True):
        tokens, mu = TokenLandscape(3, BETA, normalised=True), Ensemble(jnp.asarray(POINTS))
        close(tokens.velocity(mu, chunk=3), attention(POINTS))
        flow = GradientFlow(tokens, scheme="tsit5")
        run = simulate(flow, mu, horizon=2.0, dt=0.05)
        exact = scipy.integrate.solve_ivp(
            lambda _, x: attention(x.reshape(POINTS.shape)).ravel(),
            (0, 2),
            POINTS.ravel(),
            rtol=1e-10,
            atol=1e-12,
        ).y[:, -1]
        np.testing.assert_allclose(run.ensemble.particles.ravel(), exact, atol=1e-6)
        energy, spent = run.trajectory["energy"].values, run.trajectory["dissipated"].values
        np.testing.assert_allclose(energy + spent, energy[0], rtol=1e-6)
        rate = run.trajectory["dissipation_rate"].values[0]
        assert rate == pytest.approx(dissipation(tokens, mu), rel=1e-10)
        flat = -np.sum(attention(POINTS) * np.asarray(tokens.first_order(mu).gradient)) / len(
            POINTS
        )
        assert rate == pytest.approx(flat, rel=1e-10)


def test_eight_devices_are_one() -> None:
    tokens, mu = TokenLandscape(3, BETA, normalised=True), Ensemble(jnp.asarray(POINTS))
    split, field = placed(mu, particle_mesh(8)), jnp.asarray(POINTS[::-1])
    close(tokens.first_order(split).mobility, tokens.first_order(mu).mobility)
    close(tokens.velocity(split), tokens.velocity(mu))
    close(HessianOperator(tokens, split).apply(field), HessianOperator(tokens, mu).apply(field))


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_uniform_measure_on_the_circle(beta: float) -> None:
    with jax.enable_x64(True):
        tokens, mu = TokenLandscape(2, beta, normalised=True), equal_angles(2, 32)
        values = np.linalg.eigvalsh(np.asarray(HessianOperator(tokens, mu).dense()))
        np.testing.assert_allclose(values[:4], np.sort(np.repeat(tokens.curvatures(15), 2))[:4])
        plain = TokenLandscape(2, beta)
        assert tokens.level == plain.level
        assert tokens.clusters == plain.clusters


def test_the_uniform_measure_on_the_sphere() -> None:
    """Degree one: the field x ↦ P_x a."""
    with jax.enable_x64(True):
        tokens, mu = TokenLandscape(3, BETA, normalised=True), sphere_grid(3, 10)
        field = jnp.array([0.0, 0.0, 1.0]) - mu.particles[:, 2:] * mu.particles
        close(HessianOperator(tokens, mu).apply(field), tokens.curvatures(1)[0] * field)


def test_curvature_linearises_the_flow() -> None:
    """At unequal clusters the mobility differs; the eigenvalues are those of −Dv all the same."""
    with jax.enable_x64(True):
        tokens = TokenLandscape(2, BETA, normalised=True)
        mu = Ensemble(jnp.array([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]))
        operator = HessianOperator(tokens, mu)
        assert float(operator.mobility[1] / operator.mobility[0]) < 0.9
        dense = np.asarray(operator.dense())
        np.testing.assert_allclose(dense, dense.T, atol=1e-12)
        flat = mu.particles.ravel()
        move = lambda x: tokens.velocity(Ensemble(x.reshape(3, 2))).ravel()  # noqa: E731
        jacobian = np.asarray(jax.jacfwd(move)(flat))
        found = np.sort(np.linalg.eigvals(-jacobian).real)
        np.testing.assert_allclose(np.linalg.eigvalsh(dense), found, atol=1e-9)
        report = criticality_report(tokens, mu)
        assert report.kind == "strict saddle"
        assert report.smallest.values[0] == pytest.approx(found[0])


def test_any_landscape_may_have_one() -> None:
    mu = Ensemble(jnp.asarray(POINTS))
    mean = POINTS.mean(0)
    m = 1 / (1 + 1 + mean @ mean + (POINTS @ mean) ** 2)
    close(Bowl().velocity(mu, chunk=3), -m[:, None] * mean)
    close(Bowl().metric(mu).weights, 1 / m / 8)
    down = -m[:, None] * (mean + 0.5 * POINTS)
    close(Confined(Bowl(), 0.5).velocity(mu), down)
    close(Sum(Bowl(), Confinement(0.5)).velocity(mu), down)
    tangent = mean - (POINTS @ mean)[:, None] * POINTS
    close(Constrained(Bowl(), Sphere()).velocity(mu), -m[:, None] * tangent)
    tokens = TokenLandscape(3, BETA, normalised=True)
    close(ConstrainedPairs(tokens, Sphere()).velocity(mu), tokens.velocity(mu))


def test_closed_forms_at_small_temperature_of_attention() -> None:
    """As β → 0 all weights of attention are one, normalised or not."""
    times = np.linspace(0, 1, 3)
    for normalised in (False, True):
        cosine = orthogonal_cosine(1e-9, 2, times, normalised)
        np.testing.assert_allclose(cosine, np.tanh(times), atol=1e-8)
    assert merging_time(1e-9, 2.0, 0.1, True) == pytest.approx(merging_time(1e-9, 2.0, 0.1))


def test_what_a_mobility_refuses() -> None:
    tokens = TokenLandscape(3, BETA, normalised=True)
    mu = Ensemble(jnp.asarray(POINTS))
    uneven = Ensemble(jnp.asarray(POINTS), jnp.arange(1.0, 9.0))
    simulate(GradientFlow(tokens), Ensemble(mu.particles, jnp.ones(8)), horizon=0.01, dt=0.01)
    with pytest.raises(InvalidInput, match=r"weights between .* softmax counts all"):
        simulate(GradientFlow(tokens), uneven, horizon=1.0, dt=0.1)
    even = mu.with_weights(mu.probabilities)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), even, uneven)
    with pytest.raises(InvalidInput, match=r"weights between .* softmax counts all"):
        simulate(GradientFlow(tokens), both, horizon=1.0, dt=0.1, batch=True)
    with pytest.raises(InvalidInput, match=r"birth_death is 0\.1, but TokenLandscape has a mob"):
        GradientFlow(tokens, birth_death=0.1)
    with pytest.raises(InvalidInput, match="scheme is 'jko', a minimum in the metric without"):
        GradientFlow(tokens, scheme="jko")
    with pytest.raises(InvalidInput, match="jumps holds Diffusion, but TokenLandscape has a mob"):
        GradientFlow(tokens, scheme="euler", jumps=(Diffusion(0.1),))
    with pytest.raises(InvalidInput, match="Bowl with a mobility"):
        AcceleratedFlow(Bowl())
    with pytest.raises(InvalidInput, match="have a mobility each"):
        Sum(Bowl(), Bowl())
    with pytest.raises(InvalidInput, match="with a mobility, which is no function"):
        interaction_spectrum(HessianOperator(Bowl(), mu, part="interaction"))
