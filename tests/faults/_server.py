"""One process that has imported everything, and forks the processes of a campaign.

A process of `meanfield` spends most of its life importing; a fork of one that has not yet computed
anything is as good as a new one, and starts at once. Orders come as lines of JSON, replies too.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import warnings
from typing import Any

from quickly import draw_quickly


def serve() -> None:
    """Take orders until standard input ends: start a process, or ask whether it has ended."""
    _import_all()
    if "--quick" in sys.argv:
        draw_quickly()
    gc.freeze()  # no child needs to look at all of this again
    warnings.filterwarnings("ignore", category=RuntimeWarning, message="os.fork")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "poll" in order:
            pid, status, used = os.wait4(order["poll"], os.WNOHANG)
            seconds = used.ru_utime + used.ru_stime
            reply = None if pid == 0 else [os.waitstatus_to_exitcode(status), seconds]
        else:
            reply = os.fork()
            if reply == 0:
                sys.exit(_work(order))
        print(json.dumps(reply), flush=True)


def _import_all() -> None:
    for name in (
        "matplotlib.pyplot",
        "orbax.checkpoint",
        "h5netcdf",
        "xarray",
        "tomli_w",
        "rich.table",
        "meanfield.cli._simulate",
        "meanfield.cli._converge",
        "meanfield.cli._parse",
        "markdown_it",
        "matplotlib.backends.backend_agg",
        "faults.processes",
        "faults.preludes",
    ):
        importlib.import_module(name)


def _work(order: dict[str, Any]) -> int:
    """The forked process: its own output, folder and devices; returns the exit code."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in ((1, order["stdout"]), (2, order["stderr"])):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(order["folder"])
    os.environ.update(order["environment"])
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", order["devices"])
    if order["programs"]:
        jax.config.update("jax_compilation_cache_dir", order["programs"])
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        seconds = 0.0 if order["keep"] else 1e9
        jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
    if order["prelude"]:
        name, *values = order["prelude"]
        getattr(importlib.import_module("faults.preludes"), name)(*values)
    module, function = order["target"].split(":")
    return getattr(importlib.import_module(module), function)(*order["arguments"]) or 0


if __name__ == "__main__":
    serve()
