"""The criticality report: gradient, curvature, index, and what follows from them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from landscapes import AbstractLandscape
from particles import Ensemble, InvalidInput

from .spectra import (
    Budget,
    Eigenpairs,
    HessianOperator,
    MorseIndex,
    NullDirection,
    extreme_eigenpairs,
    morse_index,
    probe_null_space,
    require_resolved,
    resolved_threshold,
)

DEFAULT = Budget(max_products=5_000)

Kind = Literal["not critical", "local minimum", "strict saddle", "degenerate saddle"]


class NotCriticalWarning(UserWarning):
    """The ensemble is not at a critical point, so that its spectrum says nothing of saddles."""


@dataclass(frozen=True)
class CriticalityReport:
    """What kind of point an ensemble is at.

    Args:
        kind: `"not critical"`, `"local minimum"` (to tolerance), `"strict saddle"`, or
            `"degenerate saddle"` (no negative curvature, descent at third or fourth order).
        value: L(μ).
        gradient_norm: ‖∇δL/δμ‖ in L²(μ); units of a particle per time.
        gradient_tolerance: below which the ensemble counts as critical.
        smallest: smallest eigenpairs of the Wasserstein Hessian.
        largest: its largest eigenpair.
        curvature_tolerance: eigenvalues within ± this count as zero; 1/time.
        morse: Morse index with its certainty; `None` where no eigenvalue is negative.
        null_directions: probed directions of zero curvature; empty unless none is negative.
        products: Hessian products spent.
    """

    kind: Kind
    value: float
    gradient_norm: float
    gradient_tolerance: float
    smallest: Eigenpairs
    largest: Eigenpairs
    curvature_tolerance: float
    morse: MorseIndex | None
    null_directions: list[NullDirection]
    products: int

    @property
    def index(self) -> int:
        """Number of eigenvalues below −curvature_tolerance."""
        return 0 if self.morse is None else self.morse.index

    @property
    def descent_order(self) -> int:
        """Order of the first derivative that leads down: 1, 2, 3, 4, or 0 for none."""
        if self.kind == "not critical":
            return 1
        if self.kind == "strict saddle":
            return 2
        return min((d.order for d in self.null_directions if d.descends), default=0)

    @property
    def flat(self) -> int:
        """Number of probed directions along which L is constant to fourth order."""
        return sum(direction.order == 0 for direction in self.null_directions)

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        lowest = f"smallest eigenvalue {self.smallest.values[0]:.4g}"
        if self.kind == "not critical":
            return (
                f"Not critical: the gradient norm {self.gradient_norm:.2e} exceeds "
                f"{self.gradient_tolerance:.0e} (L = {self.value:.6g}, {lowest})."
            )
        start = f"at L = {self.value:.6g}, gradient norm {self.gradient_norm:.1e}"
        if self.morse is not None:
            return f"Strict saddle {start}, {lowest}. {self.morse.sentence}"
        if self.kind == "degenerate saddle":
            return (
                f"Degenerate saddle {start}: {lowest} is zero to tolerance "
                f"{self.curvature_tolerance:.1e}, and L descends at order {self.descent_order}."
            )
        return f"Local minimum to tolerance {start}, {lowest}.{self._about_null()}"

    def _about_null(self) -> str:
        probed, flat = len(self.null_directions), self.flat
        if not probed:
            return ""
        if flat == probed:
            return f" All {probed} probed null directions are flat to fourth order (a symmetry)."
        return (
            f" Of {probed} probed null directions {flat} are flat to fourth order (a symmetry), "
            f"{probed - flat} rise."
        )

    def __str__(self) -> str:
        """The sentence and the eigenpairs."""
        return (
            f"{self.sentence}\nSmallest:\n{self.smallest}\nLargest:\n{self.largest}\n"
            f"{self.products} Hessian products in all."
        )


def criticality_report(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    fast: PyTree | None = None,
    *,
    gradient_tolerance: float | None = None,
    curvature_tolerance: float | None = None,
    count: int = 1,
    confidence: float = 0.99,
    expected: int = 1,
    chunk: int | None = None,
    budget: Budget = DEFAULT,
    key: Key[Array, ""] | None = None,
) -> CriticalityReport:
    """Classify an ensemble by its gradient, its Hessian and, where that is silent, beyond it.

    Args:
        landscape: any landscape.
        ensemble: the point; all weights positive.
        fast: frozen fast variables; `None` for the two-timescale limit.
        gradient_tolerance: largest ‖∇δL/δμ‖ of a critical point; by default 1e-6 in float64,
            1e-3 in float32.
        curvature_tolerance: eigenvalues within ± this count as zero; by default 1e-5 ‖H‖ in
            float64, 1e-3 ‖H‖ in float32.
        count: smallest eigenpairs to report.
        confidence: of the Morse index.
        expected: guess of the Morse index.
        chunk: particles held at once.
        budget: products and seconds of each of the three searches; 5,000 products by default.
        key: of the random vectors; `None` for a fixed one.

    Raises:
        InvalidInput: non-finite particles, zero weights, a tolerance that is not positive, or a
            curvature tolerance below what the precision tells from zero (200 eps ‖H‖).
        RuntimeError: a Hessian product is not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "tanh")
        >>> mu = Ensemble(Neuron(a=jnp.zeros((1, 1)), w=jnp.zeros((1, 1))))
        >>> report = criticality_report(landscape, mu)
        >>> report.kind, report.index  # F = ½(2 − a tanh w)² at the origin
        ('strict saddle', 1)
    """
    for name, value in [
        ("gradient_tolerance", gradient_tolerance),
        ("curvature_tolerance", curvature_tolerance),
    ]:
        if value is not None and not value > 0:
            raise InvalidInput(f"{name} is {value}; it must be positive.")
    operator = HessianOperator(landscape, ensemble, fast, chunk=chunk)
    double = operator.dtype == np.float64
    if gradient_tolerance is None:
        gradient_tolerance = 1e-6 if double else 1e-3
    here = landscape.first_order(ensemble, fast, chunk=chunk)
    value, gradient_norm = here.value, float(ensemble.norm(here.gradient))
    critical = gradient_norm <= gradient_tolerance
    if not critical:
        warnings.warn(
            f"the ensemble is not at a critical point (gradient norm {gradient_norm:.2e} > "
            f"{gradient_tolerance:.0e}); its spectrum says nothing about saddles.",
            NotCriticalWarning,
            stacklevel=2,
        )
    limits: dict[str, Any] = {"budget": budget, "key": key}
    count = min(count, operator.size)
    largest = extreme_eigenpairs(operator, 1, which="largest", tolerance=1e-3, **limits)
    norm = largest.norm
    if curvature_tolerance is None:
        curvature_tolerance = max((1e-5 if double else 1e-3) * norm, float(np.finfo(float).tiny))
    least = resolved_threshold(operator.dtype, norm)
    require_resolved("curvature_tolerance", curvature_tolerance, least, operator.dtype, norm)
    smallest = extreme_eigenpairs(
        operator, count, residual=curvature_tolerance / 10, verify=count > 1, **limits
    )
    products = largest.products + smallest.products
    morse, directions = None, []
    kind: Kind = "not critical"
    if critical and smallest.values[0] < -curvature_tolerance:
        morse = morse_index(
            operator,
            threshold=curvature_tolerance,
            expected=expected,
            confidence=confidence,
            known=smallest,
            **limits,
        )
        products += morse.pairs.products
        kind = "strict saddle"
    elif critical:
        null = [
            field
            for lam, field in zip(smallest.values, smallest.fields, strict=True)
            if abs(lam) <= curvature_tolerance
        ]
        length = float(ensemble.norm(ensemble.particles)) or 1.0
        directions, spent = probe_null_space(
            operator,
            starts=null,
            cutoff=curvature_tolerance,
            tolerance=1e-6 if double else 1e-3,
            scale=max(abs(float(value)), norm * length**2, float(jnp.finfo(operator.dtype).tiny)),
            length=length,
            key=key,
        )
        products += spent
        descends = any(direction.descends for direction in directions)
        kind = "degenerate saddle" if descends else "local minimum"
    return CriticalityReport(
        kind,
        float(value),
        gradient_norm,
        gradient_tolerance,
        smallest,
        largest,
        curvature_tolerance,
        morse,
        directions,
        products,
    )
