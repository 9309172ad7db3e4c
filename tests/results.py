"""Checks of what studies and reproductions return."""

import re
from dataclasses import dataclass
from pathlib import Path

from meanfield import Result
from meanfield.reports import Report
from meanfield.results import references


@dataclass(frozen=True)
class _Nothing:
    """No configuration."""


def written(result: Result, folder: Path) -> Result:
    """The result, once its claims hold, its sources resolve, and all of it has been written."""
    failing = [claim for claim in result.claims if not claim.holds]
    assert result.claims
    assert not failing, failing
    for claim in result.claims:
        for source in claim.source.split("; "):
            assert source in references() or re.fullmatch(r"theory \d+", source), claim
    report = Report(folder, result.title, "reproduce", _Nothing())
    report.add(result)
    report.finish()
    names = {path.name for path in folder.iterdir()}
    assert {f"{figure.name}.png" for figure in result.figures} <= names
    assert {f"{name}.nc" for name in result.data} <= names
    return result
