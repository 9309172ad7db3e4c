"""Ctrl-C and SIGTERM as a flag that the host loop reads between compiled chunks."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interrupts:
    """While open, the first SIGINT or SIGTERM sets `seen` and `signal`; a second acts as usual."""

    def __init__(self) -> None:
        self.seen = False
        self.signal = 0
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for name in (signal.SIGINT, signal.SIGTERM):
                self._previous[name] = signal.signal(name, self._notice)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self.seen, self.signal = True, int(number)
        self._restore()

    def _restore(self) -> None:
        for name, handler in self._previous.items():
            signal.signal(name, handler)  # pyright: ignore[reportArgumentType]
        self._previous = {}
