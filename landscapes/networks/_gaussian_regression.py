"""Regression on Gaussian inputs: the exact population in pairs, fresh samples."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from particles import Ensemble

from .._pairs import PairLandscape
from .._precisely import compiled_precisely
from ._activations import Activation
from ._hermite import hermite_expansion
from ._modes import covariance_root
from ._neurons import Neuron
from ._regression import RegressionLandscape


class GaussianRegressionLandscape(PairLandscape):
    """L(μ) = ½ E‖h_{μ°}(x) − h_μ(x)‖² for x ~ N(0, Σ), without samples and without truncation.

    With K(w, w') = E[σ(wᵀx)σ(w'ᵀx)] in closed form, pairs have W = aᵀa' K(w, w') and
    V = −∫ aᵀa° K(w, w°) dμ° + ½E‖h_{μ°}‖². N² work, whatever the dimension: for few neurons or many
    inputs. `RegressionLandscape` on `HermiteModes` is linear in N. (theory.md, section 12; WIL97,
    CS09)

    L is a difference of such integrals, so it is known to some 10⁻¹⁶ (in float32 10⁻⁷) of ½E‖h‖².

    Args:
        teacher: μ°, a measure over neurons.
        activation: `"erf"`, `"relu"`, `"quadratic"` or `"cosine"`.
        covariance: Σ; the identity by default.

    Raises:
        InvalidInput: an activation without closed form, or a covariance of the wrong kind.

    Example:
        >>> teacher = Ensemble(Neuron(a=jnp.ones((1, 1)), w=jnp.eye(2)[:1]))
        >>> landscape = GaussianRegressionLandscape(teacher, "quadratic")
        >>> other = Ensemble(Neuron(a=jnp.ones((1, 1)), w=jnp.eye(2)[1:]))
        >>> float(landscape.value(other)), float(landscape.value(teacher))  # ½E(x₁² − x₂²)²
        (2.0, 0.0)
    """

    teacher: Ensemble
    root: Float[Array, "inputs inputs"]
    level: Float[Array, ""]
    activation: Activation = eqx.field(static=True)
    convex: ClassVar[bool] = True

    def __init__(
        self,
        teacher: Ensemble,
        activation: str | Activation = "erf",
        covariance: ArrayLike | None = None,
    ):
        self.teacher = teacher
        self.activation = hermite_expansion(activation).activation
        self.root = covariance_root(teacher.particles.w.shape[1], covariance)
        self.level = _level(teacher, self.root, self.activation)

    @property
    def particle(self) -> Neuron:
        """Shapes and dtypes of one particle."""
        a, w = self.teacher.particles
        return Neuron(*(jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for leaf in (a, w)))

    def pair(self, particle: Neuron, other: Neuron) -> Float[Array, ""]:
        """aᵀa' K(w, w')."""
        root = self.root.astype(particle.w.dtype)
        inner = hermite_expansion(self.activation).inner(root @ particle.w, root @ other.w)
        return jnp.sum(particle.a * other.a) * inner

    def potential(self, particle: Neuron) -> Float[Array, ""]:
        """½E‖h_{μ°}‖² − E[h_{μ°}ᵀ a σ(wᵀx)]."""
        one = jax.tree.map(lambda leaf: leaf[None], particle)
        return (
            self.level
            - self.interaction(one, self.teacher.particles, self.teacher.probabilities)[0]
        )

    def interaction(
        self, particles: Neuron, others: Neuron, weights: Float[Array, " others"]
    ) -> Float[Array, " particles"]:
        """The sum over pairs as matrix products and one elementwise pass."""
        root = self.root.astype(particles.w.dtype)
        table = hermite_expansion(self.activation).table(particles.w @ root, others.w @ root)
        return jnp.sum((particles.a @ (weights[:, None] * others.a).T) * table, axis=1)

    def minibatch(self, key: Key[Array, ""], size: int) -> RegressionLandscape:
        """The regression on `size` fresh samples of N(0, Σ)."""
        a, w = self.teacher.particles
        x = jax.random.normal(key, (size, w.shape[1]), w.dtype) @ self.root.astype(w.dtype)
        f = self.activation(x @ w.T) @ (self.teacher.probabilities[:, None] * a)
        # As a batch is made in every compiled step, nothing is checked again.
        return RegressionLandscape(jnp.zeros((1, 1)), jnp.zeros((1, 1)), self.activation).replace(
            x=x, f=f
        )


def neuron_gram(
    left: Ensemble,
    right: Ensemble,
    activation: str | Activation,
    covariance: ArrayLike | None = None,
) -> Float[Array, "outputs others"]:
    """E[h_μ(x)h_ν(x)ᵀ] for x ~ N(0, Σ), in closed form over pairs of neurons.

    What attention needs of a measure: ½tr(Σ°° − Σ°μ(Σμμ + ρI)⁻¹Σμ°) is a function of such matrices,
    and no sum over pairs. (theory.md, section 12; WIL97, CS09)

    Args:
        left: neurons μ.
        right: neurons ν.
        activation: σ.
        covariance: Σ; the identity by default.

    Raises:
        InvalidInput: an activation without closed form, or a covariance of the wrong kind.

    Example:
        >>> mu = Ensemble(Neuron(a=jnp.ones((1, 1)), w=jnp.eye(2)[:1]))
        >>> neuron_gram(mu, mu, "quadratic").tolist()
        [[3.0]]
    """
    root = covariance_root(left.particles.w.shape[1], covariance)
    return _gram(left, right, root, hermite_expansion(activation).activation)


@compiled_precisely
def _gram(left: Ensemble, right: Ensemble, root: Array, activation: Activation) -> Array:
    (a, w), (b, v) = left.particles, right.particles
    root = root.astype(w.dtype)
    table = hermite_expansion(activation).table(w @ root, v @ root)
    return (left.probabilities[:, None] * a).T @ table @ (right.probabilities[:, None] * b)


@compiled_precisely
def _level(teacher: Ensemble, root: Array, activation: Activation) -> Float[Array, ""]:
    """½E‖h_{μ°}‖²."""
    return 0.5 * jnp.trace(_gram(teacher, teacher, root, activation))
