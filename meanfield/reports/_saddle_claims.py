"""What theory says of an ensemble at a critical point of the attention landscape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landscapes import Landscape, MLPAttentionLandscape
from landscapes.mlp_attention import feature_spectrum, missing_features, saddle_index, saddle_level
from particles import Ensemble
from saddle_analysis import CriticalityReport

from ..results import Claim


@dataclass(frozen=True)
class SaddleClaims:
    """Claims about level and Morse index, and that index; none where theory is silent."""

    claims: list[Claim]
    index: int | None


def saddle_claims(
    landscape: Landscape, ensemble: Ensemble, found: CriticalityReport
) -> SaddleClaims:
    """Level and index at a critical point, where they are known: no ridge, infinite prompts."""
    exact = (
        isinstance(landscape, MLPAttentionLandscape)
        and float(landscape.ridge) == 0
        and float(landscape.inverse_context) == 0
    )
    if not exact or found.kind == "not critical":
        return SaddleClaims([], None)
    assert isinstance(landscape, MLPAttentionLandscape)
    eigenvalues = np.asarray(feature_spectrum(landscape))
    missing = missing_features(landscape, ensemble)
    index = saddle_index(eigenvalues, missing)
    level = Claim.equal(
        f"loss is the critical level of the {len(missing)} missing features",
        "KS24; theory 2",
        saddle_level(eigenvalues, missing),
        found.value,
        relative=1e-6,
        absolute=1e-9,
    )
    return SaddleClaims([level, Claim.equal("Morse index", "theory 2", index, found.index)], index)
