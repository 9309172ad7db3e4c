"""What a run records and when: statistics, the tracks they share, and the plan of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from landscapes import Observable
from particles import InvalidInput
from particles.internal import leaf_names

from ..flows import AbstractFlow, FlowState
from ._schedules import Schedule

Values = dict[str, Any]
Compute = Callable[[AbstractFlow, FlowState], Array]


class Statistic(NamedTuple):
    """A number or array to record along a run.

    Args:
        name: its name in the trajectory.
        compute: a pure function of (flow, state); it is compiled, and mapped over a batch.
        when: a schedule of its own; `None` records it together with the loss.
        dims: names of the result's axes; made up from the name by default.
        units: for axis labels; empty for pure numbers.
    """

    name: str
    compute: Compute
    when: Schedule | None = None
    dims: tuple[str, ...] | None = None
    units: str = ""


class Track(NamedTuple):
    """Statistics that share a schedule, and so a time axis."""

    name: str
    when: Schedule
    compute: Callable[[AbstractFlow, FlowState], Values]
    dims: Mapping[str, tuple[str, ...] | None]
    units: Mapping[str, str]
    lead: tuple[str, ...] = ()  # names of the leading axes of every value

    def require_fit(self, values: Mapping[str, np.ndarray], batch: bool) -> None:
        """Refuse names of axes that are more or fewer than the axes."""
        for name, value in values.items():
            dims, shape = self.dims.get(name), value.shape[1:] if batch else value.shape
            if dims is not None and len(dims) != len(shape):
                raise InvalidInput(f"statistic {name!r} has dims {dims} but shape {shape}.")


class Plan(NamedTuple):
    """All tracks of a run.

    Args:
        main: the loss and its companions, by which the run is judged.
        own: statistics with schedules of their own, and snapshots.
    """

    main: Track
    own: tuple[Track, ...]

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The main one first."""
        return self.main, *self.own


UNITS = {
    "loss": "",
    "energy": "",
    "gradient_norm": "particle / time",
    "dissipation_rate": "1 / time",
    "dissipated": "",
    "dt": "time",
    "step": "",
}


def plan_of(
    flow: AbstractFlow,
    first: FlowState,
    batch: bool,
    record: Schedule,
    statistics: Sequence[Statistic],
    snapshots: Schedule | None,
) -> Plan:
    """The tracks of a run.

    Raises:
        InvalidInput: two things of one name.
    """
    observed = _observables(flow, first, batch)
    _require_free_names(list(observed), statistics)
    along = tuple(s for s in statistics if s.when is None)
    main = Track(
        name="time",
        when=record,
        compute=_Main(tuple((s.name, s.compute) for s in along)),
        dims={n: o.dims for n, o in observed.items()} | {s.name: s.dims for s in along},
        units=UNITS | {n: o.units for n, o in observed.items()} | {s.name: s.units for s in along},
    )
    own = [
        Track(
            name=f"{s.name}_time",
            when=s.when,
            compute=_Single(s.name, s.compute),
            dims={s.name: s.dims},
            units={s.name: s.units},
        )
        for s in statistics
        if s.when is not None
    ]
    if snapshots is not None:
        own.append(Track("snapshot_time", snapshots, _snapshot, {}, {}, ("particle",)))
    return Plan(main, tuple(own))


def _observables(flow: AbstractFlow, first: FlowState, batch: bool) -> Mapping[str, Observable]:
    """Names and labels of what is observed; nothing is computed."""

    def look(state: FlowState) -> dict[str, Observable]:
        one = jax.tree.map(lambda leaf: leaf[0], state) if batch else state
        return flow.observe(one).observables

    return jax.eval_shape(look, first)


def _require_free_names(observed: Sequence[str], statistics: Sequence[Statistic]) -> None:
    taken = {*UNITS, "time", "snapshot_time"}
    for name in observed:
        if name in taken:
            raise InvalidInput(f"observables: the name {name!r} is taken; choose another.")
        taken.add(name)
    for statistic in statistics:
        own_time = [f"{statistic.name}_time"] if statistic.when is not None else []
        for name in (statistic.name, *own_time):
            if name in taken:
                raise InvalidInput(f"statistics: the name {name!r} is taken; choose another.")
            taken.add(name)


# Modules, not closures: equal ones share one compilation across runs, and arrays that a statistic
# holds are traced.
class _Main(eqx.Module):
    extra: tuple[tuple[str, Compute], ...]

    def __call__(self, flow: AbstractFlow, state: FlowState) -> Values:
        seen = flow.observe(state)
        return {
            "loss": seen.loss,
            "energy": seen.energy,
            "gradient_norm": seen.gradient_norm,
            "dissipation_rate": seen.dissipation_rate,
            "dissipated": state.dissipated,
            "step": state.step,
            "dt": state.dt,
            **{name: observable.value for name, observable in seen.observables.items()},
            **{name: compute(flow, state) for name, compute in self.extra},
        }


class _Single(eqx.Module):
    name: str
    compute: Compute

    def __call__(self, flow: AbstractFlow, state: FlowState) -> Values:
        return {self.name: self.compute(flow, state)}


def _snapshot(flow: AbstractFlow, state: FlowState) -> Values:
    particles = state.ensemble.particles
    named = {
        f"particles.{name}" if name != "particles" else name: leaf
        for name, leaf in zip(leaf_names(particles), jax.tree.leaves(particles), strict=True)
    }
    if state.ensemble.weights is not None:
        named["weights"] = state.ensemble.weights
    return named
