"""The spectral density of an operator by stochastic Lanczos quadrature (UCS17), with its errors."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from particles import InvalidInput

from ._budget import Budget, Spending, fixed_unless
from ._lanczos import Lanczos
from ._symmetric import SymmetricOperator

DEFAULT = Budget()


@dataclass(frozen=True)
class SpectralDensity:
    """A spectral density as Gauss quadratures, one for every random probe.

    For a random unit vector v, the weight of the spectrum below x as seen by v has the fraction of
    eigenvalues below x as its mean. Two errors remain, and both are reported: the quadrature's,
    bounded for every probe by the Chebyshev–Markov–Stieltjes inequalities (GM10), and the sampling
    error, whose standard deviation for n unknowns and P probes is √(2f(1−f)/((n+2)P)) exactly.
    The bounds are those of the Gauss rule that has the point in question among its nodes: the
    best possible from the same products.

    Args:
        nodes: per probe, Ritz values in increasing order; 1/time.
        weights: per probe, their weights, summing to one.
        matrices: per probe, the projected matrix that the nodes and weights come from.
        couplings: per probe, the norm that the next step would have added; zero if the Krylov
            space was invariant, so that there is no quadrature error.
        size: number of unknowns n.
        products: Hessian products spent.
        stopped: which limit ended the computation early; empty if none did.
    """

    nodes: list[np.ndarray]
    weights: list[np.ndarray]
    matrices: list[np.ndarray]
    couplings: list[float]
    size: int
    products: int
    stopped: str = ""

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest Ritz value: the spectrum reaches at least so far."""
        return min(float(x[0]) for x in self.nodes), max(float(x[-1]) for x in self.nodes)

    def moment(self, power: int = 1) -> tuple[float, float]:
        """(1/n) tr H^power and its standard error over the probes (infinite for one probe)."""
        samples = [
            float(np.sum(w * x**power)) for x, w in zip(self.nodes, self.weights, strict=True)
        ]
        if len(samples) < 2:
            return samples[0], float("inf")
        return float(np.mean(samples)), float(np.std(samples, ddof=1) / len(samples) ** 0.5)

    def fraction_below(
        self, points: Float[np.ndarray, " points"] | float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Fraction of eigenvalues below each point.

        Returns:
            Estimate, lower and upper bound of the quadrature (for these probes), and standard
            deviation of the sampling, each of shape `(points,)`.
        """
        points = np.atleast_1d(np.asarray(points, float))
        lower, upper = np.zeros((2, points.size))
        for index, (nodes, weights) in enumerate(zip(self.nodes, self.weights, strict=True)):
            if self.couplings[index] == 0:
                sums = np.concatenate([[0.0], np.cumsum(weights)])
                low = high = sums[np.searchsorted(nodes, points)]
            else:
                low, high = np.transpose([self._bounds(index, float(x)) for x in points])
            lower, upper = lower + low, upper + high
        count = len(self.nodes)
        # Round-off: the weights of a rule may sum to 1 + 2e-16, and two rules disagree by as much.
        lower = np.clip(lower / count, 0.0, 1.0)
        upper = np.clip(upper / count, lower, 1.0)
        widest = np.clip(0.5, lower, upper)  # the f in [lower, upper] of largest variance
        deviation = np.sqrt(2 * widest * (1 - widest) / ((self.size + 2) * count))
        return (lower + upper) / 2, lower, upper, deviation

    def _bounds(self, index: int, point: float) -> tuple[float, float]:
        """Weight below a point as one probe sees it: the Gauss rule with a node there."""
        matrix, coupling = self.matrices[index], self.couplings[index]
        size = matrix.shape[0]
        values, vectors = np.linalg.eigh(matrix)
        distance = values - point
        scale = max(float(np.max(np.abs(values))), np.finfo(float).tiny)
        nearest = int(np.argmin(np.abs(distance)))
        if abs(distance[nearest]) <= 1e-13 * scale:
            weights = vectors[0] ** 2
            below = float(np.sum(weights[:nearest]))
            return below, below + float(weights[nearest])
        extended = np.zeros((size + 1, size + 1))
        extended[:size, :size] = matrix
        extended[size, size - 1] = extended[size - 1, size] = coupling
        extended[size, size] = point + coupling**2 * np.sum(vectors[-1] ** 2 / distance)
        nodes, vectors = np.linalg.eigh(extended)
        node = int(np.argmin(np.abs(nodes - point)))
        below = float(np.sum(vectors[0, :node] ** 2))
        return below, below + float(vectors[0, node] ** 2)

    def count_below(self, point: float) -> tuple[float, float, float]:
        """Number of eigenvalues below a point: estimate, and bounds at three standard deviations.

        For indices that are a sizeable part of the unknowns; `morse_index` counts few of them.
        """
        estimate, lower, upper, deviation = (float(x[0]) for x in self.fraction_below(point))
        low, high = max(0.0, lower - 3 * deviation), min(1.0, upper + 3 * deviation)
        return self.size * estimate, self.size * low, self.size * high

    def density(
        self, points: Float[np.ndarray, " points"], width: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The density smoothed by a Gaussian, and its standard error over the probes.

        Args:
            points: where to evaluate it; 1/time.
            width: standard deviation of the Gaussian; by default a hundredth of the support.

        Raises:
            InvalidInput: the width is not positive.
        """
        points = np.atleast_1d(np.asarray(points, float))
        low, high = self.support
        width = max((high - low) / 100, 1e-12 * max(1.0, abs(high))) if width is None else width
        if not width > 0:
            raise InvalidInput(f"width is {width}; it must be positive.")
        curves = []
        for nodes, weights in zip(self.nodes, self.weights, strict=True):
            bumps = np.exp(-0.5 * ((points[:, None] - nodes) / width) ** 2)
            curves.append(bumps @ weights / (width * np.sqrt(2 * np.pi)))
        error = np.std(curves, axis=0, ddof=1) if len(curves) > 1 else np.full(points.size, np.inf)
        return np.mean(curves, axis=0), error / len(curves) ** 0.5


def spectral_density(
    operator: SymmetricOperator,
    *,
    probes: int = 8,
    steps: int = 80,
    budget: Budget = DEFAULT,
    key: Key[Array, ""] | None = None,
) -> SpectralDensity:
    """Stochastic Lanczos quadrature with full reorthogonalisation.

    Args:
        operator: from `HessianOperator`, or any `SymmetricOperator`.
        probes: number of random start vectors.
        steps: Hessian products for each; the memory is `steps` vectors.
        budget: products and seconds it may spend; the quadratures so far are returned.
        key: of the probes; `None` for a fixed one.

    Raises:
        InvalidInput: `probes` or `steps` is not positive.
        RuntimeError: a Hessian product is not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> from saddle_analysis.spectra import MatrixOperator
        >>> operator = MatrixOperator(jnp.array([-1.0] * 100 + [1.0] * 300))
        >>> count, low, high = spectral_density(operator).count_below(0.0)
        >>> bool(low <= 100 <= high)
        True
    """
    if probes < 1 or steps < 1:
        raise InvalidInput(f"probes is {probes} and steps is {steps}; both must be at least 1.")
    allowed = min(probes * steps, budget.max_products)
    spending = Spending(dataclasses.replace(budget, max_products=allowed))
    key = fixed_unless(key)
    nodes, weights, matrices, couplings = [], [], [], []
    for probe in range(probes):
        lanczos = Lanczos(operator, jax.random.fold_in(key, probe), steps)
        while not lanczos.full:
            lanczos.step()
            spending.products += 1
            # A vanishing coupling closes the quadrature: what follows would have no weight.
            if lanczos.coupling == 0 or (spending.spent and lanczos.steps > 1):
                break
        ritz = lanczos.ritz()
        mass = ritz.coordinates[0] ** 2
        nodes.append(ritz.values)
        weights.append(mass / np.sum(mass))
        matrices.append(lanczos.matrix[: lanczos.steps, : lanczos.steps].copy())
        couplings.append(lanczos.coupling)
        spending.report()
        if spending.spent:
            break
    stopped = spending.reason if len(nodes) < probes else ""
    if stopped:
        warnings.warn(
            f"the spectral density rests on {len(nodes)} of {probes} probes: stopped by {stopped}.",
            stacklevel=2,
        )
    return SpectralDensity(
        nodes, weights, matrices, couplings, operator.size, spending.products, stopped
    )
