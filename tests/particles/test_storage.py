"""Ensembles on disk come back bit for bit, and files that are none are refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import attention, cloud

from particles import Ensemble, InvalidInput, load_ensemble, save_ensemble


def identical(one: Ensemble, two: Ensemble) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
def test_round_trip(precision, weighted, tmp_path):
    for seed in range(5):
        mu = cloud(seed, size=1000, weighted=weighted)
        assert mu.particles.a.dtype == precision
        path = save_ensemble(tmp_path / "mu.npz", mu)
        identical(load_ensemble(path, attention().particle), mu)
    assert [file.name for file in tmp_path.iterdir()] == ["mu.npz"]  # nothing partial left


def test_round_trip_of_any_tree_and_name(tmp_path):
    mu = Ensemble({"file": jnp.arange(3), "nested": [jnp.zeros((3, 2)), {"x": jnp.ones(3)}]})
    path = save_ensemble(tmp_path / "no suffix", mu)
    like = jax.tree.map(lambda leaf: leaf[0], mu.particles)
    identical(load_ensemble(path, like), mu)
    assert set(load_ensemble(path).particles) == {"file", "nested.0", "nested.1.x"}


def test_a_file_of_another_program(tmp_path):
    np.savez(tmp_path / "mu.npz", a=np.ones((4, 2)), w=np.ones((4, 3)), weights=[1, 1, 2, 4])
    mu = load_ensemble(tmp_path / "mu.npz", attention().particle)
    np.testing.assert_array_equal(mu.weights, [0.125, 0.125, 0.25, 0.5])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"text", "array"])
def test_what_is_no_ensemble_is_refused(content, tmp_path):
    path = tmp_path / "mu.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3)) if content == "array" else file.write(content)
    with pytest.raises(InvalidInput, match=r"^path .*mu\.npz is not an \.npz file"):
        load_ensemble(path)


def test_particles_of_another_landscape_are_refused(tmp_path):
    path = save_ensemble(tmp_path / "mu.npz", Ensemble({"a": jnp.ones((4, 2))}))
    with pytest.raises(InvalidInput, match=r"holds particles of shapes .*\(2,\).* needs .*\(3,\)"):
        load_ensemble(path, attention().particle)
    np.savez(path, a=np.ones((4, 2)), w=np.ones((5, 3)))
    with pytest.raises(InvalidInput, match="one leading particle axis"):
        load_ensemble(path, attention().particle)


@pytest.mark.parametrize(
    "particles", [{"weights": jnp.ones(2)}, {"a.b": jnp.ones(2), "a": {"b": jnp.ones(2)}}]
)
def test_names_that_would_collide_are_refused(particles, tmp_path):
    with pytest.raises(InvalidInput, match="names must differ"):
        save_ensemble(tmp_path / "mu.npz", Ensemble(particles))
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_ensemble(tmp_path / "mu.npz")
