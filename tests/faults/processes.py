"""Starting, signalling and awaiting the processes of a campaign."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

TESTS = Path(__file__).parents[1]
PATIENCE = 600.0  # seconds that a small run may take at the most, on a machine under load
CRASHED = 70


class Server:
    """Forks processes that have all imports behind them.

    Args:
        programs: where compiled programs are kept, for processes that may share them.
        quick: whether figures are drawn coarsely.
    """

    def __init__(self, programs: Path | None = None, *, quick: bool = False) -> None:
        self.programs = programs
        self.processor = 0.0  # seconds of ended children, until the server itself has ended
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults._server", *(["--quick"] if quick else [])],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reply()

    def ask(self, order: Mapping[str, Any]) -> Any:
        """One order, one reply."""
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return self._reply()

    def poll(self, pid: int) -> int | None:
        """The exit code of a child that has ended."""
        reply = self.ask({"poll": pid})
        if reply is None:
            return None
        code, seconds = reply
        self.processor += seconds
        return code

    def _reply(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that forks the others has ended.")
        return json.loads(line)

    def close(self) -> None:
        """End the server; its children go on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
        self.processor = 0.0  # this process has all of it now


@dataclass
class Child:
    """A running process with its output in files."""

    pid: int
    poll: Callable[[], int | None]
    stdout: Path
    stderr: Path
    code: int | None = None

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        if self.code is None:
            self.code = self.poll()
        return self.code is None

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.running:
            os.kill(self.pid, number)

    def wait(self, patience: float = PATIENCE) -> int | None:
        """The exit code, negative for a signal; `None` if it hung and had to be killed."""
        deadline = time.monotonic() + patience
        while self.running:
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                while self.running:
                    time.sleep(0.01)
                return None
            time.sleep(0.01)
        return self.code

    @property
    def errors(self) -> str:
        """What it said on standard error."""
        return self.stderr.read_text("utf-8", "replace") if self.stderr.exists() else ""

    @property
    def last_words(self) -> str:
        """The last line of that."""
        return (self.errors.strip().splitlines() or [""])[-1]


def environment(**more: str) -> dict[str, str]:
    """That of this process, with the tests importable and no display."""
    paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHONPATH": os.pathsep.join(p for p in paths if p), "MPLBACKEND": "Agg"}
    own["TF_CPP_MIN_LOG_LEVEL"] = "3"  # a stored program warns of the machine it was compiled on
    return dict(os.environ) | own | more


def forked(
    server: Server,
    folder: Path,
    arguments: Sequence[object],
    *,
    devices: int = 1,
    prelude: Sequence[object] = (),
    target: str = "faults.processes:command",
    programs: Literal["own", "shared", "kept"] = "own",
) -> Child:
    """A forked process that works in a folder.

    Args:
        server: forks it.
        folder: it works there.
        arguments: of the target.
        devices: that it has.
        prelude: a function of `faults.preludes` with its arguments, called first.
        target: `module:function`.
        programs: whether it compiles all programs itself, may take those that another process
            kept, or keeps its own. A process that is killed keeps none.
    """
    stdout, stderr = _output(folder)
    order = {
        "folder": str(folder),
        "stdout": str(stdout),
        "stderr": str(stderr),
        "environment": {},
        "devices": devices,
        "prelude": list(prelude),
        "programs": None if programs == "own" else str(server.programs or ""),
        "keep": programs == "kept",
        "target": target,
        "arguments": list(map(str, arguments)),
    }
    pid = server.ask(order)
    return Child(pid, lambda: server.poll(pid), stdout, stderr)


def started(
    folder: Path,
    arguments: Sequence[object],
    *,
    devices: int = 1,
    programs: Path | None = None,
    **variables: str,
) -> Child:
    """A process of its own: `python -m meanfield ARGUMENTS`, as a user starts it.

    It compiles all programs itself, unless it is told where others have kept theirs.
    """
    stdout, stderr = _output(folder)
    variables |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    if programs:
        variables |= {
            "JAX_COMPILATION_CACHE_DIR": str(programs),
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9",
        }
    with stdout.open("w") as out, stderr.open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "meanfield", *map(str, arguments)],
            env=environment(**variables),
            cwd=folder,
            stdout=out,
            stderr=err,
        )
    return Child(process.pid, process.poll, stdout, stderr)


def command(*words: str) -> int:
    """`meanfield WORDS`, within a forked process."""
    from meanfield.cli import main

    return main(words)


def script(file: str, *words: str) -> int:
    """`python FILE WORDS`, within a forked process."""
    sys.argv = [file, *words]
    runpy.run_path(file, run_name="__main__")
    return 0


def _output(folder: Path) -> tuple[Path, Path]:
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    number = len(list(logs.iterdir()))
    return logs / f"{number:04d}.out", logs / f"{number:04d}.err"
