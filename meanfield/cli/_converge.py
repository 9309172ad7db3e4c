"""`meanfield converge`: the N → ∞ study, with fitted exponents and their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax

from landscapes import Landscape, MergedLinearAttentionLandscape, neuron_start
from landscapes.linear_attention import PopulationMoments, PromptDistribution, head_start
from landscapes.softmax_attention import (
    feature_probabilities,
    softmax_attention_landscape,
    softmax_head_start,
)
from particles import InvalidInput

from ..flows import GradientFlow
from ..problems import LandscapeConfig, build_landscape, landscape_key
from ..reports import Report, convergence_result
from ..studies import Draw, convergence_study
from ._common import Common, File

CONTEXT = 16  # tokens in a prompt of the attention landscapes whose particles are heads

@dataclass(frozen=True)
class Converge(Common):
    """N → ∞: errors of finite ensembles against N, with fitted exponents."""

    landscape: Literal["attention", "regression", "linear-attention", "softmax-attention"] = (
        "attention"
    )
    """KS24's attention landscape, two-layer regression (CB18), merged linear attention (ZSLS25),
    or softmax attention (HCL23); particles of the last two are heads."""
    data: File = None
    """An .npz with arrays x and f, in place of drawn samples."""
    smallest: int = 64
    """Smallest number of particles; sizes double from there."""
    largest: int = 8192
    """Largest number of particles; the reference has twice as many."""
    seeds: int = 16
    """Independent references."""
    samples: int = 128
    """Number M of drawn samples, or of drawn prompts for softmax attention."""
    dim: int = 4
    """Input dimension d, of tokens for linear attention; number K of features for softmax."""
    spectrum: tuple[float, ...] = (1.0, 0.5)
    """Eigenvalues of the drawn targets' second moment."""
    ridge: float = 1e-3
    """Ridge ρ of the attention matrix."""
    output_mean: float = 1.0
    """Correlation of output with input weights; 0 makes the output mean zero."""
    horizon: float = 3.0
    """Flow time."""
    dt: float = 0.05
    """Step (explicit Euler)."""
    transport: int = 1024
    """Particles up to which W2 and Sinkhorn distances are taken; 0 for none."""
    seed: int = 0
    """Of every random draw."""

    def __call__(self) -> int:
        """Run the study; see `meanfield converge --help`."""
        if not 1 <= self.smallest <= self.largest:
            raise InvalidInput(
                f"smallest is {self.smallest} and largest is {self.largest}; they must be positive "
                "and in order."
            )
        sizes = [self.smallest]
        while 2 * sizes[-1] <= self.largest:
            sizes.append(2 * sizes[-1])
        flow, draw = self._problem()
        report = Report(self.folder("converge"), "N → ∞", self)
        self.say(f"N = {sizes[0]} to {sizes[-1]}, {self.seeds} seeds")
        found = convergence_study(
            flow,
            draw,
            key=jax.random.key(self.seed),
            horizon=self.horizon,
            dt=self.dt,
            sizes=sizes,
            seeds=self.seeds,
            transport=self.transport,
            progress=self.talks,
        )
        report.add(convergence_result(found))
        report.finish()
        self.show(report, "converge")
        return 0

    def _problem(self) -> tuple[GradientFlow, Draw]:
        match self.landscape:
            case "linear-attention":
                covariance = [(d + 1) / self.dim for d in range(self.dim)]
                prompts = PopulationMoments(PromptDistribution(covariance, CONTEXT))
                heads = MergedLinearAttentionLandscape(prompts)
                return _euler(heads), lambda key, size: head_start(key, heads, size, scale=0.5)
            case "softmax-attention":
                softmax = softmax_attention_landscape(
                    feature_probabilities(self.dim),
                    CONTEXT,
                    prompts=self.samples,
                    key=landscape_key(self.seed),
                )
                return _euler(softmax), lambda key, size: softmax_head_start(
                    key, softmax, size, scale=1.0
                )
            case kind:
                return self._neurons(kind)

    def _neurons(self, kind: Literal["attention", "regression"]) -> tuple[GradientFlow, Draw]:
        config = LandscapeConfig(
            kind=kind,
            data="" if self.data is None else str(self.data),
            dim=self.dim,
            samples=self.samples,
            spectrum=self.spectrum,
            ridge=self.ridge,
        )
        key = landscape_key(self.seed)
        landscape = build_landscape(key, config).landscape
        law = jax.random.fold_in(key, 1)
        return _euler(landscape), lambda key, size: neuron_start(
            key, landscape, size, output_mean=self.output_mean, law=law
        )


def _euler(landscape: Landscape) -> GradientFlow:
    return GradientFlow(landscape, scheme="euler")
