"""Where an ensemble lives: its particles split evenly over a mesh of devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from ._errors import InvalidInput

if TYPE_CHECKING:
    from ._ensemble import Ensemble

#: Name of the mesh axis over which particles are split.
AXIS = "particles"


def particle_mesh(devices: int | Sequence[Any] | None = None) -> Mesh:
    """A mesh of devices that particles are split over.

    Args:
        devices: the devices, or how many of them; all (of all hosts) by default.

    Raises:
        InvalidInput: fewer than one device, or more than there are.

    Example:
        >>> particle_mesh(1).size
        1
    """
    if devices is None or isinstance(devices, int):
        present = jax.devices()
        count = len(present) if devices is None else devices
        if not 1 <= count <= len(present):
            raise InvalidInput(
                f"devices is {count}; this computation has {len(present)} "
                f"{jax.default_backend()} devices."
            )
        devices = present[:count]
    if not devices:
        raise InvalidInput("devices is empty; name at least one.")
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


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
        >>> import jax.numpy as jnp
        >>> from particles import Ensemble
        >>> mu = placed(Ensemble(jnp.arange(4.0)), particle_mesh(1))
        >>> float(mu.mean(lambda p: p))
        1.5
    """
    there = type(ensemble)(ensemble.particles, mesh=mesh)
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
        >>> import jax
        >>> from particles import gaussian
        >>> key = jax.random.key(0)
        >>> drawn_on(particle_mesh(1), lambda: gaussian(key, 8, jax.numpy.zeros(2))).size
        8
    """
    return jax.jit(lambda: placed(draw(), mesh))()


def gathered(ensemble: Ensemble) -> Ensemble:
    """The ensemble as plain arrays on this host; with several hosts, to be called on all."""
    whole = type(ensemble)(to_host(ensemble.particles))
    if ensemble.weights is None:
        return whole
    return whole.with_weights(jax.numpy.asarray(to_host(ensemble.weights)))


def split(tree: PyTree, mesh: Mesh) -> PyTree:
    """Leaves with a leading particle axis, split over a mesh.

    Raises:
        InvalidInput: the number of particles is not a multiple of the number of devices.
    """
    size: int = jax.tree.leaves(tree)[0].shape[0]
    if size % mesh.size:
        raise InvalidInput(
            f"N = {size} particles cannot be split evenly over {mesh.size} devices; choose a "
            f"multiple, such as {-(-size // mesh.size) * mesh.size}."
        )
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(AXIS)))


def to_host(tree: PyTree) -> Any:
    """Arrays as numpy arrays on every host, also where devices of other hosts hold parts of them.

    With several hosts it must be called on all of them.
    """

    def fetch(leaf: Any) -> np.ndarray:
        if isinstance(leaf, jax.Array) and not (
            leaf.is_fully_addressable or leaf.is_fully_replicated
        ):
            from jax.experimental.multihost_utils import process_allgather

            return np.asarray(process_allgather(leaf, tiled=True))
        return np.asarray(leaf)

    return jax.tree.map(fetch, tree)
