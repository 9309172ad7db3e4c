"""How many steps a compiled call may take before the host looks up."""

from __future__ import annotations

import time as clock

from ._hosts import least

SECONDS_PER_CALL = 0.5  # compiled work between looks at the clock, the keyboard and the numbers


class Pace:
    """Chooses the steps of a call from how long the last one took."""

    def __init__(self) -> None:
        self.steps, self._calls, self._since = 8, 0, 0.0

    def __enter__(self) -> None:
        self._since = clock.perf_counter()

    def __exit__(self, *error: object) -> None:
        spent, self._calls = clock.perf_counter() - self._since, self._calls + 1
        if self._calls > 1:  # the first call compiles
            wanted = self.steps * SECONDS_PER_CALL / max(least(spent), 1e-6)
            self.steps = int(min(max(1, self.steps // 8, wanted), self.steps * 8, 2**30))
