"""Exit codes of runs that a signal stopped."""

from __future__ import annotations

import signal

from ..runs import Outcome, Run


def exit_code(run: Run) -> int:
    """0 for a run that ended by itself; 130 or 143 for one that Ctrl-C or SIGTERM stopped."""
    if run.outcome is not Outcome.INTERRUPTED:
        return 0
    return 128 + (run.signal or signal.SIGTERM)  # a signal on another host is not known here
