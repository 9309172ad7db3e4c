"""N → ∞: how an ensemble of N particles approaches its mean-field limit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from particles import Ensemble, InvalidInput, sinkhorn_divergence, sliced_wasserstein, wasserstein
from particles.internal import coordinates

from ..flows import FlowState, GradientFlow
from ..runs import Progress, at, map_batch, simulate
from ._exponents import Exponent, fit_exponent

if TYPE_CHECKING:
    import xarray

Draw = Callable[[Key[Array, ""], int], Ensemble]

#: Name of each measure: what theory expects of its exponent (theory.md, section 7).
ORDERS = {"coupling": -0.5, "fluctuation": -0.5, "bias": -1.0, "moments": -0.5}
DISTANCES = {"sinkhorn": -1.0, "sliced": -0.5}
#: A loss whose fluctuation decays more slowly, and surely more slowly than theory, has no limit.
LEAST_DECAY = -0.35
#: Seeds whose distances are taken: they cost more than the flow.
DISTANCE_SEEDS = 8


@dataclass(frozen=True)
class Convergence:
    """What a convergence study found.

    Args:
        data: per seed, size and time: `coupling` (mean squared), `moments` (squared error), `bias`,
            `fluctuation` (variance over blocks); `loss` of some blocks and `reference_loss`; and
            at the horizon `w2`, `sinkhorn`, `sliced`. Attributes name horizon and reference size.
        exponents: of every measure at the horizon.
        along: the same exponents at every recorded time.
        concerns: reasons to distrust the limit; empty where there is none.
    """

    data: xarray.Dataset
    exponents: dict[str, Exponent]
    along: dict[str, list[Exponent]]
    concerns: list[str]

    @property
    def has_limit(self) -> bool:
        """Whether the loss concentrates as N grows."""
        return not self.concerns


def convergence_study(
    flow: GradientFlow,
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
    epsilon: float | None = None,
    progress: bool = False,
) -> Convergence:
    """Run the same flow with N particles and with many, and measure how the two come together.

    For every seed a reference ensemble of N_ref i.i.d. particles is drawn and split into N_ref/N
    disjoint blocks, which run as ensembles of their own. Block and reference start from the same
    particles, which gives the coupling error; the blocks' moments average to the reference's, so
    in the mean over blocks of L(block) − L(reference) the linear fluctuation cancels and the bias
    remains. Where an error is measured against the reference, theory has 1/N − 1/N_ref in place of
    1/N, and so has the fit. (theory.md, section 7)

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
        transport: particles up to which exact W2 and Sinkhorn distances are computed; 0 for none.
        epsilon: of the Sinkhorn divergence; by default the variance of the reference's particles.
        progress: show a bar.

    Raises:
        InvalidInput: a size that does not divide the reference, fewer than two seeds, or a flow
            with random steps (block and reference would need the same noise).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import RegressionLandscape, neuron_start
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
        >>> found.exponents["coupling"].value < -0.3
        True
    """
    reference = 2 * max(sizes, default=0) if reference is None else reference
    sizes = _checked(flow, sizes, seeds, reference, times)
    whole = _drawn(draw, key, seeds, reference)
    concerns = flow.landscape.concerns(jax.tree.map(lambda leaf: leaf[0], whole))
    grid = np.linspace(0, horizon, times + 1)
    groups = [reference, *sizes]
    work = float(times * len(groups))
    rows: list[list[dict[str, Any]]] = []
    with Progress("N → ∞", 0, work, progress) as bar, warnings.catch_warnings():
        if concerns:
            warnings.filterwarnings("ignore", "the start's outputs")
        ensembles = {n: _blocks(whole, n) for n in groups}
        runs: dict[int, Ensemble | FlowState] = dict(ensembles)
        for index, time in enumerate(grid):
            for place, size in enumerate(groups if index else ()):
                runs[size] = state = _reached(flow, runs[size], float(time), dt)
                ensembles[size] = state.ensemble
                bar.update((index - 1) * len(groups) + place + 1, f"t = {time:.3g}, N = {size}")
            rows.append([_compared(flow, ensembles[reference], ensembles[n]) for n in sizes])
        distances = _distances(
            ensembles[reference], [ensembles[n] for n in sizes], sizes, transport, epsilon, bar
        )
    data = _dataset(rows, grid, sizes, distances)
    data.attrs |= {"horizon": horizon, "dt": dt, "reference": reference, "transport": transport}
    exponents, along = _fitted(data)
    return Convergence(data, exponents, along, concerns + _wandering(data))


def _checked(
    flow: GradientFlow, sizes: Sequence[int], seeds: int, reference: int, times: int
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


def _reached(flow: GradientFlow, start: Ensemble | FlowState, time: float, dt: float) -> FlowState:
    step = dt if isinstance(start, Ensemble) else None
    run = simulate(flow, start, horizon=time, dt=step, record=at(time), batch=True)
    return run.state


class _Seen(eqx.Module):
    """One ensemble's loss and moments."""

    loss: Array
    moments: PyTree


@eqx.filter_jit
def _compared(flow: GradientFlow, whole: Ensemble, blocks: Ensemble) -> dict[str, Any]:
    """Per seed, averages over blocks; the losses of the first blocks too."""
    landscape, chunk = flow.landscape, flow.chunk
    seeds = jax.tree.leaves(whole)[0].shape[0]

    def look(ensemble: Ensemble) -> _Seen:
        moments = landscape.moments(ensemble, chunk=chunk)
        return _Seen(landscape.energy(moments), moments)

    def one(seed: tuple[Ensemble, Ensemble]) -> dict[str, Any]:
        reference, own = seed
        far = look(reference)
        near = map_batch(landscape, look, own)
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
            "loss": near.loss[:2],
            "reference_loss": far.loss,
        }

    own = jax.tree.map(lambda leaf: leaf.reshape(seeds, -1, *leaf.shape[1:]), blocks)
    return jax.lax.map(one, (whole, own))


