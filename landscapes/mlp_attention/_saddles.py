"""Ensembles placed exactly at a saddle of the attention landscape (theory.md, section 2)."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from particles import Ensemble, InvalidInput
from particles.internal import compiled_once, to_device

from ..networks import Neuron, hidden_at
from ._landscape import MLPAttentionLandscape
from ._theory import eigen_features


def saddle_ensemble(
    key: Key[Array, ""],
    landscape: MLPAttentionLandscape,
    positions: Float[Array, "neurons inputs"],
    missing: Iterable[int],
    size: int,
    *,
    spread: float = 1.0,
    filler_scale: float = 1.0,
) -> Ensemble:
    """N particles at the critical point that misses the features S, exact to round-off.

    The T neurons at `positions` must span the targets (the realisable case). Their output weights
    make h_μ equal to the learned eigen-features and |S| fillers orthogonal to every target, so
    ∇R vanishes there: L = ½ Σ_{j∈S} λ_j and every particle stands still. Each neuron is repeated,
    with output-weight offsets that cancel within its copies. (theory.md, section 2)

    Args:
        key: draws the offsets and the fillers.
        landscape: infinite prompts and no ridge.
        positions: input weights of the neurons the targets are made of.
        missing: the set S of missing features, numbered from 0 by decreasing eigenvalue.
        size: number of particles N ≥ T; counts of copies differ by at most one.
        spread: standard deviation of the cancelling offsets.
        filler_scale: L² norm of each filler.

    Raises:
        InvalidInput: a ridge or finite prompts, N < T, positions of the wrong shape, dependent
            targets, a missing feature that does not exist, or neurons that do not span the
            targets or leave no room for the fillers.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> key = jax.random.key(0)
        >>> positions = jax.random.normal(key, (8, 4))
        >>> teacher = lambda x: jnp.tanh(positions @ x)[:2]
        >>> landscape = MLPAttentionLandscape.from_teacher(
        ...     key, teacher, samples=64, dim=4, spectrum=[1.0, 0.5]
        ... )
        >>> saddle = saddle_ensemble(key, landscape, positions, missing=[1], size=16)
        >>> round(float(landscape.value(saddle)), 3)  # half of the missing eigenvalue
        0.25
    """
    missing = tuple(sorted(set(missing)))
    samples, outputs = landscape.f.shape
    neurons = positions.shape[0]
    if not landscape.exact_saddles:
        raise InvalidInput(
            "landscape has a ridge or a finite context_length, which move the saddles; the exact "
            "construction needs ridge 0 and infinite context_length."
        )
    if any(not 0 <= j < outputs for j in missing):
        raise InvalidInput(f"missing is {list(missing)}; features run from 0 to {outputs - 1}.")
    if positions.shape[1] != landscape.x.shape[1]:
        raise InvalidInput(
            f"positions has shape {positions.shape}; its rows need {landscape.x.shape[1]} inputs."
        )
    if size < neurons:
        raise InvalidInput(f"size is {size}; it must be at least the {neurons} neurons given.")

    # Dense algebra in NumPy: eagerly, JAX would compile each of these operations.
    hidden = np.asarray(hidden_at(landscape, positions)).T
    basis, singular, rotation = np.linalg.svd(hidden / samples**0.5, full_matrices=False)
    rank = int(np.sum(singular > 1e4 * np.finfo(singular.dtype).eps * singular[0]))
    basis = basis[:, :rank]
    values, features = map(np.asarray, eigen_features(landscape))
    if bool(np.any(values <= 0)):
        raise InvalidInput("landscape has dependent target features; use canonical_form first.")
    inside = basis.T @ features / samples**0.5
    lost = float(np.max(np.abs(1 - np.linalg.norm(inside, axis=0))))
    if lost > 1e5 * float(np.finfo(inside.dtype).eps):
        raise InvalidInput(
            f"positions do not span the target features (a part {lost:.1e} lies outside); give the "
            "teacher's own input weights, or use the restricted flow."
        )
    if rank < outputs + len(missing):
        raise InvalidInput(
            f"positions span {rank} dimensions; {outputs} features and {len(missing)} fillers need "
            f"{outputs + len(missing)}: give more neurons."
        )

    random, noise = map(np.asarray, _draws(key, (rank, len(missing)), (size, outputs), basis.dtype))
    fillers = np.linalg.qr(np.concatenate([inside, random], axis=1))[0][:, outputs:]
    learned = [j for j in range(outputs) if j not in missing]
    wanted = np.concatenate(
        [inside[:, learned] * np.sqrt(values[learned]), filler_scale * fillers],
        axis=1,
    )
    output_weights = rotation[:rank].T @ (wanted / singular[:rank, None])

    owner = np.arange(size) % neurons
    copies = np.bincount(owner, minlength=neurons)
    offset = spread * noise
    total = np.zeros((neurons, outputs), offset.dtype)
    np.add.at(total, owner, offset)
    offset = offset - (total / copies[:, None])[owner]
    a = output_weights[owner] * (size / copies[owner])[:, None] + offset
    w = np.asarray(positions)[owner]
    return Ensemble(Neuron(a=to_device(a, basis.dtype), w=to_device(w)))


@functools.partial(compiled_once, static_argnums=(1, 2, 3))
def _draws(
    key: Array, fillers: tuple[int, int], offsets: tuple[int, int], dtype: np.dtype
) -> tuple[Array, Array]:
    """Normal numbers of both shapes."""
    key_offset, key_filler = jax.random.split(key)
    return jax.random.normal(key_filler, fillers, dtype), jax.random.normal(
        key_offset, offsets, dtype
    )
