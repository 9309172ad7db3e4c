"""Checkpoints by orbax: the state and the records so far, written whole or not at all."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from particles import InvalidInput

from ._records import Tape
from ..flows import FlowState

if TYPE_CHECKING:
    import orbax.checkpoint as ocp


class Checkpoints:
    """Saves a run every so many steps; `restore` goes on bit for bit.

    Args:
        directory: created when needed; holds one folder per kept step.
        every_steps: steps between saves.
        keep: how many of the latest saves stay.

    Raises:
        InvalidInput: `every_steps` or `keep` is not positive.
        OSError: the directory cannot be written.
    """

    def __init__(self, directory: str | os.PathLike, every_steps: int = 1000, keep: int = 2):
        if every_steps < 1 or keep < 1:
            raise InvalidInput(
                f"every_steps is {every_steps} and keep is {keep}; both must be at least 1."
            )
        self.directory, self.every_steps, self.keep = Path(directory), every_steps, keep
        self._manager: ocp.CheckpointManager | None = None

    def until_next(self, state: FlowState) -> int:
        """Steps left before the next save is due."""
        return self.every_steps - int(jnp.max(state.step)) % self.every_steps

    def due(self, state: FlowState) -> bool:
        """Whether a save is due now."""
        return int(jnp.max(state.step)) % self.every_steps == 0

    def latest(self) -> int | None:
        """Step of the latest whole checkpoint."""
        return self._open().latest_step() if self.directory.exists() else None

    def save(self, state: FlowState, tape: Tape) -> None:
        """Write the state and the records; replaces nothing until it is whole.

        Raises:
            OSError: the disk is full, or the directory cannot be written any more.
        """
        import orbax.checkpoint as ocp

        step = int(jnp.max(state.step))
        if self._open().latest_step() == step:
            return
        for name in ("absl", "asyncio"):  # where orbax says it all again
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            self._save(ocp, step, state, tape)
        except Exception as error:  # orbax has errors of its own for whatever the disk says
            sys.unraisablehook = lambda _: None  # its threads are still falling over
            raise OSError(
                f"the checkpoint of step {step} could not be written to {self.directory}: "
                f"{_reason(error)}"
            ) from error

    def _save(self, ocp: Any, step: int, state: FlowState, tape: Tape) -> None:
        self._open().save(
            step,
            args=ocp.args.Composite(
                form=ocp.args.JsonSave(_form(state)),
                state=ocp.args.StandardSave(_named(state)),
                tape=ocp.args.StandardSave(tape.to_arrays()),
            ),
        )

    def restore(self, like: FlowState) -> tuple[FlowState, Tape]:
        """The latest state and records; `like` gives structure and placement.

        Raises:
            InvalidInput: there is no checkpoint, or it belongs to another set-up.
        """
        import orbax.checkpoint as ocp

        step = self.latest()
        if step is None:
            raise InvalidInput(f"directory {self.directory} holds no checkpoint.")
        # Orbax would convert other types without a word, so the forms are compared first.
        form = self._open().restore(step, args=ocp.args.Composite(form=ocp.args.JsonRestore()))
        if form["form"] != _form(like):
            raise InvalidInput(
                f"the checkpoint in {self.directory} does not fit this flow and ensemble (other "
                "sizes, types, scheme or kind of timescale ratio); resume with the configuration "
                "it was made with."
            )
        wanted = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for name, leaf in _named(like).items()
        }
        found = self._open().restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(wanted),  # pyright: ignore[reportCallIssue]
                tape=ocp.args.StandardRestore(),
            ),
        )
        leaves = [found["state"][name] for name in _named(like)]
        state = jax.tree.unflatten(jax.tree.structure(like), leaves)
        tape: dict[str, Any] = found["tape"]
        arrays = {t: {n: np.asarray(c) for n, c in rows.items()} for t, rows in tape.items()}
        return state, Tape.from_arrays(arrays)

    def _open(self) -> ocp.CheckpointManager:
        if self._manager is None:
            import orbax.checkpoint as ocp

            options = ocp.CheckpointManagerOptions(
                max_to_keep=self.keep, enable_async_checkpointing=False, create=True
            )
            self._manager = ocp.CheckpointManager(self.directory.absolute(), options=options)
        return self._manager


def _reason(error: Exception) -> str:
    """What the operating system said, in an error that quotes it at length."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    quoted = re.search(r"([^:]+) \[os_error_code", str(error))
    return quoted[1].strip() if quoted else str(error).partition("\n")[0] or type(error).__name__


def _form(state: FlowState) -> dict[str, str]:
    """Where each leaf belongs, with its type and shape."""
    return {
        f"{index:03d}": f"{jax.tree_util.keystr(path)}: {leaf.dtype}{list(leaf.shape)}"
        for index, (path, leaf) in enumerate(jax.tree_util.tree_flatten_with_path(state)[0])
    }


def _named(state: FlowState) -> dict[str, jax.Array]:
    """Leaves by position: stable names whatever the particles are called."""
    return {f"{index:03d}": leaf for index, leaf in enumerate(jax.tree.leaves(state))}
