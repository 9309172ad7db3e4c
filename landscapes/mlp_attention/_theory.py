"""What the theory knows about the attention landscape: levels, indices, learned features (KS24)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from particles import Ensemble, InvalidInput

from .._precisely import compiled_precisely
from .._spans import fractions_inside, orthonormal_features, span_correlations
from ._landscape import MLPAttentionLandscape

MissingSet = tuple[int, ...]
Eigenvalues = Sequence[float] | np.ndarray | Array


def feature_spectrum(landscape: MLPAttentionLandscape) -> Float[Array, " outputs"]:
    """Eigenvalues λ_1 ≥ … ≥ λ_k of Σ°° on the samples; zeros stand for dependent features.

    Example:
        >>> import jax.numpy as jnp
        >>> landscape = MLPAttentionLandscape(
        ...     x=jnp.eye(4), f=jnp.eye(4)[:, :2] * jnp.array([2.0, 1.0])
        ... )
        >>> feature_spectrum(landscape).tolist()
        [1.0, 0.25]
    """
    return eigen_features(landscape)[0]


@compiled_precisely
def feature_loadings(landscape: MLPAttentionLandscape) -> Float[Array, "outputs outputs"]:
    """Columns: what each eigen-feature is made of, as unit combinations of the given features f.

    Example:
        >>> import jax.numpy as jnp
        >>> landscape = MLPAttentionLandscape(
        ...     x=jnp.eye(4), f=jnp.eye(4)[:, :2] * jnp.array([2.0, 1.0])
        ... )
        >>> jnp.abs(feature_loadings(landscape)).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return jnp.linalg.eigh(landscape.target_moment)[1][:, ::-1]


@compiled_precisely
def eigen_features(
    landscape: MLPAttentionLandscape,
) -> tuple[Float[Array, " outputs"], Float[Array, "samples outputs"]]:
    """Eigenvalues of Σ°° and the orthonormal eigen-features e_j at the samples.

    Features with a zero eigenvalue come back as zero columns. (theory.md, section 2)

    Example:
        >>> import jax.numpy as jnp
        >>> landscape = MLPAttentionLandscape(
        ...     x=jnp.eye(4), f=jnp.eye(4)[:, :2] * jnp.array([2.0, 1.0])
        ... )
        >>> values, features = eigen_features(landscape)
        >>> jnp.abs(features[:2]).tolist()  # of unit mean square
        [[2.0, 0.0], [0.0, 2.0]]
    """
    return orthonormal_features(landscape.f)


def saddle_level(eigenvalues: Eigenvalues, missing: Iterable[int]) -> float:
    """½ Σ_{j∈S} λ_j, the critical value where the features S are missing (numbered from 0).

    Raises:
        InvalidInput: no finite positive eigenvalues, or a feature that does not exist.

    Example:
        >>> saddle_level([1.0, 0.5, 0.2], missing=[2])
        0.1
    """
    values = _positive(eigenvalues)
    return 0.5 * float(values[list(_checked(missing, values.size))].sum())


def saddle_levels(eigenvalues: Eigenvalues) -> dict[MissingSet, float]:
    """All 2^k critical values by missing set, in increasing order (KS24; theory.md, section 2).

    Raises:
        InvalidInput: no finite positive eigenvalues, or more than 16.

    Example:
        >>> saddle_levels([1.0, 0.5])
        {(): 0.0, (1,): 0.25, (0,): 0.5, (0, 1): 0.75}
    """
    values = _positive(eigenvalues)
    if values.size > 16:
        raise InvalidInput(
            f"eigenvalues has {values.size} positive entries, which gives 2^{values.size} levels; "
            "use saddle_level for the missing sets of interest."
        )
    sets = itertools.chain.from_iterable(
        itertools.combinations(range(values.size), size) for size in range(values.size + 1)
    )
    levels = {missing: saddle_level(values, missing) for missing in sets}
    return dict(sorted(levels.items(), key=lambda item: item[1]))


def missing_name(missing: Iterable[int]) -> str:
    """The set S in words, features numbered from 1.

    Example:
        >>> missing_name((0, 2))
        '{1, 3}'
    """
    return "{" + ", ".join(str(j + 1) for j in sorted(missing)) + "}"


def benign_threshold(eigenvalues: Eigenvalues) -> float:
    """½ λ_k: below this value there is no critical point but the global minimum (KS24).

    Raises:
        InvalidInput: no finite positive eigenvalues.

    Example:
        >>> benign_threshold([1.0, 0.5, 0.2])
        0.1
    """
    return 0.5 * float(_positive(eigenvalues)[-1])


