"""Feature space: what span(h_μ) holds of the targets, and which critical set it is closest to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from particles import Ensemble, InvalidInput

from .._base import Landscape
from .._matrix_measures import principal_angles, rank_measures
from .._precisely import compiled_precisely
from .._spans import fractions_inside, orthonormal_features, span_correlations
from ..networks import NeuronLandscape
from ._landscape import MLPAttentionLandscape
from ._theory import MissingSet, benign_threshold, feature_spectrum, missing_name, saddle_level

if TYPE_CHECKING:
    import xarray


class NearestCritical(NamedTuple):
    """The critical set of the attention landscape that an ensemble's features are closest to.

    Critical subspaces hold every learned eigen-feature and |S| directions orthogonal to all
    targets. (theory.md, section 2; KS24)

    Args:
        missing: its missing features S, numbered from 0.
        distance: L² distance of an orthonormal basis of span(h_μ) to that subspace,
            (Σ sin² of the principal angles)^½, between 0 and √k. It does not change under
            h → Bh, as L does not.
        level: its critical value ½ Σ_{j∈S} λ_j.
    """

    missing: MissingSet
    distance: float
    level: float


def nearest_critical(
    landscape: MLPAttentionLandscape, moments: Float[Array, "samples outputs"]
) -> NearestCritical:
    """The critical set nearest to span(h_μ) in L², in closed form over all 2^k sets.

    With |S| features missing the best subspace holds the k − |S| eigen-features of largest
    fraction ‖P e_j‖² in U = span(h_μ), and the |S| directions orthogonal to the targets that U
    has most of; the squared distance is the sum of what U lacks of both.

    Args:
        landscape: gives the targets; their eigenvalues must be positive.
        moments: h_μ at the samples, `landscape.moments(ensemble)`.

    Raises:
        InvalidInput: dependent targets.

    Example:
        >>> import jax.numpy as jnp
        >>> landscape = MLPAttentionLandscape(
        ...     x=jnp.eye(4), f=jnp.eye(4)[:, :2] * jnp.array([2.0, 1.0])
        ... )
        >>> h = jnp.eye(4)[:, jnp.array([0, 3])]  # the first feature, and one outside
        >>> nearest_critical(landscape, h).missing, nearest_critical(landscape, h).distance
        ((1,), 0.0)
    """
    eigenvalues = np.asarray(feature_spectrum(landscape), float)
    if not np.all(eigenvalues > 0):
        raise InvalidInput("landscape has dependent target features; use canonical_form first.")
    lacking, fillers = (np.asarray(part, float) for part in _lacking(landscape, moments))
    count = lacking.size
    order = np.argsort(lacking, kind="stable")
    best = None
    for missing in range(count + 1):
        kept = order[: count - missing]
        squared = lacking[kept].sum() + fillers[:missing].sum()
        if best is None or squared < best[0] - 1e-12:
            best = squared, tuple(sorted(int(j) for j in order[count - missing :]))
    assert best is not None
    level = saddle_level(eigenvalues, best[1])
    return NearestCritical(best[1], float(np.sqrt(best[0])), level)


@compiled_precisely
def _lacking(
    landscape: MLPAttentionLandscape, moments: Float[Array, "samples outputs"]
) -> tuple[Float[Array, " outputs"], Float[Array, " outputs"]]:
    """‖e_j − P_U e_j‖² of the eigen-features, and of the |S| best fillers, one after the other.

    Fillers are orthogonal to the targets, so what U lacks of the best one is what its least
    aligned direction has of the targets: the smallest squared cosine, and so on. Neither is a
    difference of numbers near one, whose round-off a square root would bring out.
    """
    basis = jnp.linalg.qr(moments)[0]
    _, features = orthonormal_features(landscape.f)
    features = features / features.shape[0] ** 0.5
    overlap = basis.T @ features
    outside = features - basis @ overlap
    return jnp.sum(outside**2, axis=0), jnp.linalg.svd(overlap, compute_uv=False)[::-1] ** 2


def feature_correlations(
    landscape: NeuronLandscape, mu: Ensemble, nu: Ensemble, *, chunk: int | None = None
) -> Float[Array, " outputs"]:
    """Canonical correlations between the feature spaces of two ensembles, in decreasing order.

    Cosines of the principal angles between span(h_μ) and span(h_ν) in L² of the samples: all one
    where the attention landscape cannot tell the two apart. Sizes and weights may differ.

    Args:
        landscape: of two-layer networks.
        mu: one ensemble.
        nu: the other one.
        chunk: particles held at once.

    Raises:
        InvalidInput: an ensemble of another landscape.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.eye(2), jnp.ones((2, 1)), "relu")
        >>> one, other = (Ensemble(Neuron(a=jnp.ones((1, 1)), w=row[None])) for row in jnp.eye(2))
        >>> bool(feature_correlations(landscape, one, other)[0] < 1e-6)
        True
    """
    for ensemble in (mu, nu):
        landscape.require_fit(ensemble)
    spans = [landscape.moments(ensemble, chunk=chunk) for ensemble in (mu, nu)]
    return jnp.cos(principal_angles(*spans, rank=spans[0].shape[1]))


def feature_space(
    landscape: Landscape, ensembles: Sequence[Ensemble], *, chunk: int | None = None
) -> xarray.Dataset:
    """Feature-space measures of one ensemble after the other, such as those of a trajectory.

    Args:
        landscape: of two-layer networks; the attention landscape has more to say. Wrappers such as
            `Confined` are looked through.
        ensembles: one or more.
        chunk: particles held at once.

    Returns:
        Over `ensemble`: `loss`; `correlation` (by `angle`), the canonical correlations between
        span(h_μ) and the targets; `effective_rank` of Σμμ. On the attention landscape also
        `learned_fraction` ‖P e_j‖² (by `feature`), `missing` (the nearest critical set, features
        numbered from 1, such as "{1, 3}"), `distance` to it in L² and its `level`, and
        `benign_excess` L − ½λ_k, how far the loss lies above the benign region (negative inside).

    Raises:
        InvalidInput: no ensemble, or one of another landscape.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron
        >>> landscape = MLPAttentionLandscape(x=jnp.eye(2), f=jnp.eye(2))
        >>> mu = Ensemble(Neuron(a=2 * jnp.eye(2), w=jnp.eye(2)))
        >>> feature_space(landscape, [mu]).effective_rank.values.round(5).tolist()
        [2.0]
    """
    import xarray

    landscape = landscape.unwrapped
    if not isinstance(landscape, NeuronLandscape):
        raise InvalidInput(
            f"landscape is a {type(landscape).__name__}; feature space is that of two-layer "
            "networks (a NeuronLandscape)."
        )
    if not ensembles:
        raise InvalidInput("ensembles is empty; give at least one.")
    for ensemble in ensembles:
        landscape.require_fit(ensemble)
    rows: list[dict[str, Any]] = []
    for ensemble in ensembles:
        moments = landscape.moments(ensemble, chunk=chunk)
        loss, correlation, rank = _measures(landscape, moments)
        row = {"loss": loss, "correlation": correlation, "effective_rank": rank}
        if isinstance(landscape, MLPAttentionLandscape):
            row |= _critical_measures(landscape, moments, float(loss))
        rows.append(jax.tree.map(np.asarray, row))
    dims = {"correlation": ("angle",), "learned_fraction": ("feature",)}
    units = {"loss": "loss", "level": "loss", "benign_excess": "loss"}
    return xarray.Dataset(
        {
            name: (
                ("ensemble", *dims.get(name, ())),
                np.stack([row[name] for row in rows]),
                {"units": units.get(name, "")},
            )
            for name in rows[0]
        }
    )


@compiled_precisely
def _measures(landscape: NeuronLandscape, moments: Array) -> tuple[Array, Array, Array]:
    gram = moments.T @ moments / moments.shape[0]
    _, features = orthonormal_features(landscape.f)
    correlation = span_correlations(features, moments)
    return landscape.energy(moments), correlation, jnp.asarray(rank_measures(gram).effective)


@compiled_precisely
def _learned(landscape: MLPAttentionLandscape, moments: Array) -> Array:
    _, features = orthonormal_features(landscape.f)
    return fractions_inside(features, moments, landscape.ridge)


def _critical_measures(
    landscape: MLPAttentionLandscape, moments: Array, loss: float
) -> dict[str, Any]:
    near = nearest_critical(landscape, moments)
    return {
        "learned_fraction": _learned(landscape, moments),
        "missing": missing_name(near.missing),
        "distance": near.distance,
        "level": near.level,
        "benign_excess": loss - benign_threshold(feature_spectrum(landscape)),
    }
