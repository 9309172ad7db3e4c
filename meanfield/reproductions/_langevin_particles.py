"""What finite N costs Langevin dynamics: fluctuations, the free-energy gap, at all times."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from landscapes import Confined
from landscapes.moments import Equilibrium, FourierLandscape, MeanLandscape, equilibrium
from particles import Ensemble, gaussian

from .. import plots
from ..flows import Diffusion, GradientFlow
from ..results import Claim, Result
from ..runs import every, simulate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLUCTUATIONS = "Fluctuations of N particles"
GAP = "The free energy of N particles"
UNIFORM = "Uniformly in time"
CONFINEMENT = 1.0  # κ
PULL, TEMPERATURE = 1.0, 0.25  # h and τ of bounded features
STEP = 0.01
BURN, EVERY = 3.0, 0.25  # flow time left out, and between records
GAP_SIZES = 2  # whose gap is measured: its statistical error grows with N
NODES = 3  # of the thermodynamic integration
WIDE, HOT, STIFF = 2.0, 0.5, 2.0  # start, τ and h of normal laws
SPAN = 8.0  # flow time of normal laws


@dataclass(frozen=True)
class Sampling:
    """How fluctuations are sampled.

    Args:
        sizes: N.
        replicas: of each N.
        time: over which is averaged, after the burn-in.
        progress: show bars.
    """

    sizes: tuple[int, ...]
    replicas: int
    time: float
    progress: bool = False


def standard_error(values: Float[np.ndarray, " replicas"]) -> float:
    """Of the mean of independent values."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def stationary_moments(
    key: Key[Array, ""], landscape: Confined, size: int, sampling: Sampling, label: str
) -> Float[np.ndarray, "replicas times moments"]:
    """Moments of independent ensembles at stationarity, from i.i.d. starts of the limit's law."""
    draw, noise = jax.random.split(key)
    found = equilibrium(landscape, TEMPERATURE)
    below = jnp.asarray(np.cumsum(found.density) * (found.points[1] - found.points[0]))
    ranks = jax.random.uniform(draw, (sampling.replicas, size, 1))
    start = Ensemble(jnp.interp(ranks, below, jnp.asarray(found.points)))
    run = simulate(
        GradientFlow(landscape, scheme="euler", jumps=(Diffusion(TEMPERATURE),)),
        start,
        horizon=BURN + sampling.time,
        dt=STEP,
        key=jax.random.split(noise, sampling.replicas),
        record=every(EVERY),
        batch=True,
        progress=sampling.progress,
        label=label,
    )
    kept = np.asarray(run.trajectory["time"]) >= BURN
    order = ("seed", "time", "moment")
    return run.trajectory["moments"].transpose(*order).to_numpy()[:, kept]


def fluctuations(key: Key[Array, ""], sampling: Sampling) -> Result:
    """N Cov(m) of stationary ensembles against (C⁻¹ + H/τ)⁻¹."""
    result = Result(FLUCTUATIONS)
    landscape = Confined(FourierLandscape(1, 2, strength=PULL), CONFINEMENT)
    exact = equilibrium(landscape, TEMPERATURE, dt=STEP)
    inverse = np.linalg.inv(exact.fluctuations)
    shown = []
    for index, size in enumerate(sampling.sizes):
        own = jax.random.fold_in(key, index)
        seen = stationary_moments(own, landscape, size, sampling, f"fluctuations, N = {size}")
        off = seen - seen.mean(axis=(0, 1))
        ratio = size * np.einsum("rti,ij,rtj->r", off, inverse, off)
        ratio /= off.shape[1] * off.shape[2]
        shown.append(size * np.mean(off**2, axis=(0, 1)))
        result.claim(
            Claim.equal(
                f"N Cov(m) over (C⁻¹ + H/τ)⁻¹, mean over its directions, N = {size} (three "
                f"standard errors over {sampling.replicas} ensembles, and 1/N)",
                "theory 13",
                1.0,
                float(ratio.mean()),
                absolute=3 * standard_error(ratio) + 1 / size,
            )
        )
    independent = float(np.trace(inverse @ exact.covariance) / len(exact.moments))
    result.claim(
        Claim.above(
            "what independent particles would have in its place: the risk holds fluctuations down",
            "theory 13",
            bound=1.3,
            measured=independent,
        )
    )
    result.figure(
        "fluctuations",
        "N times the variance of each moment at stationarity, against N.",
        functools.partial(
            draw_fluctuations, sizes=sampling.sizes, shown=np.array(shown), exact=exact
        ),
    )
    return result


