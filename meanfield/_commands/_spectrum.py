"""`meanfield spectrum`: the Hessian of a saved ensemble, and what kind of point it is at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from landscapes import (
    AttentionLandscape,
    feature_spectrum,
    missing_features,
    saddle_index,
    saddle_level,
)
from particles import InvalidInput
from saddle_analysis import (
    CriticalityReport,
    HessianOperator,
    criticality_report,
    spectral_density,
)
from saddle_analysis import Progress as SpectralProgress

from .. import plots
from .._claims import Claim
from .._progress import Progress
from .._report import Report
from ._common import Common
from ._sources import Source, load_source

MAX_PRODUCTS = 5000  # Hessian products for every stage of the classification


@dataclass(frozen=True)
class Spectrum(Common):
    """Hessian spectrum and criticality report of a saved ensemble."""

    source: Annotated[Path, tyro.conf.Positional] = Path("runs/demo")
    """Folder of a run, or an .npz of named arrays."""
    config: Path | None = None
    """The landscape's configuration, for an .npz."""
    data: Path | None = None
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
                progress=_shown_on(bar),
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
        index = _claims(source, found, report)
        report.figure(
            "spectrum",
            "Smallest eigenvalues, each with a residual that proves it.",
            lambda ax: plots.plot_spectrum(
                ax, found.smallest.values, threshold=found.curvature_tolerance, index=index
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
                    progress=_shown_on(bar),
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


def _shown_on(bar: Progress) -> Callable[[SpectralProgress], None]:
    """A callback for the spectral computations that moves a bar."""
    return lambda seen: bar.update(
        seen.products, f"{seen.products} products, residual {seen.residual:.1e}"
    )


def _claims(source: Source, found: CriticalityReport, report: Report) -> int | None:
    """At a saddle of the attention landscape theory knows level and index; returns the index."""
    landscape, ensemble = source.landscape, source.ensemble
    exact = (
        isinstance(landscape, AttentionLandscape)
        and float(landscape.ridge) == 0
        and float(landscape.inverse_context) == 0
    )
    if not exact or found.kind == "not critical":
        return None
    assert isinstance(landscape, AttentionLandscape)
    eigenvalues = np.asarray(feature_spectrum(landscape))
    missing = missing_features(landscape, ensemble)
    index = saddle_index(eigenvalues, missing)
    report.claim(
        Claim.equal(
            f"loss is the critical level of the {len(missing)} missing features",
            "KS24; theory 2",
            saddle_level(eigenvalues, missing),
            found.value,
            relative=1e-6,
            absolute=1e-9,
        ),
        Claim.equal("Morse index", "theory 2", index, found.index),
    )
    return index
