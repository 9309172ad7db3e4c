"""A progress bar on standard error, shown once the work has taken two seconds."""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from saddle_analysis.spectra import Progress as SpectralProgress

PATIENCE = 2.0  # seconds before anything is shown
PERIOD = 10.0  # seconds between lines where there is no terminal


class Progress:
    """Reports how far long work has come; a bar in a terminal, a line now and then elsewhere.

    Args:
        label: what is running.
        start: position at the beginning, in time or steps or products.
        end: position at the end.
        shown: false for silence.
    """

    def __init__(self, label: str, start: float, end: float, shown: bool = True):
        self.label, self.start, self.end, self.shown = label, start, end, shown
        self._bar: Bar | None = None
        self._spoke = clock.monotonic() + PATIENCE - PERIOD

    def __enter__(self) -> Progress:
        self._began = clock.monotonic()
        return self

    def update(self, position: float, note: str = "") -> None:
        """Say where the work is, with a few words on how it goes."""
        if not self.shown or clock.monotonic() - self._began < PATIENCE:
            return
        if self._bar is None:
            self._open()
        bar = self._bar
        assert bar is not None
        if bar.console.is_terminal:
            bar.update(bar.task_ids[0], completed=position - self.start, note=note)
        elif clock.monotonic() - self._spoke > PERIOD:
            self._spoke = clock.monotonic()
            share = (position - self.start) / (self.end - self.start)
            bar.console.print(f"{self.label}: {share:.0%}, {note}", highlight=False)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._bar.add_task(self.label, total=self.end - self.start, note="")
        if self._bar.console.is_terminal:
            self._bar.start()

    def __exit__(self, *error: object) -> None:
        if self._bar is not None and self._bar.console.is_terminal:
            self._bar.stop()


def shown_on(bar: Progress) -> Callable[[SpectralProgress], None]:
    """A callback for spectral computations that moves a bar."""
    return lambda seen: bar.update(seen.done, f"{seen.done} products, residual {seen.residual:.1e}")
