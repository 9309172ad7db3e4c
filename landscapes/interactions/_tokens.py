"""Tokens on the sphere that attract each other by self-attention, and what is known of them."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from particles import Ensemble, InvalidInput

from .._manifolds import Sphere
from .._observables import Observable
from .._pairs import PairLandscape
from .._spaces import all_points

LARGEST = 80.0  # of β: beyond it exp(β) leaves float32


class TokenLandscape(PairLandscape):
    """L(μ) = −(1/2β) ∬ exp(β⟨x, y⟩) dμ dμ on the unit sphere: self-attention.

    Its flow is ẋ = P_x ∫ exp(β⟨x, y⟩) y dμ(y), P_x the projection on the tangent space: tokens
    that pass through ever more layers. The uniform measure is a saddle; tokens gather in clusters,
    and in the end in one. `normalised` divides by Z(x) = ∫ exp(β⟨x, y⟩) dμ(y), as a softmax does:
    a mobility 1/Z on the same energy. (theory.md, section 11; GLPR25)

    Args:
        dim: d ≥ 2, numbers in a token.
        beta: inverse temperature β, above 0 and at most 80.
        normalised: whether attention is divided by its sum.

    Raises:
        InvalidInput: an option out of range.

    Example:
        >>> tokens = TokenLandscape(dim=2, beta=1.0)
        >>> mu = Ensemble(jnp.array([[1.0, 0.0], [-1.0, 0.0]]))
        >>> float(abs(tokens.velocity(mu)).max()), tokens.clusters
        (0.0, 1)
    """

    beta: Float[Array, ""]
    dim: int = eqx.field(static=True)
    normalised: bool = eqx.field(static=True)

    def __init__(self, dim: int = 2, beta: float = 4.0, normalised: bool = False):
        if dim < 2:
            raise InvalidInput(f"dim is {dim}; a sphere on which tokens move needs at least 2.")
        self.dim, self.beta = dim, jnp.asarray(beta, float)
        self.normalised = normalised
        self.require_valid()

    def require_valid(self) -> None:
        """Refuse a β out of range."""
        if not (isinstance(self.beta, Tracer) or 0 < float(self.beta) <= LARGEST):
            raise InvalidInput(f"beta is {self.beta}; it must be above 0 and at most {LARGEST:g}.")

    @property
    def mobile(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether attention is normalised."""
        return self.normalised

    def mobility(
        self, particle: Array, moments: tuple[Array, Array], potential: Float[Array, ""]
    ) -> Float[Array, ""]:
        """1/Z(x); the first variation is −Z/β."""
        return -1 / (self.beta.astype(potential.dtype) * potential)

    def require_fit(self, ensemble: Ensemble) -> None:
        """Refuse particles that are no tokens, and unequal weights where attention is normalised.

        Raises:
            InvalidInput: names the shapes found and needed, or what the weights are.
        """
        super().require_fit(ensemble)
        weights = ensemble.weights
        if not self.normalised or weights is None or isinstance(weights, Tracer):
            return
        low, high = float(weights.min()), float(weights.max())
        if high - low > 1e-6 * high:
            raise InvalidInput(
                f"ensemble has weights between {low:.3g} and {high:.3g}, but a softmax counts all "
                "tokens alike (weights would be biases of its logits); leave the weights out."
            )

    @property
    def manifold(self) -> Sphere:
        """The unit sphere."""
        return Sphere()

    @property
    def particle(self) -> jax.ShapeDtypeStruct:
        """D numbers."""
        return jax.ShapeDtypeStruct((self.dim,), self.beta.dtype)

    def pair(self, particle: Array, other: Array) -> Float[Array, ""]:
        """−exp(β cos)/β of the angle between two tokens."""
        one, two = self.manifold.nearest(particle), self.manifold.nearest(other)
        beta = self.beta.astype(particle.dtype)
        return -jnp.exp(beta * jnp.dot(one, two)) / beta

    def interaction(
        self, particles: Array, others: Array, weights: Float[Array, " others"]
    ) -> Float[Array, " particles"]:
        """By one matrix product."""
        rows, columns = (all_points(self.manifold, part) for part in (particles, others))
        beta = self.beta.astype(rows.dtype)
        return -jnp.exp(beta * rows @ columns.T) @ weights / beta

    def observables(self, moments: tuple[Array, Array]) -> dict[str, Observable]:
        """Length of the mean token: 0 for a uniform measure, 1 for one cluster."""
        return {"mean_length": Observable(jnp.linalg.norm(moments[0]), units="1")}

    def curvatures(self, degrees: int) -> Float[np.ndarray, " degrees"]:
        """Eigenvalues of the flow's Hessian at the uniform measure, by degree, from 1 on.

        −k(k + d − 2) c_k/β with the coefficient c_k = Γ(d/2) (2/β)^{d/2−1} I_{k+d/2−1}(β) of
        exp(β⟨x, y⟩) by Funk and Hecke; on the circle −k² I_k(β)/β. The fields are gradients of the
        harmonics of degree k, on the circle two of each. Every other field has eigenvalue 0.
        Normalised attention divides them by c_0, on the circle I_0(β).
        (theory.md, section 11; GLPR25)

        Args:
            degrees: how many.
        """
        from scipy.special import iv

        k, d, beta = np.arange(1, degrees + 1), self.dim, float(self.beta)
        own = math.gamma(d / 2) * (2 / beta) ** (d / 2 - 1)
        scale = 1 / iv(d / 2 - 1, beta) if self.normalised else own
        return -k * (k + d - 2) * scale * iv(k + d / 2 - 1, beta) / beta

    @property
    def level(self) -> float:
        """L at the uniform measure, −Γ(d/2) (2/β)^{d/2−1} I_{d/2−1}(β)/(2β)."""
        from scipy.special import iv

        d, beta = self.dim, float(self.beta)
        scale = math.gamma(d / 2) * (2 / beta) ** (d / 2 - 1)
        return float(-scale * iv(d / 2 - 1, beta) / (2 * beta))

    @property
    def clusters(self) -> int:
        """Degree k of the fastest instability of the uniform measure, near √(2β) on the circle.

        So many clusters appear on the circle out of a nearly uniform start.
        """
        return 1 + int(np.argmin(self.curvatures(8 + 4 * math.isqrt(int(float(self.beta)) + 1))))


