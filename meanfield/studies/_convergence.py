"""N → ∞: how an ensemble of N particles approaches its mean-field limit."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from particles import Ensemble, InvalidInput, sinkhorn_divergence, sliced_wasserstein, wasserstein
from particles.internal import coordinates
from saddle_analysis.curves import PowerLaw

from ..flows import AbstractFlow, FlowState
from ..runs import Checkpoints, Progress, StartWarning, at, map_batch, simulate, whole
from ._exponents import fit_exponent
from ._measures import MEASURE, MEASURES, Counts, Measure
from ._saved import SavedStudy

if TYPE_CHECKING:
    import xarray

Draw = Callable[[Key[Array, ""], int], Ensemble]

#: A loss whose fluctuation decays more slowly, and surely more slowly than theory, has no limit.
LEAST_DECAY = -0.35


@dataclass(frozen=True)
class Convergence:
    """What a convergence study found.

    Args:
        data: per seed, size and time: `coupling` (mean squared), `moments` (squared error), `bias`,
            `fluctuation` (variance over blocks); `loss` of some blocks and `reference_loss`; and
            at the horizon `w2`, `sinkhorn` and `sliced` (squared), of some seeds. Attributes name
            horizon, reference size and the particles distances are taken to.
        exponents: of every measure that theory has an exponent of, at the horizon.
        along: the same at every recorded time, of the measures that are recorded.
        concerns: reasons to distrust the limit; empty where there is none.
    """

    data: xarray.Dataset
    exponents: dict[str, PowerLaw]
    along: dict[str, list[PowerLaw]]
    concerns: list[str]

    @property
    def has_limit(self) -> bool:
        """Whether the loss concentrates as N grows."""
        return not self.concerns

    def samples(
        self, measure: Measure, time: int = -1
    ) -> tuple[Float[np.ndarray, " sizes"], Float[np.ndarray, "seeds sizes"]]:
        """Effective sizes, and the values there of all seeds that have any.

        Args:
            measure: one of `MEASURES`.
            time: number of the record; measures of the horizon have one only.

        Returns:
            Sizes at which every one of these seeds has a value; none if nothing was measured.
        """
        return _samples(self.data, measure, time)


def convergence_study(
    flow: AbstractFlow,
    draw: Draw,
    *,
    key: Key[Array, ""],
    horizon: float,
    dt: float,
    sizes: Sequence[int] = tuple(2**n for n in range(6, 14)),
    seeds: int = 16,
    reference: int | None = None,
    times: int = 6,
    transport: int = 1024,
    distance_seeds: int = 8,
    exact_seeds: int = 4,
    blocks: int = 2,
    projections: int = 100,
    epsilon: float | None = None,
    saved: str | os.PathLike | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Convergence:
    """Run the same flow with N particles and with many, and measure how the two come together.

    For every seed a reference ensemble of N_ref i.i.d. particles is drawn and split into N_ref/N
    disjoint blocks, which run as ensembles of their own. Block and reference start from the same
    particles, which gives the coupling error; the blocks' moments average to the reference's, so
    in the mean over blocks of L(block) − L(reference) the linear fluctuation cancels and the bias
    remains. Where an error is measured against the reference, theory has 1/N − 1/N_ref in place of
    1/N, and so has the fit. (theory.md, section 7; SZN91)

    Args:
        flow: any flow without random steps, on any landscape.
        draw: i.i.d. particles, `draw(key, size)`.
        key: random key; seeds are folded in.
        horizon: flow time.
        dt: step size.
        sizes: N, each a divisor of the reference size and smaller than it.
        seeds: independent references; all of one N run in one compiled, vmapped call.
        reference: N_ref; twice the largest N by default.
        times: recorded times after the start, evenly spaced.
        transport: particles of the reference that W2 and Sinkhorn distances are taken to, and
            largest N that they are taken of; at most half of the reference, 0 for no distances.
        distance_seeds: seeds whose distances are taken; they cost more than the flow.
        exact_seeds: of these, seeds whose exact W2 is taken; it costs most, and is not fitted.
        blocks: ensembles of each seed and size whose single losses are kept.
        projections: random lines of the sliced distance.
        epsilon: of the Sinkhorn divergence; by default the variance of the reference's particles.
        saved: folder for what is found on the way: runs and errors at each recorded time.
        resume: go on with what is in `saved`; the result is the same bit for bit.
        progress: show a bar.

    Raises:
        InvalidInput: a size that does not divide the reference, fewer than two seeds, a count out
            of range, a flow with random steps (block and reference would need the same noise), or
            `saved` holds another study.
        FlowFailed: all seeds of one size fail.
        RunInterrupted: Ctrl-C or SIGTERM; what is in `saved` is kept.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import RegressionLandscape, neuron_start
        >>> from meanfield import GradientFlow
        >>> x = jnp.linspace(-1, 1, 8)[:, None]
        >>> landscape = RegressionLandscape(x, jnp.sin(3 * x))
        >>> found = convergence_study(
        ...     GradientFlow(landscape, scheme="euler"),
        ...     lambda key, size: neuron_start(key, landscape, size),
        ...     key=jax.random.key(0),
        ...     horizon=1.0,
        ...     dt=0.1,
        ...     sizes=[8, 16, 32, 64],
        ...     seeds=4,
        ...     transport=0,
        ... )
        >>> found.exponents["coupling"].exponent < -0.3
        True
    """
    reference = 2 * max(sizes, default=0) if reference is None else reference
    sizes = _checked(flow, sizes, seeds, reference, times)
    for name, count, least in (
        ("transport", transport, 0),
        ("distance_seeds", distance_seeds, 0),
        ("exact_seeds", exact_seeds, 0),
        ("blocks", blocks, 1),
        ("projections", projections, 1),
    ):
        if count < least:
            raise InvalidInput(f"{name} is {count}; it must be at least {least}.")
    transport = min(transport, reference // 2)  # the rest must hold an ensemble apart from these
    parts = SavedStudy(
        saved,
        {
            "sizes": sizes,
            "seeds": seeds,
            "reference": reference,
            "times": times,
            "horizon": horizon,
            "dt": dt,
            "transport": transport,
            "distance_seeds": distance_seeds,
            "exact_seeds": exact_seeds,
            "blocks": blocks,
            "projections": projections,
            "epsilon": epsilon,
            "key": np.asarray(jax.random.key_data(key)).tolist(),
        },
        resume,
    )
    drawn = _drawn(draw, key, seeds, reference)
    one = jax.tree.map(lambda leaf: leaf[0], drawn)
    concerns = [str(concern) for concern in flow.landscape.concerns(one)]
    grid = np.linspace(0, horizon, times + 1)
    groups = [reference, *sizes]
    work = float(times * len(groups))
    rows: list[list[dict[str, Any]]] = []
    with Progress("N → ∞", 0, work, progress) as bar, warnings.catch_warnings():
        warnings.simplefilter("ignore", StartWarning)  # its concerns are in the result
        ensembles = {n: _blocks(drawn, n) for n in groups}
        runs: dict[int, Ensemble | FlowState] = dict(ensembles)
        for index, time in enumerate(grid):
            known = [parts.part(f"errors-{index}-{n}") for n in sizes]
            left = groups if index and (None in known or index == times) else ()
            lost = any(parts.damaged(f"errors-{index}-{n}") for n in sizes)
            for place, size in enumerate(left):
                if saved is None:
                    runs[size] = state = _advanced(flow, runs[size], float(time), dt)
                else:
                    # Where errors are lost, the checkpoints may be of a later time.
                    where = None if lost else parts.checkpoints(size)
                    state = _advanced(flow, _blocks(drawn, size), float(time), dt, where)
                ensembles[size] = state.ensemble
                bar.update((index - 1) * len(groups) + place + 1, f"t = {time:.3g}, N = {size}")
            row = []
            for size, found in zip(sizes, known, strict=True):
                if found is None:
                    found = _compared(flow, ensembles[reference], ensembles[size], blocks)
                    if index:  # before the first run nothing is written: it may be refused
                        parts.keep(f"errors-{index}-{size}", found)
                row.append(found)
            rows.append(row)
        distances = {}
        if transport:
            # Not the keys that the references were drawn with.
            keys = [jax.random.fold_in(key, seeds + seed) for seed in range(seeds)]
            distances = _distances(
                keys[:distance_seeds],
                ensembles[reference],
                {n: ensembles[n] for n in sizes},
                most=transport,
                exact=exact_seeds,
                projections=projections,
                epsilon=epsilon,
                bar=bar,
                parts=parts,
            )
    data = _dataset(rows, grid, sizes, distances)
    data.attrs |= {"horizon": horizon, "dt": dt, "reference": reference, "transport": transport}
    exponents, along = _fitted(data)
    return Convergence(data, exponents, along, concerns + _wandering(data))


def _checked(
    flow: AbstractFlow, sizes: Sequence[int], seeds: int, reference: int, times: int
) -> list[int]:
    ordered = sorted(set(sizes))
    bad = [n for n in ordered if n < 1 or n >= reference or reference % n]
    if not ordered or bad:
        raise InvalidInput(
            f"sizes is {list(sizes)}; each must be a divisor of the reference size {reference} and "
            "smaller than it" + (f", which {bad[0]} is not." if bad else ".")
        )
    if seeds < 2 or times < 1:
        raise InvalidInput(
            f"seeds is {seeds} and times is {times}; at least 2 seeds and 1 time are needed."
        )
    if flow.random:
        raise InvalidInput(
            "flow has random steps; the study needs a flow without, since block and reference "
            "would have to share their noise."
        )
    return ordered


def _drawn(draw: Draw, key: Array, seeds: int, size: int) -> Ensemble:
    """One reference for each seed, stacked."""
    drawn = [draw(jax.random.fold_in(key, seed), size) for seed in range(seeds)]
    if drawn[0].weights is not None:
        raise InvalidInput("draw gives weighted particles; the study needs equal weights.")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn)


def _blocks(whole: Ensemble, size: int) -> Ensemble:
    """Every reference cut into blocks of `size` particles: one batch of ensembles."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[2:]), whole)


