"""The malformed files that the cases name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

CONFIGS = {
    "not_toml": "particles = = 3",
    "unknown": "wings = 2",
    "kind_number": "[problem]\nkind = 3",
    "text_dt": "[run]\ndt = 'fast'",
    "list_problem": "problem = [1]",
    "true_particles": "particles = true",
}


def write_files(folder: Path) -> None:
    """All of them but the broken run, and a folder that is empty."""
    rng = np.random.default_rng(0)
    x, f = rng.standard_normal((16, 2)), rng.standard_normal((16, 2))
    arrays: dict[str, dict[str, Any]] = {
        "objects": {"x": np.array([{}], dtype=object), "f": f},
        "strings": {"x": np.full((16, 2), "a"), "f": f},
        "complex": {"x": x + 1j, "f": f},
        "empty_arrays": {"x": x[:0], "f": f[:0]},
        "one_sample": {"x": x[:0], "f": f[:1]},
        "zero": {"x": x, "f": 0 * f},
        "zero_column": {"x": x, "f": f * [1, 0]},
        "twins": {"x": x, "f": f[:, [0, 0]]},
        "nan": {"x": np.where(x == x[3, 1], np.nan, x), "f": f},
        "infinite": {"x": x, "f": np.where(f == f[2, 0], np.inf, f)},
        "lengths": {"x": x, "f": f[:9]},
        "cube": {"x": x[:, :, None], "f": f},
        "no_f": {"x": x},
    }
    for name, named in arrays.items():
        np.savez(folder / f"{name}.npz", **named)
    whole = (folder / "twins.npz").read_bytes()
    (folder / "truncated.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "junk.npz").write_bytes(b"PK\x03\x04" + rng.bytes(300))
    (folder / "text.npz").write_text("x,f\n1,2\n")
    for name, text in CONFIGS.items():
        (folder / f"{name}.toml").write_text(text)
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (folder / "empty").mkdir()
    (folder / "spoiled").write_text("a file, no folder")


def write_broken_run(folder: Path) -> None:
    """A run whose trajectory is cut off."""
    from .processes import command

    words = "simulate --problem linear-attention --particles 3 --horizon 0.2 --dt 0.1 --quiet"
    assert command(*words.split(), "--flow.scheme", "euler", "--out", str(folder)) == 0
    content = (folder / "trajectory.nc").read_bytes()
    (folder / "trajectory.nc").write_bytes(content[: len(content) // 3])
