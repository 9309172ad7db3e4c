"""Which seeds of a run can no longer be trusted: a pure look at two records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..flows import Balance

Record = Mapping[str, np.ndarray]


class Verdict(NamedTuple):
    """Masks over the seeds of a batch; without a batch, of no axis.

    Args:
        blown: the loss or the energy is no finite number.
        unstable: less energy was lost than was dissipated.
    """

    blown: np.ndarray
    unstable: np.ndarray

    @property
    def lost(self) -> np.ndarray:
        """Either of the two."""
        return np.asarray(self.blown | self.unstable)


def watch(before: Record | None, after: Record, balance: Balance | None) -> Verdict:
    """Judge a record by an earlier one.

    Args:
        before: the record the balance is drawn from; `None` for none yet.
        after: the new record, with `loss`, `energy` and `dissipated`.
        balance: what the flow promises; `None` for nothing.

    Example:
        >>> before = {"loss": np.array(1.0), "energy": np.array(1.0), "dissipated": np.array(0.0)}
        >>> after = {"loss": np.array(1.5), "energy": np.array(1.5), "dissipated": np.array(0.3)}
        >>> bool(watch(before, after, Balance(0.1)).unstable)
        True
    """
    energy = after["energy"]
    blown = np.asarray(~(np.isfinite(after["loss"]) & np.isfinite(energy)))
    if before is None or balance is None:
        return Verdict(blown, np.zeros_like(blown))
    with np.errstate(all="ignore"):
        lost = before["energy"] - energy
        spent = after["dissipated"] - before["dissipated"]
        scale = np.abs(before["energy"]) + np.abs(energy) + np.abs(after["dissipated"])
        noise = (1e3 * np.finfo(energy.dtype).eps + balance.rtol) * scale
        return Verdict(blown, np.asarray(lost < balance.share * spent - noise))


def without(values: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """The values of a batch with NaN for the lost seeds, where the type has one."""
    if not (lost.any() and np.issubdtype(values.dtype, np.floating)):
        return values
    return np.where(lost.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values).astype(values.dtype)