def _advanced(
    flow: AbstractFlow,
    start: Ensemble | FlowState,
    time: float,
    dt: float,
    checkpoints: Checkpoints | None = None,
) -> FlowState:
    """The ensembles at a time: from a state, or from a start by way of its checkpoints."""
    run = simulate(
        flow,
        start,
        horizon=time,
        dt=dt if isinstance(start, Ensemble) else None,
        record=at(time),
        batch=True,
        checkpoints=checkpoints,
        resume=checkpoints is not None and checkpoints.latest() is not None,
    )
    return whole(run).state


class _Summary(eqx.Module):
    """One ensemble's loss and moments."""

    loss: Array
    moments: PyTree


@eqx.filter_jit
def _compared(flow: AbstractFlow, whole: Ensemble, blocks: Ensemble, kept: int) -> dict[str, Any]:
    """Per seed, averages over blocks; the losses of the first blocks too."""
    landscape, chunk = flow.landscape, flow.chunk
    seeds = jax.tree.leaves(whole)[0].shape[0]

    def summary(ensemble: Ensemble) -> _Summary:
        return _Summary(*landscape.value_and_moments(ensemble, chunk=chunk))

    def one(seed: tuple[Ensemble, Ensemble]) -> dict[str, Any]:
        reference, own = seed
        far = summary(reference)
        near = map_batch(landscape, summary, own)
        count = near.loss.shape[0]
        moved = jax.tree.map(
            lambda x, y: jnp.sum((x.reshape(y.shape) - y) ** 2) / reference.size,
            own.particles,
            reference.particles,
        )
        error = jax.tree.map(lambda m, r: jnp.sum((m - r) ** 2) / count, near.moments, far.moments)
        return {
            "coupling": sum(jax.tree.leaves(moved)),
            "moments": sum(jax.tree.leaves(error)),
            "bias": jnp.mean(near.loss) - far.loss,
            "fluctuation": jnp.var(near.loss, ddof=1),
            "loss": near.loss[:kept],
            "reference_loss": far.loss,
        }

    own = jax.tree.map(lambda leaf: leaf.reshape(seeds, -1, *leaf.shape[1:]), blocks)
    return jax.lax.map(one, (whole, own))


