"""The ensembles that a run kept along its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from particles import Ensemble, InvalidInput
from particles.internal import leaf_names

from ._run import Run

if TYPE_CHECKING:
    import xarray


def snapshots(
    run: Run | xarray.Dataset, like: PyTree | None = None
) -> tuple[np.ndarray, list[Ensemble]]:
    """Times and ensembles of the snapshots that a run kept.

    Args:
        run: one with `snapshots`, or its trajectory, such as a saved `trajectory.nc`.
        like: one particle, `landscape.particle`; a run knows it.

    Raises:
        InvalidInput: no snapshots, particles of another landscape, or a trajectory without `like`.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> from meanfield import GradientFlow, at, simulate
        >>> landscape = RegressionLandscape(jnp.ones((1, 1)), jnp.ones((1, 1)))
        >>> mu = Ensemble(Neuron(a=jnp.ones((2, 1)), w=jnp.ones((2, 1))))
        >>> run = simulate(
        ...     GradientFlow(landscape), mu, horizon=1.0, dt=0.5, snapshots=at(0.0, 0.5, 1.0)
        ... )
        >>> times, ensembles = snapshots(run)
        >>> times.tolist(), ensembles[0].size
        ([0.0, 0.5, 1.0], 2)
    """
    trajectory = run.trajectory if isinstance(run, Run) else run
    if like is None:
        if not isinstance(run, Run):
            raise InvalidInput("like is missing; a trajectory needs one particle to go by.")
        like = jax.tree.map(lambda leaf: leaf[0], run.ensemble.particles)
    if "snapshot_time" not in trajectory.dims:
        raise InvalidInput(
            "trajectory has no snapshots; run with record.snapshots (or simulate(snapshots=…))."
        )
    if "seed" in trajectory.dims:
        raise InvalidInput("trajectory has a seed axis; select one, trajectory.isel(seed=0).")
    leaves, structure = jax.tree.flatten(like)
    names = [f"particles.{n}" if n != "particles" else n for n in leaf_names(like)]
    found = {name: trajectory[name].shape[2:] for name in names if name in trajectory}
    wanted = {name: tuple(leaf.shape) for name, leaf in zip(names, leaves, strict=True)}
    if found != wanted:
        raise InvalidInput(
            f"trajectory holds particles of shapes {found}; the landscape needs {wanted}."
        )
    ensembles = []
    for row in range(trajectory.sizes["snapshot_time"]):
        parts = [
            jnp.asarray(trajectory[name].values[row], leaf.dtype)
            for name, leaf in zip(names, leaves, strict=True)
        ]
        weights = trajectory["weights"].values[row] if "weights" in trajectory else None
        ensembles.append(Ensemble(jax.tree.unflatten(structure, parts), weights))
    return trajectory["snapshot_time"].values, ensembles
