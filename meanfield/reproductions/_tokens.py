"""Tokens on the sphere: the uniform measure is a saddle, clusters appear, and merge late."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import jax
import numpy as np
from jaxtyping import Array, Key

from landscapes import TokenLandscape
from landscapes.interactions import equal_angles, merging_time
from particles import InvalidInput
from saddle_analysis import HessianOperator
from saddle_analysis.curves import crossing

from .. import plots
from ..flows import GradientFlow
from ..problems import Count, Range, Seed
from ..results import Claim, Result
from ..runs import Run, at, simulate, snapshots
from ._base import Reproduction
from ._seeds import seed_keys
from ._tokens_normalised import NORMALISED, normalised
from ._tokens_runs import (
    EQUAL,
    SOURCE,
    angles_of,
    draw_cosines,
    gathered,
    growth_rate,
    on_circle,
    orthogonal_course,
)
from ._tokens_sphere import ORDERS, SPHERE, sphere

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNIFORM, CLUSTERS = "The uniform measure", "Clusters"
ORTHOGONAL, MERGING = "Orthogonal tokens", "Two clusters merge late"
TITLES = (UNIFORM, SPHERE, CLUSTERS, ORTHOGONAL, MERGING, NORMALISED)
ORTHOGONAL_TIME = 2.4
APART = 2 * np.pi / 3  # angle between two clusters that merge
MET = 0.05  # angle at which they have
INVERSE = Annotated[float, Range(0, 80, open_low=True)]


@dataclass(frozen=True)
class TokensOptions:
    """Options of `tokens`."""

    seed: Seed = 0
    """Of every random draw."""
    seeds: Count = 8
    """Starts that claims about random runs are stated over."""
    betas: tuple[INVERSE, ...] = (1.0, 4.0, 9.0, 16.0)
    """Inverse temperatures of the uniform measure, and from 4 on of the clusters."""
    dims: tuple[Annotated[int, Range(min(ORDERS), max(ORDERS))], ...] = (3, 4)
    """Dimensions of spheres beyond the circle."""
    orthogonal: tuple[Annotated[int, Range(2, 1000)], ...] = (2, 4, 16)
    """Numbers of orthogonal tokens."""
    merging: tuple[INVERSE, ...] = (1.0, 2.0, 4.0, 8.0)
    """Inverse temperatures of two clusters that merge, increasing; at least three."""
    tokens: Annotated[int, Range(16, 10**5)] = 256
    """Tokens of a run to clusters."""

    def __post_init__(self) -> None:
        if len(self.merging) < 3 or list(self.merging) != sorted(set(self.merging)):
            raise InvalidInput(f"merging is {self.merging}; give at least three, increasing.")
        if not (self.betas and self.dims and self.orthogonal):
            raise InvalidInput("betas, dims and orthogonal must each hold at least one number.")


def _parts(options: TokensOptions, progress: bool) -> Iterator[Result]:
    keys = seed_keys(jax.random.key(options.seed), options.seeds)
    yield uniform(options.betas, progress)
    yield sphere(options.dims, options.seed)
    large = [beta for beta in options.betas if beta >= 4] or list(options.betas)
    yield clusters(large, options.tokens, keys, progress)
    yield orthogonal(options.orthogonal, progress)
    yield merging(options.merging, progress)
    yield normalised(options.betas, options.orthogonal, options.tokens, keys, progress)


def uniform(betas: Sequence[float], progress: bool = False) -> Result:
    """Eigenvalues of the Hessian by degree, and the rate at which the fastest one grows."""
    result = Result(UNIFORM)
    mu, spectra = equal_angles(2, EQUAL), {}
    for beta in betas:
        landscape = TokenLandscape(2, beta)
        spectra[beta] = np.linalg.eigvalsh(np.asarray(HessianOperator(landscape, mu).dense()))
        exact = np.sort(np.repeat(landscape.curvatures(EQUAL // 2 - 1), 2))[:8]
        fastest = landscape.curvatures(landscape.clusters)[-1]
        rate = growth_rate(landscape, progress)
        result.claim(
            Claim.equal(
                f"L at {EQUAL} equal angles, β = {beta:g}: that of the uniform measure",
                SOURCE,
                landscape.level,
                float(landscape.value(mu)),
                relative=1e-10,
            ),
            Claim.below(
                f"eight lowest eigenvalues at {EQUAL} equal angles, β = {beta:g}: each "
                "−k² I_k(β)/β twice, largest relative difference",
                SOURCE,
                bound=1e-8,
                measured=float(np.abs(spectra[beta][:8] / exact - 1).max()),
            ),
            Claim.equal(
                f"growth rate of degree {landscape.clusters}, the fastest, β = {beta:g}: |λ_min|",
                SOURCE,
                -float(fastest),
                rate,
                relative=1e-3,
            ),
        )
    result.figure(
        "uniform",
        "Wasserstein Hessian at the uniform measure by degree: the fastest degree grows with β.",
        functools.partial(draw_spectra, spectra=spectra),
    )
    return result


def clusters(
    betas: Sequence[float], size: int, keys: Key[Array, " seeds"], progress: bool = False
) -> Result:
    """Nearly uniform tokens gather in about √(2β) clusters, those of the fastest degree."""
    result = Result(CLUSTERS)
    counts: dict[float, list[int]] = {}
    shown: Run | None = None
    for beta in betas:
        landscape = TokenLandscape(2, beta)
        counts[beta], shown = gathered(result, landscape, size, keys, progress, f"β = {beta:g}")
    assert shown is not None
    result.figure(
        "clusters",
        "Tokens on the circle leave the uniform measure together and gather in clusters; how many "
        "against β.",
        functools.partial(draw_gathering, run=shown, beta=betas[-1]),
        functools.partial(draw_counts, counts=counts),
    )
    return result


def orthogonal(counts: Sequence[int], progress: bool = False) -> Result:
    """From an orthogonal start all angles stay equal; the cosine follows one equation."""
    result, beta = Result(ORTHOGONAL), 2.0
    curves = {}
    for count in counts:
        landscape, label = TokenLandscape(count, beta), f"{count} orthogonal tokens"
        curves[count] = orthogonal_course(result, landscape, ORTHOGONAL_TIME, 25, progress, label)
    result.figure(
        "orthogonal",
        "Cosine between tokens that start orthogonal, measured and by its equation.",
        functools.partial(draw_cosines, curves=curves),
    )
    return result


def merging(betas: Sequence[float], progress: bool = False) -> Result:
    """Two clusters wait exponentially long in β before they meet: they are metastable."""
    result, found, exact = Result(MERGING), [], []
    for beta in betas:
        exact.append(merging_time(beta, APART, MET))
        near = exact[-1] * np.linspace(0.99, 1.01, 21)  # the middle one is when theory has it
        run = simulate(
            GradientFlow(TokenLandscape(2, beta), scheme="adaptive"),
            on_circle(np.array([0.0, APART])),
            horizon=float(near[-1]),
            dt=exact[-1] / 1000,
            record=at(),  # snapshots say all
            snapshots=at(*near),
            progress=progress,
            label=f"two clusters, β = {beta:g}",
        )
        times, ensembles = snapshots(run)
        angles = np.array([abs(np.subtract(*angles_of(mu))) for mu in ensembles])
        found.append(crossing(np.asarray(times), angles, MET, log=True))
        result.claim(
            Claim.equal(
                f"angle of two clusters from 2π/3, β = {beta:g}, after the time that theory needs "
                f"to {MET:g}",
                "theory 11",
                MET,
                float(np.interp(exact[-1], times, angles)),
                relative=1e-2,
            ),
            Claim.equal(
                f"time until they are {MET:g} apart, β = {beta:g}",
                "theory 11",
                exact[-1],
                found[-1],
                relative=1e-3,
            ),
        )
    slope = np.diff(np.log(found))[-1] / np.diff(betas)[-1]
    result.claim(
        Claim.equal(
            f"merging time grows with β: d log T / dβ from β = {betas[-2]:g} to {betas[-1]:g} is "
            "−cos(2π/3), less d log β/dβ",
            "theory 11",
            -np.cos(APART) - np.log(betas[-1] / betas[-2]) / (betas[-1] - betas[-2]),
            float(slope),
            absolute=0.1,
        )
    )
    result.figure(
        "merging",
        "Time until two clusters meet, measured and by quadrature.",
        functools.partial(
            draw_times, betas=np.array(betas), times=np.array(found), exact=np.array(exact)
        ),
    )
    return result


def draw_spectra(ax: Axes, spectra: dict[float, np.ndarray]) -> None:
    """Eigenvalues over e^β by degree."""
    for number, (beta, values) in enumerate(spectra.items()):
        landscape, colour = TokenLandscape(2, beta), f"C{number}"
        degrees = np.arange(1, 15)
        exact = landscape.curvatures(len(degrees))
        order = np.argsort(exact)[:4]
        scale = np.exp(-beta)
        ax.plot(degrees, exact * scale, color=colour, ls="--", lw=1)
        ax.plot(degrees[order], values[0:8:2] * scale, "o", color=colour, label=f"β = {beta:g}")
    ax.plot([], [], color=plots.QUIET, ls="--", label=r"$-k^2 I_k(\beta)/\beta$")
    ax.set(xlabel="degree k", ylabel="eigenvalue × exp(−β) (1 / time)", title="Uniform measure")
    plots.legend(ax)


def draw_gathering(ax: Axes, run: Run, beta: float) -> None:
    """Angles in time."""
    times, ensembles = snapshots(run)
    angles = np.array([np.mod(angles_of(mu), 2 * np.pi) for mu in ensembles])
    paths = np.broadcast_to(np.asarray(times)[:, None], angles.shape)
    ax.plot(paths.ravel(), angles.ravel(), ".", ms=1, color=plots.MEASURED, label="tokens")
    ax.set(xlabel="flow time t", ylabel="angle (rad)", title=f"β = {beta:g}")
    plots.legend(ax)


def draw_counts(ax: Axes, counts: dict[float, list[int]]) -> None:
    """Clusters against β."""
    for beta, found in counts.items():
        label = "one start" if beta == min(counts) else None
        spread = beta * (1 + 0.02 * np.linspace(-1, 1, len(found)))
        ax.plot(spread, found, "o", ms=4, color=plots.MEASURED, alpha=0.6, label=label)
    betas = np.linspace(1, max(counts) * 1.05, 100)
    ax.plot(betas, np.sqrt(2 * betas), color=plots.THEORY, ls="--", label="√(2β)")
    ax.set(xlabel="inverse temperature β", ylabel="clusters", title="How many")
    plots.legend(ax)


def draw_times(ax: Axes, betas: np.ndarray, times: np.ndarray, exact: np.ndarray) -> None:
    """Merging time against β."""
    ax.semilogy(betas, times, "o", color=plots.MEASURED, label="measured")
    ax.semilogy(betas, exact, color=plots.THEORY, ls="--", label="by quadrature")
    law = exact[-1] * np.exp((betas - betas[-1]) / 2) * betas[-1] / betas
    ax.semilogy(betas, law, color=plots.QUIET, ls=":", label="∝ exp(β/2)/β")
    ax.set(xlabel="inverse temperature β", ylabel="flow time T", title="Two clusters at 2π/3")
    plots.legend(ax)


TOKENS = Reproduction(
    "tokens",
    "tokens on the sphere: a saddle, clusters, and how late they merge",
    TokensOptions,
    _parts,
    TITLES,
)
