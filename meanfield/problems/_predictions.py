"""What theory says of an ensemble at a critical point of the attention landscape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscapes import MLPAttentionLandscape
from landscapes.mlp_attention import (
    feature_spectrum,
    missing_features,
    missing_name,
    saddle_index,
    saddle_level,
)
from particles import Ensemble

from ..results import CriticalPoint


def critical_point(
    landscape: MLPAttentionLandscape,
) -> Callable[[Ensemble], CriticalPoint | None]:
    """What theory says of a critical ensemble: the features it misses, its level and index.

    Known without ridge and for infinite prompts; elsewhere theory is silent, and so is the
    function. It takes the ensemble to be critical: ask it only of one that is. (theory.md,
    section 2; KS24)

    Args:
        landscape: the attention landscape.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron
        >>> landscape = MLPAttentionLandscape(
        ...     x=jnp.eye(4), f=jnp.eye(4)[:, :2] * jnp.array([2.0, 1.0]), activation="tanh"
        ... )
        >>> a, w = jnp.eye(2), jnp.eye(4)[jnp.array([0, 3])]
        >>> critical_point(landscape)(Ensemble(Neuron(a=a, w=w)))
        CriticalPoint(name='missing {2}', level=0.125, index=1, source='KS24; theory 2')
    """
    if not landscape.exact_saddles:
        return lambda ensemble: None
    eigenvalues = np.asarray(feature_spectrum(landscape))

    def predicted(ensemble: Ensemble) -> CriticalPoint | None:
        missing = missing_features(landscape, ensemble)
        return CriticalPoint(
            name=f"missing {missing_name(missing)}" if missing else "minimum",
            level=saddle_level(eigenvalues, missing),
            index=saddle_index(eigenvalues, missing),
            source="KS24; theory 2",
        )

    return predicted
