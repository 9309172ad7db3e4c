"""The reproduction of energies of pairs, small, and its distances against scipy's."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quickly import run_quickly
from results import written
from scipy.stats import kstest, semicircular

from landscapes import EnergyDistanceLandscape
from meanfield.reproductions import REPRODUCTIONS
from meanfield.reproductions import _energies as energies
from meanfield.reproductions import _energies_attraction as attraction
from meanfield.reproductions import _energies_diffusion as diffusion
from meanfield.reproductions import _energies_gas as gas
from meanfield.reproductions._energies_jko import implicit
from particles import Ensemble, InvalidInput


def test_the_line(tmp_path: Path) -> None:
    keys = jax.random.split(jax.random.key(0), 1)
    with jax.enable_x64(True):
        found = written(gas.line((16, 32, 64), keys), tmp_path)
    assert found.claims[2].predicted == 0.5


def test_the_plane(tmp_path: Path) -> None:
    keys = jax.random.split(jax.random.key(1), 2)
    with jax.enable_x64(True):
        found = written(gas.plane((16, 32, 64), keys), tmp_path)
    assert found.claims[1].predicted == 0.25


def test_distribution_functions() -> None:
    x = np.random.default_rng(0).uniform(-1.2, 1.2, 40)
    found = gas.semicircle_distance(x, 1.2)
    assert found == pytest.approx(kstest(x / 1.2, semicircular.cdf).statistic, rel=1e-12)
    points = np.random.default_rng(1).uniform(-1, 1, (30, 2))
    share = kstest(np.linalg.norm(points, axis=1), lambda r: np.minimum(r / 1.5, 1) ** 2)
    assert gas.disc_distance(Ensemble(jnp.array(points)), 1.5) == pytest.approx(share.statistic)


def test_a_sample(tmp_path: Path) -> None:
    with jax.enable_x64(True):
        written(energies.sample(jax.random.key(2), 64, 8, 1), tmp_path)
        target = jnp.array([[0.0], [1.0], [3.0]])
        # Three distances of 1, 3 and 2, each twice, over nine pairs: E|Y − Y'| = 12/9.
        landscape = EnergyDistanceLandscape(target)
        assert landscape.sample_mean(5) == pytest.approx(12 / 9 / 10)


def test_diffusion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusion, "SIZES", (48, 96))
    monkeypatch.setattr(diffusion, "PLANE_GAP", 0.2)
    monkeypatch.setattr(diffusion, "PLANE_WIDTHS", (0.4, 0.3))
    monkeypatch.setattr(diffusion, "PLANE_END", 1.2)
    with jax.enable_x64(True), run_quickly():
        written(diffusion.spread_line(), tmp_path / "line")
        written(diffusion.spread_plane(), tmp_path / "plane")


def test_attraction(tmp_path: Path) -> None:
    with jax.enable_x64(True):
        written(attraction.swarms(jax.random.split(jax.random.key(3), 1), 16), tmp_path)


def test_chemotaxis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attraction, "MASSES", (0.5,))
    monkeypatch.setattr(attraction, "CELL_TIME", 0.01)
    with jax.enable_x64(True), run_quickly():
        written(attraction.cells(), tmp_path)


def test_sizes_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"plane is \(8, 4, 16\); give at least three numbers"):
        REPRODUCTIONS["energies"].configured(plane=(8, 4, 16))


def test_implicit_steps(tmp_path: Path) -> None:
    with jax.enable_x64(True):
        written(implicit(12, jax.random.split(jax.random.key(3), 2)), tmp_path)
