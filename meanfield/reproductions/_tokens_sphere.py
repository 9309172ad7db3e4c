"""Tokens in more dimensions: the Hessian at the uniform measure on gradients of harmonics."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from landscapes import TokenLandscape
from landscapes.interactions import sphere_grid
from particles import Ensemble
from saddle_analysis import HessianOperator

from .. import plots
from ..results import Claim, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPHERE = "The uniform measure in more dimensions"
SOURCE = "GLPR25; theory 11"
DEGREES, BETA = 4, 4.0
ORDERS = {3: 20, 4: 14, 5: 10}  # nodes along a coordinate


def sphere(dims: Sequence[int], seed: int) -> Result:
    """Eigenvalues by degree, on gradients of harmonics about a random axis."""
    result, found = Result(SPHERE), {}
    for dim in dims:
        landscape, mu = TokenLandscape(dim, BETA), sphere_grid(dim, ORDERS[dim])
        hessian = HessianOperator(landscape, mu).apply
        axis = jax.random.normal(jax.random.key(seed), (dim,))
        exact, values, residuals = landscape.curvatures(DEGREES), [], []
        for degree, value in enumerate(exact, start=1):
            field = harmonic_gradient(mu, axis / jnp.linalg.norm(axis), degree)
            image = hessian(field)
            norm = mu.norm(field)
            values.append(float(mu.inner(field, image) / norm**2))
            residuals.append(float(mu.norm(image - value * field) / norm) / abs(value))
        found[dim] = (exact, values)
        result.claim(
            Claim.equal(
                f"L of the uniform measure, d = {dim}, β = {BETA:g}",
                SOURCE,
                landscape.level,
                float(landscape.value(mu)),
                relative=1e-8,
            ),
            Claim.below(
                f"gradients of harmonics of degrees 1 to {DEGREES}, d = {dim}, β = {BETA:g}: "
                "eigenvectors to −k(k + d − 2) c_k/β, largest relative residual",
                SOURCE,
                bound=1e-6,
                measured=max(residuals),
            ),
        )
    result.figure(
        "sphere",
        "Wasserstein Hessian at the uniform measure on spheres, by degree of the harmonic.",
        functools.partial(draw, found=found),
    )
    return result


def harmonic_gradient(mu: Ensemble, axis: jax.Array, degree: int) -> jax.Array:
    """Tangent gradient of the harmonic C_k(⟨x, a⟩), C_k of Gegenbauer, at the particles."""
    from scipy.special import gegenbauer

    along = np.asarray(mu.particles @ axis)
    slope = jnp.asarray(gegenbauer(degree, mu.particles.shape[1] / 2 - 1).deriv()(along))
    return slope[:, None] * (axis - along[:, None] * mu.particles)


def draw(ax: Axes, found: dict[int, tuple[np.ndarray, list[float]]]) -> None:
    """Eigenvalues by degree."""
    for number, (dim, (exact, values)) in enumerate(found.items()):
        degrees = np.arange(1, len(exact) + 1)
        ax.plot(degrees, exact, color=f"C{number}", ls="--")
        ax.plot(degrees, values, "o", color=f"C{number}", label=f"d = {dim}")
    ax.plot([], [], color=plots.QUIET, ls="--", label="−k(k + d − 2) c_k/β")
    ax.set(xlabel="degree k", ylabel="eigenvalue λ (1 / time)", title=f"β = {BETA:g}")
    ax.set_xticks(range(1, DEGREES + 1))
    plots.legend(ax)
