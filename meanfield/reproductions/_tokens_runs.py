"""Runs of tokens, and what is claimed of them whether or not attention is normalised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from landscapes import TokenLandscape
from landscapes.interactions import orthogonal_cosine
from particles import Ensemble
from saddle_analysis.curves import fit_line

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import Run, at, simulate, snapshots
from ._seeds import over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SOURCE = "GLPR25; theory 11"
EQUAL = 64  # tokens at equal angles
PUSH = 1e-4  # of an eigenfield, in angle, and of the random start of clusters
LOOKS = 9  # times at which a growing mode is looked at


def growth_rate(landscape: TokenLandscape, progress: bool = False) -> float:
    """Slope of the log of the fastest mode, from equal angles pushed along its eigenfield."""
    degree = landscape.clusters
    angles = 2 * np.pi * np.arange(EQUAL) / EQUAL
    start = on_circle(angles + PUSH * np.sin(degree * angles))
    horizon = 3.0 / -float(landscape.curvatures(degree)[-1])
    run = simulate(
        GradientFlow(landscape, scheme="tsit5"),
        start,
        horizon=horizon,
        dt=horizon / 64,
        record=at(),  # snapshots say all
        snapshots=at(*np.linspace(0, horizon, LOOKS)),
        progress=progress,
        label=f"degree {degree}",
    )
    times, ensembles = snapshots(run)
    modes = [abs(np.mean(np.exp(1j * degree * angles_of(mu)))) for mu in ensembles]
    return fit_line(np.asarray(times), np.log(modes)).slope


def gathering(
    landscape: TokenLandscape, size: int, key: Key[Array, ""], progress: bool, label: str
) -> Run:
    """From equal angles with a little noise, twice as long as linear growth needs."""
    noise = PUSH * np.asarray(jax.random.normal(key, (size,)))
    degree = landscape.clusters
    fastest = -float(landscape.curvatures(degree)[-1])
    horizon = 2 * np.log(np.sqrt(size) / (degree * PUSH)) / fastest
    return simulate(
        GradientFlow(landscape, scheme="adaptive"),
        on_circle(2 * np.pi * np.arange(size) / size + noise),
        horizon=float(horizon),
        dt=float(horizon) / 1000,
        record=at(),  # snapshots say all
        snapshots=at(*np.linspace(0, float(horizon), 60)),
        progress=progress,
        label=label,
    )


def gathered(
    result: Result,
    landscape: TokenLandscape,
    size: int,
    keys: Key[Array, " seeds"],
    progress: bool,
    label: str,
) -> tuple[list[int], Run]:
    """Claims how many clusters nearly uniform tokens gather in; the counts, and the first run."""
    counts, shown, beta = [], None, float(landscape.beta)
    for index, key in enumerate(keys, start=1):
        run = gathering(landscape, size, key, progress, f"{label}, start {index}")
        counts.append(clusters_of(angles_of(run.ensemble), landscape.clusters))
        shown = run if shown is None else shown
    median, said = over_seeds(np.array(counts, float))
    result.claim(
        Claim.equal(
            f"clusters at β = {beta:g}: the fastest degree, or one next to it ({said})",
            SOURCE,
            landscape.clusters,
            median,
            absolute=1.0,
        )
    )
    assert shown is not None
    return counts, shown


def orthogonal_course(
    result: Result, landscape: TokenLandscape, time: float, looks: int, progress: bool, label: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Claims that the cosine of an orthogonal start follows its equation; times and courses."""
    count, beta = landscape.dim, float(landscape.beta)
    run = simulate(
        GradientFlow(landscape, scheme="tsit5"),
        Ensemble(jnp.eye(count)),
        horizon=time,
        dt=0.01,
        record=at(),  # snapshots say all
        snapshots=at(*np.linspace(0, time, looks)),
        progress=progress,
        label=label,
    )
    times, ensembles = snapshots(run)
    measured = np.array([float(mu.particles[0] @ mu.particles[1]) for mu in ensembles])
    exact = orthogonal_cosine(beta, count, np.asarray(times), landscape.normalised)
    result.claim(
        Claim.below(
            f"cosine of {count} tokens from an orthogonal start, β = {beta:g}: largest difference "
            "from its equation",
            SOURCE,
            bound=1e-6,
            measured=float(np.abs(measured - exact).max()),
        )
    )
    return np.asarray(times), measured, exact


def clusters_of(angles: np.ndarray, degree: int) -> int:
    """Groups of tokens apart by more than a quarter of the distance of so many clusters."""
    ordered = np.sort(np.mod(angles, 2 * np.pi))
    gaps = np.diff(ordered, append=ordered[0] + 2 * np.pi)
    return max(1, int(np.sum(gaps > np.pi / (2 * degree))))


def on_circle(angles: np.ndarray) -> Ensemble:
    """Tokens at these angles."""
    return Ensemble(jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1), float))


def angles_of(ensemble: Ensemble) -> np.ndarray:
    """Angles of tokens on the circle."""
    points = np.asarray(ensemble.particles)
    return np.arctan2(points[:, 1], points[:, 0])


def draw_cosines(ax: Axes, curves: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Cosines in time."""
    for number, (count, (times, measured, exact)) in enumerate(curves.items()):
        ax.plot(times, exact, color=f"C{number}", ls="--", lw=1)
        ax.plot(times, measured, "o", ms=4, color=f"C{number}", label=f"{count} tokens")
    ax.plot([], [], color=plots.QUIET, ls="--", label="its equation")
    ax.set(xlabel="flow time t", ylabel="cosine γ", title="Orthogonal start")
    plots.legend(ax)
