"""Curvature of the joint flow of particles and fast variables at finite timescale ratios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from landscapes import Landscape
from landscapes.sections import DisplacementSection
from particles import Ensemble, InvalidInput
from particles.internal import stacked

from ..spectra import HessianOperator, gram_matrix, projected, ritz_values

if TYPE_CHECKING:
    import xarray


def timescale_sensitivity(
    landscape: Landscape,
    ensemble: Ensemble,
    fields: Sequence[PyTree],
    ratios: Sequence[float],
    *,
    threshold: float = 0.0,
    chunk: int | None = None,
) -> xarray.Dataset:
    """Curvature of the joint flow of particles and fast variables at finite timescale ratios ε.

    Linearised about (μ, W*), W* the equilibrium, the joint flow grows at the rates −λ with λ the
    eigenvalues of [[A, B/√ε], [Bᵀ/√ε, C/ε]]: A the Hessian in μ with W frozen, C that in W, B the
    mixed one. A is taken on the span of the fields, C whole. For ε → 0 the smallest tends to that
    of the reduced Hessian A − BC⁻¹Bᵀ (where C is not singular), for ε → ∞ to that of A.
    (theory.md, section 2)

    Args:
        landscape: with fast variables.
        ensemble: where.
        fields: eigenvectors of the reduced Hessian.
        ratios: values of ε; `numpy.inf` freezes the fast variables.
        threshold: curvatures below −threshold count for the index; 1/time.
        chunk: particles held at once.

    Returns:
        Over `ratio`: `curvature` and `index`; `limit` and `frozen`, the smallest curvature on the
        span in the two-timescale limit and with the fast variables frozen.

    Raises:
        InvalidInput: no fields, a ratio that is not positive, or no fast variables.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import MLPAttentionLandscape, Neuron
        >>> mu = Ensemble(Neuron(a=jnp.eye(2), w=jnp.eye(2)))
        >>> landscape = MLPAttentionLandscape(jnp.eye(2), jnp.eye(2))
        >>> timescale_sensitivity(landscape, mu, [mu.particles], [0.1, 1.0]).sizes["ratio"]
        2
    """
    import xarray

    landscape.require_fit(ensemble)
    if not fields or not len(ratios) or not all(ratio > 0 for ratio in ratios):
        raise InvalidInput(
            f"fields holds {len(fields)} and ratios is {list(ratios)}; give at least one field, "
            "and ratios that are positive."
        )
    moments = landscape.moments(ensemble, chunk=chunk)
    fast = eqx.filter_jit(landscape.solve_fast)(moments)
    if fast is None:
        raise InvalidInput(
            f"landscape is a {type(landscape).__name__}, which has no fast variables."
        )
    columns, frozen = stacked(fields), HessianOperator(landscape, ensemble, fast, chunk=chunk)
    reduced = projected(HessianOperator(landscape, ensemble, chunk=chunk), columns)
    own, metric = projected(frozen, columns), frozen.metric
    mixed, inner = (
        np.asarray(part, float)
        for part in _fast_blocks(landscape, ensemble, tuple(fields), fast, chunk)
    )
    gram = scipy.linalg.block_diag(gram_matrix(metric, columns), np.eye(len(inner)))
    rows = []
    for ratio in ratios:
        joint = np.block([[own, mixed / ratio**0.5], [mixed.T / ratio**0.5, inner / ratio]])
        rows.append(scipy.linalg.eigvalsh(joint, gram))
    return xarray.Dataset(
        {
            "curvature": ("ratio", [row[0] for row in rows], {"units": "1 / time"}),
            "index": ("ratio", [int(np.sum(row < -threshold)) for row in rows]),
            "limit": ((), float(ritz_values(metric, columns, reduced)[0]), {"units": "1 / time"}),
            "frozen": ((), float(ritz_values(metric, columns, own)[0]), {"units": "1 / time"}),
        },
        {"ratio": ("ratio", [float(ratio) for ratio in ratios])},
    )


@eqx.filter_jit
def _fast_blocks(
    landscape: Landscape,
    ensemble: Ensemble,
    fields: tuple[PyTree, ...],
    fast: PyTree,
    chunk: int | None,
) -> tuple[Array, Array]:
    """∂²R in (displacement along the fields, fast variables), and in the fast variables alone."""
    section = DisplacementSection(ensemble, fields)
    flat, unravel = ravel_pytree(fast)

    def slope(c: Array, fast: Array) -> Array:
        moments = landscape.moments(section.at(c), chunk=chunk)
        return jax.grad(lambda w: landscape.risk(moments, unravel(w)))(fast)

    with jax.default_matmul_precision("highest"):
        zero = jnp.zeros(len(fields), flat.dtype)
        return jax.jacfwd(slope)(zero, flat).T, jax.jacfwd(slope, argnums=1)(zero, flat)
