"""Films: what a frame shows, the forms they are written in, and the command."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import meanfield
from PIL import Image

from landscapes import Landscape, Neuron, RegressionLandscape
from meanfield import GradientFlow, Problem, simulate
from meanfield.plots import Film
from meanfield.plots._film import _plane
from meanfield.problems import RunOptions
from meanfield.reports import FilmOptions, filmed
from particles import Ensemble, InvalidInput


class Bumps(Landscape):
    """Match the mean of exp(−½(x − θ)²) on a grid."""

    grid: jax.Array
    target: jax.Array

    def features(self, particle):
        return jnp.exp(-0.5 * (self.grid - particle) ** 2)

    def risk(self, moments, fast=None):
        return 0.5 * jnp.mean((moments - self.target) ** 2)


GRID = jnp.linspace(-2, 2, 5)
LINE = Bumps(GRID, jnp.exp(-0.5 * (GRID - 1) ** 2))
START = Ensemble(jnp.array([-1.0, 0.5, 1.5]))
PROBLEM = Problem(LINE, lambda key, size: START, levels={"minimum": 0.0})
RUN = RunOptions(dt=0.1, horizon=2.0)


@pytest.fixture(scope="module")
def film() -> Film:
    options = FilmOptions(frames=5, curvatures=3)
    return filmed(PROBLEM, GradientFlow(LINE, scheme="euler"), START, RUN, options)[1]


def test_frames_are_the_run_at_even_times(film: Film) -> None:
    np.testing.assert_allclose(film.times, [0, 0.5, 1, 1.5, 2])
    for time, ensemble in zip(film.times[1:], film.ensembles[1:], strict=True):
        alone = simulate(GradientFlow(LINE, scheme="euler"), START, horizon=time, dt=0.1)
        np.testing.assert_allclose(ensemble.particles, alone.ensemble.particles, rtol=1e-12)


def test_curvature_is_that_of_the_frames(film: Film) -> None:
    assert film.curvature is not None
    np.testing.assert_allclose(film.curvature["time"], film.times[[0, 2, 4]])
    for frame, values in zip((0, 2, 4), film.curvature["curvature"].values, strict=True):
        place = film.ensembles[frame].particles
        dense = 3 * jax.hessian(lambda p: LINE.value(Ensemble(p)))(place)  # L²(μ) lengths: times N
        ends = np.linalg.eigvalsh(dense)[[0, -1]]
        np.testing.assert_allclose(values, ends, rtol=1e-5, atol=1e-8)


def test_particles_on_a_line_lie_on_their_first_variation(film: Film) -> None:
    assert film.potential is not None
    ensemble = film.ensembles[2]
    points = np.array([-0.3, 0.8])
    moments = np.exp(-0.5 * (np.asarray(GRID)[:, None] - np.asarray(ensemble.particles)) ** 2)
    dual = (moments.mean(axis=1) - np.asarray(LINE.target)) / 5
    values = np.exp(-0.5 * (np.asarray(GRID)[:, None] - points) ** 2).T @ dual
    expected = values - dual @ moments.mean(axis=1)
    np.testing.assert_allclose(film.potential(ensemble, points), expected, rtol=1e-9, atol=1e-12)


def test_the_plane_is_that_of_most_variance() -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    spread = rng.normal(size=(3, 50, 4)) * [3.0, 1.0, 0.1, 0.1]
    points, labels = _plane(spread @ basis.T)
    centred = spread - spread.reshape(-1, 4).mean(axis=0)
    for axis in range(2):
        seen, true = points[..., axis].ravel(), centred[..., axis].ravel()
        assert abs(np.corrcoef(seen, true)[0, 1]) > 0.99
    share = 100 * np.var(centred[..., 0]) / sum(np.var(centred[..., i]) for i in range(4))
    assert float(labels[0].split("(")[1].split(" ")[0]) == pytest.approx(share, abs=1.5)


def test_an_image_moves(film: Film, tmp_path: Path) -> None:
    seen = []
    path = film.save(tmp_path, "gif", dpi=30, progress=lambda done, total: seen.append(done))
    assert seen == [1, 2, 3, 4, 5]
    with Image.open(path) as image:
        assert image.n_frames == 5  # pyright: ignore[reportAttributeAccessIssue]
        pictures = []
        for frame in range(5):
            image.seek(frame)
            pictures.append(np.asarray(image.convert("RGB")).copy())
    assert all((one != two).any() for one, two in itertools.pairwise(pictures))
    assert not (tmp_path / "film_frames").exists()


def test_neurons_move_in_their_principal_plane_in_every_other_form(tmp_path: Path) -> None:
    landscape = RegressionLandscape(jnp.eye(2), jnp.eye(2))
    mu = Ensemble(Neuron(a=0.1 * jnp.eye(2), w=jnp.array([[1.0, 0.2], [0.1, 1.0]])))
    problem = Problem(landscape, lambda key, size: mu)
    options = FilmOptions(frames=2, curvatures=0)
    film = filmed(problem, GradientFlow(landscape), mu, RUN, options)[1]
    assert film.potential is None
    assert film.curvature is None
    with pytest.raises(InvalidInput, match="curvatures is 1; use 0 for none, or 2"):
        filmed(problem, GradientFlow(landscape), mu, RUN, FilmOptions(frames=2, curvatures=1))
    page = film.save(tmp_path, "html", dpi=30).read_text("utf-8")
    assert page.count("data:image/png;base64") == 2
    assert not (tmp_path / "film_frames").exists()
    names = sorted(path.name for path in film.save(tmp_path, "png", dpi=30).iterdir())
    assert names == ["0000.png", "0001.png"]


SMALL = "--problem regression --problem.dim 2 --problem.samples 8 --problem.spectrum 1.0"


def test_the_command_repeats_a_run(tmp_path: Path) -> None:
    ran = meanfield(
        "simulate", *SMALL.split(), "--particles", 4, "--horizon", 1, "--out", tmp_path / "run"
    )
    assert ran.code == 0
    options = ["--frames", 3, "--curvatures", 0, "--form", "png", "--quiet"]
    made = meanfield("animate", tmp_path / "run", *options, "--out", tmp_path / "film")
    assert made.code == 0
    assert len(list((tmp_path / "film/film").iterdir())) == 3
    import xarray

    with (
        xarray.open_dataset(tmp_path / "run/trajectory.nc", engine="h5netcdf") as one,
        xarray.open_dataset(tmp_path / "film/trajectory.nc", engine="h5netcdf") as two,
    ):
        np.testing.assert_array_equal(one["loss"].values[-1], two["loss"].values[-1])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "source is nowhere; there is no such file or folder."),
        (["."], "which holds no run: no config.toml."),
        (["--frames", "1"], "frames is 1; it must be at least 2"),
    ],
)
def test_what_cannot_be_filmed(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = meanfield("animate", *words, "--out", tmp_path / "out")
    assert found.code == 2
    assert sentence in found.sentence
