"""Sums of landscapes: R(∫ Φ dμ) + ½ ∬ W dμ dμ + ∫ V dμ and any other."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from particles import Ensemble, InvalidInput

from ._abstract import AbstractLandscape
from ._manifolds import Manifold
from ._observables import Observable
from ._variations import (
    Curvature,
    FirstOrder,
    FirstVariation,
    Mixture,
    Part,
    SecondVariation,
)
from ._warnings import StartWarning


class Sum(AbstractLandscape):
    """L(μ) = Σ_k L_k(μ), of landscapes over the same particles.

    Moments and fast variables are tuples of those of the terms.

    Args:
        *terms: at least one landscape.

    Raises:
        InvalidInput: no terms, or something that is no landscape.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Confinement, Interaction
        >>> springs = Interaction(lambda x, y: 0.5 * jnp.sum((x - y) ** 2))
        >>> mu = Ensemble(jnp.array([[0.0], [2.0]]))
        >>> float(Sum(springs, Confinement(1.0)).value(mu))
        1.5
    """

    terms: tuple[AbstractLandscape, ...]

    def __init__(self, *terms: AbstractLandscape):
        wrong = [term for term in terms if not isinstance(term, AbstractLandscape)]
        if wrong or not terms:
            found = f"holds a {type(wrong[0]).__name__}" if wrong else "is empty"
            raise InvalidInput(f"terms {found}; give landscapes, such as Sum(one, other).")
        apart = [term for term in terms if term.manifold != terms[0].manifold]
        if apart:
            bound = [type(term.manifold).__name__ for term in (terms[0], apart[0])]
            raise InvalidInput(
                f"terms are bound to {bound[0]} and {bound[1]} (NoneType: to nothing); bind all to "
                "the same manifold, or the sum as a whole."
            )
        mobile = [type(term).__name__ for term in terms if term.mobile]
        if len(mobile) > 1:
            raise InvalidInput(
                f"terms {mobile} have a mobility each; a sum has one, so that one term may."
            )
        self.terms = terms

    @property
    def convex(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether all terms are."""
        return all(term.convex for term in self.terms)

    @property
    def pairwise(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether one of the terms is."""
        return any(term.pairwise for term in self.terms)

    @property
    def mobile(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether one of the terms is: its mobility is that of the sum."""
        return any(term.mobile for term in self.terms)

    @property
    def manifold(self) -> Manifold | None:
        """That of the terms."""
        return self.terms[0].manifold

    @property
    def particle(self) -> PyTree | None:
        """That of the first term that knows it."""
        known = [term.particle for term in self.terms if term.particle is not None]
        return known[0] if known else None

    def features(self, particle: PyTree) -> tuple[PyTree, ...]:
        """Those of the terms."""
        return tuple(term.features(particle) for term in self.terms)

    def feature_sum(
        self, particles: PyTree, weights: Float[Array, " particles"]
    ) -> tuple[PyTree, ...]:
        """As fast as those of the terms."""
        return tuple(term.feature_sum(particles, weights) for term in self.terms)

    def particle_bytes(self, particle: PyTree) -> int:
        """That of the largest term."""
        return max(term.particle_bytes(particle) for term in self.terms)

    def chunk(self, ensemble: Ensemble, chunk: int | None = None) -> int:
        """That of the largest term."""
        return min(term.chunk(ensemble, chunk) for term in self.terms)

    def concerns(self, ensemble: Ensemble) -> list[StartWarning]:
        """Those of the terms."""
        return [concern for term in self.terms for concern in term.concerns(ensemble)]

    def observables(self, moments: tuple[PyTree, ...]) -> dict[str, Observable]:
        """Those of the terms; a name that an earlier term has is followed by the term's number."""
        found: dict[str, Observable] = {}
        for number, (term, one) in enumerate(zip(self.terms, moments, strict=True), start=1):
            for name, seen in term.observables(one).items():
                found[f"{name}_{number}" if name in found else name] = seen
        return found

    def require_fit(self, ensemble: Ensemble) -> None:
        """Refuse what a term refuses."""
        for term in self.terms:
            term.require_fit(ensemble)

    def require_valid(self) -> None:
        """Refuse what a term refuses."""
        for term in self.terms:
            term.require_valid()

    def fast_equilibrium(self, ensemble: Ensemble, *, chunk: int | None = None) -> PyTree | None:
        """Those of the terms; `None` where no term has any."""
        each = tuple(term.fast_equilibrium(ensemble, chunk=chunk) for term in self.terms)
        return None if all(one is None for one in each) else each

    def value_and_moments(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> tuple[Float[Array, ""], PyTree]:
        """The sum of the values, and all moments."""
        values, moments = zip(
            *(term.value_and_moments(ensemble, one, chunk=chunk) for term, one in self._each(fast)),
            strict=True,
        )
        return _total(values), moments

    def _first_order(
        self,
        ensemble: Ensemble,
        fast: PyTree | None = None,
        *,
        potential: bool = False,
        chunk: int | None = None,
    ) -> FirstOrder:
        """The sum of the terms' slopes."""
        found = [
            term.first_order(ensemble, one, potential=potential, chunk=chunk)
            for term, one in self._each(fast)
        ]
        return FirstOrder(
            value=_total([one.value for one in found]),
            moments=tuple(one.moments for one in found),
            gradient=_total([one.gradient for one in found]),
            slope=None if fast is None else tuple(one.slope for one in found),
            potential=_total([one.potential for one in found]) if potential else None,
            mobility=next((one.mobility for one in found if one.mobility is not None), None),
        )

    def first_variation(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> FirstVariation:
        """The sum of the terms' variations."""
        each = tuple(t.first_variation(ensemble, f, chunk=chunk) for t, f in self._each(fast))
        return _SumFirstVariation(terms=each, mean=_total([one.mean for one in each]))

    def second_variation(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> SecondVariation:
        """The sum of the terms' variations."""
        return _SumSecondVariation(
            tuple(t.second_variation(ensemble, f, chunk=chunk) for t, f in self._each(fast))
        )

    def curvature(
        self, ensemble: Ensemble, fast: PyTree | None = None, *, chunk: int | None = None
    ) -> Curvature:
        """The sum of the terms' Hessians."""
        return _SumCurvature(
            tuple(t.curvature(ensemble, f, chunk=chunk) for t, f in self._each(fast))
        )

    def mixture(
        self, ensemble: Ensemble, others: tuple[Ensemble, ...], *, chunk: int | None = None
    ) -> Mixture:
        """Each term in its own way."""
        return _SumMixture(tuple(t.mixture(ensemble, others, chunk=chunk) for t in self.terms))

    def _each(self, fast: PyTree | None) -> list[tuple[AbstractLandscape, PyTree | None]]:
        """The terms with their fast variables."""
        each = (None,) * len(self.terms) if fast is None else fast
        return list(zip(self.terms, each, strict=True))


class _SumFirstVariation(FirstVariation):
    terms: tuple[FirstVariation, ...]
    mean: Float[Array, ""]

    def potential(self, particle: PyTree) -> Float[Array, ""]:
        return _total([term.potential(particle) for term in self.terms])

    def potential_and_gradient(
        self, points: Ensemble, *, chunk: int | None = None
    ) -> tuple[Float[Array, " particles"], PyTree]:
        return _total([term.potential_and_gradient(points, chunk=chunk) for term in self.terms])


class _SumSecondVariation(SecondVariation):
    terms: tuple[SecondVariation, ...]

    def __call__(self, particle: PyTree, other: PyTree) -> Float[Array, ""]:
        return _total([term(particle, other) for term in self.terms])


class _SumCurvature(Curvature):
    terms: tuple[Curvature, ...]

    def __call__(self, field: PyTree, part: Part = "full") -> PyTree:
        return _total([term(field, part) for term in self.terms])


class _SumMixture(Mixture):
    terms: tuple[Mixture, ...]

    def __call__(self, c: Float[Array, " axes"], fast: PyTree | None = None) -> Float[Array, ""]:
        each = (None,) * len(self.terms) if fast is None else fast
        return _total([term(c, one) for term, one in zip(self.terms, each, strict=True)])


def _total(parts: Any) -> Any:
    """The sum of alike pytrees."""
    return functools.reduce(lambda x, y: jax.tree.map(jnp.add, x, y), parts)
