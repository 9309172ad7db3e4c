"""The configuration of a run: what file, command line and Python share."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from particles import InvalidInput

from ._attention import Attention
from ._diffusion import AttractionRepulsion, Diffusion, KellerSegel
from ._flows import FLOWS, Gradient
from ._induction import Induction, MarkovInduction
from ._interactions import EnergyDistance, RieszGas
from ._linear_attention import LinearAttention
from ._modular_arithmetic import ModularArithmetic
from ._moments import FourierMoments
from ._multi_head import MultiHeadSoftmax
from ._options import Count, Natural, NonNegative, Positive, Seed, fill, hints_of, plain_table
from ._registry import Registry
from ._regression import Regression
from ._single_index import SingleIndex
from ._softmax_attention import SoftmaxAttention
from ._spikes import Spikes
from ._starts import STARTS, DefaultStart
from ._tensors import TensorMap
from ._tokens import Tokens

PROBLEMS: Mapping[str, type] = {
    "attention": Attention,
    "regression": Regression,
    "linear-attention": LinearAttention,
    "softmax-attention": SoftmaxAttention,
    "multi-head-softmax": MultiHeadSoftmax,
    "modular-arithmetic": ModularArithmetic,
    "induction": Induction,
    "markov-induction": MarkovInduction,
    "riesz-gas": RieszGas,
    "energy-distance": EnergyDistance,
    "diffusion": Diffusion,
    "attraction-repulsion": AttractionRepulsion,
    "keller-segel": KellerSegel,
    "tokens": Tokens,
    "fourier-moments": FourierMoments,
    "single-index": SingleIndex,
    "spikes": Spikes,
}

#: What a configuration names by kind.
REGISTRIES: Mapping[str, Registry] = {
    "problem": Registry("problem", PROBLEMS, positional=1),
    "start": Registry("start", STARTS, positional=2),
    "flow": Registry("flow", FLOWS, positional=1),
}


@dataclass(frozen=True)
class RunOptions:
    """How long to run, and what is written down."""

    dt: Positive = 0.01
    """Step in flow time; the first one when adaptive."""
    horizon: Positive = 20.0
    """Flow time to stop at."""
    every: NonNegative = 0.0
    """Flow time between records; 0 for 200 of them."""
    snapshots: tuple[NonNegative, ...] = ()
    """Times at which to keep the whole ensemble, besides the first and the last."""
    checkpoint_steps: Count = 1000
    """Steps between checkpoints."""


@dataclass(frozen=True)
class Config:
    """One run: a problem, a start, a flow, and how long.

    Every part is optional; `problem`, `start` and `flow` hold the options of one kind each.

    Example:
        >>> config = Config(particles=64, problem=Regression(dim=3), run=RunOptions(horizon=1.0))
        >>> config.problem.samples
        512
    """

    seed: Seed = 0
    """Of every random draw."""
    particles: Count = 1024
    """Number N of particles."""
    precision: Literal["float64", "float32"] = "float64"
    """Of all numbers."""
    devices: Natural = 1
    """Devices to split the particles over; 0 takes all."""
    problem: Any = field(default_factory=Attention)
    """Options of the problem."""
    start: Any = field(default_factory=DefaultStart)
    """Options of the start."""
    flow: Any = field(default_factory=Gradient)
    """Options of the flow."""
    run: RunOptions = field(default_factory=RunOptions)
    """How long to run, and what is written down."""


def read_table(path: str | os.PathLike) -> dict[str, Any]:
    """A TOML file as a table.

    Raises:
        InvalidInput: not TOML.
        FileNotFoundError: there is no such file.
    """
    with Path(path).open("rb") as file:
        try:
            return tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"config {path} is not valid TOML: {error}.") from error


def from_table(
    cls: type,
    table: Mapping[str, Any],
    *,
    default: Any = None,
    kinds: Mapping[str, str] | None = None,
    trust: bool = True,
    folder: Path | None = None,
) -> Any:
    """A configuration from a table; every key is optional.

    What other commands wrote for themselves is passed over, so that every command reads the
    configuration of any.

    Args:
        cls: `Config`, or a command's own dataclass with some of its parts and `options`.
        table: as read from TOML.
        default: what missing keys are taken from; `cls()` by default.
        kinds: of `problem`, `start` and `flow`, over those in the table.
        trust: whether the table may name code of the user's own.
        folder: of the file, where that code is looked for.

    Raises:
        InvalidInput: an unknown key or kind, or a value of the wrong type.
    """
    default = cls() if default is None else default
    known = {f.name for f in dataclasses.fields(Config)} | COMMANDS | PASSED_OVER
    unknown = [key for key in table if key not in known]
    if unknown:
        raise InvalidInput(
            f"config has the unknown key {unknown[0]}; allowed there: {sorted(known)}."
        )
    changed: dict[str, Any] = {}
    plain = {}
    for name, hint in hints_of(cls).items():
        if name in REGISTRIES:
            parts = _Parts(table, dict(kinds or {}), trust, folder)
            changed[name] = parts.of(name, getattr(default, name))
        elif name == "options":
            own = table.get(cls.command, {})
            changed[name] = _updated(getattr(default, name), own, f"{cls.command}.")
        elif dataclasses.is_dataclass(hint):
            changed[name] = _updated(getattr(default, name), table.get(name, {}), f"{name}.")
        elif name in table and name not in PASSED_OVER:
            plain[name] = table[name]
    changed |= _given(cls, plain)
    return dataclasses.replace(default, **changed)


#: What a configuration says of itself: whose it is, which ensembles were looked at, and how the
#: tensors of a file were read.
PASSED_OVER = {"command", "source", "other", "map"}

#: Names of commands, whose own options stand in tables of these names.
COMMANDS = {
    "demo",
    "simulate",
    "escape",
    "converge",
    "spectrum",
    "diagnose",
    "animate",
    "plan",
    "reproduce",
}


@dataclass(frozen=True)
class _Parts:
    """Problem, start and flow of a table."""

    table: Mapping[str, Any]
    kinds: Mapping[str, str]
    trust: bool
    folder: Path | None

    def of(self, name: str, default: Any) -> Any:
        registry, entry = REGISTRIES[name], self.table.get(name)
        if entry is not None and not isinstance(entry, Mapping):
            raise InvalidInput(f"config {name} is {entry!r}; it must be a table.")
        filed = None if entry is None else entry.get("kind")
        chosen = self.kinds.get(name, filed)
        if chosen is None and entry is None:
            return default
        if chosen is None:
            chosen = registry.name_of(default)
        if not isinstance(chosen, str):
            raise InvalidInput(f"config {name}.kind is {chosen!r}; it must be text.")
        # What the user names on the command line is trusted in any case.
        trust = self.trust or self.kinds.get(name) == chosen
        if entry is None or (filed is not None and filed != chosen):
            # The options in the file are another kind's.
            same = registry.name_of(default) == chosen
            cls = registry.options(chosen, trust=trust, folder=self.folder)
            return default if same else fill(cls, {}, f"{name}.")
        cls = registry.options(chosen, trust=trust, folder=self.folder)
        own = {key: value for key, value in entry.items() if key != "kind"}
        return fill(cls, own, f"{name}.")


def _updated(default: Any, table: Any, prefix: str) -> Any:
    """Options with those of a table in place of their defaults."""
    if not isinstance(table, Mapping):
        raise InvalidInput(f"config {prefix[:-1]} is {table!r}; it must be a table.")
    return dataclasses.replace(default, **_given(type(default), table, prefix))


def _given(cls: type, table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The options of a table, checked and converted."""
    if not table:
        return {}
    filled = fill(cls, table, prefix)
    return {key: getattr(filled, key) for key in table}


