"""Small runs that write checkpoints all the time, and how two of them are compared."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .processes import Server, forked

NETWORK = "samples = 24\ndim = 2\nspectrum = [1.0, 0.5]\nteacher_neurons = 4\n"
CONVERGE = {"smallest": 4, "largest": 16, "seeds": 2, "transport": 8, "horizon": 0.6, "dt": 0.1}


@dataclass(frozen=True)
class Setup:
    """A command with its configuration.

    Args:
        name: for the tables.
        text: of the configuration.
        devices: that the process has.
        command: `simulate` or `converge`.
        options: further words.
    """

    name: str
    text: str
    devices: int = 1
    command: str = "simulate"
    options: tuple[str, ...] = ()

    def words(self, folder: Path, out: Path) -> list[object]:
        """The words of a first start; writes the configuration."""
        config = folder / f"{self.name}.toml"
        config.write_text(self.text)
        return [self.command, config, "--out", out, *self.options, "--quiet"]

    def going_on(self, folder: Path, out: Path) -> list[object]:
        """The words that go on with a run, or start it anew where nothing was saved yet."""
        saved = steps(out) if self.command == "simulate" else [out / "config.toml"]
        if saved and (out / "config.toml").exists():
            return [self.command, "--resume", out, "--quiet"]
        return self.words(folder, out)


def _converge(kind: str) -> Setup:
    options = tuple(word for name, value in CONVERGE.items() for word in (f"--{name}", str(value)))
    text = f'[problem]\nkind = "{kind}"\n{NETWORK}'
    return Setup(f"converge-{kind}", text, command="converge", options=options)


SETUPS = [
    Setup(
        "attention-adaptive",
        f'particles = 12\n[problem]\nkind = "attention"\nridge = 0.02\n{NETWORK}'
        'activation = "erf"\n'
        "[flow]\nchunk = 5\nrtol = 1e-8\n"
        "[run]\nhorizon = 6.0\ndt = 0.01\nevery = 0.25\ncheckpoint_steps = 3\n",
    ),
    Setup(
        "regression-langevin",
        f'particles = 8\n[problem]\nkind = "regression"\n{NETWORK}'
        '[flow]\nscheme = "heun"\ntemperature = 0.01\nconfinement = 0.1\n'
        "[run]\nhorizon = 2.0\ndt = 0.01\nevery = 0.2\nsnapshots = [0.55, 1.1]\n"
        "checkpoint_steps = 5\n",
    ),
    Setup(
        "linear-attention-euler",
        'particles = 6\n[problem]\nkind = "linear-attention"\neigenvalues = [1.0, 0.5]\n'
        '[flow]\nscheme = "euler"\n'
        "[run]\nhorizon = 8.0\ndt = 0.05\nevery = 1.0\ncheckpoint_steps = 4\n",
    ),
    Setup(
        "regression-devices",
        f'particles = 8\ndevices = 4\n[problem]\nkind = "regression"\n{NETWORK}'
        '[flow]\nscheme = "euler"\ntemperature = 0.01\n'
        "[run]\nhorizon = 1.0\ndt = 0.01\nevery = 0.1\ncheckpoint_steps = 4\n",
        devices=4,
    ),
    Setup(
        "softmax-accelerated",
        'particles = 6\n[problem]\nkind = "softmax-attention"\nfeatures = 3\nprompts = 16\n'
        '[flow]\nkind = "accelerated"\nscheme = "heun"\n'
        "[run]\nhorizon = 4.0\ndt = 0.05\nevery = 0.5\ncheckpoint_steps = 3\n",
    ),
    _converge("regression"),
]


#: Of a sample: one with noise, and fewer checkpoints.
SAMPLE = [
    replace(setup, text=setup.text.replace("checkpoint_steps = 5\n", "checkpoint_steps = 20\n"))
    for setup in SETUPS
    if setup.name == "regression-langevin"
]


def steps(out: Path) -> list[int]:
    """The whole checkpoints of a run, oldest first."""
    there = out / "checkpoints"
    return (
        sorted(int(p.name) for p in there.iterdir() if p.name.isdigit()) if there.exists() else []
    )


class Undisturbed:
    """The runs that the disturbed ones are compared with, each made once."""

    def __init__(self, server: Server, folder: Path):
        self.server, self.folder = server, folder
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    def of(self, setup: Setup) -> tuple[Path, float]:
        """The folder of an undisturbed run, and how long it took.

        Raises:
            RuntimeError: even that one failed.
        """
        out = self.folder / setup.name
        with self._lock:
            if setup.name not in self._seconds:
                began = time.monotonic()
                words = setup.words(self.folder, out)
                child = forked(
                    self.server, self.folder, words, devices=setup.devices, programs="kept"
                )
                if child.wait() != 0:
                    raise RuntimeError(f"{setup.name} fails undisturbed: {child.errors}")
                self._seconds[setup.name] = time.monotonic() - began
            return out, self._seconds[setup.name]


def differences(one: Path, two: Path) -> list[str]:
    """Where the results of two runs differ in any bit: ensembles, records, last checkpoints."""
    import xarray

    found = []
    if (one / "ensemble.npz").exists():
        with np.load(one / "ensemble.npz") as mine, np.load(two / "ensemble.npz") as other:
            if mine.files != other.files:
                found.append(f"ensemble.npz has {other.files}")
            found += [
                f"ensemble.npz: {name}" for name in mine.files if _differ(mine[name], other[name])
            ]
    with (
        xarray.open_dataset(one / "trajectory.nc", engine="h5netcdf") as mine,
        xarray.open_dataset(two / "trajectory.nc", engine="h5netcdf") as other,
    ):
        names = set(map(str, mine.variables))
        if names != set(map(str, other.variables)):
            found.append(f"trajectory.nc has {sorted(map(str, other.variables))}")
        else:
            found += [
                f"trajectory.nc: {name}"
                for name in sorted(names)
                if _differ(mine[name].values, other[name].values)
            ]
    if steps(one)[-1:] != steps(two)[-1:]:
        found.append(f"the last checkpoints are {steps(one)} and {steps(two)}")
    elif steps(one):
        mine, other = (_about(path, steps(path)[-1]) for path in (one, two))
        found += [
            f"checkpoint: {part}" for part in ("state", "records") if mine[part] != other[part]
        ]
    return found


def _differ(one: np.ndarray, two: np.ndarray) -> bool:
    same = one.shape == two.shape and one.dtype == two.dtype
    return not (same and np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(two).tobytes())


def _about(out: Path, step: int) -> dict:
    return json.loads((out / "checkpoints" / str(step) / "about" / "metadata").read_text())