def saddle_index(eigenvalues: Eigenvalues, missing: Iterable[int]) -> int:
    """Morse index of the saddle that misses the features S, for distinct eigenvalues.

    The number of pairs (u, m), m ∈ S, u one of the k directions present in span(h_μ): a learned
    feature with eigenvalue λ_u, or an orthogonal filler (|S| of them) with λ_u = 0, with
    λ_m > λ_u. (theory.md, section 2)

    Raises:
        InvalidInput: no finite positive eigenvalues, or a feature that does not exist.

    Example:
        >>> saddle_index([1.0, 0.5, 0.2], missing=[0, 2])
        5
    """
    values = _positive(eigenvalues)
    missing = _checked(missing, values.size)
    learned = [values[j] for j in range(values.size) if j not in missing]
    present = learned + [0.0] * len(missing)
    return sum(bool(values[m] > u) for m in missing for u in present)


@compiled_precisely
def learned_fractions(
    landscape: MLPAttentionLandscape, moments: Float[Array, "samples outputs"]
) -> Float[Array, " outputs"]:
    """‖P_U e_j‖² of every eigen-feature, U = span(h_μ): 0 for missing, 1 for learned.

    Without finite-prompt terms L = ½ Σ_j λ_j (1 − fraction_j), with a ridge as well (P_U is then
    the ridge projection).

    Args:
        landscape: gives the targets.
        moments: h_μ at the samples, `landscape.moments(ensemble)`.

    Example:
        >>> import jax.numpy as jnp
        >>> landscape = MLPAttentionLandscape(
        ...     x=jnp.eye(4), f=jnp.eye(4)[:, :2] * jnp.array([2.0, 1.0])
        ... )
        >>> h = jnp.eye(4)[:, jnp.array([0, 3])]  # the first feature, and one outside
        >>> learned_fractions(landscape, h).round(5).tolist()
        [1.0, 0.0]
    """
    _, features = orthonormal_features(landscape.f)
    return fractions_inside(features, moments, landscape.ridge)


def missing_features(
    landscape: MLPAttentionLandscape, ensemble: Ensemble, *, threshold: float = 0.5
) -> MissingSet:
    """The missing set S of an ensemble: eigen-features learned to less than `threshold`.

    Args:
        landscape: gives the targets.
        ensemble: μ.
        threshold: of ‖P_U e_j‖², below which e_j counts as missing.

    Example:
        >>> import jax.numpy as jnp
        >>> landscape = MLPAttentionLandscape(
        ...     x=jnp.eye(4), f=jnp.eye(4)[:, :2] * jnp.array([2.0, 1.0])
        ... )
        >>> from landscapes import Neuron
        >>> first = Neuron(a=jnp.eye(2), w=jnp.eye(4)[jnp.array([0, 3])])
        >>> missing_features(landscape, Ensemble(first))
        (1,)
    """
    values = np.asarray(feature_spectrum(landscape))
    fractions = np.asarray(learned_fractions(landscape, landscape.moments(ensemble)))
    return tuple(np.flatnonzero((values > 0) & (fractions < threshold)).tolist())


@compiled_precisely
def canonical_correlations(
    landscape: MLPAttentionLandscape, moments: Float[Array, "samples outputs"]
) -> Float[Array, " outputs"]:
    """Cosines of the principal angles between span(h_μ) and the span of the targets, in L².

    Uncentred, in decreasing order. (theory.md, section 2)

    Example:
        >>> import jax.numpy as jnp
        >>> landscape = MLPAttentionLandscape(
        ...     x=jnp.eye(4), f=jnp.eye(4)[:, :2] * jnp.array([2.0, 1.0])
        ... )
        >>> h = jnp.eye(4)[:, jnp.array([0, 3])]
        >>> jnp.abs(canonical_correlations(landscape, h)).round(5).tolist()
        [1.0, 0.0]
    """
    return span_correlations(eigen_features(landscape)[1], moments)


def _positive(eigenvalues: Eigenvalues) -> np.ndarray:
    values = np.sort(np.asarray(eigenvalues, float))[::-1]
    if values.ndim != 1 or not np.isfinite(values).all() or not (values > 0).any():
        raise InvalidInput(
            f"eigenvalues is {np.asarray(eigenvalues).tolist()}; it must be a list of finite "
            "numbers with at least one positive."
        )
    return values[values > 0]


def _checked(missing: Iterable[int], count: int) -> MissingSet:
    missing = tuple(sorted(set(missing)))
    if any(not 0 <= j < count for j in missing):
        raise InvalidInput(f"missing is {list(missing)}; features run from 0 to {count - 1}.")
    return missing
