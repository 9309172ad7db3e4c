"""Attraction and repulsion, and chemotaxis, against exact flows, quadrature and Monte Carlo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import exp1

from landscapes import AttractionRepulsionLandscape, BlobLandscape, ChemotaxisLandscape, Sum
from meanfield import GradientFlow, simulate
from particles import Ensemble, InvalidInput
from saddle_analysis import HessianOperator


def test_the_flow_on_a_line_is_exact() -> None:
    landscape, size = AttractionRepulsionLandscape(dim=1, repulsion=1.0), 7
    start = np.sort(np.random.default_rng(0).normal(size=size))
    mu = Ensemble(jnp.array(start[:, None]))
    run = simulate(GradientFlow(landscape, scheme="tsit5"), mu, horizon=1.0, dt=0.1)
    rest = start.mean() + (2 * np.arange(1, size + 1) - size - 1) / size
    exact = rest + np.exp(-1.0) * (start - rest)
    np.testing.assert_allclose(run.ensemble.particles[:, 0], exact, rtol=1e-7)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_level_of_the_ball(dim: int) -> None:
    # Points of the ball at random: ½ E W over pairs of them, in units of the standard error.
    landscape = AttractionRepulsionLandscape(dim, repulsion=2.0 - dim)
    points = np.random.default_rng(dim).normal(size=(4000, dim + 2))
    points = points[:, :dim] / np.linalg.norm(points, axis=1, keepdims=True)  # Archimedes
    pairs = np.asarray(jax.vmap(landscape.pair)(jnp.array(points[::2]), jnp.array(points[1::2])))
    error = pairs.std() / np.sqrt(len(pairs)) / 2
    assert landscape.ball_level == pytest.approx(pairs.mean() / 2, abs=4 * error)


@pytest.mark.parametrize(("attraction", "repulsion"), [(3.0, 2.0), (4.0, -0.5)])
def test_equal_angles_are_critical_on_the_ring(attraction: float, repulsion: float) -> None:
    landscape = AttractionRepulsionLandscape(2, attraction, repulsion)
    angles = 2 * np.pi * np.arange(400) / 400
    ring = landscape.sphere_radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    mu = Ensemble(jnp.array(ring))
    coarse = 0.01 if repulsion > 0 else 0.1  # what the missing pair with itself weighs
    np.testing.assert_allclose(landscape.velocity(mu), 0, atol=coarse)
    assert float(landscape.value(mu)) == pytest.approx(landscape.sphere_level, rel=coarse)
    # The radius is critical: L along it is flat there.
    near = [float(landscape.value(Ensemble(jnp.array(ring * r)))) for r in (0.9, 1.0, 1.1)]
    assert near[1] < min(near[0], near[2])


def test_coincident_particles_and_the_hessian_are_finite() -> None:
    mu = Ensemble(jnp.array([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0]]))
    for landscape in (AttractionRepulsionLandscape(2), ChemotaxisLandscape(2, 1.0, 0.5)):
        assert np.isfinite(HessianOperator(landscape, mu).dense()).all()


def test_the_second_moment_of_cells_obeys_its_law() -> None:
    # A normal law on a grid: its second moment changes as theory has it, with δ and ε.
    line = np.arange(-3.8, 3.9, 0.4)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    mu = Ensemble(jnp.array(grid), jnp.array(np.exp(-0.5 * np.sum(grid**2, axis=1))))
    width, softening, a = 0.5, 0.3, 0.3**2 / 4
    heat = 4 * (1 - width**4 / (1 + width**2) ** 2)
    for share in (0.5, 1.5):
        cells = ChemotaxisLandscape(2, share * 8 * np.pi, softening)
        velocity = Sum(cells, BlobLandscape(2, width)).velocity(mu)
        slope = 2 * float(jnp.sum(mu.probabilities * jnp.sum(velocity * mu.particles, axis=1)))
        exact = heat - 4 * share * (1 - a * np.exp(a) * exp1(a))
        assert slope == pytest.approx(exact, abs=0.02)
    assert cells.critical == pytest.approx(8 * np.pi)


def test_refusals() -> None:
    with pytest.raises(InvalidInput, match=r"repulsion is -2.0; .* not integrable"):
        AttractionRepulsionLandscape(2, repulsion=-2.0)
    with pytest.raises(InvalidInput, match="fly apart"):
        AttractionRepulsionLandscape(2, attraction=1.0, repulsion=1.5)
    with pytest.raises(InvalidInput, match="attraction is 0"):
        AttractionRepulsionLandscape(2, attraction=0.0)
    with pytest.raises(InvalidInput, match="needs two dimensions"):
        _ = AttractionRepulsionLandscape(1, 3.0, 2.0).sphere_radius
    with pytest.raises(InvalidInput, match="ball_level is known for attraction 2"):
        _ = AttractionRepulsionLandscape(2, 3.0, 2.0).ball_level
    with pytest.raises(InvalidInput, match="known for powers"):
        _ = AttractionRepulsionLandscape(2).sphere_level
    with pytest.raises(InvalidInput, match="softening is 0"):
        ChemotaxisLandscape(2, 1.0, 0.0)
