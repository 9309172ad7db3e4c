"""Macroscopic measures along a run: rank, subspace and curvature beside the loss (MT25)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Array, Float

from landscapes import AbstractLandscape, principal_angles, rank_measures
from particles import Ensemble, InvalidInput
from saddle_analysis import HessianOperator, extreme_eigenpairs
from saddle_analysis.curves import crossing
from saddle_analysis.spectra import Budget

from ..runs import Run, snapshots
from ._matrices import MatrixOf, named_matrices

if TYPE_CHECKING:
    import xarray

NumberOf = Callable[[Any, Ensemble], Float[Array, ""]]
RANKS = ("effective", "stable", "participation")
#: Names of what is measured anyway.
TAKEN = {
    *RANKS,
    *(f"increment_{name}" for name in RANKS),
    *("time", "seed", "matrix", "angle", "end", "loss", "gap", "angle_to_previous"),
    *("angle_to_end", "curvature", "curvature_residual", "curvature_products"),
}


@dataclass(frozen=True)
class RunMeasures:
    """Measures of matrices and curvature at every snapshot of a run.

    Args:
        data: over `time` (and `seed`) the `loss` and, unless left out, `curvature`,
            `curvature_residual` (over `end`: lowest, top; 1/time) and `curvature_products`. Over
            `matrix` as well: `effective`, `stable` and `participation` rank, the same of the
            increment since the start (`increment_…`), the principal angles of the leading left
            subspace `angle_to_previous` and `angle_to_end` (radians, over `angle`), and its `gap`
            (s_r − s_{r+1})/s_1: where it vanishes, the subspace is arbitrary. Further numbers stand
            under their own names.
        directions: dimension r of that subspace.
    """

    data: xarray.Dataset
    directions: int

    def leads(self, matrix: str) -> xarray.Dataset:
        """By how much time the measures of a matrix are ahead of the loss; negative if behind.

        Every event is half of its own change: the loss has fallen by half, a rank is half as far
        from its start as it ever gets, the largest angle to the end is below π/4 for good. The
        increment is zero at the start; its ranks count from the first record where it is not.

        Args:
            matrix: name.

        Returns:
            The time of the `loss`, and the lead of `effective`, `stable`, `participation`, of the
            same of the increment (`increment_…`), and of `subspace`; `nan` for a rank that never
            moves.
        """
        import xarray

        data = self.data.sel(matrix=matrix)
        if "seed" in data.dims:
            parts = [
                RunMeasures(self.data.isel(seed=i), self.directions).leads(matrix)
                for i in range(data.sizes["seed"])
            ]
            return xarray.concat(parts, "seed")
        times, loss = data["time"].values, data["loss"].values
        drop = crossing(times, loss, 0.5 * (loss[0] + loss[-1]))
        found = {"loss": drop}
        for name in RANKS:
            found[name] = drop - _half_way(times, data[name].values)
            grown = data[f"increment_{name}"].values
            first = int(np.argmax(grown > 0))
            found[f"increment_{name}"] = drop - _half_way(times[first:], grown[first:])
        angle = np.max(data["angle_to_end"].values, axis=-1)
        away = np.flatnonzero(angle >= np.pi / 4)
        last = int(away[-1]) if away.size else -1
        found["subspace"] = drop - (
            times[0] if last < 0 else crossing(times[last:], angle[last:], np.pi / 4, rising=False)
        )
        return xarray.Dataset(found, attrs={"units": "time"})


def measures_along(
    landscape: AbstractLandscape,
    run: Run | xarray.Dataset | str | Path,
    matrices: Mapping[str, MatrixOf] | None = None,
    *,
    numbers: Mapping[str, NumberOf] | None = None,
    directions: int = 1,
    curvature: bool = True,
    budget: Budget | None = None,
) -> RunMeasures:
    """Rank, subspace and curvature at every snapshot of a run.

    The curvature is that of the Wasserstein Hessian, reduced where there are fast variables; its
    solver begins from the eigenfields of the snapshot before. (theory.md, section 5; MT25, RV07)

    Args:
        landscape: that the run descends on.
        run: with snapshots, at least two; or its trajectory, of one seed or many; or the folder in
            which `meanfield simulate` saved it.
        matrices: name to a function of landscape and ensemble, such as
            `lambda landscape, ensemble: landscape.moments(ensemble)`; by default all of
            `named_matrices` that have so many directions.
        numbers: further numbers to follow, name to a function of landscape and ensemble, such as
            the mean of `landscapes.modular_arithmetic.inverse_participation`.
        directions: leading left singular vectors whose span is followed.
        curvature: whether to find the lowest and the top eigenvalue, most of the cost.
        budget: of every snapshot's curvature.

    Raises:
        InvalidInput: no matrices, a number by the name of a measure, a folder without a trajectory,
            fewer than two snapshots, something that is not a matrix, or more directions than it
            has.

    Example:
        >>> import jax.numpy as jnp
        >>> from landscapes import Neuron, RegressionLandscape
        >>> from meanfield import GradientFlow, at, simulate
        >>> from meanfield.studies import measures_along
        >>> landscape = RegressionLandscape(jnp.eye(2), jnp.eye(2), "tanh")
        >>> start = Ensemble(Neuron(a=0.1 * jnp.eye(2), w=0.1 * jnp.eye(2)))
        >>> run = simulate(
        ...     GradientFlow(landscape), start, horizon=9.0, dt=0.1, snapshots=at(0.0, 4.0, 9.0)
        ... )
        >>> found = measures_along(landscape, run, {"w": lambda landscape, mu: mu.particles.w})
        >>> found.data["stable"].sel(matrix="w").values.round(3).tolist()
        [2.0, 2.0, 2.0]
    """
    import xarray

    if matrices is not None and not matrices:
        raise InvalidInput("matrices is empty; name at least one function of landscape, ensemble.")
    taken = sorted(set(numbers or {}) & TAKEN)
    if taken:
        raise InvalidInput(f"numbers has {taken[0]!r}, which is a measure already; rename it.")
    if isinstance(run, str | Path):
        run = _saved(Path(run))
    trajectory = run.trajectory if isinstance(run, Run) else run
    if "seed" in trajectory.dims:
        parts = [
            measures_along(
                landscape,
                trajectory.isel(seed=i),
                matrices,
                numbers=numbers,
                directions=directions,
                curvature=curvature,
                budget=budget,
            ).data
            for i in range(trajectory.sizes["seed"])
        ]
        return RunMeasures(xarray.concat(parts, "seed"), directions)
    known = run if isinstance(run, Run) else trajectory  # a run knows its particles
    times, ensembles = snapshots(known, landscape.particle)
    if len(times) < 2:
        raise InvalidInput(f"run has {len(times)} snapshot; at least 2 are needed.")
    if matrices is None:
        offered = named_matrices(landscape).items()
        shapes = {name: matrix(landscape, ensembles[0]).shape for name, matrix in offered}
        matrices = {name: matrix for name, matrix in offered if min(shapes[name]) >= directions}
    parts = [
        _of_matrix(name, [matrix(landscape, one) for one in ensembles], directions)
        for name, matrix in matrices.items()
    ]
    data = xarray.concat(parts, xarray.DataArray(list(matrices), dims="matrix", name="matrix"))
    data["loss"] = ("time", np.array([float(landscape.value(one)) for one in ensembles]))
    for name, number in (numbers or {}).items():
        data[name] = ("time", np.array([float(number(landscape, one)) for one in ensembles]))
    data = data.assign_coords(time=times)
    if curvature:
        data = data.merge(_curvature(landscape, ensembles, budget or Budget()))
    return RunMeasures(data, directions)


def _saved(folder: Path) -> xarray.Dataset:
    """The trajectory in a run's folder."""
    import xarray

    file = folder / "trajectory.nc"
    try:
        return xarray.load_dataset(file, engine="h5netcdf")
    except (OSError, KeyError, ValueError) as error:
        raise InvalidInput(
            f"run is {folder}, where no trajectory.nc can be read ({error}); name the folder of a "
            "run."
        ) from error