def gap(key: Key[Array, ""], sampling: Sampling) -> Result:
    """The free-energy gap by thermodynamic integration over the strength of the risk.

    With sR in the place of R, dF/ds = E[R] of N particles and R(m*) of the limit, and both start
    equal at s = 0.
    """
    result = Result(GAP)
    inner = FourierLandscape(1, 2, strength=PULL)
    exact = equilibrium(Confined(inner, CONFINEMENT), TEMPERATURE, dt=STEP).gap
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    nodes, weights = 0.5 * (nodes + 1), 0.5 * weights
    h, y = np.asarray(inner.weights), np.asarray(inner.targets)
    shown = []
    sizes = sampling.sizes[:GAP_SIZES]
    for index, size in enumerate(sizes):
        totals = np.zeros(sampling.replicas)
        for number, (share, weight) in enumerate(zip(nodes, weights, strict=True)):
            landscape = Confined(inner.replace(weights=share * inner.weights), CONFINEMENT)
            own = jax.random.fold_in(key, NODES * index + number)
            seen = stationary_moments(
                own, landscape, size, sampling, f"risk times {share:.2f}, N = {size}"
            )
            limit = equilibrium(landscape, TEMPERATURE, dt=STEP).moments
            risks = 0.5 * np.sum(h * (seen - y) ** 2, axis=-1).mean(axis=1)
            totals += weight * size * (risks - 0.5 * np.sum(h * (limit - y) ** 2))
        shown.append((float(totals.mean()), standard_error(totals)))
        result.claim(
            Claim.equal(
                f"N times the free-energy gap, N = {size}: (τ/2) log det(I + CH/τ) (three standard "
                f"errors over {sampling.replicas} ensembles, and 1/N of it)",
                "theory 13",
                exact,
                shown[-1][0],
                absolute=3 * shown[-1][1] + exact / size,
            )
        )
    result.figure(
        "gap",
        "N times the free energy of N particles above that of the limit, against N.",
        functools.partial(draw_gap, sizes=sizes, shown=np.array(shown), exact=exact),
    )
    return result


def uniform(key: Key[Array, ""], sampling: Sampling) -> Result:
    """Normal laws far from equilibrium: N Var(m), and the gap, follow their law at all times."""
    result = Result(UNIFORM)
    landscape = Confined(MeanLandscape([0.0], [STIFF], 1), CONFINEMENT)
    flow = GradientFlow(landscape, scheme="euler", jumps=(Diffusion(HOT),))
    replicas, shown = 4 * sampling.replicas, {}
    times = np.empty(0)
    for index, size in enumerate(sampling.sizes):
        draw, noise = jax.random.split(jax.random.fold_in(key, index))
        flat = gaussian(draw, replicas * size, landscape.particle, mean=3.0, scale=WIDE)
        run = simulate(
            flow,
            Ensemble(flat.particles.reshape(replicas, size, 1)),
            horizon=SPAN,
            dt=STEP,
            key=jax.random.split(noise, replicas),
            record=every(SPAN / 32),
            batch=True,
            progress=sampling.progress,
            label=f"normal laws, N = {size}",
        )
        times = np.asarray(run.trajectory["time"])
        moments = run.trajectory["moments"].transpose("time", "seed", "moment").to_numpy()
        shown[size] = size * moments[..., 0].var(axis=1, ddof=1)
    v, s = variances(times, STIFF), variances(times, 0.0)
    exact = mean_energy(v, s)
    for size, seen in shown.items():
        errors = (seen / v - 1) / np.sqrt(2 / (replicas - 1))
        result.claim(
            Claim.below(
                f"N Var(m) at all of {len(times)} times against its law, N = {size}: largest "
                "difference in standard errors",
                "theory 13",
                bound=4.0,
                measured=float(np.abs(errors).max()),
            ),
            Claim.within(
                f"N times the free-energy gap, N = {size}: its largest value at any time, that of "
                "the start within four standard errors, so it never grows",
                "theory 13",
                low=0.0,
                high=float(exact[0] + 0.5 * STIFF * v[0] * 4 * np.sqrt(2 / (replicas - 1))),
                measured=float(mean_energy(seen, s).max()),
            ),
        )
    late = times > SPAN / 2
    ends = np.array([mean_energy(seen, s)[late].mean() for seen in shown.values()])
    limit = 0.5 * HOT * np.log(1 + STIFF / CONFINEMENT)
    result.claim(
        Claim.equal(
            f"N times the gap in the second half, mean of N = {', '.join(map(str, shown))}: "
            "(τ/2) log(1 + h/κ), to three per cent",
            "theory 13",
            limit,
            float(ends.mean()),
            relative=0.03,
        )
    )
    result.figure(
        "uniform",
        "N times the free-energy gap from an i.i.d. start far from equilibrium, at all times.",
        functools.partial(
            draw_uniform,
            times=times,
            shown={size: mean_energy(seen, s) for size, seen in shown.items()},
            exact=exact,
        ),
    )
    return result


