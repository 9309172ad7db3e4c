"""What an N → ∞ study measures: a table of errors and distances, with their laws in theory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Sizes = Float[np.ndarray, " sizes"]


class Counts(NamedTuple):
    """Particles that ensembles of N are compared with.

    Args:
        reference: of the reference ensemble, N_ref.
        transport: of the sample of it that exact distances are taken to.
    """

    reference: int
    transport: int


@dataclass(frozen=True)
class Measure:
    """One error or distance of a finite ensemble, as a law in N.

    Theory says |mean over seeds|^power ∝ (effective size)^order; theory.md, section 7.

    Args:
        name: of the variable in a study's dataset.
        order: exponent that theory gives; `None` where it gives none.
        power: of the mean over seeds, such as ½ for a mean square.
        unit: of the variable in the dataset.
        label: for figures, with the unit after the power.
        statement: of the claim that the exponent is `order`; empty for no claim.
        effective_size: what theory has in place of N, from the sizes and the particles that they
            are compared with.
        at_horizon: whether it is taken at the end only, since it costs more than the flow.
    """

    name: str
    order: float | None
    power: float
    unit: str
    label: str
    statement: str
    effective_size: Callable[[Sizes, Counts], Sizes]
    at_horizon: bool = False


def _own(sizes: Sizes, counts: Counts) -> Sizes:
    return sizes


def _against_reference(sizes: Sizes, counts: Counts) -> Sizes:
    """An error against the reference, which has one of its own: 1/N − 1/N_ref."""
    return 1 / (1 / sizes - 1 / counts.reference)


def _against_half(sizes: Sizes, counts: Counts) -> Sizes:
    """A distance between independent samples, of N and of N_ref/2 particles."""
    return 1 / (1 / sizes + 2 / counts.reference)


def _against_sample(sizes: Sizes, counts: Counts) -> Sizes:
    """A distance between independent samples, of N and of `transport` particles."""
    return 1 / (1 / sizes + 1 / max(counts.transport, 1))


#: Everything that is measured. A new row needs its values in `_compared` or `_distances`.
MEASURES: tuple[Measure, ...] = (
    Measure(
        "coupling",
        -0.5,
        0.5,
        "particle²",
        "coupling error (particle)",
        "coupling error: exponent of N",
        _against_reference,
    ),
    Measure(
        "fluctuation",
        -0.5,
        0.5,
        "loss²",
        "standard deviation of L (loss)",
        "fluctuation of the loss: exponent of N",
        _own,
    ),
    Measure(
        "bias",
        -1.0,
        1.0,
        "loss",
        "|bias of L| (loss)",
        "bias of the loss: exponent of N",
        _against_reference,
    ),
    Measure(
        "moments",
        -0.5,
        0.5,
        "moment²",
        "‖error of the moments‖ (moment)",
        "error of the moments: exponent of N",
        _against_reference,
    ),
    Measure(
        "sinkhorn",
        -1.0,
        1.0,
        "particle²",
        "Sinkhorn divergence (particle²)",
        "Sinkhorn divergence: exponent of N",
        _against_sample,
        at_horizon=True,
    ),
    Measure(
        "sliced", -0.5, 0.5, "particle²", "sliced W2 (particle)", "", _against_half, at_horizon=True
    ),
    # Its exponent depends on the dimension: it is looked at, and not fitted.
    Measure("w2", None, 1.0, "particle", "W2, exact (particle)", "", _own, at_horizon=True),
)
MEASURE = MappingProxyType({measure.name: measure for measure in MEASURES})
