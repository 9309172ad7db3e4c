"""What a floating type resolves of an operator: the smallest residuals and thresholds."""

from __future__ import annotations

import numpy as np

from particles import InvalidInput

#: Error of a product in units of eps ‖H‖: 1 to 4 between float32 and float64, networks and
#: attention of 160 to 480 unknowns.
PRODUCT = 4
#: Smallest residual that may be asked for, in units of eps ‖H‖: 4 to 10 were reached there.
RESIDUAL = 20
#: Eigenvalues in units of eps ‖H‖ that are told from zero.
THRESHOLD = 10 * RESIDUAL


def resolved_residual(dtype: np.dtype, norm: float) -> float:
    """The smallest residual that products of this type resolve at ‖H‖ = norm."""
    return RESIDUAL * float(np.finfo(dtype).eps) * norm


def resolved_threshold(dtype: np.dtype, norm: float) -> float:
    """The smallest |λ| that products of this type tell from zero at ‖H‖ = norm."""
    return THRESHOLD * float(np.finfo(dtype).eps) * norm


def require_resolved(name: str, value: float, least: float, dtype: np.dtype, norm: float) -> None:
    """Refuse a number below what the type resolves.

    Raises:
        InvalidInput: `value` is below `least`.
    """
    if value < least:
        remedy = "raise it, or use float64" if dtype.itemsize < 8 else "raise it"
        raise InvalidInput(
            f"{name} is {value:.1e}, below the {least:.1e} that {dtype} resolves at "
            f"‖H‖ = {norm:.2g}; {remedy}."
        )
