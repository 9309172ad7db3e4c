"""What theory knows about softmax attention: floors, first velocities, the balanced solution."""

from __future__ import annotations

import math

import numpy as np
import scipy.integrate
import scipy.optimize
from jaxtyping import Float

from particles import InvalidInput

from ._prompts import Numbers, checked_length, checked_probabilities, feature_probabilities

Gap = Float[np.ndarray, "..."] | float


def query_floor(probabilities: Numbers, length: float) -> Float[np.ndarray, " features"]:
    """What is left of L_k however long one trains: prompts that lack the queried feature.

    They come with probability (1 − p_k)^n, and there a_kk = 0. Where the other features' logits
    B_km are equal (balanced features at all times, every query at the start), a_km = n_m/n and

        ½ E[1 + Σ_m a_km²; n_k = 0] = ½ (1 − p_k)^n (1 + 1/n + (1 − 1/n) Σ_{m≠k} (p_m/(1 − p_k))²).

    Whatever the logits, it lies between ½ and 1 times (1 − p_k)^n. (theory.md, section 6; HCL23)

    Args:
        probabilities: p_k of the features.
        length: prompt length n; the floor vanishes for infinite prompts.

    Raises:
        InvalidInput: bad probabilities or length.

    Example:
        >>> query_floor([0.5, 0.5], 2).tolist()  # ½ · ¼ · 2: all attention on the wrong feature
        [0.25, 0.25]
    """
    p, inverse = checked_probabilities(probabilities), 1 / checked_length(length)
    rest = np.maximum(1 - p, 1e-300)
    others = np.sum((p / rest[:, None]) ** 2, axis=1) - (p / rest) ** 2
    return 0.5 * (1 - p) ** length * (1 + inverse + (1 - inverse) * others)


def starting_velocity(
    probabilities: Numbers, length: float = math.inf
) -> Float[np.ndarray, "features features"]:
    """dQ/dt at the start Q = 0, exactly: dA_k/dt on the diagonal, dB_km/dt off it.

    dQ_kj/dt = −p_k E[a_j² − δ_kj a_j − a_j Σ_m a_m² + a_j a_k] with a = n/n_total, from the first
    three moments of the multinomial. In the large-prompt limit the dominant token's logit falls at
    p_k p_1 (p_1 + p_k − Σp²), and A_k grows at p_k² (1 − 2p_k + Σp²). (theory.md, section 6)

    Args:
        probabilities: p_k of the features.
        length: prompt length n.

    Raises:
        InvalidInput: bad probabilities or length.

    Example:
        >>> starting_velocity([0.5, 0.5]).tolist()
        [[0.125, -0.125], [-0.125, 0.125]]
    """
    p, i = checked_probabilities(probabilities), 1 / checked_length(length)
    second = (1 - i) * np.outer(p, p) + i * np.diag(p)
    cubic = (1 - i) * (1 - 2 * i) * p * np.sum(p**2) + i * (1 - i) * (p + 2 * p**2) + i**2 * p
    gradient = np.diag(second)[None] - np.diag(p) - cubic[None] + second
    return -p[:, None] * gradient


def query_hessian(
    attention: Float[np.ndarray, " features"], query: int
) -> Float[np.ndarray, "features features"]:
    """Hessian of L_k in the logits of query k, of one head in the large-prompt limit.

    With J = diag(a) − aaᵀ and g = a − e_k, H = J² + Σ_m g_m ∇²a_m. Queries share no logits, so the
    Wasserstein Hessian of one head is made of the blocks p_k H. Exchanging attention between two
    equal tokens m has the curvature a_m (a_kk + 2a_m − Σa²): negative while one other token holds
    most of the attention. (theory.md, section 6)

    Args:
        attention: a_km of the query.
        query: k, numbered from 0.

    Raises:
        InvalidInput: a query that does not exist.

    Example:
        >>> query_hessian(np.array([0.5, 0.5]), 0).tolist()
        [[0.125, -0.125], [-0.125, 0.125]]
    """
    a = np.asarray(attention, float)
    if not 0 <= query < a.size:
        raise InvalidInput(f"query is {query}; features run from 0 to {a.size - 1}.")
    identity = np.eye(a.size)
    jacobian = np.diag(a) - np.outer(a, a)
    pull = (a - identity[query]) * a
    centred = identity - a
    bend = np.einsum("m,mi,mj->ij", pull, centred, centred) - pull.sum() * jacobian
    return jacobian @ jacobian + bend