def _half_way(times: np.ndarray, values: np.ndarray) -> float:
    """When the values are half as far from the first as they ever get; `nan` if they stay."""
    moved = np.abs(values - values[0])
    half = 0.5 * np.max(moved)
    # A change by the round-off of single precision is none.
    still = half <= 1e-5 * np.max(np.abs(values))
    return float("nan") if still else crossing(times, moved, half, rising=True)


def _of_matrix(name: str, matrices: list[Array], directions: int) -> xarray.Dataset:
    import xarray

    shape = matrices[0].shape
    if len(shape) != 2 or not 1 <= directions <= min(shape):
        raise InvalidInput(
            f"directions is {directions} and matrix {name!r} has shape {shape}; it needs two axes, "
            "each at least as long as directions."
        )
    stack = np.stack([np.asarray(matrix) for matrix in matrices])
    own, increment = rank_measures(stack), rank_measures(stack - stack[0])
    to_previous = np.full((len(stack), directions), np.nan)
    to_previous[1:] = principal_angles(stack[1:], stack[:-1], directions)
    singular = np.linalg.svd(np.asarray(stack, float), compute_uv=False)
    singular = np.pad(singular, ((0, 0), (0, 1)))
    largest = np.where(singular[:, 0] > 0, singular[:, 0], 1)
    return xarray.Dataset(
        {
            **{key: ("time", getattr(own, key)) for key in RANKS},
            **{f"increment_{key}": ("time", getattr(increment, key)) for key in RANKS},
            "angle_to_previous": (("time", "angle"), to_previous),
            "angle_to_end": (("time", "angle"), principal_angles(stack, stack[-1], directions)),
            "gap": ("time", (singular[:, directions - 1] - singular[:, directions]) / largest),
        }
    )


def _curvature(
    landscape: AbstractLandscape, ensembles: list[Ensemble], budget: Budget
) -> xarray.Dataset:
    import xarray

    fields, values, residuals, products = [], [], [], []
    for ensemble in ensembles:
        pairs = extreme_eigenpairs(
            HessianOperator(landscape, ensemble), which="both", start=fields, budget=budget
        )
        fields = pairs.fields
        values.append(pairs.values)
        residuals.append(pairs.residuals)
        products.append(pairs.products)
    return xarray.Dataset(
        {
            "curvature": (("time", "end"), np.array(values), {"units": "1 / time"}),
            "curvature_residual": (("time", "end"), np.array(residuals), {"units": "1 / time"}),
            "curvature_products": ("time", np.array(products)),
        },
        coords={"end": ["lowest", "top"]},
    )
