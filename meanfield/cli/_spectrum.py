"""`meanfield spectrum`: the Hessian of a saved ensemble, and what kind of point it is at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from particles import InvalidInput
from saddle_analysis import HessianOperator, criticality_report, spectral_density

from .. import plots
from ..reports import Report, saddle_claims
from ..runs import Progress, shown_on
from ._common import Common, File
from ._sources import load_source

MAX_PRODUCTS = 5000  # Hessian products for every stage of the classification


@dataclass(frozen=True)
class Spectrum(Common):
    """Hessian spectrum and criticality report of a saved ensemble."""

    source: Annotated[Path, tyro.conf.Positional] = Path("runs/demo")
    """Folder of a run, or an .npz of named arrays."""
    config: File = None
    """The landscape's configuration, for an .npz."""
    data: File = None
    """An .npz with x and f, in place of the configuration's data."""
    count: int = 8
    """Smallest eigenpairs to report."""
    probes: int = 8
    """Random probes of the spectral density; 0 leaves it out."""
    tolerance: float = 1e-6
    """Gradient norm below which the ensemble counts as critical."""
    time_limit: float = 600.0
    """Seconds for every stage."""
    seed: int = 0
    """Of the random vectors."""

    def __call__(self) -> int:
        """Run the analysis; see `meanfield spectrum --help`."""
        if self.count < 1 or self.probes < 0:
            raise InvalidInput(
                f"count is {self.count} and probes is {self.probes}; count must be at least 1 and "
                "probes not negative."
            )
        source = load_source(self.source, self.config, self.data)
        report = Report(self.folder("spectrum"), "Spectrum of the Wasserstein Hessian", self)
        self.say("1/2 classifying the point")
        with Progress("classifying", 0, MAX_PRODUCTS, self.talks) as bar:
            found = criticality_report(
                source.landscape,
                source.ensemble,
                gradient_tolerance=self.tolerance,
                count=self.count,
                seed=self.seed,
                max_products=MAX_PRODUCTS,
                progress=shown_on(bar),
                time_limit=self.time_limit,
            )
        report.text(found.sentence)
        report.text(f"```\n{found}\n```")
        report.summary |= {
            "kind": found.kind,
            "sentence": found.sentence,
            "gradient_norm": found.gradient_norm,
            "index": found.index,
            "eigenvalues": found.smallest.values.tolist(),
            "residuals": found.smallest.residuals.tolist(),
        }
        known = saddle_claims(source.landscape, source.ensemble, found)
        report.claim(*known.claims)
        report.figure(
            "spectrum",
            "Smallest eigenvalues, each with a residual that proves it.",
            lambda ax: plots.plot_spectrum(
                ax, found.smallest.values, threshold=found.curvature_tolerance, index=known.index
            ),
        )
        if self.probes:
            self.say("2/2 estimating the spectral density")
            with Progress("density", 0, 80 * self.probes, self.talks) as bar:
                density = spectral_density(
                    HessianOperator(source.landscape, source.ensemble),
                    probes=self.probes,
                    steps=80,
                    seed=self.seed,
                    progress=shown_on(bar),
                    time_limit=self.time_limit,
                )
            report.figure(
                "density",
                "Share of eigenvalues below λ, by stochastic Lanczos quadrature; the band bounds "
                "it.",
                lambda ax: plots.plot_density(ax, density, found.smallest.values),
            )
        report.finish()
        if not (self.json or self.quiet):
            print(found)
        self.show(report, "spectrum")
        return 0
