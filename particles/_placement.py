"""Where an ensemble lives: its particles split evenly over a mesh of devices."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ._ensemble import Ensemble
from ._mesh import split, to_host


def placed(ensemble: Ensemble, mesh: Mesh) -> Ensemble:
    """The same ensemble with its particles split over a mesh: every call then runs on all of it.

    Each device streams through its own particles; only the moments travel. Values agree with those
    of one device up to the order of summation, random draws agree exactly.

    Args:
        ensemble: N particles.
        mesh: see `particle_mesh`.

    Raises:
        InvalidInput: N is not a multiple of the number of devices.

    Example:
        >>> from particles import particle_mesh
        >>> mu = placed(Ensemble(jnp.arange(4.0)), particle_mesh(1))
        >>> float(mu.mean(lambda p: p))
        1.5
    """
    there = Ensemble(ensemble.particles, mesh=mesh)
    # Weights travel as they are: to normalise them again would change their last bits.
    return there if ensemble.weights is None else there.with_weights(split(ensemble.weights, mesh))


def drawn_on(mesh: Mesh, draw: Callable[[], Ensemble]) -> Ensemble:
    """An ensemble drawn where it will live: no device ever holds more than its share.

    The draws equal those of `draw()` on one device.

    Args:
        mesh: see `particle_mesh`.
        draw: makes the ensemble, such as `lambda: gaussian(key, 10_000_000, like)`.

    Raises:
        InvalidInput: the number of particles is not a multiple of the number of devices.

    Example:
        >>> from particles import gaussian, particle_mesh
        >>> key = jax.random.key(0)
        >>> drawn_on(particle_mesh(1), lambda: gaussian(key, 8, jnp.zeros(2))).size
        8
    """
    return jax.jit(lambda: placed(draw(), mesh))()


def gathered(ensemble: Ensemble) -> Ensemble:
    """The ensemble as plain arrays on this host; with several hosts, to be called on all.

    Example:
        >>> from particles import particle_mesh
        >>> gathered(placed(Ensemble(jnp.arange(4.0)), particle_mesh(1))).mesh is None
        True
    """
    whole = Ensemble(to_host(ensemble.particles))
    if ensemble.weights is None:
        return whole
    return whole.with_weights(jnp.asarray(to_host(ensemble.weights)))
