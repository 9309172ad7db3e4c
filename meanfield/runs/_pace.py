"""How many steps and records a compiled call may take before the host looks up."""

from __future__ import annotations

import time as clock

from ._hosts import least

SECONDS_PER_CALL = 0.5  # compiled work between looks at the clock, the keyboard and the numbers
MOST = 2**30


class Pace:
    """Chooses the steps and records of a call from how long the last one took for its own."""

    def __init__(self) -> None:
        self.steps, self.rows, self._calls = 8, 1, 0
        self._since = 0.0

    def start(self) -> None:
        """A call begins."""
        self._since = clock.perf_counter()

    def stop(self, steps: int, rows: int = 0) -> None:
        """It is back, having taken so many steps and records."""
        spent, self._calls = clock.perf_counter() - self._since, self._calls + 1
        if self._calls > 1:  # the first call compiles
            share = SECONDS_PER_CALL / max(least(spent), 1e-6)
            self.steps = _next(self.steps, steps, share)
            self.rows = _next(self.rows, rows, share)


def _next(allowed: int, taken: int, share: float) -> int:
    """As many as fit, from those taken; a call that took none tells nothing."""
    if taken == 0:
        return allowed
    return int(min(max(1, allowed // 8, taken * share), allowed * 8, MOST))
