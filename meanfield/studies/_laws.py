"""What blocks have shown, as a dataset, and the laws in N that it obeys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from saddle_analysis.curves import PowerLaw

from ._exponents import fit_exponent
from ._measures import MEASURE, MEASURES, Counts, Measure

if TYPE_CHECKING:
    import xarray

#: A loss whose fluctuation decays more slowly, and surely more slowly than theory, has no limit.
LEAST_DECAY = -0.35


def dataset(
    rows: list[list[dict[str, Any]]],
    times: np.ndarray,
    sizes: Sequence[int],
    distances: dict[str, np.ndarray],
) -> xarray.Dataset:
    """Rows of times, cells of sizes, and the distances, as one dataset."""
    import xarray

    axes = ("time", "size", "seed")
    units = {measure.name: measure.unit for measure in MEASURES} | {"loss": "loss"}
    stacked = {
        name: np.stack([[np.asarray(cell[name]) for cell in row] for row in rows])
        for name in rows[0][0]
    }
    reference = stacked.pop("reference_loss")[:, 0]
    variables: dict[str, Any] = {
        name: (axes if value.ndim == 3 else (*axes, "block"), value, {"units": units[name]})
        for name, value in stacked.items()
    }
    variables["reference_loss"] = (("time", "seed"), reference, {"units": "loss"})
    for name, value in distances.items():
        variables[name] = (("seed", "size"), value, {"units": units[name]})
    coordinates = {"time": ("time", times, {"units": "flow time"}), "size": list(sizes)}
    return xarray.Dataset(variables, coordinates)


def samples(data: xarray.Dataset, measure: Measure, time: int) -> tuple[np.ndarray, np.ndarray]:
    """Effective sizes, and the values there of all seeds that have any."""
    if measure.name not in data:
        return np.zeros(0), np.zeros((0, 0))
    values = data[measure.name]
    values = (values if measure.at_horizon else values.isel(time=time)).transpose("seed", "size")
    rows = values.values[np.isfinite(values.values).any(axis=1)]
    known = np.isfinite(rows).all(axis=0) & (rows.shape[0] > 0)
    counts = Counts(data.attrs["reference"], data.attrs["transport"])
    sizes = measure.effective_size(data["size"].values.astype(float), counts)
    return sizes[known], rows[:, known]


def fitted(data: xarray.Dataset) -> tuple[dict[str, PowerLaw], dict[str, list[PowerLaw]]]:
    """The exponents of all measures at the horizon, and along the run."""
    along, final = {}, {}
    for measure in MEASURES:
        if measure.order is None or measure.name not in data:
            continue
        times = [-1] if measure.at_horizon else range(data.sizes["time"])
        fits = [
            # Distances are of few sizes: a plain straight line.
            fit_exponent(
                *samples(data, measure, time),
                power=measure.power,
                correction=not measure.at_horizon,
            )
            for time in times
        ]
        final[measure.name] = fits[-1]
        if not measure.at_horizon:
            along[measure.name] = fits
    return final, along


def wandering(data: xarray.Dataset) -> list[str]:
    """A loss that does not concentrate has no limit, whatever the reason."""
    fluctuation = MEASURE["fluctuation"]
    assert fluctuation.order is not None
    # A straight line: the correction of the finer fit costs the certainty that is wanted here.
    found = fit_exponent(*samples(data, fluctuation, -1), power=fluctuation.power, correction=False)
    if not (found.exponent > LEAST_DECAY and found.low > fluctuation.order):
        return []
    return [
        "the loss does not concentrate as N grows: its standard deviation over draws goes as "
        f"N^{found.exponent:.2f} (95 % from {found.low:.2f} to {found.high:.2f}) where theory has "
        "N^-0.5, so no N → ∞ limit is in sight."
    ]
