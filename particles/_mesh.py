"""A mesh of devices, arrays split over it, and their copies on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from ._errors import InvalidInput

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
