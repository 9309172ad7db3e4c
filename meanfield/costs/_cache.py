"""A small file of what was measured on this machine, in the user's cache folder."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """Where this platform keeps what programs can make again.

    `XDG_CACHE_HOME` (by default ~/.cache) on Linux, ~/Library/Caches on macOS, `LOCALAPPDATA` on
    Windows.
    """
    if sys.platform == "darwin":
        base = Path("~/Library/Caches")
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    with contextlib.suppress(RuntimeError):  # no home
        base = base.expanduser()
    return base / "meanfield-flows"


def recall(name: str, key: str) -> Any:
    """What was remembered under a key; `None` if nothing was, or the file is damaged."""
    return _table(name).get(key)


def remember(name: str, key: str, value: Any) -> None:
    """Keep a plain value; a folder that cannot be written is no error.

    The file appears whole or not at all; of two programs that write at once, one is forgotten.
    """
    folder = cache_folder()
    table = _table(name) | {key: value}
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=folder, prefix=name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(table, file, indent=1)
            Path(partial).replace(folder / f"{name}.json")
        except OSError:
            Path(partial).unlink(missing_ok=True)
            raise


def _table(name: str) -> dict[str, Any]:
    try:
        table = json.loads((cache_folder() / f"{name}.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}
