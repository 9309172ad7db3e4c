"""Flows and descent of erf networks on Gaussian inputs against the equations of SS95."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flow_cases import end, never
from order_parameters import Overlaps

from landscapes import Neuron, RegressionLandscape
from landscapes.mlp_attention import teach
from landscapes.networks import GaussianRegressionLandscape, HermiteModes
from meanfield import GradientFlow, simulate
from particles import Ensemble

KEY = jax.random.key(15)


class FirstLayer(GradientFlow):
    """The flow of input weights alone, as in SS95: the second layer is fixed."""

    def _rates(self, landscape, time, ensemble, y):
        found = super()._rates(landscape, time, ensemble, y)
        a, w = found.velocity.particles
        fixed = found.velocity._replace(particles=Neuron(jnp.zeros_like(a), w))
        return found._replace(velocity=fixed)


def network(seed: int, size: int, dim: int) -> Ensemble:
    """Neurons of norm about one."""
    rng = np.random.default_rng(seed)
    a, w = rng.normal(1, 0.3, size=(size, 1)), rng.normal(size=(size, dim)) / dim**0.5
    return Ensemble(Neuron(jnp.asarray(a), jnp.asarray(w)))


def overlaps_of(neurons: Neuron, teacher: Neuron) -> np.ndarray:
    """a, Q and R in one row, of one ensemble or of many."""
    a, w = map(np.asarray, neurons)
    parts = [a[..., 0], w @ np.swapaxes(w, -1, -2), w @ np.asarray(teacher.w).T]
    return np.concatenate([part.reshape(*a.shape[:-2], -1) for part in parts], axis=-1)


@pytest.mark.parametrize("flow", [GradientFlow, FirstLayer])
def test_the_exact_flow_has_the_overlaps_of_its_order_parameters(flow):
    """Over a horizon in which the loss falls tenfold, to the digits of the scheme."""
    teacher, student = network(0, 2, 5), network(1, 4, 5)
    oracle = Overlaps(student.particles, teacher.particles, trained=flow is GradientFlow)
    *overlaps, loss = oracle.at(6.0)
    landscape = GaussianRegressionLandscape(teacher, "erf")
    run = end(flow(landscape, scheme="tsit5"), student, 6.0, 0.02)
    expected = np.concatenate([np.ravel(part) for part in overlaps])
    found = overlaps_of(run.ensemble.particles, teacher.particles)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert float(landscape.value(run.ensemble)) == pytest.approx(loss, rel=1e-8)
    assert loss < float(landscape.value(student)) / 10


def test_the_flow_on_modes_comes_to_the_order_parameters_geometrically():
    teacher, student = network(0, 2, 2), network(1, 3, 2)
    *overlaps, _ = Overlaps(student.particles, teacher.particles).at(2.0)
    expected = np.concatenate([np.ravel(part) for part in overlaps])
    # A neuron of norm r has squared coefficients that fall by 2r²/(1 + 2r²) a degree.
    squared = float(jnp.sum(student.particles.w**2, axis=1).max())
    factor = (2 * squared / (1 + 2 * squared)) ** 4
    errors = []
    for degree in (3, 7, 11):
        modes = HermiteModes(2, degree, "erf")
        landscape = RegressionLandscape(modes, teach(teacher, modes, "erf"), "erf")
        run = end(GradientFlow(landscape, scheme="tsit5"), student, 2.0, 0.1)
        found = overlaps_of(run.ensemble.particles, teacher.particles)
        errors.append(np.abs(found - expected).max())
    assert errors[1] < factor * errors[0]
    assert errors[2] < factor * errors[1]
    assert factor < 0.3


@pytest.mark.parametrize(
    ("kind", "dim", "step", "batch"),
    [("modes", 2, 0.005, 4), ("pairs", 200, 0.8 / 200, 1)],
    ids=["small rate", "rate 0.8 in 200 dimensions"],
)
def test_descent_on_fresh_samples_follows_the_order_parameters(kind, dim, step, batch):
    """The mean over runs within its standard error; with rates that are not small, SS95's noise."""
    teacher, student, seeds = network(0, 2, dim), network(1, 2, dim), 24
    if kind == "pairs":
        landscape = GaussianRegressionLandscape(teacher, "erf")
    else:
        modes = HermiteModes(dim, 9, "erf")
        landscape = RegressionLandscape(modes, teach(teacher, modes, "erf"), "erf")
    flow = GradientFlow(landscape, scheme="euler", batch_size=batch)
    many = jax.tree.map(lambda leaf: jnp.stack([leaf] * seeds), student)
    run = simulate(flow, many, horizon=2.0, dt=step, key=KEY, batch=True, record=never)
    oracle = Overlaps(student.particles, teacher.particles, rate=step * dim / batch)
    expected = np.concatenate([np.ravel(part) for part in oracle.at(2.0)[:-1]])
    found = overlaps_of(run.ensemble.particles, teacher.particles)
    error = found.std(axis=0, ddof=1) / seeds**0.5
    assert (np.abs(found.mean(axis=0) - expected) < 4 * error).all()
    # Nothing is hidden by a wide error.
    assert error.max() < 0.05
    if kind == "pairs":
        without = Overlaps(student.particles, teacher.particles).at(2.0)
        still = np.concatenate([np.ravel(part) for part in without[:-1]])
        assert np.abs(expected - still).max() > 10 * error.max()