def _distances(
    keys: Sequence[Array],
    whole: Ensemble,
    blocks: dict[int, Ensemble],
    *,
    most: int,
    exact: int,
    projections: int,
    epsilon: float | None,
    bar: Progress,
    parts: SavedStudy,
) -> dict[str, np.ndarray]:
    """At the horizon, the first block of some seeds against other particles of its reference.

    W2 and Sinkhorn against the last `most` particles, the sliced distance against the second half:
    always disjoint from the block, so that the two samples are independent but for the flow.
    """
    leaf = jax.tree.leaves(whole)[0]
    seeds, reference = leaf.shape[:2]
    names = [measure.name for measure in MEASURES if measure.at_horizon]
    found = {name: np.full((seeds, len(blocks)), np.nan) for name in names}
    for place, (size, block) in enumerate(blocks.items()):
        known = parts.part(f"distances-{size}")
        if known is not None:
            for name in names:
                found[name][:, place] = known[name]
            continue
        own = jax.tree.map(lambda x, n=size: x.reshape(seeds, -1, n, *x.shape[2:])[:, 0], block)
        for seed, key in enumerate(keys):
            bar.update(bar.end, f"distances, N = {size}, seed {seed}")
            mu = jax.tree.map(lambda x, s=seed: x[s], own)
            everyone = jax.tree.map(lambda x, s=seed: x[s], whole)
            half = jax.tree.map(lambda x: x[reference // 2 :], everyone)
            if size <= reference // 2:
                distance = sliced_wasserstein(key, mu, half, projections=projections)
                found["sliced"][seed, place] = distance**2
            if size <= most:
                last = jax.tree.map(lambda x: x[reference - most :], everyone)
                blur = _variance(everyone) if epsilon is None else epsilon
                found["sinkhorn"][seed, place] = sinkhorn_divergence(mu, last, blur)
                if most % size == 0 and seed < exact:
                    found["w2"][seed, place] = wasserstein(mu, last)
        parts.keep(f"distances-{size}", {name: found[name][:, place] for name in names})
    return found


def _variance(ensemble: Ensemble) -> float:
    points = coordinates(ensemble)
    return float(jnp.sum(jnp.var(points, axis=0)))


def _dataset(
    rows: list[list[dict[str, Any]]],
    times: np.ndarray,
    sizes: Sequence[int],
    distances: dict[str, np.ndarray],
) -> xarray.Dataset:
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


def _samples(data: xarray.Dataset, measure: Measure, time: int) -> tuple[np.ndarray, np.ndarray]:
    if measure.name not in data:
        return np.zeros(0), np.zeros((0, 0))
    values = data[measure.name]
    values = (values if measure.at_horizon else values.isel(time=time)).transpose("seed", "size")
    rows = values.values[np.isfinite(values.values).any(axis=1)]
    known = np.isfinite(rows).all(axis=0) & (rows.shape[0] > 0)
    counts = Counts(data.attrs["reference"], data.attrs["transport"])
    sizes = measure.effective_size(data["size"].values.astype(float), counts)
    return sizes[known], rows[:, known]


def _fitted(data: xarray.Dataset) -> tuple[dict[str, PowerLaw], dict[str, list[PowerLaw]]]:
    """The exponents of all measures at the horizon, and along the run."""
    along, final = {}, {}
    for measure in MEASURES:
        if measure.order is None or measure.name not in data:
            continue
        times = [-1] if measure.at_horizon else range(data.sizes["time"])
        fits = [
            # Distances are of few sizes: a plain straight line.
            fit_exponent(
                *_samples(data, measure, time),
                power=measure.power,
                correction=not measure.at_horizon,
            )
            for time in times
        ]
        final[measure.name] = fits[-1]
        if not measure.at_horizon:
            along[measure.name] = fits
    return final, along


def _wandering(data: xarray.Dataset) -> list[str]:
    """A loss that does not concentrate has no limit, whatever the reason."""
    fluctuation = MEASURE["fluctuation"]
    assert fluctuation.order is not None
    # A straight line: the correction of the finer fit costs the certainty that is wanted here.
    found = fit_exponent(
        *_samples(data, fluctuation, -1), power=fluctuation.power, correction=False
    )
    if not (found.exponent > LEAST_DECAY and found.low > fluctuation.order):
        return []
    return [
        "the loss does not concentrate as N grows: its standard deviation over draws goes as "
        f"N^{found.exponent:.2f} (95 % from {found.low:.2f} to {found.high:.2f}) where theory has "
        "N^-0.5, so no N → ∞ limit is in sight."
    ]
