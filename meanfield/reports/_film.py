"""A film of a run: the run again with a snapshot for each frame, and its curvature."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from landscapes import AbstractLandscape
from particles import Ensemble, InvalidInput
from particles.internal import coordinates

from ..flows import AbstractFlow
from ..plots import Film
from ..problems import Count, Natural, Problem, Range, RunOptions
from ..runs import Run, every, simulate, snapshots
from ..studies import measures_along


@dataclass(frozen=True)
class FilmOptions:
    """What a film looks like.

    Example:
        >>> FilmOptions(frames=24).form
        'gif'
    """

    form: Literal["gif", "html", "png"] = "gif"
    """One moving image, one page with controls, or numbered images in a folder."""
    frames: Annotated[int, Range(2, 10_000)] = 96
    """Frames, evenly spaced in flow time."""
    fps: Count = 12
    """Frames in a second."""
    curvatures: Natural = 25
    """Frames of which the lowest and the top curvature are found, most of the cost; 0 for none."""


def filmed(
    problem: Problem,
    flow: AbstractFlow,
    start: Ensemble,
    run: RunOptions,
    options: FilmOptions,
    *,
    key: Key[Array, ""] | None = None,
    progress: bool = False,
) -> tuple[Run, Film]:
    """Run a flow, and make a film of it.

    Args:
        problem: its landscape, and its critical levels.
        flow: on that landscape.
        start: N particles.
        run: step and horizon; its records and snapshots are those of the film.
        options: how many frames, and of how many the curvature.
        key: of a flow with random steps.
        progress: show a bar.

    Raises:
        InvalidInput: as `simulate`, one curvature, or a run interrupted before its second frame.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import RegressionLandscape, neuron_start
        >>> from meanfield import GradientFlow, Problem
        >>> landscape = RegressionLandscape(jnp.eye(2), jnp.eye(2))
        >>> problem = Problem(landscape, lambda key, size: neuron_start(key, landscape, size))
        >>> run, film = filmed(
        ...     problem,
        ...     GradientFlow(landscape),
        ...     problem.start(jax.random.key(0), 4),
        ...     RunOptions(dt=0.1, horizon=1.0),
        ...     FilmOptions(frames=3, curvatures=0),
        ... )
        >>> film.times.tolist()
        [0.0, 0.5, 1.0]
    """
    if options.curvatures == 1:
        raise InvalidInput("curvatures is 1; use 0 for none, or 2 and more for a curve.")
    ran = simulate(
        flow,
        start,
        horizon=run.horizon,
        dt=run.dt,
        key=key,
        snapshots=every(run.horizon / (options.frames - 1)),
        progress=progress,
        label="animate",
    )
    times, ensembles = snapshots(ran)
    if len(times) < 2:
        raise InvalidInput(f"frames is {len(times)}; a film needs at least 2: let the run go on.")
    curvature = None
    if options.curvatures:
        chosen = np.unique(np.linspace(0, len(times) - 1, options.curvatures).astype(int))
        some = dataclasses.replace(ran, trajectory=ran.trajectory.isel(snapshot_time=chosen))
        # Any matrix of the particles: the curvature is what is wanted.
        found = measures_along(problem.landscape, some, {"particles": _rows})
        curvature = found.data
    film = Film(
        ran.trajectory,
        times,
        ensembles,
        levels=problem.levels,
        potential=_potential(problem.landscape, start),
        curvature=curvature,
    )
    return ran, film


def _rows(landscape: AbstractLandscape, ensemble: Ensemble) -> Array:
    return coordinates(ensemble)


def _potential(
    landscape: AbstractLandscape, start: Ensemble
) -> Callable[[Ensemble, np.ndarray], np.ndarray] | None:
    """The first variation at positions of particles that lie on a line; else `None`."""
    leaves, structure = jax.tree.flatten(start.particles)
    if len(leaves) != 1 or leaves[0][0].size != 1:
        return None
    shape = leaves[0].shape[1:]

    def potential(ensemble: Ensemble, line: np.ndarray) -> np.ndarray:
        points = jnp.asarray(line, leaves[0].dtype).reshape(-1, *shape)
        variation = landscape.first_variation(ensemble)
        return np.asarray(jax.vmap(variation)(jax.tree.unflatten(structure, [points])))

    return potential
