"""The reproduction of Langevin dynamics, small; its equation on a grid against normal laws."""

from pathlib import Path

import jax
import numpy as np
import pytest
from results import written

from landscapes import Confined
from landscapes.moments import MeanLandscape
from meanfield.reproductions import REPRODUCTIONS
from meanfield.reproductions import _langevin as langevin
from meanfield.reproductions import _langevin_particles as finite
from meanfield.reproductions._langevin_grid import fokker_planck
from meanfield.reproductions._seeds import seed_keys
from particles import InvalidInput


def test_the_equation_on_normal_laws() -> None:
    """Mean and variance decay in closed form, and so does the free energy."""
    kappa, h, tau, times = 1.0, 1.5, 0.5, np.array([0.0, 0.3, 1.0])
    landscape = Confined(MeanLandscape([0.0], [h], 1), kappa)
    found = fokker_planck(landscape, tau, 1.0, 0.6, times)
    mean = np.exp(-(kappa + h) * times)
    s = tau / kappa + np.exp(-2 * kappa * times) * (0.36 - tau / kappa)
    exact = 0.5 * (kappa + h) * mean**2 + 0.5 * kappa * s - tau / 2 * np.log(2 * np.pi * np.e * s)
    np.testing.assert_allclose(found.free_energy, exact, atol=1e-3)
    np.testing.assert_allclose(found.convexity, kappa)
    np.testing.assert_allclose(langevin.decay_bound(found, 2.0), 2 * np.exp(-2 * times))


def test_parts(tmp_path: Path) -> None:
    keys = seed_keys(jax.random.key(1), 2)
    sampling = finite.Sampling((16,), 16, 5.0)
    with jax.enable_x64(True):
        for result in (
            langevin.normal(seed_keys(jax.random.key(0), 6), 256),
            langevin.decay(keys, 2048),
            finite.fluctuations(keys[0], sampling),
            finite.gap(keys[0], sampling),
            finite.uniform(keys[1], sampling),
        ):
            written(result, tmp_path)


def test_sizes_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"sizes is \(8,\); give at least two"):
        REPRODUCTIONS["langevin"].configured(sizes=(8,))
