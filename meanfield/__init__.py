"""Mean-field particle simulation of Wasserstein gradient flows: the dynamics and the front door.

What every user needs is here; the rest is reached through its room: `meanfield.flows`, `runs`,
`problems`, `studies`, `plots`, `reports`, `reproductions`, `results`. A name is imported when it is
first used, so that `import meanfield` and the command line start at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .flows import AcceleratedFlow as AcceleratedFlow
    from .flows import GradientFlow as GradientFlow
    from .problems import Config as Config
    from .problems import Problem as Problem
    from .problems import load as load
    from .reports import diagnose as diagnose
    from .reproductions import reproduce as reproduce
    from .results import Claim as Claim
    from .results import Result as Result
    from .results import cite as cite
    from .runs import Checkpoints as Checkpoints
    from .runs import FlowFailed as FlowFailed
    from .runs import Outcome as Outcome
    from .runs import Run as Run
    from .runs import RunInterrupted as RunInterrupted
    from .runs import Statistic as Statistic
    from .runs import at as at
    from .runs import component as component
    from .runs import every as every
    from .runs import log_spaced as log_spaced
    from .runs import simulate as simulate
    from .runs import snapshots as snapshots
    from .studies import convergence_study as convergence_study
    from .studies import descent_study as descent_study
    from .studies import escape_study as escape_study
    from .studies import simulate_perturbed as simulate_perturbed

#: The room of every name at the top; a test holds it equal to the imports above.
_ROOMS = {
    "flows": ["AcceleratedFlow", "GradientFlow"],
    "problems": ["Config", "Problem", "load"],
    "reports": ["diagnose"],
    "reproductions": ["reproduce"],
    "results": ["Claim", "Result", "cite"],
    "runs": [
        "Checkpoints",
        "FlowFailed",
        "RunInterrupted",
        "Outcome",
        "Run",
        "Statistic",
        "at",
        "component",
        "every",
        "log_spaced",
        "simulate",
        "snapshots",
    ],
    "studies": [
        "convergence_study",
        "descent_study",
        "escape_study",
        "simulate_perturbed",
    ],
    "plots": [],
}
_PLACES = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_PLACES, *_ROOMS])
