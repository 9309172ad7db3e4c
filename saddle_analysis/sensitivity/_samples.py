"""Level, gradient and curvature at an ensemble on other samples and parameters."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Key, PyTree

from landscapes import AbstractLandscape, Redraw
from particles import Ensemble, InvalidInput
from particles.internal import stacked

from ..spectra import HessianOperator, Progress, ProgressCallback, projected, ritz_values

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class Measurement:
    """Level, gradient and curvature of one landscape at an ensemble.

    Args:
        value: L(μ).
        gradient_norm: ‖∇δL/δμ‖ in L²(μ).
        curvatures: Ritz values of the Wasserstein Hessian on the given fields, in increasing
            order: H has at least as many negative eigenvalues as there are negative ones among
            them, and its smallest lies at or below the first.
    """

    value: float
    gradient_norm: float
    curvatures: np.ndarray


def measure(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    fields: Sequence[PyTree],
    *,
    chunk: int | None = None,
) -> Measurement:
    """Value, gradient norm, and curvature on the span of some fields: one product for each.

    Args:
        landscape: any landscape.
        ensemble: where.
        fields: vector fields at the particles, such as eigenvectors on another landscape.
        chunk: particles held at once.

    Raises:
        InvalidInput: no fields, or an ensemble of another landscape.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.array([[1.0]]), jnp.array([[2.0]]), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.array([[1.0]]), w=jnp.array([[1.0]])))
        >>> measure(landscape, mu, [Neuron(a=jnp.ones((1, 1)), w=jnp.zeros((1, 1)))]).curvatures
        array([1.])
    """
    landscape.require_fit(ensemble)
    if not fields:
        raise InvalidInput("fields is empty; give at least one vector field, such as eigenvectors.")
    columns = stacked(fields)
    value, norm, matrix = _measured(landscape, ensemble, columns, chunk)
    metric = landscape.metric(ensemble, chunk=chunk)
    return Measurement(float(value), float(norm), ritz_values(metric, columns, matrix))


@eqx.filter_jit
def _measured(
    landscape: AbstractLandscape, ensemble: Ensemble, fields: PyTree, chunk: int | None
) -> tuple[Array, Array, Array]:
    """All of it in one compiled call: draws of equal size share the compilation."""
    found = landscape.first_order(ensemble, chunk=chunk)
    operator = HessianOperator(landscape, ensemble, chunk=chunk)
    return found.value, ensemble.norm(found.gradient), projected(operator, fields)


def sample_sensitivity(
    key: Key[Array, ""],
    ensemble: Ensemble,
    fields: Sequence[PyTree],
    redraws: Mapping[str, Redraw],
    sizes: Sequence[int],
    *,
    replicates: int = 16,
    threshold: float = 0.0,
    chunk: int | None = None,
    progress: ProgressCallback | None = None,
) -> xarray.Dataset:
    """The same ensemble on other samples: what of its level and curvature is the sample's.

    Args:
        key: random key.
        ensemble: where.
        fields: eigenvectors found on the landscape in question; each replicate's curvature is
            taken on their span.
        redraws: name to way of drawing, `landscapes.bootstrap` or `landscapes.fresh_samples`.
        sizes: numbers of samples M.
        replicates: independent draws of every kind and size; at least two, for error bars.
        threshold: curvatures below −threshold count for the index; 1/time.
        chunk: particles held at once.
        progress: called with a `Progress` after every draw.

    Returns:
        Over (`draw`, `samples`, `replicate`): `value`, `gradient_norm`, `curvature` (the smallest
        on the span) and `index` (how many lie below −threshold).

    Raises:
        InvalidInput: no fields, redraws or sizes, or fewer than two replicates.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape, bootstrap
        >>> landscape = RegressionLandscape(jnp.eye(2), jnp.ones((2, 1)), "relu")
        >>> mu = Ensemble(Neuron(a=jnp.ones((1, 1)), w=jnp.ones((1, 2))))
        >>> field = Neuron(a=jnp.ones((1, 1)), w=jnp.zeros((1, 2)))
        >>> ways = {"bootstrap": bootstrap(landscape)}
        >>> seen = sample_sensitivity(jax.random.key(0), mu, [field], ways, [4], replicates=2)
        >>> seen.curvature.values.tolist()  # ∫ σ(x)² is one, whichever rows are drawn
        [[[1.0, 1.0]]]
    """
    if not redraws or not len(sizes) or replicates < 2:
        raise InvalidInput(
            f"redraws is {list(redraws)}, sizes is {list(sizes)} and replicates is {replicates}; "
            "give at least one way, one size and two replicates."
        )
    total, rows, started = len(redraws) * len(sizes) * replicates, [], time.monotonic()
    for way, redraw in enumerate(redraws.values()):
        for place, size in enumerate(sizes):
            own = jax.random.fold_in(jax.random.fold_in(key, way), place)
            for one in jax.random.split(own, replicates):
                rows.append(measure(redraw(one, size), ensemble, fields, chunk=chunk))
                if progress is not None:
                    seconds = time.monotonic() - started
                    progress(Progress(len(rows), total, float("inf"), 0.0, seconds))
    return _dataset(
        rows,
        threshold,
        {"draw": list(redraws), "samples": list(sizes), "replicate": list(range(replicates))},
    )


def parameter_sensitivity(
    ensemble: Ensemble,
    fields: Sequence[PyTree],
    landscapes: Mapping[float, AbstractLandscape],
    *,
    name: str = "parameter",
    threshold: float = 0.0,
    chunk: int | None = None,
) -> xarray.Dataset:
    """The same ensemble and fields under other parameters of the landscape: ridge, prompt length.

    Args:
        ensemble: where.
        fields: eigenvectors found on the landscape in question.
        landscapes: parameter to landscape.
        name: of the parameter; the name of the axis.
        threshold: curvatures below −threshold count for the index; 1/time.
        chunk: particles held at once.

    Returns:
        `value`, `gradient_norm`, `curvature` and `index` over the parameter.

    Raises:
        InvalidInput: no fields or landscapes.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import MLPAttentionLandscape, Neuron
        >>> mu = Ensemble(Neuron(a=jnp.eye(2), w=jnp.eye(2)))
        >>> ridges = {r: MLPAttentionLandscape(jnp.eye(2), jnp.eye(2), ridge=r) for r in (0.1, 0.2)}
        >>> seen = parameter_sensitivity(mu, [mu.particles], ridges, name="ridge")
        >>> seen.value.values.round(2).tolist()
        [0.29, 0.37]
    """
    if not landscapes:
        raise InvalidInput("landscapes is empty; give at least one parameter.")
    rows = [measure(one, ensemble, fields, chunk=chunk) for one in landscapes.values()]
    return _dataset(rows, threshold, {name: [float(value) for value in landscapes]})


def _dataset(
    rows: Sequence[Measurement], threshold: float, coordinates: Mapping[str, list]
) -> xarray.Dataset:
    import xarray

    shape = [len(values) for values in coordinates.values()]
    columns = {
        "value": [row.value for row in rows],
        "gradient_norm": [row.gradient_norm for row in rows],
        "curvature": [float(row.curvatures[0]) for row in rows],
        "index": [int(np.sum(row.curvatures < -threshold)) for row in rows],
    }
    units = {"value": "loss", "gradient_norm": "particle / time", "curvature": "1 / time"}
    return xarray.Dataset(
        {
            name: (tuple(coordinates), np.reshape(column, shape), {"units": units.get(name, "")})
            for name, column in columns.items()
        },
        dict(coordinates),
    )
