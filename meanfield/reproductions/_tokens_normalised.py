"""Attention divided by its sum, as a softmax: the same energy, with a mobility."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from landscapes import TokenLandscape
from landscapes.interactions import equal_angles
from particles import Ensemble
from saddle_analysis import HessianOperator

from .. import plots
from ..flows import GradientFlow
from ..results import Claim, Result
from ..runs import simulate
from ._tokens_runs import (
    EQUAL,
    SOURCE,
    draw_cosines,
    gathered,
    growth_rate,
    orthogonal_course,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NORMALISED = "Normalised attention"
LIMIT = 2 / math.e  # of the fastest rate, as β grows
LARGE = 64.0  # β at which it is looked at
BETA = 2.0  # of orthogonal and of random tokens
HORIZON = 4.0  # of these
RANDOM = (24, 4)  # random tokens, and their dimension


def normalised(
    betas: Sequence[float],
    counts: Sequence[int],
    size: int,
    keys: Key[Array, " seeds"],
    progress: bool = False,
) -> Result:
    """Eigenvalues, growth, clusters, orthogonal and random starts of softmax attention."""
    result = Result(NORMALISED)
    fastest = {beta: _uniform(result, beta, progress) for beta in sorted({*betas, LARGE})}
    result.claim(
        Claim.equal(
            f"fastest rate at the uniform measure, β = {LARGE:g}: near its limit 2/e",
            SOURCE,
            LIMIT,
            fastest[LARGE],
            relative=0.01,
        )
    )
    steep = TokenLandscape(2, max(betas), normalised=True)
    gathered(result, steep, size, keys, progress, f"normalised, β = {max(betas):g}")
    curves = {}
    for count in counts:
        landscape = TokenLandscape(count, BETA, normalised=True)
        label = f"{count} orthogonal tokens, normalised"
        curves[count] = orthogonal_course(result, landscape, HORIZON, 26, progress, label)
    _random(result, keys[0], progress)
    result.figure(
        "normalised",
        "Softmax attention: the fastest rate at the uniform measure, and the cosine between tokens "
        "that start orthogonal.",
        functools.partial(draw_rates, fastest=fastest),
        functools.partial(draw_cosines, curves=curves),
    )
    return result


def _uniform(result: Result, beta: float, progress: bool) -> float:
    """Claims at equal angles; the fastest rate."""
    size = EQUAL if beta < LARGE else 2 * EQUAL
    landscape, mu = TokenLandscape(2, beta, normalised=True), equal_angles(2, size)
    values = np.linalg.eigvalsh(np.asarray(HessianOperator(landscape, mu).dense()))
    exact = np.sort(np.repeat(landscape.curvatures(size // 2 - 1), 2))[:8]
    result.claim(
        Claim.below(
            f"eight lowest eigenvalues at {size} equal angles, β = {beta:g}: each "
            "−k² I_k(β)/(β I₀(β)) twice, largest relative difference",
            SOURCE,
            bound=1e-8,
            measured=float(np.abs(values[:8] / exact - 1).max()),
        )
    )
    if beta < LARGE:
        degree = landscape.clusters
        result.claim(
            Claim.equal(
                f"growth rate of degree {degree}, the fastest, β = {beta:g}: |λ_min|",
                SOURCE,
                -float(landscape.curvatures(degree)[-1]),
                growth_rate(landscape, progress),
                relative=1e-3,
            )
        )
    return -float(values[0])


def _random(result: Result, key: Key[Array, ""], progress: bool) -> None:
    """Random tokens against the attention equation as written, by another integrator."""
    landscape = TokenLandscape(RANDOM[1], BETA, normalised=True)
    start = landscape.onto_manifold(Ensemble(jax.random.normal(key, RANDOM)))
    run = simulate(
        GradientFlow(landscape, scheme="tsit5"),
        start,
        horizon=HORIZON,
        dt=0.02,
        progress=progress,
        label="random tokens, normalised",
    )
    exact = softmax_attention(np.asarray(start.particles), BETA, HORIZON)
    energy, spent = run.trajectory["energy"].values, run.trajectory["dissipated"].values
    result.claim(
        Claim.below(
            f"{RANDOM[0]} random tokens, β = {BETA:g}, at t = {HORIZON:g}: largest difference from "
            "SciPy's integration of softmax attention",
            SOURCE,
            bound=1e-6,
            measured=float(np.abs(np.asarray(run.ensemble.particles) - exact).max()),
        ),
        Claim.below(
            "energy balance with the mobility, −dL/dt = ∫ m‖∇δL/δμ‖² dμ: largest error over L(0)",
            "theory 1",
            bound=1e-6,
            measured=float(np.abs(energy[0] - energy - spent).max() / abs(energy[0])),
        ),
    )


def softmax_attention(
    x: Float[np.ndarray, "tokens dim"], beta: float, time: float
) -> Float[np.ndarray, "tokens dim"]:
    """Tokens after a time: ẋ_i = P_{x_i} Σ_j softmax_j(β⟨x_i, x_j⟩) x_j, by SciPy."""
    from scipy.integrate import solve_ivp
    from scipy.special import softmax

    def slope(_: float, flat: np.ndarray) -> np.ndarray:
        now = flat.reshape(x.shape)
        mean = softmax(beta * now @ now.T, axis=1) @ now
        return (mean - np.sum(mean * now, axis=1, keepdims=True) * now).ravel()

    found = solve_ivp(slope, (0, time), x.ravel(), rtol=1e-11, atol=1e-12, method="DOP853")
    return found.y[:, -1].reshape(x.shape)


def draw_rates(ax: Axes, fastest: dict[float, float]) -> None:
    """The fastest rate against β."""
    betas = np.geomspace(min(fastest), max(fastest), 60)
    exact = [
        -min(TokenLandscape(2, beta, normalised=True).curvatures(24)) for beta in betas.tolist()
    ]
    ax.semilogx(list(fastest), list(fastest.values()), "o", color=plots.MEASURED, label="measured")
    ax.semilogx(betas, exact, color=plots.THEORY, ls="--", label=r"max$_k\,k^2I_k/(\beta I_0)$")
    ax.axhline(LIMIT, color=plots.QUIET, ls=":", label="2/e")
    ax.set(
        xlabel="inverse temperature β", ylabel="fastest rate (1 / time)", title="Uniform measure"
    )
    plots.legend(ax)