def _distances(
    whole: Ensemble,
    blocks: Sequence[Ensemble],
    sizes: Sequence[int],
    most: int,
    epsilon: float | None,
    bar: Progress,
) -> dict[str, np.ndarray]:
    """At the horizon, the first block of each seed against other particles of its reference.

    W2 and Sinkhorn against the last `most` particles, the sliced distance against the second half:
    always disjoint from the block, so that the two samples are independent but for the flow.
    """
    leaf = jax.tree.leaves(whole)[0]
    seeds, reference = leaf.shape[:2]
    found = {name: np.full((seeds, len(sizes)), np.nan) for name in ("w2", "sinkhorn", "sliced")}
    if most < 1:
        return found
    for place, (size, block) in enumerate(zip(sizes, blocks, strict=True)):
        own = jax.tree.map(lambda x, n=size: x.reshape(seeds, -1, n, *x.shape[2:])[:, 0], block)
        for seed in range(min(seeds, DISTANCE_SEEDS)):
            bar.update(bar.end, f"distances, N = {size}, seed {seed}")
            mu = jax.tree.map(lambda x, s=seed: x[s], own)
            everyone = jax.tree.map(lambda x, s=seed: x[s], whole)
            if size <= reference // 2:
                half = jax.tree.map(lambda x: x[reference // 2 :], everyone)
                key = jax.random.key(seed)
                found["sliced"][seed, place] = sliced_wasserstein(key, mu, half, projections=100)
            if size <= most <= reference - size:
                last = jax.tree.map(lambda x: x[reference - most :], everyone)
                blur = _variance(everyone) if epsilon is None else epsilon
                found["sinkhorn"][seed, place] = sinkhorn_divergence(mu, last, blur)
                if most % size == 0 and seed < 4:  # it is slow, and only looked at
                    found["w2"][seed, place] = wasserstein(mu, last)
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
    units = {"coupling": "particle²", "moments": "moment²", "w2": "particle"}
    units |= {"sinkhorn": "particle²", "sliced": "particle"}
    stacked = {
        name: np.stack([[np.asarray(cell[name]) for cell in row] for row in rows])
        for name in rows[0][0]
    }
    reference = stacked.pop("reference_loss")[:, 0]
    variables: dict[str, Any] = {
        name: (axes if value.ndim == 3 else (*axes, "block"), value, {"units": units.get(name, "")})
        for name, value in stacked.items()
    }
    variables["reference_loss"] = (("time", "seed"), reference, {"units": ""})
    for name, value in distances.items():
        variables[name] = (("seed", "size"), value, {"units": units[name]})
    coordinates = {"time": ("time", times, {"units": "flow time"}), "size": list(sizes)}
    return xarray.Dataset(variables, coordinates)


def effective_sizes(data: xarray.Dataset, measure: str) -> np.ndarray:
    """What theory has in place of N: 1/N − 1/N_ref inverted for errors against the reference.

    Distances are between independent samples, of N and of n particles: there it is 1/N + 1/n.
    """
    sizes, reference = data["size"].values.astype(float), data.attrs["reference"]
    match measure:
        case "coupling" | "bias" | "moments":
            return 1 / (1 / sizes - 1 / reference)
        case "sliced":
            return 1 / (1 / sizes + 2 / reference)
        case "sinkhorn":
            return 1 / (1 / sizes + 1 / data.attrs["transport"])
        case _:
            return sizes


def measured(samples: xarray.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Values of the seeds that have any, shape `(seeds, sizes)`, and which sizes all of them have.

    Distances are taken of some seeds and sizes only.
    """
    values = samples.transpose("seed", "size").values
    values = values[np.isfinite(values).any(axis=1)]
    return values, np.isfinite(values).all(axis=0) & (values.shape[0] > 0)


def _fitted(data: xarray.Dataset) -> tuple[dict[str, Exponent], dict[str, list[Exponent]]]:
    """The exponents of all measures at the horizon, and along the run."""

    def fit(name: str, samples: xarray.DataArray) -> Exponent:
        power = 1.0 if name in ("bias", "sinkhorn") else 0.5
        values, known = measured(samples)
        scales, few = effective_sizes(data, name)[known], name in DISTANCES
        return fit_exponent(scales, values[:, known], power=power, correction=not few)

    along = {
        name: [fit(name, data[name].isel(time=i)) for i in range(data.sizes["time"])]
        for name in ORDERS
    }
    final = {name: fits[-1] for name, fits in along.items()}
    if data.attrs["transport"]:
        final["sinkhorn"] = fit("sinkhorn", data["sinkhorn"])
        final["sliced"] = fit("sliced", data["sliced"] ** 2)
    return final, along


def _wandering(data: xarray.Dataset) -> list[str]:
    """A loss that does not concentrate has no limit, whatever the reason."""
    samples = data["fluctuation"].isel(time=-1).transpose("seed", "size").values
    # A straight line: the correction of the finer fit costs the certainty that is wanted here.
    found = fit_exponent(data["size"].values, samples, power=0.5, correction=False)
    if not (found.value > LEAST_DECAY and found.low > ORDERS["fluctuation"]):
        return []
    return [
        "the loss does not concentrate as N grows: its standard deviation over draws goes as "
        f"N^{found.value:.2f} (95 % from {found.low:.2f} to {found.high:.2f}) where theory has "
        "N^-0.5, so no N → ∞ limit is in sight."
    ]
