"""What the tests cost, told at the end of a session: programs compiled, processor time by file."""

import collections
import os
from collections.abc import Iterator
from typing import Any

import jax
import pytest
from faults.processes import Server

COMPILED = "/jax/core/compile/backend_compile_duration"


class Costs:
    """A pytest plugin; workers of pytest-xdist send their costs to the process that prints."""

    def __init__(self) -> None:
        self.costs: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0, 0.0])
        self.programs, self.compiling = 0, 0.0
        self.server: Server | None = None
        jax.monitoring.register_event_duration_secs_listener(self.listen)

    def listen(self, event: str, duration: float, **details: Any) -> None:
        """Counts a program of this process; those of started processes are not seen."""
        if event == COMPILED:
            self.programs += 1
            self.compiling += duration

    def now(self) -> tuple[float, int, float]:
        """Processor seconds, with those of ended children; programs; seconds of compiling."""
        forked = self.server.processor if self.server else 0.0
        return sum(os.times()[:4]) + forked, self.programs, self.compiling

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        before = self.now()
        try:
            return (yield)
        finally:
            total = self.costs[item.location[0]]
            for column, (start, end) in enumerate(zip(before, self.now(), strict=True)):
                total[column] += end - start

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["costs"] = dict(self.costs)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        for name, costs in getattr(node, "workeroutput", {}).get("costs", {}).items():
            total = self.costs[name]
            for column, cost in enumerate(costs):
                total[column] += cost

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.costs:
            return
        processor, programs, compiling = map(sum, zip(*self.costs.values(), strict=True))
        terminalreporter.section("costs")
        terminalreporter.line(
            f"{programs:.0f} programs compiled in {compiling:.0f} s; "
            f"{processor:.0f} s of processor time, most in:"
        )
        verbose = terminalreporter.verbosity > 0
        for name, costs in sorted(self.costs.items(), key=lambda pair: -pair[1][0])[
            : None if verbose else 10
        ]:
            terminalreporter.line(
                f"{costs[0]:7.1f} s {costs[1]:5.0f} programs in {costs[2]:5.1f} s  {name}"
            )