class BalancedSoftmax:
    """The exact training of one head on balanced features, for any prompt length.

    By symmetry all queries do the same and B_km = −A_k/(K − 1): one number, the gap δ = A_k − B_km,
    says everything. With j tokens of the queried feature, r = n − j others and q = 1/(K − 1),

        L(δ) = ½ E[(r² + r(1 − q) + r² q) / (j e^δ + r)²],     dδ/dt = −L'(δ)/(K − 1),

    j binomial. In the large-prompt limit L = ½(1 − x)² K/(K − 1), x = a_kk, and
    dx/dt = K/(K − 1)² x²(1 − x)³: x reaches any fixed share after about K² + 3K log K, within the
    bound K² log K of HCL23. For every n, L → floor + (K − 1)/(4t). (theory.md, section 6; HCL23)

    Args:
        features: K.
        length: prompt length n.

    Raises:
        InvalidInput: fewer than two features, or a length below one.

    Example:
        >>> theory = BalancedSoftmax(10)
        >>> round(theory.loss(0.0), 6)  # ½ (1 − 1/K)
        0.45
        >>> round(theory.growth_time())
        158
    """

    def __init__(self, features: int, length: float = math.inf):
        feature_probabilities(features)
        self.features, self.length = features, checked_length(length)
        share, q = 1 / features, 1 / (features - 1)
        if self.length == math.inf:
            self._own, self._rest, self._chance = np.array([share]), np.array([1 - share]), 1.0
            spread = 0.0
        else:
            from scipy.stats import binom  # slow to import, and of use here alone

            self._own = np.arange(int(self.length) + 1.0)
            self._rest = self.length - self._own
            self._chance = binom.pmf(self._own, self.length, share)
            spread = self._rest * (1 - q)
        self._square = self._chance * (self._rest**2 * (1 + q) + spread)

    def loss(self, gap: Gap) -> Gap:
        """L_k, the same for every query, at the gap δ = A_k − B_km."""
        _, total = self._terms(gap)
        return 0.5 * self._sum(self._square / total**2)

    def slope(self, gap: Gap) -> Gap:
        """dL_k/dδ."""
        rise, total = self._terms(gap)
        return -self._sum(self._square * rise / total**3)

    def curvature(self, gap: Gap = 0.0) -> Gap:
        """Curvature of the landscape as one query's attention sharpens: L''(δ)/(K − 1); 1/time.

        An eigenvalue of the Wasserstein Hessian at a balanced head, one for each query.
        """
        rise, total = self._terms(gap)
        bend = 3 * self._square * rise**2 / total**4 - self._square * rise / total**3
        return self._sum(bend) / (self.features - 1)

    @property
    def floor(self) -> float:
        """The limit of L_k: `query_floor`."""
        return float(query_floor(feature_probabilities(self.features), self.length)[0])

    def tail(self, times: Gap) -> Gap:
        """What L_k approaches at late times: floor + (K − 1)/(4t)."""
        return self.floor + (self.features - 1) / (4 * np.asarray(times, float))

    def growth_time(self, share: float = 0.25) -> float:
        """When L_k − floor has fallen to a share of its start, from Q = 0; flow time.

        Raises:
            InvalidInput: `share` is not between 0 and 1.
        """
        if not 0 < share < 1:
            raise InvalidInput(f"share is {share}; it must lie strictly between 0 and 1.")
        target = self.floor + share * (self.loss(0.0) - self.floor)
        gap = scipy.optimize.brentq(lambda g: self.loss(g) - target, 0.0, 200.0, xtol=1e-12)
        slowness = lambda g: -(self.features - 1) / self.slope(g)  # noqa: E731
        return float(scipy.integrate.quad(slowness, 0.0, gap, epsrel=1e-9)[0])

    def gaps(self, times: Float[np.ndarray, " times"]) -> Float[np.ndarray, " times"]:
        """δ(t) from Q = 0 at increasing times."""
        times = np.asarray(times, float)
        solved = scipy.integrate.solve_ivp(
            lambda t, gap: -self.slope(gap) / (self.features - 1),
            (0.0, float(times[-1])),
            [0.0],
            method="LSODA",
            t_eval=times,
            rtol=1e-9,
            atol=1e-12,
        )
        return solved.y[0]

    def losses(self, times: Float[np.ndarray, " times"]) -> Float[np.ndarray, " times"]:
        """L_k(t) from Q = 0 at increasing times."""
        return np.asarray(self.loss(self.gaps(times)))

    def _terms(self, gap: Gap) -> tuple[np.ndarray, np.ndarray]:
        rise = self._own * np.exp(np.asarray(gap, float)[..., None])
        return rise, rise + self._rest

    @staticmethod
    def _sum(terms: np.ndarray) -> Gap:
        total = np.sum(terms, axis=-1)
        return total if total.ndim else float(total)
