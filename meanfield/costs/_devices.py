"""What devices can do at most: figures of accelerators by their makers, of this CPU by a trial."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from particles import InvalidInput
from particles.internal import ACCELERATOR_BUDGET, CPU_BUDGET

from ._cache import recall, remember
from ._cost import StepCost
from ._kernels import Kernel


@dataclass(frozen=True)
class Device:
    """Rates of one device, per second.

    Args:
        name: of the device.
        source: of its figures.
        flops: of matrix products by the type of the numbers, at the highest precision.
        reduced: of products in TF32 or bfloat16, which this library does not use; 0 if none.
        bandwidth: bytes of memory.
        memory: bytes.
        link: bytes to the other devices, one way; 0 where there are none.
        budget: bytes of one chunk.
        special: evaluations of special functions by name; empty where nobody states them.
        overhead: seconds a kernel.
        measured: whether kernels were timed here, so that times are predictions and not bounds.
    """

    name: str
    source: str
    flops: Mapping[str, float]
    bandwidth: float
    memory: float
    reduced: float = 0.0
    link: float = 0.0
    budget: int = ACCELERATOR_BUDGET
    special: Mapping[str, float] | None = None
    overhead: float = 0.0
    measured: bool = False


#: Dense products without sparsity; links one way. A TPU multiplies float32 in six passes of
#: bfloat16, and has no float64.
ACCELERATORS: Mapping[str, Device] = {
    "h200": Device(
        name="NVIDIA H200 (SXM)",
        source="NVI24",
        flops={"float32": 67e12, "float64": 67e12},
        reduced=494e12,
        bandwidth=4.8e12,
        memory=141e9,
        link=450e9,
    ),
    "tpu-v5p": Device(
        name="Cloud TPU v5p",
        source="GOO23",
        flops={"float32": 459e12 / 6},
        reduced=459e12,
        bandwidth=2.765e12,
        memory=95e9,
        link=600e9,
    ),
}


def device_named(name: str, dtype: str, special: Iterable[str] = ()) -> Device:
    """A device by name; `cpu` is this machine's, timed for a second unless that was done before.

    Args:
        name: `cpu`, or a key of `ACCELERATORS`.
        dtype: of the numbers, float32 or float64.
        special: functions whose rates are wanted of a CPU.

    Raises:
        InvalidInput: no such device, or one without this type of numbers.
    """
    if name == "cpu":
        return _this_cpu(dtype, sorted(set(special)))
    if name not in ACCELERATORS:
        raise InvalidInput(f"device is {name!r}; choose one of {['cpu', *ACCELERATORS]}.")
    device = ACCELERATORS[name]
    if dtype not in device.flops:
        raise InvalidInput(
            f"precision is {dtype!r}, which a {device.name} does not have; choose "
            f"{next(iter(device.flops))!r}."
        )
    return device


@dataclass(frozen=True)
class Times:
    """Seconds of one step on each of a number of devices.

    Args:
        products: arithmetic alone.
        traffic: the least memory traffic alone: particles, gradients and samples.
        between: memory traffic, if the arrays between two kernels go through memory.
        link: sums of moments, and particles of pairs, over the link.
        step: the largest of products, traffic and link: no step is faster. On a CPU that was
            timed, the sum over kernels of the larger of arithmetic and traffic: a prediction.
    """

    products: float
    traffic: float
    between: float
    link: float
    step: float


def times_on(device: Device, found: StepCost, dtype: str, devices: int = 1) -> Times:
    """The time of a step: a roofline.

    (theory.md, section 8; WWP09)

    Args:
        device: its rates.
        found: what the step costs.
        dtype: of the numbers.
        devices: that share the particles.
    """
    cost, rate = found.cost, device.flops[dtype]
    share, runs = 1 / devices, found.evaluations
    products = share * cost.flops / rate
    traffic = runs * found.compulsory * share / device.bandwidth
    ring = (devices - 1) / devices * (2 * found.sent + found.passed)
    link = runs * ring / device.link if device.link else 0.0
    step = max(products, traffic, link)
    if device.measured:
        step = share * runs * sum(_seconds(device, kernel, rate) for kernel in found.kernels)
    return Times(products, traffic, share * cost.bytes / device.bandwidth, link, step)


def devices_needed(device: Device, found: StepCost) -> int | None:
    """The fewest devices whose memory holds a step; `None` if the landscape alone is too large."""
    left = device.memory - found.fixed
    if left <= 0:
        return None
    return max(1, math.ceil((found.memory() - found.fixed) / left))


def _seconds(device: Device, kernel: Kernel, rate: float) -> float:
    special = device.special or {}
    functions = sum(count / special.get(name, rate) for name, count in kernel.special.items())
    work = functions if kernel.name != "dot_general" else kernel.flops / rate
    return kernel.runs * (max(work, kernel.bytes / device.bandwidth) + device.overhead)


# --- this machine --------------------------------------------------------------------------------

REPEATS = 7
SIDE = 384  # of the square product
FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "tanh": jnp.tanh,
    "logistic": jax.nn.sigmoid,
    "erf": jax.lax.erf,
    "exp": jnp.exp,
    "log": jnp.log,
    "sqrt": jnp.sqrt,
}


def _this_cpu(dtype: str, special: list[str]) -> Device:
    special = [name if name in FUNCTIONS else "tanh" for name in special]
    cores = os.cpu_count() or 1
    key = f"{platform.machine()} {platform.processor()} {platform.node()} {cores} {dtype}"
    rates = recall("rates", key)
    if not _usable(rates, special):
        rates = _rates(dtype, sorted(FUNCTIONS))
        remember("rates", key, rates)
    return Device(
        name=f"this CPU, {cores} cores",
        source="timed here",
        flops={dtype: rates["product"]},
        bandwidth=rates["bandwidth"],
        memory=_memory(),
        budget=CPU_BUDGET,
        special={name: rates[name] for name in FUNCTIONS},
        overhead=rates["overhead"],
        measured=True,
    )


def _usable(rates: Any, special: list[str]) -> bool:
    names = ("product", "bandwidth", "overhead", *special)
    if not isinstance(rates, dict):
        return False
    return all(isinstance(rates.get(n), float) and rates[n] > 0 for n in names)


def _rates(dtype: str, special: list[str]) -> dict[str, float]:
    """Rates of the machine, with arrays that stay in the cache as a chunk's do."""
    with jax.default_matmul_precision("highest"):
        square = jnp.ones((SIDE, SIDE), dtype)
        product = 2.0 * SIDE**3 / best_seconds(lambda a: a @ a, square)
        # A product with few inner terms moves its result and little else, as those of a pass do.
        array = jnp.ones(CPU_BUDGET // (4 * jnp.dtype(dtype).itemsize), dtype)
        thin = jnp.ones((2**10, 4), dtype)
        wide = jnp.ones((4, array.size // 2**10), dtype)
        bandwidth = array.nbytes / best_seconds(lambda a: a @ wide, thin)
        found = {"product": product, "bandwidth": bandwidth}
        for name in special:
            found[name] = array.size / best_seconds(FUNCTIONS[name], array)
        small = jnp.ones((8, 8), dtype)
        many = lambda a: lax.fori_loop(0, 500, lambda i, b: jnp.tanh(b @ a), a)  # noqa: E731
        found["overhead"] = best_seconds(many, small) / 1000
    return found


def best_seconds(fn: Callable[[Any], Any], value: Any, repeats: int = REPEATS) -> float:
    """The least time that a compiled function takes, once it is compiled.

    Args:
        fn: a function of one pytree.
        value: what it is called with.
        repeats: how often.
    """
    run = eqx.filter_jit(fn)
    jax.block_until_ready(run(value))
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(run(value))
        times.append(time.perf_counter() - begin)
    return min(times)


def _memory() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return math.inf
