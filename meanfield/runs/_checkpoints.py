"""Checkpoints by orbax: state, records and what they were made with, whole or not at all."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from particles import InvalidInput

from ..flows import FlowState
from ._compiled import host_copy, placed_like
from ._fingerprint import Fingerprint, array_digest, differences, digests_of, text_digest
from ._hosts import speaks
from ._tape import Tape

if TYPE_CHECKING:
    import orbax.checkpoint as ocp


LAST_WORDS = 0.5  # seconds that orbax's threads get to fall over in silence, after a failure


class DamagedCheckpointWarning(UserWarning):
    """A checkpoint was left out because it is damaged."""


class _Damaged(Exception):
    """A checkpoint that cannot be read, or not as it was written."""


class Restored(NamedTuple):
    """What a checkpoint gives back, with the chunk that the run chose for itself."""

    state: FlowState
    tape: Tape
    chunk: int | None = None


class Checkpoints:
    """Saves a run every so many steps; a resumed run goes on bit for bit.

    A checkpoint carries checksums, so that a damaged one is noticed and the one before is used; and
    a fingerprint of landscape, data, flow, start, step size and key, so that it resumes nothing
    else.

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
        return self.every_steps - int(np.asarray(state.step).max()) % self.every_steps

    def due(self, state: FlowState) -> bool:
        """Whether a save is due now."""
        return int(np.asarray(state.step).max()) % self.every_steps == 0

    def latest(self) -> int | None:
        """Step of the latest checkpoint."""
        return self._open().latest_step() if self.directory.exists() else None

    def save(
        self, state: FlowState, tape: Tape, made_with: Fingerprint, chunk: int | None = None
    ) -> PyTree | None:
        """Write the state and the records; replaces nothing until it is whole.

        Args:
            state: now.
            tape: the records so far.
            made_with: `fingerprint` of the run.
            chunk: that of the run's flow, for whoever goes on with it.

        Returns:
            The leaves that were written, as arrays of their own; `None` where this step is there.

        Raises:
            OSError: the disk is full, or the directory cannot be written any more.
        """
        step = int(np.asarray(state.step).max())
        written = _apart(state)
        with _quiet():
            try:
                if self._open().latest_step() == step:
                    return None
                self._save(step, written, state, tape, made_with, chunk)
            except Exception as error:  # orbax has errors of its own for whatever the disk says
                _let_fall()
                raise OSError(
                    f"the checkpoint of step {step} could not be written to {self.directory}: "
                    f"{_reason(error)}"
                ) from error
        return written

    def _save(
        self,
        step: int,
        written: PyTree,
        state: FlowState,
        tape: Tape,
        made_with: Fingerprint,
        chunk: int | None,
    ) -> None:
        import orbax.checkpoint as ocp

        records = tape.to_arrays()
        about = {
            "form": _form(state),
            "made_with": made_with,
            "state": digests_of(jax.tree.leaves(state)),
            "records": array_digest(records),
            "chunk": chunk,
        }
        self._open().save(
            step,
            args=ocp.args.Composite(
                about=ocp.args.JsonSave(about | {"checksum": text_digest(about)}),
                state=ocp.args.StandardSave(_named(written)),
                tape=ocp.args.StandardSave(records),
            ),
        )

    def restore(self, like: FlowState, made_with: Fingerprint) -> Restored:
        """The latest whole checkpoint.

        Args:
            like: a state of the run, for structure and placement.
            made_with: `fingerprint` of the run that wants to go on.

        Raises:
            InvalidInput: there is no checkpoint, none is whole, or it belongs to another run; the
                message names what differs.
        """
        steps = sorted(self._open().all_steps(), reverse=True) if self.directory.exists() else []
        if not steps:
            raise InvalidInput(
                f"resume is True, but {self.directory} holds no checkpoint; start without resume."
            )
        for step in steps:
            with _quiet():
                try:
                    return self._read(step, like, made_with)
                except _Damaged as damage:
                    reason = str(damage)
                self._manager = None
                _let_fall()
            self._set_aside(step)
            warnings.warn(
                f"the checkpoint of step {step} in {self.directory} is damaged ({reason}) and was "
                "left out.",
                DamagedCheckpointWarning,
                stacklevel=4,
            )
        raise InvalidInput(
            f"{self.directory} holds no whole checkpoint; all of them are damaged. Start anew in "
            "another directory."
        )

    def _read(self, step: int, like: FlowState, made_with: Fingerprint) -> Restored:
        import orbax.checkpoint as ocp

        with _damage("its description"):
            item = ocp.args.Composite(about=ocp.args.JsonRestore())
            about = dict(self._open().restore(step, args=item)["about"])
            checksum = about.pop("checksum")
        if checksum != text_digest(about):
            raise _Damaged("the checksum of its description differs")
        if changed := differences(about["made_with"], made_with):
            raise InvalidInput(
                f"the checkpoint in {self.directory} was made with another "
                f"{', another '.join(changed)}; resume with what it was made with, or start in "
                "another directory."
            )
        # Orbax would convert other types without a word, so the forms are compared first.
        if about["form"] != _form(like):
            raise InvalidInput(
                f"the checkpoint in {self.directory} was written by another version of the library."
            )
        wanted = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for name, leaf in zip(_named(like), jax.tree.leaves(like), strict=True)
        }
        with _damage("its arrays"):
            found = self._open().restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(wanted),  # pyright: ignore[reportCallIssue]
                    tape=ocp.args.StandardRestore(),
                ),
            )
            arrays = [found["state"][name] for name in _named(like)]
            leaves = placed_like(arrays, jax.tree.leaves(like))
            tape: dict[str, Any] = found["tape"]
            records = {t: {n: host_copy(c) for n, c in rows.items()} for t, rows in tape.items()}
        if digests_of(leaves) != about["state"]:
            raise _Damaged("the checksum of its state differs")
        if array_digest(records) != about["records"]:
            raise _Damaged("the checksum of its records differs")
        state = jax.tree.unflatten(jax.tree.structure(like), leaves)
        return Restored(state, Tape.from_arrays(records), about.get("chunk"))

    def _set_aside(self, step: int) -> None:
        """Rename a damaged checkpoint, so that the run can write this step again."""
        if speaks():
            with contextlib.suppress(OSError):
                (self.directory / str(step)).rename(self.directory / f"damaged-{step}")
        self._manager = None

    def _open(self) -> ocp.CheckpointManager:
        if self._manager is None:
            import orbax.checkpoint as ocp

            options = ocp.CheckpointManagerOptions(
                max_to_keep=self.keep, enable_async_checkpointing=False, create=True
            )
            self._manager = ocp.CheckpointManager(self.directory.absolute(), options=options)
        return self._manager


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Orbax says errors again in logs and from its threads; silence them while it works."""
    import orbax.checkpoint  # noqa: F401  # sets the level of its log when it is imported

    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels = [logger.level for logger in loggers]
    hooks = sys.unraisablehook, sys.excepthook
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    # Its native threads report to either hook; errors of this thread pass neither in here.
    sys.unraisablehook, sys.excepthook = lambda _: None, lambda *_: None
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        sys.unraisablehook, sys.excepthook = hooks


@contextlib.contextmanager
def _damage(what: str) -> Iterator[None]:
    """Whatever fails in here is damage: the readers have errors of many kinds."""
    try:
        yield
    except Exception as error:
        raise _Damaged(f"{what} cannot be read: {_reason(error)}") from error


def _let_fall() -> None:
    """Let orbax's threads report what failed while nobody listens."""
    gc.collect()
    time.sleep(LAST_WORDS)
    gc.collect()  # what ended meanwhile says so when it is collected


def _apart(state: FlowState) -> PyTree:
    """A copy of the state: on the host, or on the devices where other hosts hold parts."""
    if jax.process_count() == 1:
        return host_copy(state)
    return jax.block_until_ready(jax.tree.map(jnp.copy, state))


def _reason(error: Exception) -> str:
    """What the operating system said, in an error that quotes it at length."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    quoted = re.search(r"([^:]+) \[os_error_code", str(error))
    if quoted:
        return quoted[1].strip()
    # Its store describes itself in brackets behind the cause.
    first = str(error).partition("\n")[0].partition(" [tensorstore_spec")[0]
    return first or type(error).__name__


def _form(state: FlowState) -> dict[str, str]:
    """Where each leaf belongs, with its type and shape."""
    return {
        f"{index:03d}": f"{jax.tree_util.keystr(path)}: {leaf.dtype}{list(leaf.shape)}"
        for index, (path, leaf) in enumerate(jax.tree_util.tree_flatten_with_path(state)[0])
    }


def _named(state: PyTree) -> dict[str, jax.Array | np.ndarray]:
    """Leaves by position: stable names whatever the particles are called."""
    return {f"{index:03d}": leaf for index, leaf in enumerate(jax.tree.leaves(state))}
