"""One shared link: escape times over the dimension, with the link fast, frozen, and in between."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from scipy.integrate import solve_ivp

from landscapes.single_index import SharedLinkLandscape, escape_time
from particles import Ensemble
from saddle_analysis.curves import crossing, fit_line, fit_power_law

from .. import plots
from ..flows import GradientFlow, scheme_from
from ..results import Claim, Result
from ..runs import log_spaced, simulate
from ._seeds import over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ESCAPES, RATIOS = "A fast link doubles the exponent", "From frozen to fast"
SOURCE = "BBPV25; theory 15"
MET = 0.5  # overlap that counts as escaped
NEAR = 0.1  # overlap at the start of runs at several ratios
SCALES = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)  # ε over the escape time of the frozen link
KINDS = {"fast": "at its optimum", "frozen": "frozen"}


def teacher(degree: int) -> tuple[float, ...]:
    """One Hermite polynomial."""
    return (*[0.0] * degree, 1.0)


def escape(degree: int) -> Callable[[float, str], float]:
    """How long one direction takes from an overlap to one half, by scipy on the velocity."""
    phi = teacher(degree)
    landscape = SharedLinkLandscape(phi)

    def velocity(x: Array, link: Array | None) -> Array:
        """Of log s, which is of one order at all times."""
        angle = jnp.arcsin(jnp.exp(x))
        speed = landscape.velocity(Ensemble(angle.reshape(1, 1)), link)[0, 0]
        return speed * jnp.cos(angle) * jnp.exp(-x)

    speeds = {"fast": jax.jit(lambda x: velocity(x, None))}
    speeds["frozen"] = jax.jit(lambda x: velocity(x, jnp.asarray(phi)))

    def time(start: float, kind: str) -> float:
        # dt/dx along x = log s: an integral that scipy's integrator takes as an equation.
        found = solve_ivp(
            lambda x, t: [1 / float(speeds[kind](x))],
            (math.log(start), math.log(MET)),
            [0.0],
            rtol=1e-9,
            atol=0.0,
            first_step=1e-4,
        )
        return float(found.y[0, -1])

    return time


def escapes(
    keys: Key[Array, " seeds"], exponents: tuple[int, ...], dims: tuple[int, ...]
) -> Result:
    """Escape times over d from directions at random, of both kinds of link."""
    result = Result(ESCAPES)
    starts = np.array([[start(key, dim) for dim in dims] for key in keys])
    shown: dict[tuple[int, str], np.ndarray] = {}
    worst = 0.0
    for degree in exponents:
        time = escape(degree)
        for kind in KINDS:
            seen = np.array([[time(s, kind) for s in row] for row in starts])
            link = None if kind == "fast" else teacher(degree)
            exact = [[escape_time(teacher(degree), s, link=link) for s in row] for row in starts]
            worst = max(worst, float(np.abs(seen / exact - 1).max()))
            shown[degree, kind] = seen
            result.claim(law_claim(degree, kind, dims, seen))
    result.claim(
        Claim.below(
            "escape times against the integral of 1/ds/dt: largest relative difference",
            "theory 15",
            bound=1e-5,
            measured=worst,
        )
    )
    result.figure(
        "escape",
        "Time to an overlap of one half over the dimension: medians over directions at random, "
        "with the exponents of theory.",
        functools.partial(draw_escape, dims=dims, shown=shown),
    )
    return result


def start(key: Key[Array, ""], dim: int) -> float:
    """The overlap of a direction at random, on the side where it grows.

    Across dimensions it comes from the same normal number, so that d alone differs.
    """
    along, across = jax.random.split(key)
    coordinate = abs(float(jax.random.normal(along)))
    rest = float(jax.random.chisquare(jax.random.fold_in(across, dim), dim - 1))
    return coordinate / math.hypot(coordinate, math.sqrt(rest))


def law_claim(
    degree: int, kind: str, dims: tuple[int, ...], seen: Float[np.ndarray, "seeds dims"]
) -> Claim:
    """The exponent in d; for degree 2 and a frozen link the slope in log d."""
    d = np.asarray(dims, float)
    name = f"information exponent {degree}, link {KINDS[kind]}"
    if kind == "frozen" and degree == 2:
        middle, said = over_seeds([fit_line(np.log(d), row).slope for row in seen])
        text = f"{name}: slope of the escape time in log d, 1/(4φ²) ({said})"
        return Claim.equal(text, SOURCE, 0.25, middle, relative=0.05)
    middle, said = over_seeds([fit_power_law(d, row).exponent for row in seen])
    wanted = degree - 1 if kind == "fast" else degree / 2 - 1
    text = f"{name}: exponent of the escape time in d ({said})"
    return Claim.equal(text, SOURCE, wanted, middle, absolute=0.05)


def ratios(progress: bool = False) -> Result:
    """The library's flow of direction and link, at ratios from fast to frozen (degree 2)."""
    result = Result(RATIOS)
    phi = teacher(2)
    fast, frozen = (escape_time(phi, NEAR, link=link) for link in (None, phi))
    seen = {
        "fast": flow_time(None, fast, progress),
        "frozen": flow_time(math.inf, 1.5 * frozen, progress),
    }
    times = np.array([flow_time(scale * frozen, 1.5 * fast, progress) for scale in SCALES])
    for kind, exact in (("fast", fast), ("frozen", frozen)):
        result.claim(
            Claim.equal(
                f"escape time of the library's flow, link {KINDS[kind]}, over the integral",
                SOURCE,
                1.0,
                seen[kind] / exact,
                relative=1e-3,
            )
        )
    for index, exact, name in ((0, fast, "the fast link"), (-1, frozen, "the frozen link")):
        result.claim(
            Claim.equal(
                f"escape time at ε = {SCALES[index]:g} times that of the frozen link, over that of "
                f"{name}",
                "theory 15",
                1.0,
                float(times[index]) / exact,
                relative=0.02,
            )
        )
    result.figure(
        "ratio",
        "Escape time over the link's timescale ε, for a link that starts at the target's, between "
        "its two limits.",
        functools.partial(
            draw_ratio, scales=frozen * np.array(SCALES), times=times, fast=fast, frozen=frozen
        ),
    )
    return result