def load_config(path: str | os.PathLike, *, trust: bool = True) -> Config:
    """Read the configuration of a run, whichever command wrote it.

    Args:
        path: of a TOML file.
        trust: whether it may name code of its own (`kind = "package.module:Name"`).

    Raises:
        InvalidInput: not TOML, an unknown key or kind, or a value of the wrong type.
        FileNotFoundError: there is no such file.
    """
    return from_table(Config, read_table(path), trust=trust, folder=Path(path).parent)


def save_config(path: str | os.PathLike, config: Any, command: str = "simulate") -> None:
    """Write a configuration as TOML, headed by the command that it belongs to.

    `load_config` reads back the parts of a `Config`, and the command its own options too. The file
    appears whole or not at all.
    """
    import tomli_w

    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(tomli_w.dumps(to_table(config, command)), encoding="utf-8")
    partial.replace(path)


def to_table(config: Any, command: str) -> dict[str, Any]:
    """A configuration as a table, as `from_table` reads it."""
    plain, tables = {}, {}
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if entry.name in REGISTRIES:
            kind = REGISTRIES[entry.name].name_of(value)
            tables[entry.name] = {"kind": kind} | plain_table(value)
        elif entry.name == "options":
            tables[command] = plain_table(value)
        elif isinstance(value, TensorMap):
            tables |= {entry.name: plain_table(value)} if value.given else {}
        elif dataclasses.is_dataclass(value):
            tables[entry.name] = plain_table(value)
        elif entry.name not in UNWRITTEN and value is not None:
            plain[entry.name] = plain_table(value)
    return {"command": command} | plain | tables


#: Options of commands that say how to show and where to write, not what to compute.
UNWRITTEN = {"out", "json", "quiet", "trust", "config", "resume", "distributed"}
