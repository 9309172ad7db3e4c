"""N → ∞: how an ensemble of N particles approaches its mean-field limit."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Float, Key

from landscapes.networks import TruncationWarning
from particles import Ensemble, InvalidInput
from saddle_analysis.curves import PowerLaw

from ..flows import AbstractFlow, FlowState
from ..results import Estimate
from ..runs import Progress, StartWarning, members
from ._blocks import Draw, advanced, blocks_of, compared, drawn, noise_of, summaries
from ._distances import distances
from ._laws import dataset, fitted, samples, wandering
from ._limit import limit_of
from ._measures import Measure
from ._saved import SavedStudy

if TYPE_CHECKING:
    import xarray


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

    def limit(self, time: int = -1) -> Estimate:
        """L(μ_t) of the mean-field flow, with the bias of order 1/N removed; at the study's dt.

        Its error is that over seeds (95 %), and what the next order in 1/N would change.

        Args:
            time: number of the record.
        """
        return limit_of(self.data, time)

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
        return samples(self.data, measure, time)


def convergence_study(
    flow: AbstractFlow,
    draw: Draw,
    *,
    key: Key[jax.Array, ""],
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
        flow: any flow on any landscape. Where steps are random, block and reference share the
            noise: particle by particle, and every batch.
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
            of range, a flow whose noise ensembles cannot share (such as resampling), or `saved`
            holds another study.
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
        >>> found.limit().error < 1
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
    references = drawn(draw, key, seeds, reference)
    concerns = []
    for concern in flow.landscape.concerns(next(members(references))):
        if isinstance(concern, TruncationWarning):  # of the landscape, not of its limit
            warnings.warn(concern, stacklevel=2)
        else:
            concerns.append(str(concern))
    grid = np.linspace(0, horizon, times + 1)
    groups = [reference, *sizes]
    work = float(times * len(groups))
    # Not the keys of references and distances.
    noises = [jax.random.fold_in(key, 2 * seeds + seed) for seed in range(seeds)]
    rows: list[list[dict[str, Any]]] = []
    with Progress("N → ∞", 0, work, progress) as bar, warnings.catch_warnings():
        warnings.simplefilter("ignore", StartWarning)  # its concerns are in the result
        ensembles = {n: blocks_of(references, n) for n in groups}
        runs: dict[int, Ensemble | FlowState] = dict(ensembles)
        for index, time in enumerate(grid):
            known = [parts.part(f"errors-{index}-{n}") for n in sizes]
            left = groups if index and (None in known or index == times) else ()
            lost = any(parts.damaged(f"errors-{index}-{n}") for n in sizes)
            for place, size in enumerate(left):
                noise = noise_of(flow, noises, reference, size)
                if saved is None:
                    runs[size] = state = advanced(flow, runs[size], float(time), dt, noise=noise)
                else:
                    # Where errors are lost, the checkpoints may be of a later time.
                    where = None if lost else parts.checkpoints(size)
                    state = advanced(
                        flow, blocks_of(references, size), float(time), dt, where, noise
                    )
                ensembles[size] = state.ensemble
                bar.update((index - 1) * len(groups) + place + 1, f"t = {time:.3g}, N = {size}")
            row = []
            whole = ensembles[reference]
            far = summaries(flow, whole) if None in known else None
            for size, found in zip(sizes, known, strict=True):
                if found is None:
                    assert far is not None
                    found = compared(flow, whole, far, ensembles[size], blocks)
                    if index:  # before the first run nothing is written: it may be refused
                        parts.keep(f"errors-{index}-{size}", found)
                row.append(found)
            rows.append(row)
        found_distances = {}
        if transport:
            # Not the keys that the references were drawn with.
            keys = [jax.random.fold_in(key, seeds + seed) for seed in range(seeds)]
            found_distances = distances(
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
    data = dataset(rows, grid, sizes, found_distances)
    data.attrs |= {"horizon": horizon, "dt": dt, "reference": reference, "transport": transport}
    exponents, along = fitted(data)
    return Convergence(data, exponents, along, concerns + wandering(data))


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
    if not flow.shares_noise:
        raise InvalidInput(
            "flow has random steps that ensembles cannot share, such as resampling; the study "
            "needs a flow without, since block and reference must see the same noise."
        )
    return ordered
