"""`meanfield diagnose`: what kind of point, what surrounds it, does it depend on the samples."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax

from particles import load_ensemble

from ..reports import DiagnosisOptions, diagnose
from ._common import File
from ._source import FromSource


@dataclass(frozen=True)
class Diagnose(FromSource):
    """Criticality of an ensemble, its surroundings, and its dependence on the samples."""

    command = "diagnose"

    other: File = None
    """An .npz with a second ensemble on the same landscape, to look at the way between."""
    options: DiagnosisOptions = field(default_factory=DiagnosisOptions)

    def __call__(self) -> int:
        """Run the diagnosis; see `meanfield diagnose --help`."""
        out, (problem, ensemble, history) = self.folder(), self.load()
        other = None
        if self.other is not None:
            other = load_ensemble(self.other, like=problem.landscape.particle)
        with self.report(out, "The landscape around an ensemble") as report:
            diagnose(
                problem.landscape,
                ensemble,
                history=history,
                other=other,
                redraws=problem.redraws,
                theory=problem.predicted,
                options=self.options,
                key=jax.random.key(self.seed),
                out=report,
                progress=self.shows_progress,
            )
        report.finish()
        self.show(report)
        return 0