def flow_time(ratio: float | None, horizon: float, progress: bool) -> float:
    """When the library's flow meets the overlap, from a link that is the target's."""
    landscape = SharedLinkLandscape(teacher(2))
    run = simulate(
        GradientFlow(landscape, scheme=scheme_from("adaptive", rtol=1e-7, atol=1e-10), ratio=ratio),
        Ensemble(jnp.full((1, 1), math.asin(NEAR))),
        horizon=1.2 * horizon,
        dt=1e-4 * horizon,
        fast=None if ratio is None else landscape.teacher,
        record=log_spaced(1e-3 * horizon, 100),
        progress=progress,
        label="link",
    )
    overlaps = run.trajectory["overlaps"].to_numpy()[:, 1]
    return crossing(run.trajectory["time"].to_numpy(), overlaps, MET)


def draw_escape(ax: Axes, dims: tuple[int, ...], shown: dict[tuple[int, str], np.ndarray]) -> None:
    """Medians and lines of theory through the last of them."""
    d = np.asarray(dims, float)
    colours = {degree: plots.SERIES[n] for n, degree in enumerate(sorted({k for k, _ in shown}))}
    for (degree, kind), seen in shown.items():
        middle = np.median(seen, axis=0)
        marker = "o" if kind == "fast" else "s"
        face = colours[degree] if kind == "fast" else "none"
        label = f"exponent {degree}, {KINDS[kind]}"
        ax.loglog(d, middle, marker, color=colours[degree], mfc=face, label=label)
        if kind == "frozen" and degree == 2:
            law = middle[-1] + 0.25 * np.log(d / d[-1])
        else:
            law = middle[-1] * (d / d[-1]) ** (degree - 1 if kind == "fast" else degree / 2 - 1)
        ax.loglog(d, law, color=colours[degree], ls="--", lw=1)
    ax.plot([], [], color=plots.QUIET, ls="--", label="d^(k−1); d^(k/2−1), log d")
    ax.set(xlabel="dimension d", ylabel="escape time t", title="Escape from the equator")
    plots.legend(ax)


def draw_ratio(ax: Axes, scales: np.ndarray, times: np.ndarray, fast: float, frozen: float) -> None:
    """Measured times between two lines."""
    ax.loglog(scales, times, "o", color=plots.MEASURED, label="library's flow")
    ax.axhline(fast, color=plots.THEORY, ls="--", label="link at its optimum")
    ax.axhline(frozen, color=plots.QUIET, ls=":", label="link frozen")
    ax.set(xlabel="ratio of timescales ε", ylabel="escape time t", title="From frozen to fast")
    plots.legend(ax)
