"""What a run would need, before it starts: memory, time and devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax

from particles import Ensemble
from particles.internal import chunk_for

from ..costs import (
    Device,
    StepCost,
    best_seconds,
    compiled_cost,
    device_named,
    devices_needed,
    evaluation,
    kernels_of,
    sized,
    step_cost,
    times_on,
    total_of,
)
from ..flows import AbstractFlow
from ..problems import Natural
from ..results import Claim, Result

AGREE = 0.2  # of compiled program and formula
FACTOR = 2.0  # between the time of a step on this CPU and its prediction
COMPARED = 1024  # particles of the program that is compiled


@dataclass(frozen=True)
class PlanOptions:
    """What is planned for.

    Example:
        >>> PlanOptions().device
        'cpu'
    """

    device: Literal["cpu", "h200", "tpu-v5p"] = "cpu"
    """Where the run would be."""
    measure: Natural = 0
    """Steps to time on this machine, beside the prediction; 0 for none."""


def plan_result(
    flow: AbstractFlow, like: Ensemble, size: int, steps: int, options: PlanOptions
) -> Result:
    """What a run needs: memory, devices, and the least time; nothing large is allocated.

    Figures of accelerators are bounds from their makers' rates; those of this CPU are predictions
    from rates that are timed here once. (theory.md, section 8; WWP09)

    Args:
        flow: on its landscape.
        like: an ensemble of particles of the run's kind, of any number.
        size: N.
        steps: of the run.
        options: the device.

    Raises:
        InvalidInput: a device without numbers of this type.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import RegressionLandscape, neuron_start
        >>> from meanfield import GradientFlow
        >>> landscape = RegressionLandscape(
        ...     jnp.ones((32, 3), "float32"), jnp.ones((32, 1), "float32")
        ... )
        >>> mu = neuron_start(jax.random.key(0), landscape, 4)
        >>> flow = GradientFlow(landscape, scheme="euler")
        >>> plan = plan_result(flow, mu, 10**12, 1000, PlanOptions(device="h200"))
        >>> plan.summary["devices"]
        229
    """
    dtype = str(jax.tree.leaves(like.particles)[0].dtype)
    landscape = flow.landscape
    special = {
        name for k in kernels_of(evaluation, landscape, sized(like, 2)) for name in k.special
    }
    device = device_named(options.device, dtype, special)
    one = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), like.particles
    )
    chunk = getattr(flow, "chunk", None) or chunk_for(
        size, landscape.particle_bytes(one), device.budget
    )
    found = step_cost(flow, like, size, chunk)
    needed = devices_needed(device, found)
    result = Result(f"{size:,} particles on {device.name}")
    result.text(_in_words(device, found, needed, chunk))
    counts = [1] if needed is None or device.measured else [needed * factor for factor in (1, 2, 4)]
    result.text(_table(device, found, dtype, counts, steps))
    least = times_on(device, found, dtype, counts[0])
    result.summary |= {
        "device": options.device,
        "devices": needed,
        "chunk": chunk,
        "memory_bytes": found.memory(counts[0]),
        "flops": found.cost.flops,
        "activations": found.cost.activations,
        "bytes": found.cost.bytes,
        "sent_bytes": found.evaluations * (found.sent + found.passed),
        "step_seconds": least.step,
        "run_seconds": steps * least.step,
        "bound": not device.measured,
    }
    result.claim(*_agreement(flow, like))
    fits = needed is not None and (needed == 1 or not device.measured)
    result.claim(
        Claim.true("the run fits the memory", "theory 8", fits, detail=_gb(found.memory()))
    )
    if options.measure:
        result.claim(_measured(flow, like, size, options.measure, dtype, special))
    return result


def _agreement(flow: AbstractFlow, like: Ensemble) -> list[Claim]:
    """Formula beside compiled program, for one evaluation of the velocity."""
    ensemble = sized(like, COMPARED)
    formula = total_of(tuple(kernels_of(evaluation, flow.landscape, ensemble)))
    compiled = compiled_cost(evaluation, flow.landscape, ensemble)
    return [
        Claim.equal(
            f"{what} of an evaluation with {COMPARED} particles, formula and compiled program",
            "theory 8",
            predicted,
            measured,
            relative=AGREE,
        )
        for what, predicted, measured in (
            ("operations", formula.flops, compiled.flops),
            ("bytes read and written", formula.bytes, compiled.bytes),
        )
    ]


def _measured(
    flow: AbstractFlow, like: Ensemble, size: int, steps: int, dtype: str, special: set[str]
) -> Claim:
    """The time of steps on this machine over the prediction."""
    here = device_named("cpu", dtype, special)
    predicted = times_on(here, step_cost(flow, like, size), dtype).step
    repeat = lambda leaf: jax.numpy.resize(leaf, (size, *leaf.shape[1:]))  # noqa: E731
    state = flow.start(jax.tree.map(repeat, like), 1e-6, key=jax.random.key(0))
    return Claim.within(
        "time of a step on this CPU over its prediction",
        "theory 8",
        low=1 / FACTOR,
        high=FACTOR,
        measured=best_seconds(flow.step, state, steps) / predicted,
    )


def _in_words(device: Device, found: StepCost, needed: int | None, chunk: int) -> str:
    cost = found.cost
    if needed is None:
        room = f"No number of devices is enough: samples and one chunk take {_gb(found.fixed)}."
    elif device.measured:
        room = f"This machine has {_gb(device.memory)}."
    else:
        room = f"Devices needed: {needed}, each with {_gb(device.memory)}."
    return (
        f"A step evaluates the velocity {_times(found.evaluations)}: {cost.flops:.3g} operations, "
        f"{cost.activations:.3g} special functions, {cost.bytes:.3g} bytes read and written by "
        f"kernels, of which {found.evaluations * found.compulsory:.3g} are unavoidable. In chunks "
        f"of {chunk:,} particles it holds {_gb(found.memory())}. {room}"
    )


def _table(device: Device, found: StepCost, dtype: str, counts: list[int], steps: int) -> str:
    head = "predicted" if device.measured else "at least"
    lines = [
        f"| devices | memory each | arithmetic | traffic, least | traffic of all kernels | between "
        f"devices | **a step, {head}** | {steps:,} steps |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for count in counts:
        at = times_on(device, found, dtype, count)
        cells = [_seconds(t) for t in (at.products, at.traffic, at.between, at.link)]
        cells += [f"**{_seconds(at.step)}**", _seconds(steps * at.step)]
        lines.append(f"| {count} | {_gb(found.memory(count))} | " + " | ".join(cells) + " |")
    if device.measured:
        said = "Predicted from rates that were timed on this machine, kernel by kernel."
    else:
        said = (
            f"Bounds from the maker's figures ({device.source}), not measurements: a step takes at "
            "least the largest of arithmetic, least traffic and what goes between devices. Where "
            "the arrays between two kernels do not stay on the chip, it takes at least the traffic "
            "of all kernels."
        )
        if device.reduced:
            gain = device.reduced / device.flops[dtype]
            said += (
                f" Products in TF32 or bfloat16, which this library does not use, are {gain:.1f} "
            )
            said += "times as fast."
    return "\n".join([*lines, "", said])


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _gb(size: float) -> str:
    return f"{size / 1e9:.3g} GB"


def _seconds(value: float) -> str:
    for unit, width in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= width:
            return f"{value / width:.3g} {unit}"
    return "0" if value == 0 else f"{value / 1e-9:.3g} ns"
