"""What a study has found so far, on disk: a study that is stopped goes on from there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from particles import InvalidInput

from ..runs import Checkpoints

STEPS = 10_000  # between checkpoints of a run; each run is saved at its end in any case


class SavedStudy:
    """Finished parts of a study, one file each, and the checkpoints of its runs.

    Args:
        folder: created; `None` saves nothing.
        options: what the parts depend on; a study that goes on must have the same.
        resume: take the parts that are there.

    Raises:
        InvalidInput: the folder holds another study, or one although `resume` is false.
    """

    def __init__(self, folder: str | os.PathLike | None, options: Mapping[str, Any], resume: bool):
        self.folder = None if folder is None else Path(folder)
        if self.folder is None:
            if resume:
                raise InvalidInput("resume is True, but saved is None; say where the parts are.")
            return
        asked = json.loads(json.dumps(dict(options)))
        file = self.folder / "study.json"
        there = self._options(file)
        if there is not None and not resume:
            raise InvalidInput(
                f"saved is {self.folder}, which holds the parts of an earlier study; resume it, or "
                "name another folder."
            )
        changed = [name for name, value in asked.items() if (there or asked).get(name) != value]
        if changed:
            name = changed[0]
            raise InvalidInput(
                f"{name} is {asked[name]}, but the study in {self.folder} was begun with "
                f"{(there or {}).get(name)}; go on with that, or start in another folder."
            )
        self._asked = json.dumps(asked)

    def checkpoints(self, size: int) -> Checkpoints | None:
        """Those of the runs of one size."""
        return None if self.folder is None else Checkpoints(self.folder / f"runs-{size}", STEPS)

    def part(self, name: str) -> dict[str, np.ndarray] | None:
        """A finished part; `None` where it is missing or damaged, and has to be found again."""
        if self.folder is None:
            return None
        try:
            with np.load(self.folder / f"{name}.npz", allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except Exception:  # the reader has errors of many kinds; the archive has checksums
            return None

    def damaged(self, name: str) -> bool:
        """Whether a part is there and cannot be read: the runs have gone on since."""
        there = self.folder is not None and (self.folder / f"{name}.npz").exists()
        return there and self.part(name) is None

    def keep(self, name: str, part: Mapping[str, Any]) -> None:
        """Write a part, whole or not at all."""
        if self.folder is None:
            return
        self._begin(self.folder)
        partial = self.folder / f"{name}.npz.partial"
        arrays: dict[str, Any] = {key: np.asarray(value) for key, value in part.items()}
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.replace(self.folder / f"{name}.npz")

    def _options(self, file: Path) -> dict[str, Any] | None:
        if not file.exists():
            return None
        try:
            return dict(json.loads(file.read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"{file} is damaged; start anew in another folder.") from error

    def _begin(self, folder: Path) -> None:
        """Say what the parts depend on, before the first one; a refused study leaves nothing."""
        file = folder / "study.json"
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            partial = file.with_name(file.name + ".partial")
            partial.write_text(self._asked, "utf-8")
            partial.replace(file)