def equal_angles(dim: int, size: int) -> Ensemble:
    """N tokens at equal angles on the circle: on `TokenLandscape` an exact saddle.

    Raises:
        InvalidInput: another dimension than 2, or no token.

    Example:
        >>> equal_angles(2, 4).particles.round(6).tolist()[1]
        [0.0, 1.0]
    """
    if dim != 2:
        raise InvalidInput(f"dim is {dim}; tokens at equal angles are on the circle, dim 2.")
    if size < 1:
        raise InvalidInput(f"size is {size}; it must be at least 1.")
    angles = 2 * np.pi * np.arange(size) / size
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return Ensemble(jnp.asarray(np.where(abs(points) < 1e-15, 0.0, points), float))


def orthogonal_cosine(
    beta: float, tokens: int, times: Float[np.ndarray, " times"], normalised: bool = False
) -> Float[np.ndarray, " times"]:
    """The cosine γ(t) between any two of n tokens that start orthogonal (in dimension n or more).

    γ' = (2/n) exp(βγ) (1 − γ) ((n − 1) γ + 1): they stay at equal angles, and meet. Normalised
    attention divides by (exp(β) + (n − 1) exp(βγ))/n.
    (theory.md, section 11; GLPR25)

    Args:
        beta: β.
        tokens: n ≥ 2.
        times: increasing, from 0.
        normalised: whether attention is.

    Raises:
        InvalidInput: fewer than two tokens.
    """
    from scipy.integrate import solve_ivp

    if tokens < 2:
        raise InvalidInput(f"tokens is {tokens}; a cosine between tokens needs two.")

    def slope(_: float, cosine: np.ndarray) -> np.ndarray:
        other = np.exp(beta * cosine)
        total = (np.exp(beta) + (tokens - 1) * other) / tokens if normalised else 1.0
        return 2 / tokens * other * (1 - cosine) * ((tokens - 1) * cosine + 1) / total

    span = (0.0, float(times[-1]))
    found = solve_ivp(slope, span, [0.0], t_eval=times, rtol=1e-11, atol=1e-13, method="DOP853")
    return found.y[0]


def merging_time(beta: float, start: float, end: float, normalised: bool = False) -> float:
    """Time in which the angle between two equal clusters on the circle falls.

    α' = −exp(β cos α) sin α, so that T = ∫ exp(−β cos α)/sin α dα from `end` to `start`. Normalised
    attention divides by (exp(β) + exp(β cos α))/2.

    Args:
        beta: β.
        start: angle at the start, in radians.
        end: a smaller one.
        normalised: whether attention is.

    Raises:
        InvalidInput: not 0 < end < start < π.
    """
    from scipy.integrate import quad

    if not 0 < end < start < math.pi:
        raise InvalidInput(f"end is {end} and start {start}; they need 0 < end < start < π.")

    def slowness(angle: float) -> float:
        force = math.exp(-beta * math.cos(angle))
        total = (math.exp(beta) + 1 / force) / 2 if normalised else 1.0
        return total * force / math.sin(angle)

    value, _ = quad(slowness, end, start, epsrel=1e-12)
    return value
