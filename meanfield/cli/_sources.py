"""Read back what a command left: the landscape and the ensemble of a run's folder."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Array

from landscapes import NeuronLandscape
from particles import Ensemble, InvalidInput, load_ensemble

from ..problems import (
    Config,
    Problem,
    build_landscape,
    fill,
    landscape_key,
    load_config,
    realisable,
)
from ._demo import Demo


class Source(NamedTuple):
    """An ensemble on its landscape.

    Args:
        landscape: the run's, or the one given.
        ensemble: on it.
        positions: input weights of the neurons that drawn targets are made of; `None` for data.
        distribution: of drawn inputs.
    """

    landscape: NeuronLandscape
    ensemble: Ensemble
    positions: Array | None = None
    distribution: str = "normal"


def load_source(path: Path, config: Path | None, data: Path | None) -> Source:
    """The ensemble in a run's folder or in an `.npz`, on its run's or a given landscape.

    Args:
        path: a folder with `ensemble.npz` and `config.toml`, or an `.npz` of named arrays.
        config: the landscape's configuration, for an `.npz`.
        data: an `.npz` with `x` and `f`, in place of the configuration's data.

    Raises:
        InvalidInput: no configuration to be found, or an ensemble of another landscape.
        FileNotFoundError: there is no such file.
    """
    file = path / "ensemble.npz" if path.is_dir() else path
    settings = config
    if settings is None and path.is_dir():
        settings = path / "config.toml"
    if settings is None and data is None:
        raise InvalidInput(
            f"source {path} is an ensemble without its landscape; add --config CONFIG.toml or "
            "--data FILE.npz, or name the folder of a run."
        )
    (landscape, positions), distribution = _problem(settings, data)
    ensemble = load_ensemble(file, like=landscape.particle)
    return Source(landscape, ensemble, positions, distribution)


def _problem(settings: Path | None, data: Path | None) -> tuple[Problem, str]:
    """Landscape and teacher, and the distribution of drawn inputs."""
    table = {} if settings is None else tomllib.loads(settings.read_text())
    if "teacher_neurons" in table:  # the demo's own options
        demo = fill(Demo, table)
        setting = realisable(
            demo.seed,
            dim=demo.dim,
            samples=demo.samples,
            teacher_neurons=demo.teacher_neurons,
            spectrum=demo.spectrum,
        )
        return Problem(setting.landscape, setting.positions), "normal"
    config = Config() if settings is None else load_config(settings)
    chosen = config.landscape
    if data is not None:
        chosen = dataclasses.replace(chosen, data=str(data))
    return build_landscape(landscape_key(config.seed), chosen), chosen.distribution
