"""The configuration of one run: dataclasses that file and command line share."""

from __future__ import annotations

import dataclasses
import math
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, Literal

from particles import InvalidInput


@dataclass(frozen=True)
class LandscapeConfig:
    """The energy."""

    kind: Literal["attention", "regression"] = "attention"
    """KS24's attention landscape, or plain two-layer regression (CB18)."""
    data: str = ""
    """An .npz file with arrays x (samples × inputs) and f (samples × features); empty to draw."""
    activation: Literal["tanh", "sigmoid", "relu", "erf"] = "tanh"
    """Of the hidden neurons."""
    dim: int = 8
    """Input dimension d of drawn samples."""
    samples: int = 1024
    """Number M of drawn samples."""
    teacher_neurons: int = 12
    """Neurons the drawn targets are made of."""
    spectrum: tuple[float, ...] = (1.0, 0.5, 0.2)
    """Eigenvalues of the drawn targets' second moment."""
    distribution: Literal["normal", "uniform", "rademacher"] = "normal"
    """Of the drawn inputs."""
    symmetric: tuple[int, ...] = ()
    """Input coordinates whose sign flips the drawn samples respect."""
    ridge: float = 0.0
    """Ridge ρ of the attention matrix."""
    context_length: float = math.inf
    """Prompt length n."""


@dataclass(frozen=True)
class StartConfig:
    """The ensemble at time zero."""

    kind: Literal["neurons", "gaussian", "sphere", "uniform", "saddle", "file"] = "neurons"
    """neurons: output mean not zero; saddle: at the critical point that misses some features."""
    particles: int = 1024
    """Number N of particles."""
    output_mean: float = 1.0
    """Correlation of output with input weights (neurons)."""
    scale_a: float = 1.0
    """Scale of the output weights."""
    scale_w: float = 1.0
    """Root mean square norm of the input weights."""
    missing: tuple[int, ...] = (2,)
    """Missing features of the saddle, numbered from 0."""
    distance: float = 1e-4
    """L²(μ) distance from the saddle, along its most unstable direction."""
    file: str = ""
    """An .npz of named arrays (file)."""


@dataclass(frozen=True)
class FlowConfig:
    """The dynamics."""

    scheme: Literal["euler", "heun", "bosh3", "tsit5", "adaptive"] = "adaptive"
    """Time-stepping scheme."""
    dt: float = 0.01
    """Step in flow time; the first one when adaptive."""
    horizon: float = 20.0
    """Flow time to stop at."""
    ratio: float | Literal["limit", "frozen"] = "limit"
    """Timescale ratio ε of the fast variables."""
    rtol: float = 1e-5
    """Relative tolerance per step (adaptive)."""
    atol: float = 1e-8
    """Absolute tolerance per step (adaptive)."""
    chunk: int = 0
    """Particles in memory at once; 0 chooses."""
    temperature: float = 0.0
    """τ of entropic noise (mean-field Langevin dynamics); 0 for none."""
    confinement: float = 0.0
    """λ of the weight decay ½λ‖θ‖² added to the landscape."""
    birth_death: float = 0.0
    """Rate α of birth and death (Wasserstein–Fisher–Rao); 0 for none."""
    resample_below: float = 0.0
    """Share of N below which the effective number of particles calls for resampling; 0: never."""
    batch_size: int = 0
    """Fresh prompts per step (stochastic gradient descent); 0 for the full landscape."""


@dataclass(frozen=True)
class RecordConfig:
    """What is written down."""

    every: float = 0.0
    """Flow time between records; 0 for 200 of them."""
    snapshots: tuple[float, ...] = ()
    """Times at which to keep the whole ensemble, besides the first and the last."""
    checkpoint_steps: int = 1000
    """Steps between checkpoints."""


@dataclass(frozen=True)
class Config:
    """One run of `meanfield simulate`."""

    seed: int = 0
    """Of every random draw."""
    float64: bool = True
    """Double precision."""
    devices: int = 1
    """Devices to split the particles over; 0 takes all."""
    landscape: LandscapeConfig = field(default_factory=LandscapeConfig)
    start: StartConfig = field(default_factory=StartConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    record: RecordConfig = field(default_factory=RecordConfig)


def load_config(path: str | os.PathLike) -> Config:
    """Read a configuration; every key is optional, an unknown one is refused.

    Raises:
        InvalidInput: not TOML, an unknown key, or a value of the wrong type.
        FileNotFoundError: there is no such file.
    """
    with Path(path).open("rb") as file:
        try:
            table = tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"config {path} is not valid TOML: {error}.") from error
    return fill(Config, table, "")


def save_config(path: str | os.PathLike, config: Any, command: str = "simulate") -> None:
    """Write a configuration dataclass as TOML, headed by the command that it belongs to."""
    import tomli_w

    text = tomli_w.dumps({"command": command} | _plain(dataclasses.asdict(config)))
    Path(path).write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    """Without `None`, which TOML lacks, and with paths as text."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def fill(cls: type, table: Mapping[str, Any], prefix: str = "") -> Any:
    """A configuration dataclass from a table, strictly.

    Raises:
        InvalidInput: an unknown key, or a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    unknown = [key for key in table if key not in hints]
    if unknown:
        raise InvalidInput(
            f"config has the unknown key {prefix}{unknown[0]}; allowed there: {sorted(hints)}."
        )
    values = {}
    for key, value in table.items():
        kind = hints[key]
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, Mapping):
                raise InvalidInput(f"config {prefix}{key} is {value!r}; it must be a table.")
            values[key] = fill(typing.cast(type, kind), value, f"{prefix}{key}.")
        else:
            values[key] = _converted(kind, value, f"{prefix}{key}")
    return cls(**values)


def _converted(kind: Any, value: Any, name: str) -> Any:
    """`value` as the annotated type, or one sentence about why not."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal and value in arguments:
        return value
    if origin in (typing.Union, types.UnionType):
        for option in arguments:
            try:
                return _converted(option, value, name)
            except InvalidInput:
                continue
    if origin is tuple and isinstance(value, list):
        return tuple(_converted(arguments[0], entry, name) for entry in value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind in (bool, int, str) and type(value) is kind:
        return value
    raise InvalidInput(f"config {name} is {value!r}; it must be {_allowed(kind)}.")


def _allowed(kind: Any) -> str:
    """The annotated type in words."""
    names = {bool: "true or false", int: "a whole number", float: "a number"}
    arguments = typing.get_args(kind)
    match typing.get_origin(kind):
        case typing.Literal:
            return f"one of {list(arguments)}"
        case typing.Union | types.UnionType:
            return " or ".join(_allowed(option) for option in arguments if option is not NoneType)
        case None:
            return names.get(kind, "text")
        case _:
            return f"a list, each entry {_allowed(arguments[0])}"
