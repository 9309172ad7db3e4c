"""`meanfield spectrum`: the Hessian of an ensemble, and what kind of point it is at."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax

from ..problems import Natural
from ..reports import CriticalityOptions, criticality_result, density_result
from ._source import FromSource


@dataclass(frozen=True)
class SpectrumOptions(CriticalityOptions):
    """How the spectrum is looked at."""

    probes: Natural = 8
    """Random probes of the spectral density; 0 leaves it out."""


@dataclass(frozen=True)
class Spectrum(FromSource):
    """Hessian spectrum and kind of critical point of a run's ensemble, a file's, or a start."""

    command = "spectrum"

    options: SpectrumOptions = field(default_factory=SpectrumOptions)

    def __call__(self) -> int:
        """Run the analysis; see `meanfield spectrum --help`."""
        out, (problem, ensemble, history) = self.folder(), self.load()
        with self.report(out, "Spectrum of the Wasserstein Hessian") as report:
            self.say("1/2 classifying the point")
            found, result = criticality_result(
                problem.landscape,
                ensemble,
                self.options,
                predicted=problem.predicted,
                history=history,
                key=jax.random.key(self.seed),
                progress=self.shows_progress,
            )
            report.add(result)
            if self.options.probes:
                self.say("2/2 estimating the spectral density")
                report.add(
                    density_result(
                        problem.landscape,
                        ensemble,
                        found,
                        probes=self.options.probes,
                        key=jax.random.key(self.seed),
                        time_limit=self.options.time_limit,
                        progress=self.shows_progress,
                    )
                )
        report.finish()
        if not (self.json or self.quiet):
            print(found)
        self.show(report)
        return 0