def variances(times: np.ndarray, pull: float) -> np.ndarray:
    """Variance of a normal law under Euler–Maruyama with this pull besides the confinement."""
    growth = 1 - STEP * (CONFINEMENT + pull)
    left = growth ** (2 * np.rint(times / STEP))
    return left * WIDE**2 + (1 - left) * 2 * HOT * STEP / (1 - growth**2)


def mean_energy(v: np.ndarray, s: np.ndarray) -> np.ndarray:
    """N times the gap of normal laws: variance v of √N m, s of one particle of the limit."""
    return 0.5 * (CONFINEMENT * (v - s) + STIFF * v - HOT * np.log(v / s))


def draw_fluctuations(
    ax: Axes, sizes: tuple[int, ...], shown: np.ndarray, exact: Equilibrium
) -> None:
    """Variances with their limits, and those of independent particles."""
    names = [f"{wave} {k}θ" for wave in ("cos", "sin") for k in (1, 2)]
    for number, name in enumerate(names):
        colour = plots.SERIES[number]
        ax.semilogx(sizes, shown[:, number], "o", color=colour, label=name)
        ax.axhline(exact.fluctuations[number, number], color=colour, ls="--", lw=1)
        ax.axhline(exact.covariance[number, number], color=colour, ls=":", lw=1)
    ax.plot([], [], color=plots.QUIET, ls="--", label="(C⁻¹ + H/τ)⁻¹")
    ax.plot([], [], color=plots.QUIET, ls=":", label="C, of independent particles")
    ax.set(xlabel="particles N", ylabel="N × variance of a moment", title="Stationary fluctuations")
    ax.set_xticks(sizes, [str(size) for size in sizes], minor=False)
    ax.minorticks_off()
    ax.set_ylim(0, None)
    plots.legend(ax)


def draw_gap(ax: Axes, sizes: tuple[int, ...], shown: np.ndarray, exact: float) -> None:
    """The gap with its errors."""
    ax.errorbar(
        sizes, shown[:, 0], shown[:, 1], fmt="o", color=plots.MEASURED, label="measured, ± 1 s.e."
    )
    ax.axhline(exact, color=plots.THEORY, ls="--", label="(τ/2) log det(I + CH/τ)")
    ax.set(xscale="log", xlabel="particles N", ylabel="N × free-energy gap", title="Cost of N")
    ax.set_xticks(sizes, [str(size) for size in sizes], minor=False)
    ax.minorticks_off()
    ax.set_ylim(0, None)
    plots.legend(ax)


def draw_uniform(
    ax: Axes, times: np.ndarray, shown: dict[int, np.ndarray], exact: np.ndarray
) -> None:
    """The gap in time."""
    for number, (size, seen) in enumerate(shown.items()):
        ax.semilogy(times, seen, "o", ms=3, color=plots.SERIES[number], label=f"N = {size}")
    ax.semilogy(times, exact, color=plots.THEORY, ls="--", label="exact law")
    end = 0.5 * HOT * np.log(1 + STIFF / CONFINEMENT)
    ax.axhline(end, color=plots.QUIET, ls=":", label="(τ/2) log(1 + h/κ)")
    ax.set(xlabel="flow time t", ylabel="N × free-energy gap", title="Uniform in time")
    plots.legend(ax)
